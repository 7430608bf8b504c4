"""A lane may have another number of values than of votes, up to one that it names, and never more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError
from fedspallm_secure.secagg import ClientState, Lane, ServerState
from tests.secagg.small_round import SmallRound, round_context

_LANES = [(12, (0, 1, 2, 3)), (5, (0, 1, 2, 3)), (7, (1, 2, 3))]
_LONGEST = (66, 0, None)
_CONTEXT = round_context(4, _LANES, longest=_LONGEST)


def _votes(index: int, lane: Lane) -> NDArray[Any]:
    top = lane.votes.top
    return np.random.default_rng([index, lane.index]).integers(0, top, lane.length, np.uint64, endpoint=True)


def _counted() -> SmallRound:
    """A round in which values are due."""
    played = SmallRound(_CONTEXT)
    played.exchange()
    played.sum(_votes)
    played.deliver(played.prove(_votes))
    return played


def test_a_lane_says_how_many_values_it_has_at_most() -> None:
    assert [lane.most_values for lane in _CONTEXT.lanes] == [66, 0, 7]


@pytest.mark.parametrize("lengths", [(66, 0, 7), (66, 0, 2), (0, 0, 0), (65, 0, 0)])
def test_any_number_of_values_up_to_that_is_summed_and_proved(lengths: tuple[int, ...]) -> None:
    played = _counted()
    played.know_eligible(lengths)

    def values(index: int, lane: Lane) -> NDArray[np.uint32]:
        return np.full(lengths[lane.index], lane.values.top - index, np.uint32)

    published = played.published(played.sum(values))
    played.deliver(played.prove(values))
    assert played.server.state is ServerState.DONE
    assert all(client.participation.accepted("values") for client in played.clients)
    for lane in _CONTEXT.lanes:
        total = sum(values(index, lane) for index in lane.cohort)
        assert np.array_equal(lane.values.unpack(published[lane.name], lengths[lane.index]), total)


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ((67, 0, 7), "67 eligible positions came for lane lane0, which has 66"),
        ((66, 1, 7), "1 eligible positions came for lane lane1, which has 0"),
        ((66, 0, 8), "8 eligible positions came for lane lane2, which has 7"),
        ((-1, 0, 7), "-1 eligible positions came for lane lane0, which has 66"),
    ],
)
def test_a_number_of_values_above_it_is_refused_by_the_lanes_name(lengths: tuple[int, ...], said: str) -> None:
    played = _counted()
    for machine in (played.server, played.clients[0]):
        with pytest.raises(LocalProtocolError, match=said):
            machine.know_eligible(lengths)
    assert played.clients[0].state is ClientState.CHECKED
    played.know_eligible((66, 0, 7))
