"""What the server publishes is the plain sum over each cohort, whatever the cohorts, lengths and digits are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.messages import Envelope, SumName
from fedspallm_secure.secagg import ClientState, Delivery, Lane, ServerState, votes_packing
from tests.secagg.small_round import Digits, SmallRound, round_context

_LENGTHS = st.sampled_from([0, 1, 2, 7, 64, 333, 4000])


def _drawn_digits(name: SumName, lengths: dict[str, int], kinds: list[str], seed: int) -> Digits:
    """Digits of one sum: all zero, all at the top, or random, as `kinds` says lane by lane."""

    def digits(index: int, lane: Lane) -> NDArray[Any]:
        top, length = lane.packing(name).top, lengths[lane.name]
        random = np.random.default_rng([seed, index, lane.index, name == "values"])
        match kinds[lane.index % len(kinds)]:
            case "zero":
                drawn = np.zeros(length, np.uint32)
            case "top":
                drawn = np.full(length, top, np.uint32)
            case _:
                drawn = random.integers(0, top, length, np.uint32, endpoint=True)
        return drawn.astype(np.bool_) if name == "votes" else drawn

    return digits


def _check(played: SmallRound, name: SumName, lengths: dict[str, int], digits: Digits) -> None:
    """Play one sum and its check, and compare it with the plain one."""
    words = played.published(played.sum(digits))
    played.deliver(played.prove(digits))
    for lane in played.context.lanes:
        expected = np.zeros(lengths[lane.name], np.uint64)
        for index in lane.cohort:
            expected += digits(index, lane)
        assert np.array_equal(lane.packing(name).unpack(words[lane.name], lengths[lane.name]), expected)


@st.composite
def _lanes(draw: st.DrawFn) -> tuple[int, list[tuple[int, list[int]]]]:
    clients = draw(st.integers(2, 8))
    cohorts = st.lists(st.integers(0, clients - 1), min_size=2, max_size=clients, unique=True).map(sorted)
    return clients, draw(st.lists(st.tuples(_LENGTHS, cohorts), min_size=1, max_size=4))


@settings(max_examples=40)
@given(
    shape=_lanes(),
    kinds=st.lists(st.sampled_from(["zero", "top", "random"]), min_size=1, max_size=4),
    digits_per_word=st.integers(3, 8),
    round_index=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
@example(shape=(8, [(4000, list(range(8)))]), kinds=["top"], digits_per_word=6, round_index=0, seed=0)
@example(shape=(8, [(1, [0, 7]), (0, [1, 2])]), kinds=["top"], digits_per_word=6, round_index=0, seed=0)
def test_published_sums_are_the_plain_sums_over_each_cohort(
    shape: tuple[int, list[tuple[int, list[int]]]], kinds: list[str], digits_per_word: int, round_index: int, seed: int
) -> None:
    context = round_context(*shape, digits_per_word=digits_per_word, round_index=round_index)
    played = SmallRound(context, str(seed))
    played.exchange()

    lengths = {lane.name: lane.length for lane in context.lanes}
    _check(played, "votes", lengths, _drawn_digits("votes", lengths, kinds, seed))

    eligible = {lane.name: lane.length * (index + 1) // 4 for index, lane in enumerate(context.lanes)}
    played.know_eligible([eligible[lane.name] for lane in context.lanes])
    _check(played, "values", eligible, _drawn_digits("values", eligible, kinds, seed))

    assert {client.state for client in played.clients} == {ClientState.DONE}
    assert played.server.state is ServerState.DONE


@pytest.mark.parametrize("method", ["wanda", "magnitude"])
def test_where_the_method_changes_no_weight_the_votes_end_the_round(method: Any) -> None:
    context = round_context(3, [(50, (0, 1, 2)), (9, (0, 2))], method=method)
    played = SmallRound(context)
    played.exchange()
    lengths = {lane.name: lane.length for lane in context.lanes}
    _check(played, "votes", lengths, _drawn_digits("votes", lengths, ["random"], 0))
    assert {client.state for client in played.clients} == {ClientState.DONE}
    assert played.server.state is ServerState.DONE


def test_a_lane_longer_than_a_piece_of_keystream_adds_up() -> None:
    digits_a_word = votes_packing(2).digits
    length = 2**17 * digits_a_word + 5
    context = round_context(2, [(length, (0, 1))], method="wanda")
    played = SmallRound(context)
    played.exchange()
    _check(played, "votes", {"lane0": length}, _drawn_digits("votes", {"lane0": length}, ["random"], 1))


def _in_order(played: SmallRound, order: Sequence[int], answers: Mapping[int, Envelope | None]) -> list[Delivery]:
    """Hand everybody's messages over in this order; the server waits for the rest until the last one came."""
    deliveries = list[Delivery]()
    for place, index in enumerate(order):
        assert played.server.missing() == tuple(f"i{left}" for left in sorted(order[place:]))
        assert deliveries == []
        envelope = answers[index]
        assert envelope is not None
        deliveries = played.server.receive(envelope)
    return deliveries


def test_the_order_in_which_messages_come_does_not_matter() -> None:
    context = round_context(4, [(21, (0, 1, 2, 3)), (8, (1, 3))])
    votes = _drawn_digits("votes", {"lane0": 21, "lane1": 8}, ["random"], 2)
    published = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        played = SmallRound(context)
        clients = enumerate(played.clients)
        advertised = _in_order(played, order, {index: client.advertise() for index, client in clients})
        played.deliver(_in_order(played, order[::-1], played.deliver(advertised)))
        survivors = _in_order(played, order, {index: played.masked(index, votes) for index in range(4)})
        confirmed = _in_order(played, order[::-1], played.deliver(survivors))
        _in_order(played, order, played.deliver(confirmed))
        published.append(played.add())
    assert published[0] == published[1]
