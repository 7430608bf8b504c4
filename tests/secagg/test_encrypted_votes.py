"""What the machines refuse of encrypted votes: by name, without a trace, and with nothing handed over.

No ciphertext is looked into here. What is done with real ones is tested in tests/rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from fedspallm_secure.messages import CountedLane, Encrypted, Envelope, LaneBlob, Sums
from fedspallm_secure.secagg import ClientState, Delivery, Lane, RoundContext, ServerState
from tests.secagg.small_round import SmallRound, identity, resealed, round_context, snapshot

_LANES = [(9, (0, 1, 2, 3, 4)), (5, (0, 2, 3, 4))]
_CONTEXT = round_context(5, _LANES, colluders=1, minimum_contributors=3, minimum_cohort=4, custodian="custodian")


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    votes: NDArray[np.bool_] = (np.arange(lane.length) + index) % 3 > 0
    return votes


def _voting(context: RoundContext = _CONTEXT) -> SmallRound:
    played = SmallRound(context)
    played.exchange()
    return played


def _confirming() -> tuple[SmallRound, list[Delivery]]:
    """Everybody's digests came; what the server says of the survivors."""
    played = _voting()
    return played, played.mask(_votes)


def _leave() -> tuple[SmallRound, Envelope]:
    """Everybody confirmed; with what the server lets ciphertexts be released."""
    played, survivors = _confirming()
    confirmed = played.gather(played.deliver(survivors))
    return played, confirmed[0].envelope


def _counting(context: RoundContext = _CONTEXT) -> SmallRound:
    """Everybody released; the custodian is waited for."""
    played = _voting(context)
    played.gather(played.deliver(played.gather(played.deliver(played.mask(_votes)))))
    assert played.server.state is ServerState.COUNTING
    return played


def _published() -> tuple[SmallRound, Envelope]:
    """The counts are published, and came to nobody yet."""
    played = _counting()
    return played, played.add()[0].envelope


def _unchanged(machine: Any, act: Callable[[], object], words: str, fault: type[ProtocolError]) -> None:
    before = snapshot(machine)
    with pytest.raises(fault, match=words):
        act()
    assert snapshot(machine) == before


def _refuses(machine: Any, envelope: Envelope, words: str) -> None:
    _unchanged(machine, lambda: machine.receive(envelope), words, RemoteProtocolError)


# A client.


_NO_LEAVE: dict[str, tuple[dict[str, Any], str]] = {
    "no confirmation": ({"signatures": {}}, "0 members of lane lane0's cohort confirmed the survivors; 4 are needed"),
    "a quorum of one cohort only": (
        {"signatures": ("i0", "i1", "i2")},
        "3 members of lane lane0's cohort confirmed the survivors; 4 are needed",
    ),
    "other survivors": ({"survivors": "ab" * 32}, "not for the survivors that we confirmed"),
    "the other sum": ({"sum": "values"}, "not for the survivors that we confirmed"),
    "another attempt": ({"attempt": 1}, "attempt 1 at votes, which is not the one we are in"),
}


@pytest.mark.parametrize("what", _NO_LEAVE)
def test_without_a_quorums_confirmation_nobody_releases_its_ciphertexts(what: str) -> None:
    changes, words = _NO_LEAVE[what]
    played, envelope = _leave()
    if isinstance(changes.get("signatures"), tuple):
        true = _CONTEXT.open(envelope)
        changes = {"signatures": {name: true.signatures[name] for name in changes["signatures"]}}  # type: ignore[union-attr]
    _refuses(played.clients[0], resealed(_CONTEXT, envelope, **changes), words)
    _unchanged(played.clients[0], played.clients[0].release, "not due in state 'votes confirmed'", LocalProtocolError)


def test_a_false_confirmation_releases_nothing() -> None:
    played, envelope = _leave()
    true: Any = _CONTEXT.open(envelope)
    name = next(iter(true.signatures))
    other = next(signature for holder, signature in true.signatures.items() if holder != name)
    forged = resealed(_CONTEXT, envelope, signatures=true.signatures | {name: other})
    _refuses(played.clients[0], forged, f"The signature of '{name}' does not hold")


