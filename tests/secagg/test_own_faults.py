"""What a calling program does wrongly with a machine is refused as its own fault, and the machine is as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError
from fedspallm_secure.messages import LaneBlob
from fedspallm_secure.secagg import Client, ClientState, Lane, Server, ServerState
from tests.secagg.small_round import SmallRound, round_context, snapshot

_CONTEXT = round_context(4, [(70, (0, 1, 2)), (9, (0, 1, 2)), (30, (1, 2, 3))], dropouts=1)
_FIRST, _SECOND, _FOREIGN = _CONTEXT.lanes  # the third is none of i0's

Do = Callable[[Client], object]
"""What is done with i0's machine."""


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    votes: NDArray[np.bool_] = np.arange(lane.length) % (index + 2) == 0
    return votes


def _refuses(machine: Client | Server, do: Callable[[], object], says: str) -> None:
    before = snapshot(machine)
    with pytest.raises(LocalProtocolError, match=says):
        do()
    assert snapshot(machine) == before


def _voting() -> SmallRound:
    """Everybody may send votes; i0 has masked its first lane."""
    played = SmallRound(_CONTEXT)
    played.exchange()
    played.clients[0].mask(_FIRST, _votes(0, _FIRST))
    return played


def _counted() -> SmallRound:
    """Counts are published; i0 has taken the first lane into its check."""
    played = SmallRound(_CONTEXT)
    played.exchange()
    played.sum(_votes)
    played.clients[0].check(_FIRST, _counts(_FIRST), _votes(0, _FIRST))
    return played


def _checked() -> SmallRound:
    """Counts are believed, and it is to be told which positions are eligible."""
    played = SmallRound(_CONTEXT)
    played.exchange()
    played.sum(_votes)
    played.deliver(played.prove(_votes))
    return played


def _valuing() -> SmallRound:
    """Values are due: of 20, 0 and 8 positions."""
    played = _checked()
    played.know_eligible([20, 0, 8])
    return played


def _counts(lane: Lane) -> NDArray[np.uint64]:
    counts: NDArray[np.uint64] = np.sum([_votes(index, lane) for index in lane.cohort], axis=0, dtype=np.uint64)
    return counts


def _mask(lane: Lane, digits: NDArray[Any]) -> Do:
    return lambda client: client.mask(lane, digits)


def _send(*blobs: tuple[str, int]) -> Do:
    return lambda client: client.send([LaneBlob(lane=lane, words=words, blob="0" * 64) for lane, words in blobs])


