"""Noisy moments come nearer to the true ones, down to what is known without them, and to the same bits in any order."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.aggregation import draw_diagonal, draw_matrix

_SEEDS = st.integers(0, 2**32 - 1)
_SIGMAS = st.floats(-6, 6).map(lambda power: 10**power)


def _moment(rng: np.random.Generator, inputs: int) -> NDArray[np.float64]:
    """Of inputs of about one size, with a few directions in common."""
    x = rng.normal(size=(2 * inputs, 3)) @ rng.normal(size=(3, inputs)) + rng.normal(size=(2 * inputs, inputs))
    return np.asarray(x.T @ x / inputs)


def _noise(rng: np.random.Generator, inputs: int) -> NDArray[np.float64]:
    """Symmetric, of variance 1 on the diagonal and 1/2 elsewhere."""
    noise = rng.normal(size=(inputs, inputs))
    upper = np.triu(noise, 1) / np.sqrt(2)
    return np.asarray(upper + upper.T + np.diag(np.diagonal(noise)))


@pytest.mark.parametrize("seed", range(10))
def test_of_noise_that_hides_everything_nothing_is_left_but_equal_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    released = _moment(rng, 40) + 1e4 * _noise(rng, 40)
    drawn = draw_diagonal(released.diagonal(), 1e8)
    assert len(set(drawn.tolist())) == 1
    assert drawn[0] >= 1e4 / sqrt(40)
    assert draw_matrix(released, 1e8) is None


@given(_SEEDS, st.integers(8, 16))
def test_without_noise_to_speak_of_a_moment_is_left_as_it_is(seed: int, inputs: int) -> None:
    M = _moment(np.random.default_rng(seed), inputs)
    assert draw_diagonal(M.diagonal(), 1e-20) == pytest.approx(M.diagonal(), rel=1e-9)
    drawn = draw_matrix(M, 1e-20)
    assert drawn is not None
    assert drawn == pytest.approx(M, rel=1e-6, abs=1e-9)


@given(_SEEDS, st.integers(2, 16), _SIGMAS)
def test_no_input_counts_less_than_the_noise_or_the_mean(seed: int, inputs: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    released = np.diagonal(_moment(rng, inputs)) + sigma * rng.normal(size=inputs)
    drawn = draw_diagonal(released, sigma**2)
    assert (drawn >= min(sigma, max(released.mean(), sigma / sqrt(inputs))) * (1 - 1e-12)).all()


@given(_SEEDS, st.integers(2, 16), _SIGMAS)
def test_the_order_of_inputs_changes_no_bit(seed: int, inputs: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    M, order = _moment(rng, inputs) + sigma * _noise(rng, inputs), rng.permutation(inputs)
    drawn = draw_diagonal(M.diagonal(), sigma**2)
    assert np.array_equal(draw_diagonal(M.diagonal()[order], sigma**2), drawn[order])
    first, second = draw_matrix(M, sigma**2), draw_matrix(M[np.ix_(order, order)], sigma**2)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert np.array_equal(second, first[np.ix_(order, order)])


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0, 10.0])
def test_a_drawn_diagonal_is_nearer_to_the_truth_than_what_was_released(sigma: float) -> None:
    rng = np.random.default_rng(0)
    before, after = 0.0, 0.0
    for _ in range(20):
        true = _moment(rng, 60).diagonal()
        released = true + sigma * rng.normal(size=60)
        before += float(np.mean((released - true) ** 2))
        after += float(np.mean((draw_diagonal(released, sigma**2) - true) ** 2))
    assert after < before


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.3])
def test_a_drawn_matrix_is_nearer_to_the_truth_than_what_was_released_but_for_its_diagonal(sigma: float) -> None:
    rng = np.random.default_rng(0)
    before, after = 0.0, 0.0
    for _ in range(20):
        true = _moment(rng, 60)
        released = true + sigma * _noise(rng, 60)
        drawn = draw_matrix(released, sigma**2)
        assert drawn is not None
        before += float(np.mean(np.triu(released - true, 1) ** 2))
        after += float(np.mean(np.triu(drawn - true, 1) ** 2))
    assert after < before


@given(_SEEDS, st.integers(2, 30))
def test_a_drawn_matrix_has_what_noise_can_take_away_on_its_diagonal(seed: int, inputs: int) -> None:
    rng = np.random.default_rng(seed)
    M = _moment(rng, inputs)
    sigma = 0.01 * M.diagonal().mean()
    drawn = draw_matrix(M, sigma**2)
    if drawn is not None:
        i, k = 0, int(np.argmax(np.abs(M[0, 1:]))) + 1
        share = drawn[i, k] / M[i, k]
        assert 1 / 2 <= share < 1
        assert drawn.diagonal() == pytest.approx(M.diagonal() + share * sigma * sqrt(2 * inputs))


@pytest.mark.parametrize("below", [True, False])
def test_a_matrix_is_left_out_when_it_is_less_than_its_noise(below: bool) -> None:
    inputs, sigma = 50, 1.0
    size = (0.95 if below else 1.05) * sigma  # its square is twice the variance off the diagonal: half noise, half text
    released = np.full((inputs, inputs), size)
    np.fill_diagonal(released, 100.0)
    assert (draw_matrix(released, sigma**2) is None) == below


@pytest.mark.parametrize("below", [True, False])
def test_a_matrix_is_left_out_when_its_noise_has_eigenvalues_beyond_half_of_the_mean_one(below: bool) -> None:
    inputs, sigma, size = 50, 1.0, 3.0
    share = 1 - sigma**2 / 2 / size**2
    released = np.full((inputs, inputs), size)
    np.fill_diagonal(released, 2 * share * sigma * sqrt(2 * inputs) * (0.99 if below else 1.01))
    assert (draw_matrix(released, sigma**2) is None) == below


def test_a_matrix_with_nothing_beside_its_diagonal_is_its_diagonal() -> None:
    assert draw_matrix(np.eye(4), 1e-9) is None


def test_one_input_has_no_rest() -> None:
    assert draw_matrix(np.ones((1, 1)), 1e-9) is None


def test_one_huge_input_does_not_make_the_noise_of_the_others_believed() -> None:
    released = np.array([0.0] * 99 + [100.0])
    drawn = draw_diagonal(released, 1.0)  # of a mean of 1, whose double is all that inputs are taken to vary by
    assert drawn == pytest.approx([1.0] * 99 + [1 + 0.8 * 99])