def test_a_release_names_what_a_quorum_confirmed_and_hands_out_no_share() -> None:
    played, envelope = _leave()
    client = played.clients[0]
    assert client.receive(envelope) is None
    assert client.state is ClientState.RELEASING
    message: Any = _CONTEXT.open(client.release())
    confirmed: Any = _CONTEXT.open(envelope)
    assert (message.kind, message.survivors) == ("release", confirmed.survivors)
    _refuses(client, envelope, "not due in state 'released'")


def test_who_released_for_one_set_of_survivors_does_so_for_no_other_also_after_a_crash() -> None:
    played, envelope = _leave()
    client = played.clients[0]
    client.receive(envelope)
    played.journals[0].once(f"{_CONTEXT.digest} round 0 release votes", "ab" * 32)
    _unchanged(client, client.release, "release votes was decided as", LocalProtocolError)


def test_a_decision_to_release_is_written_before_anybody_hears_of_it() -> None:
    played, envelope = _leave()
    client = played.clients[0]
    client.receive(envelope)
    client.release()
    chosen: Any = _CONTEXT.open(envelope)
    with pytest.raises(LocalProtocolError, match=f"was decided as {chosen.survivors}"):
        played.journals[0].once(f"{_CONTEXT.digest} round 0 release votes", "ab" * 32)


def test_votes_are_never_masked_where_they_are_to_be_encrypted_and_never_encrypted_where_they_are_to_be_masked() -> (
    None
):
    client = _voting().clients[0]
    lane = client.lanes[0]
    _unchanged(client, lambda: client.mask(lane, _votes(0, lane)), "wants encrypted votes", LocalProtocolError)
    _unchanged(client, lambda: client.send([]), "wants encrypted votes", LocalProtocolError)
    plain = _voting(round_context(5, _LANES)).clients[0]
    _unchanged(plain, lambda: plain.send_encrypted([]), "wants masked votes", LocalProtocolError)


def test_a_client_sends_ciphertexts_of_all_its_lanes_and_of_the_length_due() -> None:
    client = _voting().clients[0]
    first, second = (LaneBlob(lane=lane.name, words=2, blob=f"{lane.index:064x}") for lane in client.lanes)
    short = second.model_copy(update={"words": 1})
    for blobs, words in (([first], "We named 1 lanes"), ([second, first], "We named 2"), ([first, short], "1 words")):
        _unchanged(client, lambda blobs=blobs: client.send_encrypted(blobs), words, LocalProtocolError)  # type: ignore[misc]


def _on_counted(**changes: Any) -> Callable[[SmallRound, Sums], dict[str, Any]]:
    """The published counts with another word of the custodian."""
    return lambda played, _: {"counted": played.counted(**changes)}


def _other_blob(_: SmallRound, sums: Sums) -> dict[str, Any]:
    return {"lanes": (sums.lanes[0].model_copy(update={"blob": "ab" * 32}), *sums.lanes[1:])}


def _fewer_words(played: SmallRound, sums: Sums) -> dict[str, Any]:
    counted: Any = _CONTEXT.open(played.counted())
    fewer = CountedLane(**counted.lanes[0].model_dump() | {"words": 0})
    return {"counted": played.counted(lanes=(fewer, *counted.lanes[1:]))}


def _by(name: str) -> Callable[[SmallRound, Sums], dict[str, Any]]:
    return lambda played, _: {"counted": resealed(_CONTEXT, played.counted(), identity(name), sender=name)}


_FALSE_COUNTS: Mapping[str, tuple[Callable[[SmallRound, Sums], dict[str, Any]], str]] = {
    "no word of the custodian": (lambda *_: {"counted": None}, "come without the custodian's word"),
    "the word of an institution": (_by("i1"), "'i1' is not the charter's custodian"),
    "the word of the server": (_by("server"), "'server' is not the charter's custodian"),
    "its word for other survivors": (_on_counted(survivors="ab" * 32), "counted votes for other survivors"),
    "its word in another round": (_on_counted(round=1), "'custodian' speaks of round 1"),
    "its word under another charter": (_on_counted(charter="ab" * 32), "'custodian' speaks of charter abab"),
    "its word for other lanes": (_on_counted(lanes=()), "The custodian named 0 lanes"),
    "its word for fewer words": (_fewer_words, "The custodian announced 0 words for lane lane0"),
    "other counts than it signed": (_other_blob, "not those that the custodian signed"),
    "ours left out": (_on_counted(contributors=("i1", "i2", "i3", "i4")), "Our votes are not counted"),
    "too few": (_on_counted(contributors=("i0", "i1", "i2")), "3 of the 5 institutions of lane lane0's cohort"),
    "a stranger": (_on_counted(contributors=("i0", "i1", "i2", "i3", "i9")), "contributors of votes are not"),
    "another order": (_on_counted(contributors=("i1", "i0", "i2", "i3", "i4")), "in roster order"),
}


