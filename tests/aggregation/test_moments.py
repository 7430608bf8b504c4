"""Second moments come back within half a step an institution, and the pooled diagonal is the scale of the matrices."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.aggregation import DiagonalQuantiser, MatrixQuantiser
from fedspallm_secure.secagg import Packing, diagonals_packing, most_digits

_INPUTS = 7
_DEAD = 3
_LARGEST = st.sampled_from([1, 7, 101, 6553, 2**23])
_SEEDS = st.integers(0, 2**32 - 1)
_CLIENTS = st.integers(1, 6)


def _moments(seed: int, n: int) -> NDArray[Any]:
    """What n institutions have, shape (n, inputs, inputs), float32: inputs of very different size, and a dead one."""
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.integers(-3, 4, _INPUTS)
    sizes[_DEAD] = 0
    x = rng.normal(size=(n, 5, _INPUTS)) * sizes + rng.normal(size=(n, 5, 1)) * sizes
    matrices: NDArray[Any] = (x.transpose(0, 2, 1) @ x).astype(np.float32)
    return matrices


def _diagonals(moments: NDArray[Any]) -> NDArray[Any]:
    return np.diagonal(moments, axis1=1, axis2=2)


def _pooled(moments: NDArray[Any]) -> NDArray[Any]:
    """The diagonal of all institutions' sum."""
    total: NDArray[Any] = _diagonals(moments).astype(np.float64).sum(axis=0)
    return total


def _sum(quantiser: DiagonalQuantiser | MatrixQuantiser, moments: NDArray[Any], length: int) -> NDArray[Any]:
    digits = [quantiser.encode(moment) for moment in moments]
    assert all(one.dtype.kind == "u" and one.shape == (length,) for one in digits)
    assert all(int(one.max()) <= quantiser.top for one in digits)
    total: NDArray[Any] = np.stack(digits).astype(np.uint64).sum(axis=0)
    return total


@given(_SEEDS, _CLIENTS, st.integers(-10, 20))
def test_a_diagonals_sum_comes_back_within_half_a_step_an_institution(seed: int, n: int, exponent: int) -> None:
    diagonals = _diagonals(_moments(seed, n))
    quantiser = DiagonalQuantiser(2**51, exponent)
    decoded = quantiser.decode(_sum(quantiser, diagonals, _INPUTS), n)
    true = diagonals.astype(np.float64).sum(axis=0)
    assert (np.abs(decoded - true) <= n * 0.5 * 2.0**-exponent + 1e-15 * true).all()


@given(_SEEDS, _CLIENTS, _LARGEST)
def test_a_matrixs_sum_comes_back_within_half_a_step_an_institution(seed: int, n: int, Q: int) -> None:
    moments = _moments(seed, n)
    D = _pooled(moments)
    quantiser = MatrixQuantiser(Q, D)
    decoded = quantiser.decode(_sum(quantiser, moments, quantiser.length), n)
    assert np.array_equal(decoded, decoded.T)
    assert np.array_equal(decoded.diagonal(), D)
    assert not decoded[_DEAD].any()
    # Beside the rounding to steps: float32 moments may break Cauchy-Schwarz in their last bits, and are clamped there.
    bound = n * np.sqrt(np.outer(D, D)) / Q * (0.5 + Q * 2.0**-22)
    np.fill_diagonal(bound, 1e-12 * D)
    assert (np.abs(decoded - moments.astype(np.float64).sum(axis=0)) <= bound).all()


@given(_SEEDS, _CLIENTS, _LARGEST)
def test_the_pooled_diagonal_bounds_the_sum_of_all_and_not_only_each(seed: int, n: int, Q: int) -> None:
    moments = _moments(seed, n)
    quantiser = MatrixQuantiser(Q, _pooled(moments))
    steps = _sum(quantiser, moments, quantiser.length).astype(np.int64) - n * Q
    assert np.abs(steps).max() <= Q + n / 2


