"""Wanda from a pooled diagonal keeps what local pruning keeps, ties included, and changes no weight that it keeps."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.aggregation import prune_from_diagonal
from fedspallm_secure.aggregation.selection import smallest, spread
from fedspallm_secure.charter import Pattern, parse_pattern
from fedspallm_secure.pruning import selection
from fedspallm_secure.pruning.wanda import wanda

_SEEDS = st.integers(0, 2**32 - 1)
_PATTERNS = st.sampled_from(["0.5", "0.37", "9/10", "2:4", "1:4", "3:4", "5:8"])
_DTYPES = [np.float32, np.float16, ml_dtypes.bfloat16, np.float64]


def _kept(W: NDArray[Any], diagonal: NDArray[Any], pattern: Pattern) -> NDArray[Any]:
    """What local pruning keeps."""
    moment = torch.from_numpy(diagonal.astype(np.float32))
    return wanda(torch.from_numpy(W.astype(np.float32)), moment, pattern).numpy()


def _expected(W: NDArray[Any], diagonal: NDArray[Any], pattern: Pattern) -> bytes:
    return np.where(_kept(W, diagonal, pattern), W, np.zeros((), W.dtype)).tobytes()


@given(_SEEDS, _PATTERNS, st.sampled_from(_DTYPES))
def test_masks_are_those_of_local_pruning_ties_included(seed: int, pattern: str, dtype: Any) -> None:
    # Small integers, and squares on the diagonal: every score is exact in float32, and many are equal.
    rng = np.random.default_rng(seed)
    W = rng.integers(-3, 4, (5, 16)).astype(dtype)
    diagonal = rng.integers(0, 4, 16).astype(np.float64) ** 2
    (new,) = prune_from_diagonal([W], diagonal, parse_pattern(pattern))
    assert new.dtype == dtype
    assert new.tobytes() == _expected(W, diagonal, parse_pattern(pattern))


@pytest.mark.parametrize("pattern", ["0.5", "0.71", "2:4"])
@pytest.mark.parametrize("shape", [(33, 2000), (300, 24)])
def test_masks_are_those_of_local_pruning_on_scores_of_all_sizes(pattern: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    matrices: list[NDArray[Any]] = [rng.normal(size=shape).astype(dtype) for dtype in (np.float32, np.float16)]
    matrices[0][rng.random(shape) < 0.2] = 0  # pruned in an earlier round
    diagonal = 10.0 ** rng.uniform(-6, 6, shape[1])
    diagonal[::7] = 0
    for new, W in zip(prune_from_diagonal(matrices, diagonal, parse_pattern(pattern)), matrices, strict=True):
        kept = _kept(W, diagonal, parse_pattern(pattern))
        assert np.count_nonzero(new) == np.count_nonzero(kept)
        assert np.mean((new != 0) != kept) <= 1e-4  # near ties
        assert np.array_equal(new, np.where(new != 0, W, 0))


@given(_SEEDS, _PATTERNS, st.integers(-300, 300))
def test_a_power_of_two_in_the_diagonal_changes_no_bit(seed: int, pattern: str, power: int) -> None:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(6, 16)).astype(np.float32)
    diagonal = rng.exponential(size=16)
    (new,) = prune_from_diagonal([W], diagonal, parse_pattern(pattern))
    (again,) = prune_from_diagonal([W], np.ldexp(diagonal, power), parse_pattern(pattern))
    assert again.tobytes() == new.tobytes()


@pytest.mark.parametrize("dtype", _DTYPES)
def test_a_pruned_weight_is_positive_zero_and_a_zero_weight_counts_as_pruned(dtype: Any) -> None:
    W = np.array([[-1, 2, 3, 4], [-0.0, -5, -0.0, 6]]).astype(dtype)
    before = W.copy()
    (new,) = prune_from_diagonal([W], np.ones(4), parse_pattern("0.5"))
    assert new.astype(np.float64).tolist() == [[0, 2, 3, 4], [0, 0, 0, 6]]
    assert not np.signbit(new.astype(np.float64)).any()
    assert W.tobytes() == before.tobytes()


@given(_SEEDS, st.integers(1, 4), st.integers(1, 12))
def test_the_smallest_of_a_row_are_those_of_local_pruning(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-1, 4, (rows, columns)).astype(np.float64)
    counts = rng.integers(0, columns + 1, rows)
    expected = selection.smallest(torch.from_numpy(scores), torch.from_numpy(counts)).numpy()
    assert np.array_equal(smallest(scores, counts), expected)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 400))
def test_a_quota_is_spread_as_in_local_pruning(sizes: list[int], total: int) -> None:
    total = min(total, sum(sizes))
    assert spread(total, sizes) == selection.spread(total, sizes)
    assert sum(spread(total, sizes)) == total
