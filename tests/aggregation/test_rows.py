"""Row scales are exact: they equal their definition in rational arithmetic, whatever the order of the columns."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fedspallm_secure.aggregation import row_scales

_BITS = 22
_finfo: Any = ml_dtypes.finfo  # has no types
_DTYPES = [np.float32, np.float16, ml_dtypes.bfloat16]


@st.composite
def _matrices(draw: st.DrawFn) -> NDArray[Any]:
    """Any finite matrix: zeros, subnormals and the largest numbers of each dtype among its elements."""
    dtype = draw(st.sampled_from(_DTYPES))
    limit = float(_finfo(dtype).max)
    elements = st.floats(-limit, limit, width=16 if dtype is np.float16 else 32)
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))
    return draw(hnp.arrays(np.float32, shape, elements=elements)).astype(dtype)


def _documented(row: NDArray[Any]) -> tuple[list[int], Fraction]:
    """A row's magnitudes in units of 2^-22 of the power of two above the largest, and that unit."""
    magnitudes = [abs(Fraction(float(w))) for w in row]
    largest, power = max(magnitudes), Fraction(1)
    while power <= largest:
        power *= 2
    while 0 < largest < power / 2:
        power /= 2
    unit = power / 2**_BITS
    return [round(magnitude / unit) for magnitude in magnitudes], unit


@given(_matrices())
def test_scales_equal_the_definition_in_rational_arithmetic(W: NDArray[Any]) -> None:
    scales = row_scales(W)
    for i, row in enumerate(W):
        fixed, unit = _documented(row)
        assert Fraction(scales.mean[i, 0]) == Fraction(float(Fraction(sum(fixed), len(fixed)))) * unit
        square = float(Fraction(sum(f * f for f in fixed), len(fixed)))
        assert Fraction(scales.rms[i, 0]) == Fraction(math.sqrt(square)) * unit


@given(_matrices())
def test_scales_are_those_of_the_weights_to_22_bits_of_the_largest(W: NDArray[Any]) -> None:
    scales = row_scales(W)
    for i, row in enumerate(W.astype(np.float64)):
        margin = np.abs(row).max() * 2.0 ** -(_BITS - 1)  # half a unit for rounding to 22 bits, the rest for float64
        assert abs(scales.mean[i, 0] - math.fsum(np.abs(row)) / row.size) <= margin
        assert abs(scales.rms[i, 0] - math.hypot(*row) / math.sqrt(row.size)) <= margin


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("columns", [7, 5_000])
def test_the_order_of_columns_and_the_rows_around_change_no_bit(dtype: Any, columns: int) -> None:
    rng = np.random.default_rng(columns)
    spread = np.exp(rng.normal(scale=2, size=(20, columns)))
    W: NDArray[Any] = (rng.normal(size=(20, columns)) * spread).astype(dtype)
    assert np.isfinite(W.astype(np.float32)).all()
    scales = row_scales(W)
    permuted = row_scales(W[:, rng.permutation(columns)])
    alone = [row_scales(W[i : i + 1]) for i in range(len(W))]
    for name in ("mean", "rms"):
        whole = getattr(scales, name)
        assert whole.shape == (20, 1)
        assert whole.tobytes() == getattr(permuted, name).tobytes()
        assert whole.tobytes() == np.concatenate([getattr(one, name) for one in alone]).tobytes()


@pytest.mark.parametrize("dtype", _DTYPES)
def test_rows_of_zeros_have_scale_zero_and_the_smallest_and_largest_numbers_their_own(dtype: Any) -> None:
    info = _finfo(dtype)
    values = [0.0, float(info.smallest_subnormal), float(info.max)]
    W: NDArray[Any] = np.array([[value, -value, value] for value in values]).astype(dtype)
    scales = row_scales(W)
    assert scales.mean[:2, 0].tolist() == values[:2] == scales.rms[:2, 0].tolist()
    for scale in (scales.mean, scales.rms):
        assert scale[2, 0] == pytest.approx(values[2], rel=2.0**-_BITS)


def test_the_widest_row_of_the_largest_fractions_does_not_overflow() -> None:
    W = np.full((1, 2**19 - 1), np.nextafter(np.float32(1), np.float32(0)))
    assert row_scales(W).mean[0, 0] == row_scales(W).rms[0, 0] == 1.0
