"""A second moment comes back within half a step an institution, symmetric, and the sum's own diagonal bounds it."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.aggregation import MomentQuantiser
from fedspallm_secure.secagg import Packing, most_digits

_INPUTS = 7
_LARGEST = st.sampled_from([1, 7, 101, 6553, 2**23])
_SEEDS = st.integers(0, 2**32 - 1)
_CLIENTS = st.integers(1, 6)
_KINDS = st.booleans()


def _moments(rng: np.random.Generator, n: int, diagonal: bool) -> NDArray[Any]:
    """What n institutions have, shape (n, inputs[, inputs]), float32: inputs of very different size, and a dead one."""
    sizes = 10.0 ** rng.integers(-3, 4, _INPUTS)
    sizes[3] = 0
    x = rng.normal(size=(n, 5, _INPUTS)) * sizes + rng.normal(size=(n, 5, 1)) * sizes
    matrices: NDArray[Any] = (x.transpose(0, 2, 1) @ x).astype(np.float32)
    return np.diagonal(matrices, axis1=1, axis2=2) if diagonal else matrices


def _scale(moments: NDArray[Any], diagonal: bool) -> NDArray[Any]:
    """The diagonal of all institutions' sum."""
    pooled: NDArray[Any] = moments.astype(np.float64).sum(axis=0)
    return pooled if diagonal else np.diagonal(pooled)


def _steps(quantiser: MomentQuantiser) -> NDArray[Any]:
    steps = np.outer(quantiser.root, quantiser.root) / quantiser.Q
    return np.diagonal(steps) if quantiser.diagonal else steps


def _sum(quantiser: MomentQuantiser, moments: NDArray[Any]) -> NDArray[Any]:
    digits = [quantiser.encode(moment) for moment in moments]
    assert all(one.dtype.kind == "u" and one.shape == (quantiser.length,) for one in digits)
    assert all(int(one.max()) <= quantiser.top for one in digits)
    total: NDArray[Any] = np.stack(digits).astype(np.uint64).sum(axis=0)
    return total


@given(_SEEDS, _CLIENTS, _KINDS, _LARGEST)
def test_a_sum_comes_back_within_half_a_step_an_institution(seed: int, n: int, diagonal: bool, Q: int) -> None:
    moments = _moments(np.random.default_rng(seed), n, diagonal)
    quantiser = MomentQuantiser.of(_scale(moments, diagonal), Fraction(1), Q, diagonal=diagonal)
    decoded = quantiser.decode(_sum(quantiser, moments), n)
    steps = _steps(quantiser)
    # Beside the rounding to steps: float32 moments may break Cauchy-Schwarz in their last bits, and are clipped there.
    bound = n * steps * (0.5 + Q * 2.0**-22)
    assert (np.abs(decoded - moments.astype(np.float64).sum(axis=0)) <= bound).all()


@given(_SEEDS, _CLIENTS, _LARGEST)
def test_what_comes_back_is_symmetric_and_zero_where_nothing_came(seed: int, n: int, Q: int) -> None:
    moments = _moments(np.random.default_rng(seed), n, diagonal=False)
    quantiser = MomentQuantiser.of(_scale(moments, diagonal=False), Fraction(3), Q, diagonal=False)
    decoded = quantiser.decode(_sum(quantiser, moments), n)
    assert np.array_equal(decoded, decoded.T)
    assert (decoded[3] == 0).all()
    assert not quantiser.decode(_sum(quantiser, np.zeros_like(moments)), n).any()


@given(_SEEDS, _CLIENTS, _LARGEST)
def test_the_pooled_diagonal_bounds_the_sum_of_all_and_not_only_each(seed: int, n: int, Q: int) -> None:
    moments = _moments(np.random.default_rng(seed), n, diagonal=False)
    quantiser = MomentQuantiser.of(_scale(moments, diagonal=False), Fraction(1), Q, diagonal=False)
    steps = _sum(quantiser, moments).astype(np.int64) - n * Q
    assert np.abs(steps).max() <= Q + n / 2


