"""What noise hides is public text's, what it does not is private, and the moment in between is fit for pruning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.errors import ConfigError
from fedspallm_secure.privacy import repair_diagonal, repair_matrix
from tests.privacy.simulated import released, text

_SEEDS = st.integers(0, 2**32 - 1)
_SIGMAS = st.floats(-6, 6).map(lambda power: 10**power)


def _noise(rng: np.random.Generator, inputs: int) -> NDArray[np.float64]:
    """Symmetric, of variance 1 on the diagonal and 1/2 elsewhere."""
    noise = rng.normal(size=(inputs, inputs))
    upper = np.triu(noise, 1) / np.sqrt(2)
    return np.asarray(upper + upper.T + np.diag(np.diagonal(noise)))


def _moment(rng: np.random.Generator, inputs: int, rank: int) -> NDArray[np.float64]:
    x = rng.normal(size=(rank, inputs)) * np.exp(rng.normal(size=inputs))
    return np.asarray(x.T @ x)


def _matrix(H: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """H over the roots of `scale` on both sides."""
    root = np.sqrt(scale)
    return np.asarray(H / root[:, None] / root)


@pytest.mark.parametrize("multiplier", [100.0, 1000.0])
@pytest.mark.parametrize("seed", range(10))
def test_from_noise_that_hides_everything_comes_the_public_moment_bit_for_bit(seed: int, multiplier: float) -> None:
    matrices = text(seed, 20, deviation=1)
    diagonals = matrices.diagonals()
    public = diagonals.public.sum(axis=0)
    noisy, sigma, scale = released(diagonals, multiplier, whitened=True, seed=seed)
    assert np.array_equal(repair_diagonal(noisy, sigma, public, scale), public)
    public = matrices.public.sum(axis=0)
    noisy, sigma, scale = released(matrices, multiplier, whitened=True, seed=seed)
    assert np.array_equal(repair_matrix(noisy, sigma, public, scale), public)


@given(_SEEDS, st.integers(2, 12))
def test_without_noise_to_speak_of_the_private_moment_comes_in_units_of_the_public_one(seed: int, inputs: int) -> None:
    rng = np.random.default_rng(seed)
    public, private = (_moment(rng, inputs, 3 * inputs) for _ in range(2))
    scale = np.exp(rng.normal(size=inputs))
    sigma = 1e-12 * float(np.diagonal(_matrix(private, scale)).min())
    repaired = repair_matrix(_matrix(private, scale), sigma, public, scale)
    assert repaired / np.trace(repaired) == pytest.approx(private / np.trace(private), rel=1e-6, abs=1e-9)
    d = np.diagonal(private)
    repaired = repair_diagonal(d / scale, sigma, np.diagonal(public), scale)
    assert repaired / repaired.sum() == pytest.approx(d / d.sum(), rel=1e-6)


@given(_SEEDS, st.integers(1, 12), st.integers(1, 15), _SIGMAS)
def test_whatever_was_released_no_input_and_no_direction_is_negative(
    seed: int, inputs: int, rank: int, sigma: float
) -> None:
    rng = np.random.default_rng(seed)
    public, private = _moment(rng, inputs, rank), _moment(rng, inputs, rank)
    scale = np.exp(rng.normal(size=inputs))
    repaired = repair_matrix(_matrix(private, scale) + sigma * _noise(rng, inputs), sigma, public, scale)
    assert (repaired == repaired.T).all()
    eigenvalues = np.linalg.eigvalsh(_matrix(repaired, scale))
    assert eigenvalues[0] >= -1e-9 * eigenvalues[-1]
    noisy = np.diagonal(private) / scale + sigma * rng.normal(size=inputs)
    assert (repair_diagonal(noisy, sigma, np.diagonal(public), scale) > 0).all()


@given(_SEEDS, st.integers(2, 12), _SIGMAS, st.floats(-3, 3).map(lambda power: 10**power))
def test_the_unit_of_what_was_released_does_not_matter(seed: int, inputs: int, sigma: float, unit: float) -> None:
    rng = np.random.default_rng(seed)
    public, scale = _moment(rng, inputs, 20), np.exp(rng.normal(size=inputs))
    d = np.diagonal(_moment(rng, inputs, 20)) + sigma * rng.normal(size=inputs)
    one = repair_diagonal(d, sigma, np.diagonal(public), scale)
    assert repair_diagonal(unit * d, unit * sigma, np.diagonal(public), scale) == pytest.approx(one, rel=1e-6)


@pytest.mark.parametrize("sign", [1, -1], ids=["more", "less"])
@pytest.mark.parametrize("seed", range(3))
def test_a_direction_unlike_public_text_comes_nearer_than_it_shows_and_than_none(seed: int, sign: int) -> None:
    rng = np.random.default_rng(seed)
    inputs, sigma = 200, 1.0
    rho = sigma * np.sqrt(2 * inputs)
    v = rng.normal(size=inputs)
    v /= np.linalg.norm(v)
    unlike = sign * 1.5 * rho * np.outer(v, v)
    public = 3 * rho * (np.eye(inputs) + (sign < 0) * np.outer(v, v))
    noise = sigma * _noise(rng, inputs)
    released = public + unlike + noise
    repaired = repair_matrix(released, sigma, public, np.ones(inputs))
    a = np.vdot(released, public) / np.vdot(public, public)
    error = np.linalg.norm(a * repaired - public - unlike)
    shown, directions = np.linalg.eigh(unlike + noise)
    as_shown = (directions * np.where(np.abs(shown) > 1.1 * rho, shown, 0)) @ directions.T
    assert error < np.linalg.norm(as_shown - unlike)
    assert error < 0.6 * np.linalg.norm(unlike)


def test_inputs_that_are_larger_than_on_public_text_take_their_correlations_with_them() -> None:
    rng = np.random.default_rng(3)
    inputs = 64
    public = _matrix(H := _moment(rng, inputs, 200), np.diagonal(H))
    growth = np.exp(rng.normal(size=inputs))
    private = public * growth[:, None] * growth
    sigma = 0.2
    repaired = repair_matrix(100 * private + 100 * sigma * _noise(rng, inputs), 100 * sigma, public, np.ones(inputs))
    added = public + np.diag(np.diagonal(private - public))
    assert np.linalg.norm(repaired - private * np.trace(repaired) / np.trace(private)) < 0.7 * np.linalg.norm(
        added - private
    )


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_a_moment_without_noise_is_not_repaired(sigma: float) -> None:
    with pytest.raises(ConfigError, match="nothing to repair"):
        repair_matrix(np.eye(2), sigma, np.eye(2), np.ones(2))
    with pytest.raises(ConfigError, match="nothing to repair"):
        repair_diagonal(np.ones(2), sigma, np.ones(2), np.ones(2))
