"""What an institution sends wrongly, twice, or in another's place is refused; the others' round goes on."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, GroupCommitments, GroupKeys, Identity, Sums
from fedspallm_secure.secagg import Lane, Server, ServerState
from tests.secagg.defects import DEFECTS, IN_USE, ME, OTHER_SHARES, defects_at, in_group
from tests.secagg.small_round import SmallRound, identity, resealed, round_context, snapshot
from tests.secagg.staged_round import STAGED, TO_THE_SERVER, Scene, has_true_sums, scenes

_FRESH, _SEED = "ab" * 32, "0" * 66


def _refuses(server: Server, envelope: Envelope, says: str, defect: str = "") -> None:
    before, text = snapshot(server), "it was taken"
    try:
        server.receive(envelope)
    except RemoteProtocolError as error:
        text = str(error)
    assert re.search(says, text), f"{defect}: {text}"
    assert snapshot(server) == before, defect


def _at(stage: str, played: SmallRound) -> Scene:
    return next(scene for scene in scenes(played) if scene.stage == stage)


def test_there_are_defects_for_every_stage() -> None:
    assert tuple(DEFECTS) == TO_THE_SERVER


@pytest.mark.parametrize("stage", DEFECTS)
def test_bad_messages_are_refused_and_the_good_one_taken_afterwards(stage: str) -> None:
    played = SmallRound(STAGED)
    scene = _at(stage, played)
    due = played.server.missing()
    for defect, (make, says) in defects_at(stage).items():
        _refuses(played.server, make(scene), says, defect)
    assert played.server.missing() == due
    played.server.receive(scene.true(ME))
    assert played.server.missing() == tuple(name for name in due if name != ME)


def test_a_round_in_which_everything_is_sent_wrongly_first_ends_with_the_true_sums() -> None:
    played = SmallRound(STAGED)
    for scene in scenes(played):
        for defect, (make, says) in defects_at(scene.stage).items() if scene.stage in DEFECTS else ():
            _refuses(played.server, make(scene), says, defect)
    assert has_true_sums(scene)
    assert played.server.state is ServerState.DONE


@pytest.mark.parametrize("stage", DEFECTS)
def test_a_message_that_comes_twice_is_refused_in_each_step(stage: str) -> None:
    played = SmallRound(STAGED)
    scene = _at(stage, played)
    state = played.server.state
    for name, envelope in scene.said[stage].items():
        played.server.receive(envelope)
        twice = f"'{name}' sent this step's message twice"
        says = twice if played.server.state is state else f"'{name}' sent '.*', which is not due in state"
        _refuses(played.server, envelope, says)
        _refuses(played.server, scene.changed(name, **_OTHERWISE[stage.split()[0]]), says)


_OTHERWISE: dict[str, dict[str, Any]] = {
    "advertise": {"channel": _FRESH},
    "share": {"commitments": (GroupCommitments(votes=_FRESH, values=_FRESH),)},
    "masked": {"lanes": ()},
    "confirm": {"survivors": _FRESH},
    "unmask": {"groups": ()},
    "proof": {"products": ()},
}


def test_another_s_key_is_refused_once_its_owner_advertised_it() -> None:
    played = SmallRound(STAGED)
    scene = _at("advertise", played)
    played.server.receive(scene.true("i0"))
    key = scene.message("i0").groups[0].votes
    _refuses(played.server, scene.changed(ME, channel=key), IN_USE)
    _refuses(played.server, in_group("groups", 1, values=key)(scene), IN_USE)
    played.server.receive(scene.true(ME))


def test_where_no_weight_changes_there_are_no_keys_for_values() -> None:
    context = round_context(3, [(70, (0, 1, 2))], dropouts=1, method="wanda")
    played = SmallRound(context)
    good = played.clients[1].advertise()
    for votes, values in (("ab" * 32, "cd" * 32), (None, "cd" * 32), (None, None)):
        bad = resealed(context, good, groups=(GroupKeys(votes=votes, values=values),))
        _refuses(played.server, bad, "'i1' advertised not one key a group and sum")
    played.server.receive(good)


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    votes: NDArray[np.bool_] = np.arange(lane.length) % (index + 2) == 0
    return votes


def test_who_missed_a_step_is_not_heard_in_the_next_ones() -> None:
    played = SmallRound(STAGED)
    advertised = played.advertise()
    shares = played.gather(played.deliver(advertised, [0]))
    missed = "'i0' takes no part in this step: it missed one before, or was never in"
    late = played.clients[0].receive(advertised[0].envelope)
    assert late is not None
    _refuses(played.server, late, "'i0' sent 'share', which is not due in state 'gathering votes'")
    played.deliver(shares)
    masked = resealed(STAGED, played.masked(1, _votes), identity("i0"), sender="i0")
    _refuses(played.server, masked, missed)


def _vanished() -> tuple[SmallRound, dict[int, Envelope | None]]:
    """i0 shared and vanished before its votes came; what the others hand out, not delivered yet."""
    played = SmallRound(STAGED)
    played.exchange()
    survivors = played.mask(_votes, [0])
    return played, played.deliver(played.gather(played.deliver(survivors)))


def test_of_who_vanished_the_key_is_due_and_never_the_seed() -> None:
    played, handed = _vanished()
    good = handed[1]
    assert good is not None
    message: Any = STAGED.open(good)
    first, second = message.groups
    assert (set(first.seeds), set(first.keys)) == ({"i1", "i2"}, {"i0"})
    assert (set(second.seeds), set(second.keys)) == ({"i1", "i2", "i3"}, set())
    both = first.model_copy(update={"seeds": first.seeds | {"i0": _SEED}})
    seed = both.model_copy(update={"keys": {}})
    neither = first.model_copy(update={"keys": {}})
    for changed in (both, seed, neither):
        _refuses(played.server, resealed(STAGED, good, groups=(changed, second)), OTHER_SHARES)
    played.gather(handed)
    assert played.server.state is ServerState.ADDING_VOTES


@pytest.mark.parametrize(
    ("stage", "what"),
    [
        ("advertise", "advertised keys"),
        ("share", "shared their secrets"),
        ("masked votes", "sent their votes"),
        ("confirm votes", "confirmed the survivors"),
        ("masked values", "sent their values"),
        ("advertise again", "advertised keys"),
        ("share again", "shared their secrets"),
        ("masked values again", "sent their values"),
        ("confirm values", "confirmed the survivors"),
    ],
)
def test_a_step_is_not_closed_without_a_quorum_in_every_cohort(stage: str, what: str) -> None:
    played = SmallRound(STAGED)
    scene = _at(stage, played)
    state = played.server.state
    absent = {0: "0 of the 3 .* lane0's cohort {}; 2 are needed. Missing: i0, i1, i2"}
    absent[1] = "1 of the 3 .* lane0's cohort {}; 2 are needed. Missing: i1, i2"
    absent[2] = "1 of the 3 .* lane2's cohort {}; 2 are needed. Missing: i2, i3"
    for came in range(3):
        before = snapshot(played.server)
        with pytest.raises(RemoteProtocolError, match=absent[came].format(what)):
            played.server.close()
        assert snapshot(played.server) == before
        played.server.receive(scene.true(f"i{came}"))
    if played.server.state is state:
        played.server.close()
    assert played.server.state is not state


def test_nothing_is_unmasked_with_too_few_shares() -> None:
    played = SmallRound(STAGED)
    scene = _at("unmask votes", played)
    for came, says in enumerate(("0 shares of 'i0'", "1 shares of 'i0'")):
        before = snapshot(played.server)
        with pytest.raises(RemoteProtocolError, match=f"{says}'s secret came for lane lane0; 2 are needed"):
            played.server.close()
        assert snapshot(played.server) == before
        played.server.receive(scene.true(f"i{came}"))
    with pytest.raises(RemoteProtocolError, match="1 shares of 'i1''s secret came for lane lane2; 2 are needed"):
        played.server.close()
    played.server.receive(scene.true("i2"))
    played.server.close()
    assert played.server.state is ServerState.ADDING_VOTES


def _false_seeds(scene: Scene, name: str) -> Envelope:
    """What `name` hands out, with numbers that are no shares of anybody's seed."""
    return scene.changed(
        name,
        groups=tuple(
            revealed.model_copy(update={"seeds": dict.fromkeys(revealed.seeds, _SEED)})
            for revealed in scene.message(name).groups
        ),
    )