_NOT_OURS = "is not this client's, or was masked already"
_NOT_AS_MASKED = "was added already, or not as it was masked"
# What is wrong -> (the round up to there, what is done, what its refusal says).
FAULTS: Mapping[str, tuple[Callable[[], SmallRound], Do, str]] = {
    "a lane masked twice": (_voting, _mask(_FIRST, _votes(0, _FIRST)), f"Lane lane0 {_NOT_OURS}"),
    "another's lane masked": (_voting, _mask(_FOREIGN, _votes(0, _FOREIGN)), f"Lane lane2 {_NOT_OURS}"),
    "too few digits": (
        _voting,
        _mask(_SECOND, np.zeros(8, np.bool_)),
        r"Lane lane1 takes 9 digits; an array of shape \(8,\) came",
    ),
    "digits in two dimensions": (
        _voting,
        _mask(_SECOND, np.zeros((9, 1), np.bool_)),
        r"Lane lane1 takes 9 digits; an array of shape \(9, 1\) came",
    ),
    "a vote of two": (_voting, _mask(_SECOND, np.full(9, 2, np.uint8)), "Lane lane1 holds digits outside 0 to 1"),
    "signed votes": (_voting, _mask(_SECOND, np.zeros(9, np.int8)), "Lane lane1 holds digits outside 0 to 1"),
    "votes that are no whole numbers": (
        _voting,
        _mask(_SECOND, np.zeros(9, np.float32)),
        "Lane lane1 holds digits outside 0 to 1",
    ),
    "sent before all lanes were masked": (_voting, _send(("lane0", 3)), "1 of 2 lanes were masked"),
    "values of a lane's full length": (
        _valuing,
        _mask(_FIRST, np.zeros(70, np.uint32)),
        r"Lane lane0 takes 20 digits; an array of shape \(70,\) came",
    ),
    "a value beyond the top": (
        _valuing,
        _mask(_FIRST, np.full(20, _FIRST.values.top + 1, np.uint32)),
        f"Lane lane0 holds digits outside 0 to {_FIRST.values.top}",
    ),
    "a lane checked twice": (
        _counted,
        lambda client: client.check(_FIRST, _counts(_FIRST), _votes(0, _FIRST)),
        f"Lane lane0 {_NOT_AS_MASKED}",
    ),
    "a lane checked without our digits": (
        _counted,
        lambda client: client.check(_SECOND, _counts(_SECOND), None),
        f"Lane lane1 {_NOT_AS_MASKED}",
    ),
    "a lane checked with digits that are not in it": (
        _counted,
        lambda client: client.check(_FOREIGN, _counts(_FOREIGN), _votes(0, _FOREIGN)),
        f"Lane lane2 {_NOT_AS_MASKED}",
    ),
    "proved before all lanes were checked": (
        _counted,
        lambda client: client.prove(),
        "1 of 3 lanes were added",
    ),
    "lengths of lanes left out": (
        _checked,
        lambda client: client.know_eligible([20, 0]),
        "2 lengths came for 3 lanes",
    ),
    "more eligible positions than there are": (
        _checked,
        lambda client: client.know_eligible([71, 0, 8]),
        "71 eligible positions came for lane lane0, which has 70",
    ),
    "less than no eligible positions": (
        _checked,
        lambda client: client.know_eligible([20, 0, -1]),
        "-1 eligible positions came for lane lane2, which has 30",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_client_refuses_what_its_program_does_wrongly(what: str) -> None:
    prepare, do, says = FAULTS[what]
    client = prepare().clients[0]
    _refuses(client, lambda: do(client), says)


# What is sent in place of the two lanes that are due, lane0 with 3 words and lane1 with 1.
SENT: Mapping[str, tuple[Sequence[tuple[str, int]], str]] = {
    "none": ([], "We named 0 lanes that are not the 2 due"),
    "one missing": ([("lane0", 3)], "We named 1 lanes that are not the 2 due"),
    "one twice": ([("lane0", 3), ("lane0", 3)], "We named 2 lanes that are not the 2 due"),
    "permuted": ([("lane1", 1), ("lane0", 3)], "We named 2 lanes that are not the 2 due"),
    "another's too": ([("lane0", 3), ("lane1", 1), ("lane2", 1)], "We named 3 lanes that are not the 2 due"),
    "another length": ([("lane0", 3), ("lane1", 2)], "We announced 2 words for lane lane1; 1 are due"),
}


@pytest.mark.parametrize("what", SENT)
def test_a_client_sends_nothing_but_the_lanes_that_it_masked(what: str) -> None:
    blobs, says = SENT[what]
    client = _voting().clients[0]
    client.mask(_SECOND, _votes(0, _SECOND))
    _refuses(client, lambda: _send(*blobs)(client), says)
    _send(("lane0", 3), ("lane1", 1))(client)
    assert client.state is ClientState.VOTED


def test_a_fault_of_the_program_costs_nothing_but_the_call() -> None:
    client = _voting().clients[0]
    for prepare, do, says in FAULTS.values():
        if prepare is _voting:
            _refuses(client, partial(do, client), says)
    client.mask(_SECOND, np.zeros(9, np.bool_))
    _refuses(client, lambda: client.mask(_SECOND, np.ones(9, np.bool_)), f"Lane lane1 {_NOT_OURS}")


PUBLISHED: Mapping[str, tuple[Callable[[list[LaneBlob]], list[LaneBlob]], str]] = {
    "none": (lambda lanes: [], "We named 0 lanes that are not the 3 due"),
    "one missing": (lambda lanes: lanes[:-1], "We named 2 lanes that are not the 3 due"),
    "permuted": (lambda lanes: lanes[::-1], "We named 3 lanes that are not the 3 due"),
    "one twice": (lambda lanes: [*lanes, lanes[0]], "We named 4 lanes that are not the 3 due"),
    "another length": (
        lambda lanes: [lanes[0].model_copy(update={"words": 4}), *lanes[1:]],
        "We announced 4 words for lane lane0; 3 are due",
    ),
}


@pytest.mark.parametrize("what", PUBLISHED)
def test_the_server_publishes_nothing_but_the_lanes_due(what: str) -> None:
    change, says = PUBLISHED[what]
    played = SmallRound(_CONTEXT)
    played.exchange()
    played.gather(played.deliver(played.gather(played.deliver(played.mask(_votes)))))
    good = [LaneBlob(lane=lane.name, words=lane.votes.words(lane.length), blob="0" * 64) for lane in _CONTEXT.lanes]
    _refuses(played.server, lambda: played.server.publish(change(good)), says)
    played.server.publish(good)
    assert played.server.state is ServerState.COUNT_PROOFS


def test_the_server_too_is_told_one_possible_length_a_lane() -> None:
    server = _checked().server
    for lengths, says in (
        ([1, 2], "2 lengths came for 3 lanes"),
        ([1, 2, 31], "31 eligible positions came for lane lane2, which has 30"),
        ([-1, 2, 3], "-1 eligible positions came for lane lane0, which has 70"),
    ):
        _refuses(server, partial(server.know_eligible, lengths), says)
    server.know_eligible([70, 0, 30])
    assert server.state is ServerState.VALUES
