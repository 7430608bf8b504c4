"""A dishonest server, helped by as many institutions as the charter reckons with, uncovers nobody, whatever it plans.

What a single false message looks like is in `test_bad_messages_to_a_client.py`. Here the server pursues a plan, with
true messages of other rounds and people where it can have them, and in the end everything that was sent is examined.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import CharterError, LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import LaneBlob, LogHead, SumName, Sums, Survivors, Unproven
from fedspallm_secure.rounds import PublicWeights
from fedspallm_secure.rounds.outcome import Outcome
from fedspallm_secure.secagg import ClientState, Delivery, Lane, Participation, ServerState
from fedspallm_secure.transcript import BlobStore
from tests.rounds.synthetic import Run, Setting
from tests.secagg.plans_on_keys import ON_KEYS, VICTIM
from tests.secagg.plans_on_sums import ON_SUMS
from tests.secagg.small_round import Digits, round_context, snapshot
from tests.secagg.watched_round import CONTEXT, ELIGIBLE, WatchedRound, values, votes

# Plan -> what the institution says that it fails at, and what no honest institution has sent by then.
PLANS: dict[str, tuple[str, str]] = {
    "be an institution": ("The signature of 'i2' does not hold", "share 0"),
    "put an institution of its own on the roster": ("'server' speaks of charter", "share 0"),
    "bring in somebody who is not on the roster": ("The signer 'mallory' is not in the charter", "share 0"),
    "ask for a lower threshold": ("'server' speaks of charter", "share 0"),
    "use keys of another round again": ("'i2' speaks of round 1, not 0", "share 0"),
    "use keys of another run again": ("'i2' speaks of charter", "share 0"),
    "use keys that an institution had before it started again": ("Our own advertisement came back changed", "share 0"),
    "leave an institution alone with its own": (
        "Of the 5 institutions that should hold our shares for lane lane0, 2 advertised; 4 are needed",
        "share 0",
    ),
    "cross the shares for two institutions": ("'i1''s were not sealed by it for this client", "masked votes"),
    "cross the shares of two institutions": ("'i1''s were not sealed by it for this client", "masked votes"),
    "hand an institution its own shares back": ("'i1''s were not sealed by it for this client", "masked votes"),
    "use shares of another round under the same keys": ("were not sealed by it for this client", "masked votes"),
    "use shares of another run under the same keys": ("were not sealed by it for this client", "masked votes"),
    "withhold so many shares that nobody could help": (
        "Of the 5 institutions that should hold our shares for lane lane0, 3 shared; 4 are needed",
        "masked votes",
    ),
    "withhold one institution's shares and count it in": (
        "The server's participants of votes are not the institutions whose shares it passed on to us",
        "confirm votes",
    ),
    "pass on one institution's shares and not count it in": (
        "The server's participants of votes are not the institutions whose shares it passed on to us",
        "confirm votes",
    ),
    "say that nobody but one institution survived": (
        "1 of the 5 institutions of lane lane0's cohort are there for votes; 4 are needed",
        "confirm votes",
    ),
    "go on without a quorum": (
        "3 of the 5 institutions of lane lane0's cohort are there for votes; 4 are needed",
        "confirm votes",
    ),
    "open an institution to itself as vanished": ("The server goes on without us in votes", "confirm votes"),
    "change its mind on who survived": ("To get survivors.* is not due in state 'votes confirmed'", "unmask votes"),
    "go on with fewer confirmations than a quorum": (
        "3 members of lane lane0's cohort confirmed the survivors; 4 are needed",
        "unmask votes",
    ),
    "go on with confirmations of its own": ("The signature of 'i1' does not hold", "unmask votes"),
    "go on with the word of who vanished": ("'i4' confirmed the survivors without being one", "unmask votes"),
    "show the others' confirmations of other survivors": (
        "The confirmations are not for the survivors that we confirmed",
        "unmask votes",
    ),
    "pass off confirmations of other survivors": ("The signature of 'i1' does not hold", "unmask votes"),
    "use confirmations of another round": ("The signature of 'i0' does not hold", "unmask votes"),
    "use the confirmations of votes for values": ("The signature of 'i0' does not hold", "unmask values"),
    "skip the check of the counts": ("To get survivors.* is not due in state 'votes unmasked'", "masked values"),
    "show an institution counts twice, for two proofs": (
        "To get sums of votes is not due in state 'counts proved'",
        "masked values",
    ),
    "prove counts with a proof too few": ("The proofs are not one of each contributor", "masked values"),
    "prove counts with a proof of its own": ("The signature of 'i1' does not hold", "masked values"),
    "prove values with the proofs of votes": ("'i0' did not prove its values", "again "),
    "vouch for counts itself": ("'server' is not the charter's witness", "masked values"),
    "have an institution vouch for counts": ("'i4' is not the charter's witness", "masked values"),
    "have the witness vouch for other counts": ("The witness attested other sums", "masked values"),
    "sum values of fewer than voted": (
        "The participants of values are not those that voted",
        "confirm values",
    ),
    "lose more values than the bar allows for": (
        "more are missing from the values sum than the bar allows for",
        "confirm values",
    ),
    "repeat the values without a need": ("but only nobody is said to be gone", "advertise 1"),
    "repeat the values although so few are gone": ("but only i4 is said to be gone", "advertise 1"),
    "repeat the values without somebody who is there": ("The server goes on without us", "advertise 1"),
    "repeat the values with too few": (
        "3 of the 5 institutions of lane lane0's cohort are there for values; 4 are needed",
        "advertise 1",
    ),
    "repeat the values after they were confirmed": (
        "To get again, send advertise is not due in state 'values confirmed'",
        "advertise 1",
    ),
    "repeat the values with the old keys": ("'i1' did not advertise keys for this exchange", "share 1"),
    "bring somebody back whom it called gone": ("The senders of the advertisements are not", "share 1"),
    "open the first values after it called for the second": (
        "The server speaks of attempt 0 at values, which is not the one we are in",
        "confirm values",
    ),
}


@pytest.mark.parametrize("plan", PLANS)
def test_a_server_s_plan_is_refused_for_what_it_is_and_nobody_sent_what_it_was_after(plan: str) -> None:
    says, wanted = PLANS[plan]
    played, last = (ON_KEYS | ON_SUMS)[plan]()
    client = played.clients[VICTIM]
    before = snapshot(client)
    with pytest.raises(RemoteProtocolError, match=says):
        played.tell(VICTIM, last)
    assert snapshot(client) == before
    assert wanted not in played.has_sent()
    assert not played.uncovered()


def test_every_plan_is_played() -> None:
    assert [*ON_KEYS, *ON_SUMS] == list(PLANS)


def test_a_quorum_in_one_cohort_opens_nothing_in_another_one() -> None:
    context = round_context(6, [(5, (0, 1, 2, 3)), (5, (2, 3, 4, 5))], colluders=1, dropouts=1)
    played = WatchedRound(context, colluders=())
    played.exchange()
    played.mask(votes)
    survivors = played.survivors(*context.roster)
    signed = [played.tell(index, survivors) for index in (0, 1, 2, 3)]
    with pytest.raises(RemoteProtocolError, match="2 members of lane lane1's cohort confirmed the survivors; 3 are"):
        played.tell(2, played.confirmed(survivors, signed))
    assert "unmask votes" not in played.has_sent()


# False sums.

Forge = Callable[[Lane, NDArray[Any]], NDArray[Any]]
"""A lane and its true sum's digits -> the digits that are published."""