def test_one_that_hands_out_false_shares_is_suspected_and_the_sum_is_right_all_the_same() -> None:
    played = SmallRound(STAGED)
    scene = _at("unmask votes", played)
    for name in ("i0", "i2", "i3"):
        played.server.receive(scene.true(name))
    played.server.receive(_false_seeds(scene, ME))
    assert played.server.state is ServerState.ADDING_VOTES
    assert played.server.suspects == (ME,)
    published = STAGED.open(played.add()[0].envelope)
    assert isinstance(published, Sums)
    for lane, blob in zip(STAGED.lanes, published.lanes, strict=True):
        plain = np.sum([_votes(index, lane) for index in lane.cohort], axis=0)
        assert np.array_equal(lane.votes.unpack(played.words[blob.blob], lane.length), plain)


def test_the_last_shares_are_refused_where_too_many_are_false_and_the_server_is_as_it_was() -> None:
    played = SmallRound(STAGED)
    scene = _at("unmask votes", played)
    for name in ("i0", "i2"):
        played.server.receive(_false_seeds(scene, name))
    played.server.receive(scene.true("i3"))
    says = "The shares of 'i0''s secret for lane lane0 do not give what it committed to"
    _refuses(played.server, scene.true(ME), says)
    assert played.server.missing() == (ME,)
    assert played.server.suspects == ()


def test_a_round_is_led_only_with_the_key_that_the_charter_names() -> None:
    for wrong in (Identity("server", identity("i1").key), identity("stranger"), identity("i0")):
        with pytest.raises(LocalProtocolError, match="is not the charter's server with this signing key"):
            Server(STAGED, wrong)
