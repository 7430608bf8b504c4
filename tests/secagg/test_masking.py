"""A client masks each of its lanes once a sum, only digits that fit, and sends nothing but what it masked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import CharterError, LocalProtocolError
from fedspallm_secure.messages import LaneBlob
from fedspallm_secure.secagg import Client, ClientState, Lane, RoundContext
from tests.secagg.small_round import SmallRound, round_context, snapshot

_CONTEXT = round_context(3, [(70, (0, 1, 2)), (9, (0, 2)), (30, (1, 2))])
_FIRST, _SECOND, _FOREIGN = _CONTEXT.lanes


def _zeros(length: int, dtype: Any = np.bool_) -> NDArray[Any]:
    return np.zeros(length, dtype)


def _voting() -> Client:
    played = SmallRound(_CONTEXT)
    played.exchange()
    return played.clients[0]


def _checked(context: RoundContext = _CONTEXT) -> SmallRound:
    """A round whose votes, all no, are counted and believed."""
    played = SmallRound(context)
    played.exchange()
    played.sum(_no)
    played.deliver(played.prove(_no))
    return played


def _no(_: int, lane: Lane) -> NDArray[Any]:
    return _zeros(lane.length)


def _valuing() -> Client:
    played = _checked()
    played.know_eligible([20, 0, 8])
    return played.clients[0]


def _refuses(client: Client, do: Callable[[], object], says: str) -> None:
    before = snapshot(client)
    with pytest.raises(LocalProtocolError, match=says):
        do()
    assert snapshot(client) == before


def test_a_lane_is_masked_once_a_sum() -> None:
    client = _voting()
    client.mask(_FIRST, _zeros(70))
    _refuses(client, lambda: client.mask(_FIRST, ~_zeros(70)), "lane0 is not this client's, or was masked already")
    client = _valuing()
    client.mask(_FIRST, _zeros(20, np.uint32))
    _refuses(client, lambda: client.mask(_FIRST, _zeros(20, np.uint32)), "was masked already")


def test_in_a_repeated_attempt_each_lane_is_masked_once_more_and_differs_in_every_word() -> None:
    played = _checked(round_context(4, [(70, range(4)), (9, (0, 1, 2))]))
    client, lane = played.clients[0], played.context.lanes[0]

    def middle(_: int, lane: Lane) -> NDArray[Any]:
        return np.full(played.lengths[lane.name], lane.values.top // 2, np.uint32)

    played.know_eligible([20, 3])
    again = played.mask(middle, missing=[3])
    sent = [words for words in played.words.values() if words.size == lane.values.words(20)]
    assert len(sent) == 3
    played.exchange_again(again, missing=[3])
    played.know_eligible([20, 3])
    masked = client.mask(lane, middle(0, lane))
    assert all((masked != words).all() for words in sent)
    _refuses(client, lambda: client.mask(lane, middle(0, lane)), "was masked already")


def test_a_lane_of_another_cohort_or_of_nobody_is_not_masked() -> None:
    client = _voting()
    assert client.lanes == (_FIRST, _SECOND)
    _refuses(client, lambda: client.mask(_FOREIGN, _zeros(30)), "lane2 is not this client's")
    altered = Lane(_FIRST.index, _FIRST.name, _FIRST.length, (0,), _FIRST.votes, _FIRST.values)
    _refuses(client, lambda: client.mask(altered, _zeros(70)), "lane0 is not this client's")


@pytest.mark.parametrize(
    "digits",
    [
        np.full(70, 2, np.uint8),
        np.append(_zeros(69, np.uint64), np.uint64(2**64 - 1)),
        _zeros(70, np.int64),
        np.full(70, -1),
        _zeros(70, np.float32),
    ],
    ids=["all two", "one huge", "signed", "negative", "float"],
)
def test_votes_are_zero_or_one_and_unsigned(digits: NDArray[Any]) -> None:
    client = _voting()
    _refuses(client, lambda: client.mask(_FIRST, digits), "lane0 holds digits outside 0 to 1")
    client.mask(_FIRST, _zeros(70))


def test_values_reach_to_the_top_and_not_beyond() -> None:
    client = _valuing()
    top = _FIRST.values.top
    digits = np.full(20, top, np.uint32)
    digits[7] += 1
    _refuses(client, lambda: client.mask(_FIRST, digits), f"lane0 holds digits outside 0 to {top}")
    client.mask(_FIRST, np.full(20, top, np.uint32))


@pytest.mark.parametrize("length", [0, 40, 69, 71, 200])
def test_a_lane_has_exactly_the_digits_that_everybody_computed(length: int) -> None:
    client = _voting()
    _refuses(client, lambda: client.mask(_FIRST, _zeros(length)), "takes 70 digits")
    client = _valuing()
    _refuses(client, lambda: client.mask(_FIRST, _zeros(length, np.uint32)), "takes 20 digits")
    _refuses(client, lambda: client.mask(_FIRST, _zeros(20, np.uint32).reshape(4, 5)), "takes 20 digits")


def _blobs(client: Client, words: list[int]) -> list[LaneBlob]:
    return [
        LaneBlob(lane=lane.name, words=count, blob="0" * 64) for lane, count in zip(client.lanes, words, strict=True)
    ]


def test_nothing_is_sent_before_every_lane_is_masked() -> None:
    client = _voting()
    blobs = _blobs(client, [3, 1])
    _refuses(client, lambda: client.send(blobs), "0 of 2 lanes were masked")
    client.mask(_SECOND, _zeros(9))
    _refuses(client, lambda: client.send(blobs), "1 of 2 lanes were masked")
    client.mask(_FIRST, _zeros(70))
    for wrong in (blobs[:1], blobs[::-1], [*blobs, blobs[0]], _blobs(client, [3, 2])):
        _refuses(client, partial(client.send, wrong), "We (named|announced)")
    client.send(blobs)
    assert client.state is ClientState.VOTED


def test_lengths_of_values_come_one_a_lane() -> None:
    client = _checked().clients[0]
    _refuses(client, lambda: client.know_eligible([5, 0]), "2 lengths came for 3 lanes")
    _refuses(client, lambda: client.know_eligible([71, 0, 8]), "71 eligible positions came for lane lane0")
    _refuses(client, lambda: client.know_eligible([20, -1, 8]), "-1 eligible positions came for lane lane1")
    client.know_eligible([20, 0, 8])


def test_what_the_caller_gave_is_not_changed_by_masking() -> None:
    client = _voting()
    digits = np.arange(70) % 2 == 0
    client.mask(_FIRST, digits)
    assert np.array_equal(digits, np.arange(70) % 2 == 0)


def test_a_lane_whose_cohort_is_below_the_minimum_is_not_even_begun() -> None:
    with pytest.raises(CharterError, match="Lane lane1 has a cohort of 1; the charter asks for 2"):
        round_context(3, [(4, (0, 1, 2)), (4, (1,))])