@given(_SEEDS, _KINDS, _LARGEST)
def test_a_moment_beyond_the_bound_becomes_the_bound(seed: int, diagonal: bool, Q: int) -> None:
    moment = _moments(np.random.default_rng(seed), 1, diagonal)[0]
    quantiser = MomentQuantiser.of(_scale(moment[None], diagonal), Fraction(1, 10**9), Q, diagonal=diagonal)
    decoded = quantiser.decode(quantiser.encode(moment), 1)
    beyond = np.abs(moment) > 2 * Q * _steps(quantiser)
    signs = np.sign(moment[beyond].astype(np.float64))
    assert np.allclose(decoded[beyond], signs * Q * _steps(quantiser)[beyond], rtol=1e-12, atol=0)
    assert beyond.any()


def test_a_matrix_is_sent_as_its_upper_triangle_row_by_row() -> None:
    quantiser = MomentQuantiser.of(np.full(3, 4.0), Fraction(1), 4, diagonal=False)
    moment = np.array([[4, 1, -2], [99, 3, -4], [99, 99, 5]], np.float32)
    assert quantiser.encode(moment).tolist() == [8, 5, 2, 7, 0, 8]  # 5 is clipped to 4
    assert quantiser.decode(quantiser.encode(moment), 1).tolist() == [[4, 1, -2], [1, 3, -4], [-2, -4, 4]]


def test_a_diagonal_is_sent_without_sign() -> None:
    quantiser = MomentQuantiser.of(np.array([4.0, 16.0]), Fraction(1, 4), 2, diagonal=True)
    assert quantiser.top == 2
    assert quantiser.encode(np.array([0.5, 2.0])).tolist() == [1, 1]
    assert quantiser.decode(np.array([3, 6], np.uint64), 3).tolist() == [1.5, 12.0]


@pytest.mark.parametrize("diagonal", [True, False])
def test_an_input_that_the_scale_calls_dead_counts_as_dead(diagonal: bool) -> None:
    quantiser = MomentQuantiser.of(np.array([1.0, 0.0]), Fraction(1), 100, diagonal=diagonal)
    moment = np.ones(2) if diagonal else np.ones((2, 2))
    decoded = quantiser.decode(quantiser.encode(moment), 1)
    assert decoded.tolist() == ([1.0, 0.0] if diagonal else [[1.0, 0.0], [0.0, 0.0]])


@given(_SEEDS, _CLIENTS, _KINDS, _LARGEST)
def test_digits_go_through_the_words_of_a_secure_sum(seed: int, n: int, diagonal: bool, Q: int) -> None:
    moments = _moments(np.random.default_rng(seed), n, diagonal)
    quantiser = MomentQuantiser.of(_scale(moments, diagonal), Fraction(1), Q, diagonal=diagonal)
    packing = Packing(n, quantiser.top, most_digits(n, quantiser.top))
    words = [packing.pack(quantiser.encode(moment)) for moment in moments]
    total = list(accumulate(words, np.add))[-1]
    digits = packing.unpack(total, quantiser.length)
    assert np.array_equal(digits, _sum(quantiser, moments))
    assert np.array_equal(quantiser.decode(digits, n), quantiser.decode(_sum(quantiser, moments), n))


def test_a_diagonal_on_a_fixed_grid_needs_a_word_an_entry_and_no_scale() -> None:
    # Five institutions; sums of squares up to 2^40 and down to 2^-12, on one grid for all inputs.
    quantiser = MomentQuantiser.of(np.full(4, 2.0**40), Fraction(1), 2**52, diagonal=True)
    moment = np.array([2.0**-12, 1.0, 12345.678, 2.0**39])
    packing = Packing(5, quantiser.top, 1)
    total = packing.unpack(5 * packing.pack(quantiser.encode(moment)), 4)
    assert quantiser.decode(total, 5).tolist() == pytest.approx((5 * moment).tolist(), rel=1e-7)