def _alone(index: int, lane: Lane) -> NDArray[np.bool_]:
    """Only i0 votes for the first position."""
    kept = votes(index, lane)
    kept[0] = index == 0
    return kept


def _popular(lane: Lane, digits: NDArray[Any]) -> NDArray[Any]:
    """The first position reaches the bar."""
    assert digits[0] == 1
    digits[0] = CONTEXT.charter.parameters.bar
    return digits


def _exchanged(lane: Lane, digits: NDArray[Any]) -> NDArray[Any]:
    """Two positions' sums change places, so that the total stays."""
    low, high = np.argmin(digits), np.argmax(digits)
    assert digits[low] != digits[high]
    digits[[low, high]] = digits[[high, low]]
    return digits


def _in_one_lane(lane: Lane, digits: NDArray[Any]) -> NDArray[Any]:
    """The second lane is false in its last position."""
    if lane.index == 1:
        digits[-1] = 0 if digits[-1] else 1
    return digits


def _nothing(lane: Lane, digits: NDArray[Any]) -> NDArray[Any]:
    return digits * 0


def _open(played: WatchedRound, digits: Digits) -> SumName:
    """An honest sum until the server can add it up."""
    name: SumName = "votes" if played.server.state is ServerState.VOTES else "values"
    played.gather(played.deliver(played.gather(played.deliver(played.mask(digits)))))
    return name


