"""A server that lies, and institutions that do, are refused by every client, which then goes on with the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import (
    Advertise,
    Advertised,
    Envelope,
    Identity,
    LaneBlob,
    Message,
    ModelStatement,
    Sums,
    digest,
    open_envelope,
    seal,
)
from fedspallm_secure.secagg import Client, ClientState, Lane
from tests.secagg.small_round import SmallRound, identity, round_context, snapshot

_LANES = [(70, (0, 1, 2)), (9, (0, 2)), (30, (1, 2))]
_CONTEXT = round_context(3, _LANES)
_CHARTER = digest(_CONTEXT.charter)
_OTHER_CHARTER = digest(round_context(3, _LANES[:2]).charter)
_VICTIM = 1


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    return np.ones(lane.length, np.bool_)


def _message(envelope: Envelope) -> Any:
    return open_envelope(envelope, _CONTEXT.charter.keys)


def _resealed(envelope: Envelope, signer: Identity | None = None, **changes: Any) -> Envelope:
    """The same message with fields changed, signed anew by its sender, or by `signer`."""
    message: Message = _message(envelope).model_copy(update=changes)
    return seal(message, signer or identity(message.sender))


def _with_advertisement(broadcast: Envelope, index: int, advertisement: Envelope) -> Envelope:
    listed = list(_message(broadcast).advertisements)
    listed[index] = advertisement
    return _resealed(broadcast, advertisements=tuple(listed))


def _other_keys(broadcast: Envelope, index: int, **changes: Any) -> Envelope:
    """The broadcast in which institution `index` itself advertised something else."""
    return _with_advertisement(broadcast, index, _resealed(_message(broadcast).advertisements[index], **changes))


def _listed(broadcast: Envelope, *indices: int) -> Envelope:
    advertisements = _message(broadcast).advertisements
    return _resealed(broadcast, advertisements=tuple(advertisements[index] for index in indices))


def _key(broadcast: Envelope, index: int, name: str) -> str:
    advertisement = _message(_message(broadcast).advertisements[index])
    assert isinstance(advertisement, Advertise)
    return str(getattr(advertisement, name))


_IMPOSTOR = Identity("server", identity("not the server").key)
_MALLORY = Identity("i0", identity("not i0").key)
_ORDER_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"

# Every case takes the true broadcast and gives a false one.
ADVERTISED: dict[str, tuple[Callable[[Envelope], Envelope], str]] = {
    "signed by another key": (lambda true: _resealed(true, _IMPOSTOR), "signature of 'server' does not hold"),
    "sent by an institution": (
        lambda true: _resealed(true, identity("i0"), sender="i0"),
        "'i0' sent what only the server",
    ),
    "of another charter": (lambda true: _resealed(true, charter=_OTHER_CHARTER), "speaks of charter"),
    "of another round": (lambda true: _resealed(true, round=1), "speaks of round 1, not 0"),
    "nobody's": (_listed, "not one of each institution, in roster order"),
    "one missing": (lambda true: _listed(true, 0, 1), "not one of each institution, in roster order"),
    "ours missing": (lambda true: _listed(true, 0, 2), "not one of each institution, in roster order"),
    "one twice": (lambda true: _listed(true, 0, 1, 2, 2), "not one of each institution, in roster order"),
    "one in another's place": (lambda true: _listed(true, 0, 1, 0), "not one of each institution, in roster order"),
    "permuted": (lambda true: _listed(true, 1, 0, 2), "not one of each institution, in roster order"),
    "the server's own among them": (
        lambda true: _with_advertisement(
            true, 0, _resealed(_message(true).advertisements[0], identity("server"), sender="server")
        ),
        "not one of each institution, in roster order",
    ),
    "substituted by the server": (
        lambda true: _with_advertisement(
            true, 0, _resealed(_message(true).advertisements[0], _MALLORY, votes="ab" * 32)
        ),
        "signature of 'i0' does not hold",
    ),
    "one of another round": (lambda true: _other_keys(true, 0, round=1), "'i0' speaks of round 1, not 0"),
    "one of another charter": (lambda true: _other_keys(true, 0, charter=_OTHER_CHARTER), "'i0' speaks of charter"),
    "another kind among them": (
        lambda true: _with_advertisement(
            true,
            0,
            seal(ModelStatement(charter=_CHARTER, round=0, sender="i0", model="a" * 64), identity("i0")),
        ),
        "'i0' did not advertise keys but sent 'model'",
    ),
    "ours changed": (lambda true: _other_keys(true, _VICTIM, votes="ab" * 32), "Our own advertisement came back"),
    "another's key taken for both sums": (
        lambda true: _other_keys(true, 2, values=_key(true, 2, "votes")),
        "'i2' advertised no values key, or one in use already",
    ),
    "another institution's key": (
        lambda true: _other_keys(true, 2, votes=_key(true, 0, "votes")),
        "'i2' advertised no votes key, or one in use already",
    ),
    "our own key": (
        lambda true: _other_keys(true, 2, values=_key(true, _VICTIM, "votes")),
        "'i2' advertised no values key, or one in use already",
    ),
    "no key for the values": (lambda true: _other_keys(true, 0, values=None), "'i0' advertised no values key"),
    "a votes key of small order": (lambda true: _other_keys(true, 0, votes="00" * 32), "'i0' .* small order"),
    "a values key of small order": (lambda true: _other_keys(true, 2, values=_ORDER_8), "'i2' .* small order"),
}


def _refuses(client: Client, envelope: Envelope, says: str) -> None:
    before = snapshot(client)
    with pytest.raises(RemoteProtocolError, match=says):
        client.receive(envelope)
    assert snapshot(client) == before


@pytest.mark.parametrize("lie", ADVERTISED)
def test_false_advertisements_are_refused_and_the_true_ones_taken_afterwards(lie: str) -> None:
    played = SmallRound(_CONTEXT)
    true = played.gather_keys()
    client = played.clients[_VICTIM]
    make, says = ADVERTISED[lie]
    _refuses(client, make(true), says)
    played.deliver(true)
    assert client.state is ClientState.VOTING
    expected = np.full(70, 3)
    words = played.published(played.sum(_votes))["lane0"]
    assert np.array_equal(_CONTEXT.lanes[0].votes.unpack(words, 70), expected)


def _lanes(change: Callable[[list[LaneBlob]], list[LaneBlob]]) -> Callable[[Envelope], Envelope]:
    return lambda true: _resealed(true, lanes=tuple(change(list(_message(true).lanes))))


_DUE = "not the 3 due, in the charter's order"
# Every case takes the true counts and gives false ones.
COUNTS: dict[str, tuple[Callable[[Envelope], Envelope], str]] = {
    "signed by another key": (lambda true: _resealed(true, _IMPOSTOR), "signature of 'server' does not hold"),
    "sent by an institution": (
        lambda true: _resealed(true, identity("i0"), sender="i0"),
        "'i0' sent what only the server",
    ),
    "of another charter": (lambda true: _resealed(true, charter=_OTHER_CHARTER), "speaks of charter"),
    "of another round": (lambda true: _resealed(true, round=1), "speaks of round 1, not 0"),
    "called values": (lambda true: _resealed(true, sum="values"), "get sums of values is not due in state 'voted'"),
    "no lanes": (_lanes(lambda lanes: []), f"named 0 lanes that are {_DUE}"),
    "the last lane missing": (_lanes(lambda lanes: lanes[:-1]), f"named 2 lanes that are {_DUE}"),
    "only the lanes of this client": (_lanes(lambda lanes: [lanes[0], lanes[2]]), f"named 2 lanes that are {_DUE}"),
    "a lane twice": (_lanes(lambda lanes: [*lanes, lanes[0]]), f"named 4 lanes that are {_DUE}"),
    "permuted": (_lanes(lambda lanes: lanes[::-1]), _DUE),
    "a lane of another name": (
        _lanes(lambda lanes: [lanes[0].model_copy(update={"lane": "lane9"}), *lanes[1:]]),
        _DUE,
    ),
    "a lane cut short": (
        _lanes(lambda lanes: [lanes[0].model_copy(update={"words": lanes[0].words - 1}), *lanes[1:]]),
        "announced 2 words for lane lane0; 3 are due",
    ),
    "a lane too long": (
        _lanes(lambda lanes: [*lanes[:-1], lanes[-1].model_copy(update={"words": 2**53 - 1})]),
        "words for lane lane2; 1 are due",
    ),
}


@pytest.mark.parametrize("lie", COUNTS)
def test_false_counts_are_refused_and_the_true_ones_taken_afterwards(lie: str) -> None:
    played = SmallRound(_CONTEXT)
    played.deliver(played.gather_keys())
    for index in range(3):
        played.server.receive(played.masked(index, _votes))
    true = played.add()
    make, says = COUNTS[lie]
    for client in played.clients:
        _refuses(client, make(true), says)
    played.deliver(true)
    assert {client.state for client in played.clients} == {ClientState.COUNTED}


def test_sums_of_values_must_have_the_lengths_that_follow_from_the_counts() -> None:
    played = SmallRound(_CONTEXT)
    played.deliver(played.gather_keys())
    played.sum(_votes)
    played.know_eligible([20, 0, 8])
    values = [np.zeros(count * 4, np.uint32) for count in (5, 0, 2)]
    for index in range(3):
        played.server.receive(played.masked(index, lambda _, lane: values[lane.index]))
    true = played.add()
    client = played.clients[_VICTIM]
    votes_lengths = _lanes(
        lambda lanes: [
            lane.model_copy(update={"words": due.votes.words(due.length)})
            for lane, due in zip(lanes, _CONTEXT.lanes, strict=True)
        ]
    )
    _refuses(client, votes_lengths(true), "announced 3 words for lane lane0; 5 are due")
    _refuses(client, _resealed(true, sum="votes"), "get counts is not due in state 'valued'")
    assert isinstance(client.receive(true), Sums)
    assert client.state is ClientState.DONE


@pytest.mark.parametrize("kind", ["advertise", "model"])
def test_the_server_may_send_nothing_else(kind: str) -> None:
    played = SmallRound(_CONTEXT)
    true = played.gather_keys()
    said: dict[str, Message] = {
        "advertise": Advertise(charter=_CHARTER, round=0, sender="server", votes="a" * 64, values=None),
        "model": ModelStatement(charter=_CHARTER, round=0, sender="server", model="a" * 64),
    }
    client = played.clients[_VICTIM]
    _refuses(client, seal(said[kind], identity("server")), f"sent '{kind}', which clients send")
    assert isinstance(client.receive(true), Advertised)


def test_a_round_is_entered_only_with_the_key_that_the_charter_names() -> None:
    for wrong in (Identity("i0", identity("i1").key), identity("stranger"), identity("server")):
        with pytest.raises(LocalProtocolError, match="is not in the charter's roster with this signing key"):
            Client(_CONTEXT, wrong, bytes)
