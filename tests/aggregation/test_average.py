"""The average is the paper's, sum_i M_i W_i / sum_i M_i, within half a quantisation step."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.aggregation import Quantiser, average, row_scales, sums_fit_counts

_DTYPES = [np.float32, np.float16, ml_dtypes.bfloat16]
_finfo: Any = ml_dtypes.finfo  # has no types


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(_DTYPES),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([3, 101, 4095]),
    st.sampled_from([(6, 9), (1, 1), (40, 1000)]),
)
def test_the_average_is_the_l0_normalised_one_within_half_a_step(
    seed: int, dtype: Any, clients: int, bar: int, Q: int, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=shape).astype(dtype)
    scales = row_scales(W)
    quantiser = Quantiser.of(scales, Q, Fraction(1))
    masks = rng.random((clients, *shape)) < rng.random()
    changed = W + rng.uniform(-0.9, 0.9, masks.shape) * scales.rms
    inside = np.abs(changed.astype(dtype).astype(np.float64) - W) <= scales.rms  # bfloat16 can round past the clip
    locals_ = np.where(inside, changed, W).astype(dtype)
    kept = rng.random(shape) < 0.6
    counts = masks.sum(axis=0).astype(np.uint8)
    eligible = kept & (counts >= bar)
    digits = [quantiser.encode(w, W, mask, eligible) for w, mask in zip(locals_, masks, strict=True)]
    sums = np.stack(digits).sum(axis=0, dtype=np.uint32)
    assert sums_fit_counts(sums, counts[eligible], Q, clients)

    new = average(W, kept, eligible, counts, sums, quantiser, clients)

    assert new.dtype == W.dtype
    assert np.array_equal(new[kept & ~eligible], W[kept & ~eligible])
    assert (new[~kept] == 0).all()
    assert not np.signbit(new[~kept]).any()
    exact = (locals_.astype(np.float64) * masks).sum(axis=0) / np.maximum(counts, 1)
    error = np.abs(new.astype(np.float64) - exact)
    # besides half a step: the float64 arithmetic of up to Q steps, and one rounding to the weight's own dtype
    margin = quantiser.step * (0.5 + Q * 2.0**-50) + float(_finfo(dtype).eps) * np.abs(new.astype(np.float64))
    margin = margin + float(_finfo(dtype).smallest_subnormal)
    assert (error <= margin)[eligible].all()


@pytest.mark.parametrize("dtype", _DTYPES)
def test_the_smallest_step_of_one_voter_moves_the_weight_by_step_over_votes(dtype: Any) -> None:
    W = np.array([[1, -1], [2, -2]]).astype(dtype)
    quantiser = Quantiser.of(row_scales(W), 4, Fraction(1))  # steps 1/4 and 1/2
    every = np.ones((2, 2), np.bool_)
    counts = np.array([[1, 2], [1, 2]], np.uint8)
    sums = np.array([8 + 1, 8 + 1, 8 - 1, 8 - 2], np.uint8)  # two clients: 8 is no change
    new = average(W, every, every, counts, sums, quantiser, 2)
    assert new.astype(np.float64).tolist() == [[1.25, -0.875], [1.5, -2.5]]


@pytest.mark.parametrize("sign", [-1, 1])
def test_sums_fit_exactly_up_to_votes_times_the_largest_change(sign: int) -> None:
    Q, clients = 10, 4
    counts = np.array([0, 1, 3], np.uint8)
    largest = clients * Q + sign * np.array([0, 10, 30])
    assert sums_fit_counts(largest.astype(np.uint16), counts, Q, clients)
    for position in range(3):
        beyond = largest + sign * (np.arange(3) == position)
        assert not sums_fit_counts(beyond.astype(np.uint16), counts, Q, clients)
