"""The final mask prunes exactly what its sentence says: fewest votes, then least relative magnitude, then first."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.aggregation import expand_groups, expand_mask, expand_tensor, row_scales
from fedspallm_secure.charter import NM, Pattern, Unstructured

_SPARSITIES = st.fractions(min_value=Fraction(1, 100), max_value=Fraction(99, 100), max_denominator=100)
_DTYPES = st.sampled_from([np.float32, np.float16, ml_dtypes.bfloat16])

Case = tuple[NDArray[np.uint8], NDArray[Any]]


@st.composite
def _cases(draw: st.DrawFn, group: int = 1) -> Case:
    """Votes and base weights with ties everywhere; the number of inputs is a power of two, so that means are exact."""
    rows = draw(st.integers(1, 5))
    columns = group if group > 1 else draw(st.sampled_from([1, 2, 4, 8]))
    columns *= draw(st.integers(1, 3)) if group > 1 else 1
    size = rows * columns
    counts = draw(st.lists(st.integers(0, draw(st.integers(0, 5))), min_size=size, max_size=size))
    weights = draw(st.lists(st.sampled_from([0, 1, -1, 2, -3, 6]), min_size=size, max_size=size))
    return (
        np.array(counts, np.uint8).reshape(rows, columns),
        np.array(weights).reshape(rows, columns).astype(draw(_DTYPES)),
    )


def _relative(W: NDArray[Any], row: int, column: int) -> Fraction:
    """|W| over the row's mean |W|, exactly; 0 in a row of zeros."""
    magnitudes = [abs(Fraction(float(w))) for w in W[row]]
    return magnitudes[column] * len(magnitudes) / sum(magnitudes) if any(magnitudes) else Fraction(0)


def _expand(case: Case, pattern: Pattern) -> NDArray[np.bool_]:
    counts, W = case
    return expand_mask(counts, W, row_scales(W), pattern)


@given(_cases(), _SPARSITIES)
def test_exactly_the_pattern_s_number_of_positions_goes(case: Case, sparsity: Fraction) -> None:
    pattern = Unstructured(sparsity)
    assert np.count_nonzero(~_expand(case, pattern)) == pattern.zeros(case[0].size)


@given(_cases(), _SPARSITIES)
def test_no_pruned_position_has_more_votes_than_a_kept_one(case: Case, sparsity: Fraction) -> None:
    kept = _expand(case, Unstructured(sparsity))
    counts = case[0]
    if (~kept).any():
        assert counts[~kept].max() <= counts[kept].min()


@given(_cases(), _SPARSITIES)
def test_the_mask_is_a_sort_by_votes_then_relative_magnitude_then_position(case: Case, sparsity: Fraction) -> None:
    counts, W = case
    pattern = Unstructured(sparsity)
    positions = [(row, column) for row in range(W.shape[0]) for column in range(W.shape[1])]
    order = sorted(positions, key=lambda at: (counts[at], _relative(W, *at), at))
    expected = np.ones(W.shape, np.bool_)
    for at in order[: pattern.zeros(W.size)]:
        expected[at] = False
    assert np.array_equal(_expand(case, pattern), expected)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0, 1e300])), min_size=1, max_size=40), st.data()
)
def test_any_number_of_zeros_from_none_to_all_is_met(votes: list[tuple[int, float]], data: st.DataObject) -> None:
    zeros = data.draw(st.integers(0, len(votes)))
    counts = np.array([count for count, _ in votes], np.uint16)
    importance = np.array([value for _, value in votes])
    expected = sorted(range(len(votes)), key=lambda at: (*votes[at], at))[:zeros]
    kept = expand_tensor(counts, importance.__getitem__, zeros)
    assert np.flatnonzero(~kept).tolist() == sorted(expected)


def test_a_row_of_small_weights_is_not_worth_less_than_a_row_of_large_ones() -> None:
    W = np.array([[1, 2, 3, 4], [100, 200, 300, 400]], np.float32)
    kept = _expand((np.ones((2, 4), np.uint8), W), Unstructured(Fraction(1, 2)))
    assert kept.tolist() == [[False, False, True, True]] * 2


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (1, 4), (3, 4), (4, 8)])
@given(data=st.data())
def test_every_group_keeps_exactly_n_by_votes_then_magnitude_then_the_last(n: int, m: int, data: st.DataObject) -> None:
    counts, W = data.draw(_cases(group=m))
    expected = np.zeros(W.shape, np.bool_)
    for row in range(W.shape[0]):
        for start in range(0, W.shape[1], m):
            group = range(start, start + m)
            best = sorted(group, key=lambda at: (int(counts[row, at]), abs(float(W[row, at])), at))[m - n :]
            expected[row, best] = True
    kept = expand_mask(counts, W, row_scales(W), NM(n, m))
    assert (np.count_nonzero(~kept.reshape(-1, m), axis=1) == m - n).all()
    assert np.array_equal(kept, expected)
    assert np.array_equal(expand_groups(counts, W, NM(n, m)), expected)