@pytest.mark.parametrize("what", _FALSE_COUNTS)
def test_counts_that_are_not_the_custodians_for_a_quorums_votes_are_refused_by_every_client(what: str) -> None:
    change, words = _FALSE_COUNTS[what]
    played, envelope = _published()
    sums = _CONTEXT.open(envelope)
    assert isinstance(sums, Sums)
    _refuses(played.clients[0], resealed(_CONTEXT, envelope, **change(played, sums)), words)
    assert played.clients[0].receive(envelope) is None  # the truth is taken as if nothing had happened


def test_a_message_of_another_kind_is_no_word_of_the_custodian() -> None:
    played, envelope = _published()
    other = resealed(_CONTEXT, envelope, identity("custodian"), sender="custodian", counted=None)
    _refuses(played.clients[0], resealed(_CONTEXT, envelope, counted=other), "come without the custodian's word")


def test_a_survivor_whose_ciphertexts_did_not_come_in_time_is_in_no_proof() -> None:
    played = _voting()
    confirmed = played.gather(played.deliver(played.mask(_votes)))
    played.gather(played.deliver(confirmed, [1]))
    published = played.add()
    assert {delivery.to for delivery in published} == {"i0", "i2", "i3", "i4"}
    played.deliver(published, [1])
    played.deliver(played.prove(_votes, [1]))
    assert played.server.state is ServerState.CHECKED
    for index in (0, 2, 3, 4):
        assert played.clients[index].participation.contributors("votes") == {0, 2, 3, 4}
    for lane in _CONTEXT.lanes:
        plain = np.sum([_votes(index, lane) for index in (0, 2, 3, 4) if index in lane.cohort], axis=0)
        blob = played.clients[0].published.lanes[lane.index].blob
        assert lane.votes.unpack(played.words[blob], lane.length).tolist() == plain.tolist()


def test_where_votes_are_masked_nobody_takes_a_custodians_word() -> None:
    context = round_context(5, _LANES)
    played = _voting(context)
    played.gather(played.deliver(played.gather(played.deliver(played.mask(_votes)))))
    published = played.add()[0].envelope
    other = _counting()
    forged = resealed(context, published, counted=other.counted())
    _refuses(played.clients[0], forged, "A custodian's word came for a sum that it does not count")


# The server.


def _first_encrypted(played: SmallRound, index: int) -> Envelope:
    envelope = played.masked(index, _votes)
    played.server.receive(envelope)
    return envelope


def test_somebody_elses_ciphertexts_are_refused_by_the_server_whichever_lane_they_are_named_for() -> None:
    played = _voting()
    first = _CONTEXT.open(_first_encrypted(played, 0))
    assert isinstance(first, Encrypted)
    own = played.masked(2, _votes)
    true = _CONTEXT.open(own)
    assert isinstance(true, Encrypted)
    for stolen in first.lanes:
        for at in range(2):
            lanes = list(true.lanes)
            lanes[at] = lanes[at].model_copy(update={"blob": stolen.blob})
            words = f"'i2' sent for lane lane{at} the ciphertexts of 'i0'"
            _refuses(played.server, resealed(_CONTEXT, own, lanes=tuple(lanes)), words)
    assert played.server.receive(own) == []


def test_a_second_message_with_digests_is_refused() -> None:
    played = _voting()
    envelope = _first_encrypted(played, 0)
    true = _CONTEXT.open(envelope)
    assert isinstance(true, Encrypted)
    other = tuple(lane.model_copy(update={"blob": "ab" * 32}) for lane in true.lanes)
    _refuses(played.server, resealed(_CONTEXT, envelope, lanes=other), "'i0' sent this step's message twice")


