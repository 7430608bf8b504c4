"""An exact product equals its definition in rational arithmetic, so nothing about the machine can be in its bits."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fedspallm_secure.aggregation import exact_product
from fedspallm_secure.aggregation.exact_product import subtract_product
from fedspallm_secure.errors import NumericalError

_SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def _factors(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any]]:
    """Small factors of all finite numbers, subnormals among them; or larger ones, with rows and columns apart."""
    if draw(st.booleans()):
        m, k, n = (draw(st.integers(0, 4)) for _ in range(3))
        elements = st.floats(-1e150, 1e150)
        return draw(hnp.arrays(np.float64, (m, k), elements=elements)), draw(
            hnp.arrays(np.float64, (k, n), elements=elements)
        )
    rng = np.random.default_rng(draw(_SEEDS))
    m, k, n = (draw(st.integers(1, most)) for most in (4, 90, 4))
    A = np.ldexp(rng.normal(size=(m, k)), rng.integers(-200, 200, (m, 1)) + rng.integers(-30, 1, (m, k)))
    B = np.ldexp(rng.normal(size=(k, n)), rng.integers(-200, 200, (1, n)) + rng.integers(-30, 1, (k, n)))
    return A, B


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and one.tobytes() == np.ascontiguousarray(other).tobytes()


def _bits(k: int) -> int:
    bits = 26
    while 2 ** (53 - 2 * bits) < k:
        bits -= 1
    return bits


def _documented_slices(vector: list[float], bits: int) -> tuple[list[int], list[int], Fraction]:
    """The two slices of a row or column, and the unit of the high one."""
    largest, power = max((abs(Fraction(x)) for x in vector), default=Fraction(0)), Fraction(1)
    while power <= largest:
        power *= 2
    while 0 < largest < power / 2:
        power /= 2
    unit = power / 2**bits
    high = [round(Fraction(x) / unit) for x in vector]
    return high, [round((Fraction(x) / unit - h) * 2**bits) for x, h in zip(vector, high, strict=True)], unit


def _documented(row: list[float], column: list[float]) -> float:
    bits = _bits(len(row))
    a, a_low, a_unit = _documented_slices(row, bits)
    b, b_low, b_unit = _documented_slices(column, bits)
    cross = sum(x * y for x, y in zip(a, b_low, strict=True)) + sum(x * y for x, y in zip(a_low, b, strict=True))
    whole = float(sum(x * y for x, y in zip(a, b, strict=True)) + Fraction(cross, 2**bits))
    return float(Fraction(whole) * a_unit * b_unit)


@given(_factors())
def test_a_product_equals_its_definition_in_rational_arithmetic(factors: tuple[NDArray[Any], NDArray[Any]]) -> None:
    A, B = factors
    expected = [[_documented(row, column) for column in B.T.tolist()] for row in A.tolist()]
    assert _same(exact_product(A, B), np.array(expected).reshape(len(A), B.shape[1]) + 0.0)


@given(_factors(), _SEEDS)
def test_neither_the_inner_order_nor_the_entries_around_nor_a_transposition_change_a_bit(
    factors: tuple[NDArray[Any], NDArray[Any]], seed: int
) -> None:
    A, B = factors
    product = exact_product(A, B)
    order = np.random.default_rng(seed).permutation(A.shape[1])
    assert _same(exact_product(A[:, order], B[order]), product)
    assert _same(exact_product(B.T, A.T), product.T)
    for i in range(len(A)):
        for j in range(B.shape[1]):
            assert _same(exact_product(A[i : i + 1], B[:, j : j + 1]), product[i : i + 1, j : j + 1])


@given(_factors())
def test_a_product_is_that_of_real_numbers_within_the_bound(factors: tuple[NDArray[Any], NDArray[Any]]) -> None:
    A, B = factors
    product, k = exact_product(A, B), A.shape[1]
    for i, row in enumerate(A.tolist()):
        for j, column in enumerate(B.T.tolist()):
            true = sum((Fraction(x) * Fraction(y) for x, y in zip(row, column, strict=True)), Fraction(0))
            _, _, a = _documented_slices(row, _bits(k))
            _, _, b = _documented_slices(column, _bits(k))
            bound = Fraction(13, 10) * k * a * b  # the units hold the 2^(-2 b)
            rounding = abs(true) * Fraction(1, 2**51) + Fraction(1, 2**1074)
            assert abs(Fraction(float(product[i, j])) - true) <= bound + rounding


@given(_SEEDS, st.integers(1, 300))
def test_small_integers_multiply_exactly(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    A, B = rng.integers(-(2**20), 2**20, (5, k)), rng.integers(-(2**20), 2**20, (k, 5))
    assert exact_product(A.astype(np.float64), B.astype(np.float64)).tolist() == (A @ B).tolist()


@given(_SEEDS, st.integers(-900, 900), st.integers(-100, 100))
def test_powers_of_two_go_through(seed: int, a: int, b: int) -> None:
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(4, 30)), rng.normal(size=(30, 3))
    assert _same(exact_product(np.ldexp(A, a), np.ldexp(B, b)), np.ldexp(exact_product(A, B), a + b))


def test_the_smallest_and_the_largest_numbers_have_their_products() -> None:
    tiny, huge = 2.0**-1074, 2.0**1023
    assert exact_product(np.array([[3 * tiny, 0]]), np.array([[huge], [huge]])).tolist() == [[3 * 2.0**-51]]
    assert exact_product(np.array([[tiny]]), np.array([[tiny]])).tolist() == [[0]]
    assert exact_product(np.array([[huge]]), np.array([[-huge]])).tolist() == [[-np.inf]]


def test_a_zero_has_no_sign_that_a_library_could_choose() -> None:
    product = exact_product(np.array([[-1.0, 1.0], [0.0, -0.0]]), np.array([[0.0, 1.0], [-0.0, 1.0]]))
    assert not product.any()
    assert not np.signbit(product).any()


@pytest.mark.parametrize("shape", [(300, 130, 900), (900, 7, 300), (70, 257, 4000)])
def test_where_tiles_end_changes_no_bit(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    rng = np.random.default_rng(0)
    A, B, C = rng.normal(size=(k, m)).T, rng.normal(size=(k, n)), rng.normal(size=(m, n))
    product = exact_product(A, B)
    apart = [exact_product(A[start : start + 37], B) for start in range(0, m, 37)]
    assert _same(np.concatenate(apart), product)
    rest = C.copy()
    subtract_product(rest, A, B)
    assert _same(rest, C - product)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(NumericalError, match="not finite"):
        exact_product(np.array([[1.0, bad]]), np.ones((2, 1)))
    with pytest.raises(NumericalError, match="not finite"):
        subtract_product(np.ones((1, 1)), np.ones((1, 2)), np.array([[1.0], [bad]]))


_PRODUCT = """
import hashlib, numpy as np
from fedspallm_secure.aggregation import exact_product
rng = np.random.default_rng(0)
A, B = rng.normal(size=(300, 700)), rng.normal(size=(700, 500))
print(hashlib.sha256(exact_product(A, B).tobytes()).hexdigest())
"""


def test_neither_threads_nor_the_librarys_kernels_change_a_bit() -> None:
    def digest(**settings: str) -> str:
        run = [sys.executable, "-c", _PRODUCT]
        return subprocess.run(run, env=os.environ | settings, check=True, capture_output=True, text=True).stdout

    one = digest(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    assert digest(OMP_NUM_THREADS="2", OPENBLAS_NUM_THREADS="2") == one
    # Where NumPy brings OpenBLAS for x86: sums of other order, without fused multiply-adds.
    assert digest(OPENBLAS_CORETYPE="Nehalem") == one
