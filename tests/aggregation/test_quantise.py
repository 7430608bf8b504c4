"""A change of a weight comes back within half a step, no change comes back exactly, and a large one is clipped."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.aggregation import Quantiser, row_scales

_DTYPES = st.sampled_from([np.float32, np.float16, ml_dtypes.bfloat16])
_LARGEST = st.sampled_from([1, 7, 101, 4095, 2**23])
_SEEDS = st.integers(0, 2**32 - 1)


def _base(rng: np.random.Generator, dtype: Any) -> NDArray[Any]:
    """A matrix whose rows have very different sizes, and one row of zeros."""
    sizes = 2.0 ** rng.integers(-10, 5, (6, 1))
    sizes[3] = 0
    return (rng.normal(size=(6, 9)) * sizes).astype(dtype)


def _changes(quantiser: Quantiser, W: NDArray[Any], new: NDArray[Any], voted: NDArray[np.bool_]) -> NDArray[Any]:
    """What the digits of all positions stand for, in units of the weights."""
    digits = quantiser.encode(new, W, voted, np.ones(W.shape, np.bool_))
    assert digits.dtype == np.uint32
    assert digits.max() <= 2 * quantiser.Q
    return (digits.astype(np.int64).reshape(W.shape) - quantiser.Q) * quantiser.step


@given(_SEEDS, _DTYPES, _LARGEST, st.fractions(Fraction(1, 10), 5, max_denominator=10))
def test_a_change_inside_the_clip_comes_back_within_half_a_step(seed: int, dtype: Any, Q: int, clip: Fraction) -> None:
    rng = np.random.default_rng(seed)
    W = _base(rng, dtype)
    scales = row_scales(W)
    quantiser = Quantiser.of(scales, Q, clip)
    bound = float(clip) * scales.rms
    new = (W + rng.uniform(-0.99, 0.99, W.shape) * bound).astype(dtype)
    change = new.astype(np.float64) - W.astype(np.float64)
    inside = np.abs(change) <= bound
    error = np.abs(_changes(quantiser, W, new, np.ones(W.shape, np.bool_)) - change)
    # step, its inverse and the product with it are each rounded to 53 bits of up to Q steps
    assert (error <= quantiser.step * (0.5 + Q * 2.0**-50))[inside].all()


@given(_SEEDS, _DTYPES, _LARGEST)
def test_no_change_and_a_pruned_position_are_exactly_zero(seed: int, dtype: Any, Q: int) -> None:
    rng = np.random.default_rng(seed)
    W = _base(rng, dtype)
    quantiser = Quantiser.of(row_scales(W), Q, Fraction(1))
    voted = rng.random(W.shape) < 0.5
    every = np.ones(W.shape, np.bool_)
    new = np.where(voted, W, np.zeros((), W.dtype))
    assert (quantiser.encode(W, W, every, every) == Q).all()
    assert (quantiser.encode(new, W, voted, every) == Q).all()


@given(_SEEDS, _DTYPES, _LARGEST)
def test_a_change_beyond_the_clip_becomes_the_clip(seed: int, dtype: Any, Q: int) -> None:
    rng = np.random.default_rng(seed)
    W = _base(rng, dtype)
    scales = row_scales(W)
    quantiser = Quantiser.of(scales, Q, Fraction(1, 4))
    sign = rng.choice([-1, 1], W.shape)
    new = (W + sign * scales.rms).astype(dtype)  # four times the clip
    digits = quantiser.encode(new, W, np.ones(W.shape, np.bool_), np.ones(W.shape, np.bool_)).reshape(W.shape)
    nonzero = scales.rms[:, 0] > 0
    assert (digits[nonzero] == np.where(sign > 0, 2 * Q, 0)[nonzero]).all()


def test_the_largest_step_is_the_clip() -> None:
    scales = row_scales(np.array([[3, 4, 0, 0], [0, 0, 0, 0]], np.float32))
    quantiser = Quantiser.of(scales, 5, Fraction(2))
    assert quantiser.step.tolist() == [[1.0], [0.0]]  # 2 * rms 2.5 / 5


def test_a_change_of_a_row_of_zeros_counts_as_none() -> None:
    W = np.zeros((2, 3), np.float32)
    quantiser = Quantiser.of(row_scales(W), 9, Fraction(1))
    every = np.ones(W.shape, np.bool_)
    assert (quantiser.encode(W + 1, W, every, every) == 9).all()


def test_only_eligible_positions_are_sent_in_row_major_order() -> None:
    rng = np.random.default_rng(0)
    W = rng.normal(size=(70, 1000)).astype(np.float32)  # several blocks of rows
    quantiser = Quantiser.of(row_scales(W), 101, Fraction(1))
    new = (W + rng.normal(scale=0.3, size=W.shape)).astype(np.float32)
    voted, eligible = rng.random(W.shape) < 0.7, rng.random(W.shape) < 0.4
    every = quantiser.encode(new, W, voted, np.ones(W.shape, np.bool_)).reshape(W.shape)
    assert np.array_equal(quantiser.encode(new, W, voted, eligible), every[eligible])
    assert quantiser.encode(new, W, voted, np.zeros(W.shape, np.bool_)).size == 0