def _forged(played: WatchedRound, name: SumName, forge: Forge) -> list[LaneBlob]:
    """The lanes of a sum as the server publishes them."""
    blobs = []
    for lane in CONTEXT.lanes:
        contributions = [played.words[blob.blob] for _, blob in played.server.contributions(lane)]
        total: NDArray[np.uint64] = np.sum(contributions, axis=0, dtype=np.uint64)
        played.server.unmask(lane, total)
        packing = lane.packing(name)
        digits = packing.unpack(total, played.lengths[lane.name])
        blobs.append(played.store(lane, packing.pack(forge(lane, digits))))
    return blobs


def _all_refuse(played: WatchedRound, deliveries: list[Delivery], says: str) -> None:
    for delivery in deliveries:
        client = played.clients[CONTEXT.indices[delivery.to]]
        before = snapshot(client)
        with pytest.raises(RemoteProtocolError, match=rf"'{delivery.to}' found that the published {says}"):
            client.receive(delivery.envelope)
        assert snapshot(client) == before


@pytest.mark.parametrize("forge", [_popular, _exchanged, _in_one_lane, _nothing])
def test_counts_that_the_server_invents_are_found_by_everybody_before_a_value_is_sent(forge: Forge) -> None:
    played = WatchedRound()
    played.exchange()
    _open(played, _alone)
    played.deliver(played.server.publish(_forged(played, "votes", forge)))
    _all_refuse(played, played.prove(_alone), "votes are not the sum of what the institutions sent")
    assert "masked values" not in played.has_sent()
    assert not played.uncovered()


@pytest.mark.parametrize("forge", [_exchanged, _in_one_lane, _nothing])
def test_a_false_sum_of_values_is_found_by_everybody(forge: Forge) -> None:
    played = WatchedRound()
    played.count()
    _open(played, values)
    played.deliver(played.server.publish(_forged(played, "values", forge)))
    _all_refuse(played, played.prove(values), "values are not the sum of what the institutions sent")
    assert not any(played.clients[0].participation.accepted(name) for name in ("values",))


def test_two_institutions_that_are_shown_two_sums_find_that_out_even_if_both_are_true() -> None:
    played = WatchedRound()
    played.exchange()
    _open(played, votes)
    true = played.server.publish(_forged(played, "votes", lambda lane, digits: digits))
    published = CONTEXT.open(true[0].envelope)
    assert isinstance(published, Sums)
    first, *rest = published.lanes
    same = first.model_copy(update={"blob": "ab" * 32})
    played.words["ab" * 32] = played.words[first.blob]
    other = Delivery("i0", played.signed(published.model_copy(update={"lanes": (same, *rest)})))
    played.deliver([other, *true[1:]])
    _all_refuse(played, played.prove(votes), "votes are not .* or not the same for all of them")
    assert "masked values" not in played.has_sent()


