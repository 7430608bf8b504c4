"""Lanes share a graph exactly when they share a cohort, and a group's graph and thresholds follow from the charter."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspallm_secure.secagg import Group, RoundContext
from fedspallm_secure.secagg.degree import compute_degree
from fedspallm_secure.secagg.graph import COMPLETE_UP_TO
from fedspallm_secure.secagg.spotcheck import spot_check
from tests.secagg.small_round import round_context

_MANY = COMPLETE_UP_TO + 7


@st.composite
def _contexts(draw: st.DrawFn) -> RoundContext:
    clients = draw(st.integers(2, 9))
    cohorts = st.lists(st.integers(0, clients - 1), min_size=2, max_size=clients, unique=True).map(sorted)
    lanes = draw(st.lists(st.tuples(st.integers(0, 9), cohorts), min_size=1, max_size=8))
    return round_context(clients, lanes, round_index=draw(st.integers(0, 3)))


@given(_contexts())
def test_lanes_of_one_cohort_share_a_group_and_others_never_do(context: RoundContext) -> None:
    for one in context.lanes:
        for other in context.lanes:
            same = context.group_of[one.name] is context.group_of[other.name]
            assert same is (one.cohort == other.cohort)
    listed = [lane for group in context.groups for lane in group.lanes]
    assert sorted(listed, key=lambda lane: lane.index) == list(context.lanes)
    assert all(lane.cohort == group.cohort for group in context.groups for lane in group.lanes)


def test_a_cohort_that_another_one_holds_has_a_group_of_its_own() -> None:
    context = round_context(4, [(5, range(4)), (5, (0, 1, 2)), (5, range(4)), (5, (0, 1))])
    assert [group.cohort for group in context.groups] == [(0, 1, 2, 3), (0, 1, 2), (0, 1)]
    assert [[lane.name for lane in group.lanes] for group in context.groups] == [
        ["lane0", "lane2"],
        ["lane1"],
        ["lane3"],
    ]


@given(_contexts())
def test_groups_are_numbered_by_their_first_lanes_which_keep_the_charter_s_order(context: RoundContext) -> None:
    assert [group.index for group in context.groups] == list(range(len(context.groups)))
    first = [group.lanes[0].index for group in context.groups]
    assert first == sorted(first)
    for group in context.groups:
        assert [lane.index for lane in group.lanes] == sorted(lane.index for lane in group.lanes)


def _check_mutual(group: Group) -> None:
    assert set(group.neighbours) == set(group.holders) == set(group.cohort)
    for member in group.cohort:
        for of, joined in ((group.neighbours, group.neighbours[member]), (group.holders, group.holders[member])):
            assert list(joined) == sorted(set(joined))
            assert set(joined) <= set(group.cohort)
            assert all(member in of[other] for other in joined)
        assert member not in group.neighbours[member]
        assert set(group.holders[member]) - {member} == set(group.neighbours[member])


@given(_contexts())
def test_neighbours_and_holders_are_members_and_mutual(context: RoundContext) -> None:
    for group in context.groups:
        _check_mutual(group)


@given(_contexts())
def test_in_a_small_cohort_everybody_masks_with_everybody_and_holds_shares_of_everybody(context: RoundContext) -> None:
    for group in context.groups:
        for member in group.cohort:
            assert group.neighbours[member] == tuple(other for other in group.cohort if other != member)
            assert group.holders[member] == group.cohort


@pytest.mark.parametrize(
    ("cohort", "colluders", "threshold"),
    [(2, 0, 2), (3, 0, 2), (3, 1, 3), (4, 0, 3), (4, 1, 3), (4, 2, 4), (5, 0, 3), (5, 1, 4), (9, 0, 5), (9, 2, 6)],
)
def test_in_a_small_cohort_threshold_and_quorum_are_the_smallest_with_2t_above_n_plus_c(
    cohort: int, colluders: int, threshold: int
) -> None:
    context = round_context(cohort, [(3, range(cohort))], colluders=colluders)
    (group,) = context.groups
    assert (group.threshold, group.quorum) == (threshold, threshold)
    assert 2 * (threshold - 1) <= cohort + colluders < 2 * threshold


def test_thresholds_are_those_of_a_group_s_own_cohort() -> None:
    context = round_context(9, [(3, range(9)), (3, range(4)), (3, (6, 7))])
    assert [(group.threshold, group.quorum) for group in context.groups] == [(5, 5), (3, 3), (2, 2)]


def _sparse(round_index: int = 0, lanes: Sequence[tuple[int, Sequence[int]]] | None = None) -> RoundContext:
    return round_context(
        _MANY + 1,
        lanes or [(3, range(_MANY)), (3, range(5))],
        round_index=round_index,
        colluders=2,
        dropouts=1,
        minimum_contributors=4,
        minimum_cohort=5,
    )


@settings(max_examples=20)
@given(st.integers(0, 100))
def test_in_a_large_cohort_neighbours_hold_the_shares_and_all_but_the_drop_outs_are_a_quorum(number: int) -> None:
    large, small = _sparse(number).groups
    degree = compute_degree(_MANY, 2, 1)
    assert degree is not None
    _check_mutual(large)
    assert {len(joined) for joined in large.neighbours.values()} == {degree.neighbours}
    assert large.holders == large.neighbours
    assert large.threshold == degree.threshold < large.quorum
    assert large.quorum == _MANY - 1
    assert large.sample == spot_check(_MANY, 2, _MANY - 1) < large.quorum
    assert small.holders[0] == tuple(range(5))


def test_a_large_cohort_s_graph_is_drawn_anew_for_every_round_and_every_group() -> None:
    drawn = [_sparse(number).groups[0].neighbours for number in range(3)]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]
    assert _sparse(1).groups[0].neighbours == drawn[1]
    shifted = [(3, range(_MANY)), (3, range(1, _MANY + 1))]
    first, second = _sparse(lanes=shifted).groups
    assert {member: tuple(other + 1 for other in joined) for member, joined in first.neighbours.items()} != {
        member - 1: joined for member, joined in second.neighbours.items()
    }


def test_a_lane_more_does_not_change_the_graph_of_the_lanes_before_it() -> None:
    one, more = _sparse(lanes=[(3, range(_MANY))]), _sparse(lanes=[(3, range(_MANY)), (4, range(9)), (5, range(_MANY))])
    assert more.groups[0].neighbours == one.groups[0].neighbours
    assert len(more.groups) == 2