def test_lanes_that_are_not_those_due_are_refused() -> None:
    played = _voting()
    own = played.masked(1, _votes)
    true = _CONTEXT.open(own)
    assert isinstance(true, Encrypted)
    (lane,) = true.lanes  # it is in one cohort only
    second = lane.model_copy(update={"lane": "lane1"})
    _refuses(played.server, resealed(_CONTEXT, own, lanes=()), "'i1' named 0 lanes")
    _refuses(played.server, resealed(_CONTEXT, own, lanes=(lane, second)), "'i1' named 2 lanes")
    short = lane.model_copy(update={"words": 1})
    _refuses(played.server, resealed(_CONTEXT, own, lanes=(short,)), "'i1' announced 1 words for lane lane0; 2 are due")


def test_a_release_for_other_survivors_or_of_somebody_else_or_twice_is_refused() -> None:
    played = _voting()
    survivors = played.mask(_votes, [4])
    confirmed = played.gather(played.deliver(survivors, [4]))
    answers = played.deliver(confirmed, [4])
    first = answers[0]
    assert first is not None
    other = resealed(_CONTEXT, first, survivors="ab" * 32)
    _refuses(played.server, other, "'i0' released its votes for other survivors than those confirmed")
    _refuses(played.server, resealed(_CONTEXT, first, identity("i4"), sender="i4"), "'i4' takes no part in this step")
    assert played.server.receive(first) == []
    _refuses(played.server, first, "'i0' sent this step's message twice")


_FALSE_WORDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "an institution": ({"sender": "i0"}, "i0", "'i0' is not the charter's custodian"),
    "the server itself": ({"sender": "server"}, "server", "'server' is not the charter's custodian"),
    "other survivors": ({"survivors": "ab" * 32}, "custodian", "counted votes for other survivors"),
    "fewer contributors": (
        {"contributors": ("i0", "i1", "i2", "i3")},
        "custodian",
        "counted the votes of others than those whose ciphertexts came",
    ),
    "no lanes": ({"lanes": ()}, "custodian", "The custodian named 0 lanes"),
}


@pytest.mark.parametrize("what", _FALSE_WORDS)
def test_the_server_takes_the_custodians_word_for_what_it_collected_and_nothing_else(what: str) -> None:
    changes, signer, words = _FALSE_WORDS[what]
    played = _counting()
    true = played.counted()
    _refuses(played.server, resealed(_CONTEXT, true, identity(signer), **changes), words)
    assert played.server.receive(true) == []
    _refuses(played.server, true, "not due in state 'adding votes'")


def test_the_custodian_speaks_when_it_is_asked() -> None:
    played = _counting()
    word = played.counted()
    early = _voting()
    _refuses(early.server, word, "not due in state 'gathering votes'")


def test_what_the_server_publishes_is_what_the_custodian_signed() -> None:
    played = _counting()
    word = played.counted()
    played.server.receive(word)
    lanes = [counted.counts for counted in map(played.server.counted, _CONTEXT.lanes) if counted is not None]
    other = [lanes[0].model_copy(update={"blob": "ab" * 32}), *lanes[1:]]
    _unchanged(played.server, lambda: played.server.publish(other), "We publish other counts", LocalProtocolError)
    published = _CONTEXT.open(played.server.publish(lanes)[0].envelope)
    assert isinstance(published, Sums)
    assert published.counted == word


def test_no_deadline_replaces_the_custodian() -> None:
    played = _counting()
    assert played.server.missing() == ("custodian",)
    _unchanged(played.server, played.server.close, "custodian has not counted the votes", RemoteProtocolError)


def test_a_witness_does_not_stand_in_for_a_proof_of_counts() -> None:
    context = round_context(5, _LANES, dropouts=1, witness="auditor", custodian="custodian")
    played = _counting(context)
    published = played.add()
    played.deliver(published)
    unproven = played.prove(_votes, [3])
    assert {context.open(delivery.envelope).kind for delivery in unproven} == {"unproven"}
    assert played.server.state is ServerState.DONE


def test_survivors_name_the_log_with_everybodys_digests_and_collected_the_one_with_all_releases() -> None:
    played = _counting()
    kinds = [_CONTEXT.open(envelope).kind for envelope in played.server._log.take_new()]
    survivors = kinds.index("survivors")
    assert kinds[:survivors].count("encrypted") == 5
    assert kinds[survivors:].count("encrypted") == 0
    assert kinds[survivors:].count("release") == 5
    assert played.collected is not None
    assert played.collected.log == played.server._log.head(kinds.index("collected"))
