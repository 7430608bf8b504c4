"""The factor inverts the damped moment, raises the damping when local pruning does, and forgets powers of two."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.aggregation.factor import inverse_factor
from fedspallm_secure.errors import NumericalError
from fedspallm_secure.pruning import sparsegpt

_DAMPING = Fraction(1, 100)


def _moment(seed: int, inputs: int, tokens: int, decades: float = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(tokens, inputs)) @ rng.normal(size=(inputs, inputs)) * 10 ** rng.uniform(0, decades, inputs)
    moment: NDArray[np.float64] = X.T @ X
    return np.maximum(moment, moment.T)


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.sampled_from([0, 1, 3]))
def test_the_factor_gives_the_inverse_of_the_damped_moment(seed: int, inputs: int, decades: int) -> None:
    moment = _moment(seed, inputs, 2 * inputs, decades)
    U, raises = inverse_factor(moment, _DAMPING)
    assert raises == 0
    assert np.array_equal(U, np.triu(U))
    H = np.ldexp(moment, -int(np.frexp(moment.diagonal().max())[1]))
    H += 0.01 * H.diagonal().mean() * np.eye(inputs)
    # Damped, no eigenvalue is below 1 % of the mean, and no entry above inputs times it.
    np.testing.assert_allclose(U @ H @ U.T, np.eye(inputs), rtol=0, atol=1e-9)


@pytest.mark.parametrize("power", [-801, -2, 1, 333])
def test_a_power_of_two_in_the_moment_changes_no_bit(power: int) -> None:
    moment = _moment(0, 50, 100, 2)
    U, raises = inverse_factor(moment, _DAMPING)
    again, same = inverse_factor(np.ldexp(moment, power), _DAMPING)
    assert (again.tobytes(), same) == (U.tobytes(), raises)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["1e-9", "1e-7", "1e-4"]))
def test_the_damping_is_raised_as_in_local_pruning(seed: int, damping: str) -> None:
    moment = _moment(seed, 40, 10)  # singular: ten tokens, forty inputs
    _, raises = inverse_factor(moment, Fraction(damping))
    _, in_torch = sparsegpt.inverse_factor(torch.from_numpy(moment), float(damping))
    assert raises == in_torch


def test_a_moment_that_is_not_positive_definite_raises_the_damping_and_says_when_it_gives_up() -> None:
    # Eigenvalues 3 and -1, mean diagonal 1: damping 0.01, 0.1 and 1 are too small, 10 is enough.
    U, raises = inverse_factor(np.array([[1.0, 2.0], [2.0, 1.0]]), _DAMPING)
    assert raises == 3
    np.testing.assert_allclose(U.T @ U @ np.array([[11.0, 2.0], [2.0, 11.0]]), 2 * np.eye(2), atol=1e-12)
    with pytest.raises(NumericalError, match="damping 100, after 4 raises"):
        inverse_factor(np.array([[1.0, 1e9], [1e9, 1.0]]), _DAMPING)


def test_a_dead_input_counts_as_a_mean_one_that_nothing_goes_with() -> None:
    moment = _moment(0, 20, 40)
    moment[[3, 11]] = moment[:, [3, 11]] = 0
    U, raises = inverse_factor(moment, _DAMPING)
    assert raises == 0
    filled = moment.copy()
    filled[[3, 11], [3, 11]] = moment.diagonal()[moment.diagonal() > 0].mean()
    np.testing.assert_allclose(U, inverse_factor(filled, _DAMPING)[0], rtol=1e-12, atol=0)
    nothing, _ = inverse_factor(np.zeros((4, 4)), _DAMPING)
    np.testing.assert_allclose(nothing, np.eye(4) / np.sqrt(1.01), rtol=1e-15)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_moment_that_is_not_finite_is_refused(bad: float) -> None:
    moment = np.eye(3)
    moment[0, 1] = moment[1, 0] = bad
    with pytest.raises(NumericalError, match="not finite"):
        inverse_factor(moment, _DAMPING)
