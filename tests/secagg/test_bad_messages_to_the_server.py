"""What an institution sends wrongly, twice, or in another's place is refused; the others' round goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.charter import Method
from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, Identity, LaneBlob, ModelStatement, digest, open_envelope, seal
from fedspallm_secure.secagg import Lane, Server, ServerState
from tests.secagg.small_round import SmallRound, identity, round_context, snapshot

_LANES = [(70, (0, 1, 2)), (9, (0, 2)), (30, (1, 2))]
_CONTEXT = round_context(3, _LANES)
_CHARTER = digest(_CONTEXT.charter)
_OTHER_CHARTER = digest(round_context(3, _LANES[:2]).charter)
_MALLORY = Identity("i0", identity("not i0").key)


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    votes: NDArray[np.bool_] = np.arange(lane.length) % (index + 2) == 0
    return votes


def _resealed(envelope: Envelope, signer: Identity | None = None, **changes: Any) -> Envelope:
    message = open_envelope(envelope, _CONTEXT.charter.keys).model_copy(update=changes)
    return seal(message, signer or identity(message.sender))


def _lanes(change: Callable[[list[LaneBlob]], list[LaneBlob]]) -> Callable[[Envelope], Envelope]:
    def changed(true: Envelope) -> Envelope:
        message: Any = open_envelope(true, _CONTEXT.charter.keys)
        return _resealed(true, lanes=tuple(change(list(message.lanes))))

    return changed


def _refuses(server: Server, envelope: Envelope, says: str) -> None:
    before = snapshot(server)
    with pytest.raises(RemoteProtocolError, match=says):
        server.receive(envelope)
    assert snapshot(server) == before


_ANY: dict[str, tuple[Callable[[Envelope], Envelope], str]] = {
    "signed by another key": (lambda true: _resealed(true, _MALLORY), "signature of 'i0' does not hold"),
    "from a stranger": (lambda true: _resealed(true, identity("eve"), sender="eve"), "'eve' is not in the charter"),
    "from the server": (
        lambda true: _resealed(true, identity("server"), sender="server"),
        "'server' is not a client",
    ),
    "in another's name": (
        lambda true: _resealed(true, identity("i1")),
        "'i1' signed a message in the name of 'i0'",
    ),
    "of another charter": (lambda true: _resealed(true, charter=_OTHER_CHARTER), "'i0' speaks of charter"),
    "of another round": (lambda true: _resealed(true, round=1), "'i0' speaks of round 1, not 0"),
    "a model statement": (
        lambda true: seal(ModelStatement(charter=_CHARTER, round=0, sender="i0", model="a" * 64), identity("i0")),
        "'i0' sent 'model', which is no step of a sum",
    ),
}
_ADVERTISE = _ANY | {
    "no values key": (lambda true: _resealed(true, values=None), "'i0' did not advertise one key a sum"),
}
_DUE = "not the 2 due, in the charter's order"
_MASKED = _ANY | {
    "called values": (lambda true: _resealed(true, sum="values"), "not due in state 'gathering votes'"),
    "no lanes": (_lanes(lambda lanes: []), f"'i0' named 0 lanes that are {_DUE}"),
    "a lane missing": (_lanes(lambda lanes: lanes[:1]), f"'i0' named 1 lanes that are {_DUE}"),
    "a lane twice": (_lanes(lambda lanes: [*lanes, lanes[0]]), f"'i0' named 3 lanes that are {_DUE}"),
    "permuted": (_lanes(lambda lanes: lanes[::-1]), _DUE),
    "a lane of another cohort": (
        _lanes(lambda lanes: [lanes[0], lanes[1].model_copy(update={"lane": "lane2"})]),
        _DUE,
    ),
    "a lane cut short": (
        _lanes(lambda lanes: [lanes[0].model_copy(update={"words": lanes[0].words - 1}), lanes[1]]),
        "'i0' announced 2 words for lane lane0; 3 are due",
    ),
    "an empty lane": (
        _lanes(lambda lanes: [lanes[0], lanes[1].model_copy(update={"words": 0})]),
        "'i0' announced 0 words for lane lane1; 1 are due",
    ),
}


@pytest.mark.parametrize("defect", _ADVERTISE)
def test_a_bad_advertisement_is_refused_and_a_good_one_taken_afterwards(defect: str) -> None:
    played = SmallRound(_CONTEXT)
    good = played.clients[0].advertise()
    make, says = _ADVERTISE[defect]
    _refuses(played.server, make(good), says)
    assert played.server.receive(good) is None
    assert played.server.missing() == ["i1", "i2"]


@pytest.mark.parametrize("defect", _MASKED)
def test_a_bad_contribution_is_refused_and_the_sum_is_right_all_the_same(defect: str) -> None:
    played = SmallRound(_CONTEXT)
    played.deliver(played.gather_keys())
    good = [played.masked(index, _votes) for index in range(3)]
    make, says = _MASKED[defect]
    _refuses(played.server, make(good[0]), says)
    for envelope in good[1:]:
        played.server.receive(envelope)
    _refuses(played.server, make(good[0]), says)
    assert played.server.missing() == ["i0"]
    played.server.receive(good[0])
    words = played.published(played.add())["lane1"]
    lane = _CONTEXT.lanes[1]
    expected = sum(_votes(index, lane).astype(int) for index in lane.cohort)
    assert np.array_equal(lane.votes.unpack(words, lane.length), expected)


def test_a_message_that_comes_twice_is_refused_in_each_step() -> None:
    played = SmallRound(_CONTEXT)
    advertised = [client.advertise() for client in played.clients]
    for envelope in advertised[:2]:
        played.server.receive(envelope)
        _refuses(played.server, envelope, "sent this step's message twice")
    again = _resealed(advertised[0], votes="ab" * 32)
    _refuses(played.server, again, "'i0' sent this step's message twice")
    broadcast = played.server.receive(advertised[2])
    assert broadcast is not None
    _refuses(played.server, advertised[2], "not due in state 'gathering votes'")
    played.deliver(broadcast)
    masked = [played.masked(index, _votes) for index in range(3)]
    for envelope in masked[:2]:
        played.server.receive(envelope)
        _refuses(played.server, envelope, "sent this step's message twice")
    played.server.receive(masked[2])
    _refuses(played.server, masked[2], "not due in state 'adding votes'")


@pytest.mark.parametrize(("method", "values"), [("sparsegpt", None), ("wanda", "ab" * 32)])
def test_an_advertisement_has_one_key_a_sum_and_no_more(method: Method, values: str | None) -> None:
    context = round_context(2, [(4, (0, 1))], method=method)
    played = SmallRound(context)
    message = open_envelope(played.clients[0].advertise(), context.charter.keys).model_copy(update={"values": values})
    _refuses(played.server, seal(message, identity("i0")), "'i0' did not advertise one key a sum")


def test_lengths_of_values_are_checked_against_what_the_counts_allow() -> None:
    played = SmallRound(_CONTEXT)
    played.deliver(played.gather_keys())
    played.sum(_votes)
    played.know_eligible([20, 0, 8])
    good = played.masked(0, lambda _, lane: np.zeros((20, 0, 8)[lane.index], np.uint32))
    votes_length = _lanes(lambda lanes: [lanes[0].model_copy(update={"words": 3}), lanes[1]])
    _refuses(played.server, votes_length(good), "'i0' announced 3 words for lane lane0; 5 are due")
    played.server.receive(good)
    assert played.server.missing() == ["i1", "i2"]


@pytest.mark.parametrize(
    "change",
    [
        lambda lanes: lanes[:-1],
        lambda lanes: lanes[::-1],
        lambda lanes: [*lanes, lanes[0]],
        lambda lanes: [lanes[0].model_copy(update={"words": 4}), *lanes[1:]],
    ],
    ids=["missing", "permuted", "doubled", "another length"],
)
def test_the_server_can_t_publish_anything_but_the_lanes_due(
    change: Callable[[list[LaneBlob]], list[LaneBlob]],
) -> None:
    played = SmallRound(_CONTEXT)
    played.deliver(played.gather_keys())
    for index in range(3):
        played.server.receive(played.masked(index, _votes))
    good = [LaneBlob(lane=lane.name, words=lane.votes.words(lane.length), blob="0" * 64) for lane in _CONTEXT.lanes]
    before = snapshot(played.server)
    with pytest.raises(LocalProtocolError, match=r"We (named|announced)"):
        played.server.publish(change(good))
    assert snapshot(played.server) == before
    played.server.publish(good)
    with pytest.raises(LocalProtocolError, match="2 lengths came for 3 lanes"):
        played.server.know_eligible([1, 2])
    assert played.server.state is ServerState.COUNTED


def test_a_round_is_led_only_with_the_key_that_the_charter_names() -> None:
    for wrong in (Identity("server", identity("i1").key), identity("stranger"), identity("i0")):
        with pytest.raises(LocalProtocolError, match="is not the charter's server with this signing key"):
            Server(_CONTEXT, wrong)