def test_a_server_that_hides_a_proof_gets_no_values() -> None:
    played = WatchedRound()
    played.exchange()
    published = played.sum(votes)
    played.prove(votes)
    header = published.model_dump(include={"charter", "round", "sender", "sum", "attempt"})
    for index in played.honest:
        client = played.clients[index]
        assert client.receive(played.signed(Unproven(**header, missing=("i3",)))) is None
        assert client.state is ClientState.DONE
        assert not client.participation.accepted("votes")
        with pytest.raises(LocalProtocolError, match="is not due in state 'done'"):
            client.know_eligible(ELIGIBLE)
    assert "masked values" not in played.has_sent()


# What no server may do, and no charter ask for.


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ("advertise", "advertised keys"),
        ("share", "shared their secrets"),
        ("mask", "sent their votes"),
        ("confirm", "confirmed the survivors"),
    ],
)
def test_a_server_does_not_go_on_below_a_quorum_and_names_the_missing(step: str, what: str) -> None:
    played = WatchedRound()
    says = f"3 of the 5 institutions of lane lane0's cohort {what}; 4 are needed. Missing: i2, i3."
    exchange = step in ("advertise", "share")
    if not exchange:
        played.exchange()
    with pytest.raises(RemoteProtocolError, match=says):
        played.exchange(**{step: [2, 3]}) if exchange else played.sum(votes, **{step: [2, 3]})
    assert "unmask votes" not in played.has_sent()


def test_without_a_threshold_of_shares_nothing_is_unmasked() -> None:
    played = WatchedRound()
    played.exchange()
    with pytest.raises(RemoteProtocolError, match="3 shares of 'i0''s secret came for lane lane0; 4 are needed"):
        played.sum(votes, unmask=[2, 3])
    assert played.server.state is ServerState.VOTES_UNMASK


@pytest.mark.parametrize("cohort", [(0,), (0, 3)])
def test_a_lane_of_one_institution_or_of_fewer_than_agreed_is_refused_before_anything_is_sent(
    cohort: tuple[int, ...],
) -> None:
    with pytest.raises(CharterError, match=f"has a cohort of {len(cohort)}; the charter asks for 3"):
        round_context(4, [(5, range(4)), (5, cohort)], minimum_cohort=3)


def test_a_cohort_that_could_make_two_quorums_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(CharterError, match="cohort of 4, which does not bear 2 drop-outs and 0 colluders"):
        round_context(4, [(5, range(4))], dropouts=2)


def _counted(folder: Path, counts: Callable[[int], NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """What follows from counts of a tensor's votes, one institution of five having vanished: its kept and eligible
    positions and the counts, flat.
    """
    run = Run(Setting(minimum_contributors=3), folder)
    plan, blobs = run.plan(), BlobStore(folder / "blobs")
    lane, names = plan.lanes[0], plan.context.roster
    message = Survivors(
        charter=plan.context.digest,
        round=0,
        sender="coordinator",
        sum="votes",
        attempt=0,
        participants=names,
        survivors=names[:-1],
        gone=(),
        start=plan.context.start,
        log=LogHead(size=1, root="00" * 32),
    )
    participation = Participation(plan.context).with_survivors(message, None, (), ())
    words = lane.votes.pack(counts(lane.length))
    blob = LaneBlob(lane=lane.name, words=words.size, blob=blobs.put(words))
    found = Outcome(plan, PublicWeights(run.base), blobs).averaged.masks(lane, blob, participation)
    return tuple(array.reshape(-1) for array in found)


def test_more_votes_than_voters_are_no_counts(tmp_path: Path) -> None:
    _counted(tmp_path / "as many", lambda length: np.full(length, 4, np.uint8))
    with pytest.raises(RemoteProtocolError, match="counts up to 5 votes of 4 institutions"):
        _counted(tmp_path / "more", lambda length: np.arange(length, dtype=np.uint8) % 6)


def test_a_position_that_is_kept_by_few_votes_takes_no_part_in_the_values(tmp_path: Path) -> None:
    kept, eligible, counts = _counted(tmp_path, lambda length: np.arange(length, dtype=np.uint8) % 4)
    assert (kept & (counts == 2)).any()
    assert np.array_equal(eligible, kept & (counts >= 3))