@given(_SEEDS, _CLIENTS)
def test_nothing_to_add_gives_nothing(seed: int, n: int) -> None:
    moments = _moments(seed, n)
    matrix = MatrixQuantiser(100, _pooled(moments))
    nothing = np.zeros_like(moments)
    assert np.array_equal(matrix.decode(_sum(matrix, nothing, matrix.length), n), np.diag(matrix.diagonal))
    diagonal = DiagonalQuantiser(100, 3)
    assert not diagonal.decode(_sum(diagonal, _diagonals(nothing), _INPUTS), n).any()


def test_a_matrix_is_sent_as_what_lies_above_its_diagonal_row_by_row() -> None:
    quantiser = MatrixQuantiser(4, np.array([4.0, 4.0, 16.0]))
    moment = np.array([[99, 1, -2], [99, 99, -40], [99, 99, 99]], np.float32)
    digits = quantiser.encode(moment)
    assert digits.tolist() == [5, 3, 0]  # steps 1, 2 and 2: -40 is beyond -8
    assert quantiser.at_bound(digits) == 1
    assert quantiser.decode(digits, 1).tolist() == [[4, 1, -2], [1, 4, -8], [-2, -8, 16]]


def test_a_diagonal_is_sent_on_one_grid_with_its_sign() -> None:
    quantiser = DiagonalQuantiser(8, 1)
    digits = quantiser.encode(np.array([0.5, 3.3, 5.0, -1.0, -9.0], np.float32))
    assert digits.tolist() == [9, 15, 16, 6, 0]  # steps of 1/2: 5 and -9 are beyond 4 and -4
    assert quantiser.at_bound(digits) == 2
    assert quantiser.decode(2 * digits.astype(np.uint64), 2).tolist() == [1.0, 7.0, 8.0, -2.0, -8.0]
    coarse = DiagonalQuantiser(8, -4)
    assert coarse.encode(np.array([16.0, 40.0, 2.0**1000])).tolist() == [9, 10, 16]  # ties go to the even one
    assert coarse.decode(np.array([9, 10], np.uint64), 1).tolist() == [16.0, 32.0]


def test_an_input_that_is_dead_in_the_pooled_diagonal_counts_as_dead() -> None:
    quantiser = MatrixQuantiser(100, np.array([1.0, 0.0]))
    digits = quantiser.encode(np.ones((2, 2)))
    assert digits.tolist() == [100]
    assert quantiser.decode(digits, 1).tolist() == [[1.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("inputs", [1, 2])
def test_the_smallest_matrices_have_the_digits_they_should(inputs: int) -> None:
    quantiser = MatrixQuantiser(3, np.ones(inputs))
    assert quantiser.length == inputs - 1
    assert quantiser.encode(np.ones((inputs, inputs))).tolist() == [6] * (inputs - 1)
    assert quantiser.decode(np.full(inputs - 1, 6, np.uint8), 1).tolist() == np.ones((inputs, inputs)).tolist()


@given(_SEEDS, _CLIENTS, _LARGEST)
def test_digits_go_through_the_words_of_a_secure_sum(seed: int, n: int, Q: int) -> None:
    moments = _moments(seed, n)
    quantiser = MatrixQuantiser(Q, _pooled(moments))
    packing = Packing(n, quantiser.top, most_digits(n, quantiser.top))
    words = [packing.pack(quantiser.encode(moment)) for moment in moments]
    total = list(accumulate(words, np.add))[-1]
    assert np.array_equal(packing.unpack(total, quantiser.length), _sum(quantiser, moments, quantiser.length))


@given(st.integers(2, 2000))
def test_a_diagonal_takes_a_word_an_entry_whatever_its_range(n: int) -> None:
    packing = diagonals_packing(n)
    quantiser = DiagonalQuantiser(packing.top // 2, 7)
    # Small and large at once: an entry keeps about 40 binary places between its step and its bound.
    diagonal = np.array([2.0**-7, 1.0, 12345.678, 2.0**35])
    total = packing.unpack(np.uint64(n) * packing.pack(quantiser.encode(diagonal)), 4)
    assert quantiser.decode(total, n) == pytest.approx(n * diagonal, rel=0, abs=n * 2.0**-8 + n * 2.0**-17)
