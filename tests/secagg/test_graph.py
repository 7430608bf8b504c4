"""Mask graphs are regular rings among many and complete among few, and honest survivors stay in one piece."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedspallm_secure.secagg.degree import compute_degree
from fedspallm_secure.secagg.graph import COMPLETE_UP_TO, Graph, harary, make_graph
from fedspallm_secure.secagg.stretches import thinnest

_RATES = st.sampled_from([(0, 5), (5, 0), (5, 5), (5, 10), (10, 5), (10, 20), (20, 10)])  # per cent
_SEEDS = st.integers(0, 2**32)


def _shuffled(random: Random, members: int) -> list[int]:
    # Orders and bad members are drawn uniformly from a seed: the bounds speak of chance, and the extreme cases that
    # hypothesis would look for (neighbours in a row) are those that chance makes as rare as the bounds say.
    order = list(range(members))
    random.shuffle(order)
    return order


def _in_one_piece(neighbours: tuple[tuple[int, ...], ...], alive: set[int]) -> bool:
    left = set(alive)
    todo = [left.pop()] if left else []
    while todo:
        member = todo.pop()
        todo += left.intersection(neighbours[member])
        left.difference_update(neighbours[member])
    return not left


@given(st.integers(COMPLETE_UP_TO + 1, 300), _RATES, _SEEDS)
def test_a_large_cohort_s_graph_is_regular_and_mutual_and_joins_nobody_to_itself(
    members: int, rates: tuple[int, int], seed: int
) -> None:
    colluders, dropouts = members * rates[0] // 100, members * rates[1] // 100
    order = _shuffled(Random(seed), members)
    graph = make_graph(members, colluders, dropouts, order)
    degree = compute_degree(members, colluders, dropouts)
    assert degree is not None
    assert not graph.complete
    assert graph.threshold == degree.threshold
    assert len(graph.neighbours) == members
    for member, joined in enumerate(graph.neighbours):
        assert len(joined) == degree.neighbours
        assert list(joined) == sorted(set(joined) - {member})
        assert all(member in graph.neighbours[other] for other in joined)
        assert graph.holders(member) == joined


def test_members_are_joined_to_the_nearest_in_the_order() -> None:
    order = [3, 0, 6, 1, 5, 2, 4]
    assert harary(order, 4)[6] == (0, 1, 3, 5)
    assert harary(order, 4)[3] == (0, 2, 4, 6)
    assert harary(order, 2)[4] == (2, 3)


@given(st.integers(1, COMPLETE_UP_TO), st.integers(0, 10))
@example(COMPLETE_UP_TO, 3)
def test_a_small_cohort_s_graph_is_complete_and_everybody_holds_shares(members: int, colluders: int) -> None:
    graph = make_graph(members, colluders, 0, range(members))
    assert graph.complete
    for member, joined in enumerate(graph.neighbours):
        assert joined == tuple(other for other in range(members) if other != member)
        assert graph.holders(member) == tuple(range(members))


@given(st.integers(1, COMPLETE_UP_TO), st.integers(0, 10))
def test_in_a_complete_graph_colluders_and_half_the_rest_make_no_two_quorums(members: int, colluders: int) -> None:
    t = make_graph(members, colluders, 0, range(members)).threshold
    assert 2 * t > members + colluders
    assert 2 * (t - 1) <= members + colluders


def test_one_member_more_than_the_complete_graph_takes_makes_it_sparse() -> None:
    assert make_graph(COMPLETE_UP_TO, 3, 3, range(COMPLETE_UP_TO)).complete
    assert not make_graph(COMPLETE_UP_TO + 1, 3, 3, range(COMPLETE_UP_TO + 1)).complete


def test_a_large_cohort_for_which_no_degree_will_do_gets_the_complete_graph() -> None:
    graph = make_graph(66, 65, 0, range(66))
    assert graph.complete
    assert graph.threshold == 66
    assert {len(joined) for joined in graph.neighbours} == {65}


@pytest.mark.parametrize(("members", "neighbours"), [(6, 2), (8, 4), (9, 4), (9, 6), (10, 6), (12, 4)])
def test_fewer_than_k_missing_members_never_part_a_ring_but_k_can(members: int, neighbours: int) -> None:
    joined = harary(_shuffled(Random(members), members), neighbours)
    everybody = set(range(members))
    for missing in range(neighbours):
        for gone in combinations(everybody, missing):
            assert _in_one_piece(joined, everybody.difference(gone))
    assert not all(_in_one_piece(joined, everybody.difference(gone)) for gone in combinations(everybody, neighbours))


@given(st.data())
def test_fewer_than_k_missing_members_never_part_a_large_ring(data: st.DataObject) -> None:
    members = data.draw(st.integers(COMPLETE_UP_TO + 1, 300))
    graph = make_graph(members, members // 20, members // 20, range(members))
    k = len(graph.neighbours[0])
    # The worst case is two runs, so look for it: the missing ones are drawn as runs around the ring.
    first = data.draw(st.integers(0, k - 1))
    start = data.draw(st.integers(0, members - 1))
    gone = {place % members for place in range(first)}
    gone |= {(start + step) % members for step in range(k - 1 - first)}
    assert len(gone) < k
    assert _in_one_piece(graph.neighbours, set(range(members)) - gone)
    half, across = k // 2, members // 2
    two_runs = {run + step for run in (0, across) for step in range(half)}
    assert not _in_one_piece(graph.neighbours, set(range(members)) - two_runs)


def _cohort(members: int, rates: tuple[int, int], random: Random) -> tuple[Graph, set[int], set[int]]:
    """A graph in a random order, with random colluders and drop-outs."""
    colluders, dropouts = members * rates[0] // 100, members * rates[1] // 100
    graph = make_graph(members, colluders, dropouts, _shuffled(random, members))
    bad = random.sample(range(members), colluders + dropouts)
    return graph, set(bad[:colluders]), set(bad[colluders:])


@given(st.one_of(st.integers(COMPLETE_UP_TO + 1, 300), st.sampled_from([600, 1000])), _RATES, _SEEDS)
@settings(max_examples=150)
def test_honest_survivors_stay_in_one_piece(members: int, rates: tuple[int, int], seed: int) -> None:
    graph, colluding, gone = _cohort(members, rates, Random(seed))
    assert _in_one_piece(graph.neighbours, set(range(members)) - colluding - gone)


def test_with_too_few_neighbours_honest_survivors_do_fall_apart() -> None:
    random, members = Random(0), 300
    apart = 0
    for _ in range(50):
        bad = set(random.sample(range(members), 45))
        apart += not _in_one_piece(harary(_shuffled(random, members), 4), set(range(members)) - bad)
    assert apart > 5


@given(st.integers(COMPLETE_UP_TO + 1, 300), _RATES, _SEEDS)
def test_colluders_alone_open_nobody_s_secrets(members: int, rates: tuple[int, int], seed: int) -> None:
    graph, colluding, _ = _cohort(members, rates, Random(seed))
    for member in range(members):
        assert len(colluding.intersection(graph.holders(member))) < graph.threshold


@given(st.integers(COMPLETE_UP_TO + 1, 300), _RATES, _SEEDS)
def test_a_server_that_knows_the_ring_can_t_part_survivors_who_pass_the_check(
    members: int, rates: tuple[int, int], seed: int
) -> None:
    random = Random(seed)
    graph, colluding, _ = _cohort(members, rates, random)
    half, n = len(graph.neighbours[0]) // 2, members
    # It calls everybody vanished in two stretches, but for those that collude, and keeps the rest.
    first = random.randrange(n)
    second = (first + random.randrange(half + 1, n - half)) % n
    cut = {graph.ring[(start + step) % n] for start in (first, second) for step in range(half)}
    survivors = set(range(n)) - (cut - colluding)
    assert not _in_one_piece(graph.neighbours, survivors - colluding)
    assert thinnest(graph.ring, 2 * half, survivors) < graph.threshold


@pytest.mark.parametrize("members", [66, 97, 150, 233, 300, 1000])
@pytest.mark.parametrize("rates", [(5, 5), (5, 10), (10, 5), (5, 30)])
def test_drop_outs_by_chance_leave_enough_in_every_two_stretches(members: int, rates: tuple[int, int]) -> None:
    random = Random(members)  # a fixed draw: 2^-20 is small, but not never
    for _ in range(10):
        graph, _, gone = _cohort(members, rates, random)
        left = set(range(members)) - gone
        assert thinnest(graph.ring, len(graph.neighbours[0]), left) >= graph.threshold
        for member in range(members):
            assert len(left.intersection(graph.holders(member))) >= graph.threshold
