"""A noisy moment is made positive, stays near the truth, and prunes better than what noise alone leaves."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.charter import Unstructured
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.privacy import repair_diagonal, repair_matrix
from fedspallm_secure.pruning.sparsegpt import sparsegpt
from fedspallm_secure.pruning.wanda import wanda

_HALF = Unstructured(sparsity=Fraction(1, 2))
_SEEDS = st.integers(0, 2**32 - 1)
_SIGMAS = st.floats(-6, 6).map(lambda power: 10**power)


def _noise(rng: np.random.Generator, inputs: int) -> NDArray[np.float64]:
    """Symmetric, of variance 1 on the diagonal and 1/2 elsewhere."""
    noise = rng.normal(size=(inputs, inputs))
    upper = np.triu(noise, 1) / np.sqrt(2)
    return np.asarray(upper + upper.T + np.diag(np.diagonal(noise)))


def _layer(seed: int) -> tuple[NDArray[np.float64], torch.Tensor]:
    """Second moment of correlated inputs, a few of them much larger than the others, and a weight."""
    rng = np.random.default_rng(seed)
    inputs = 64
    mixed = rng.normal(size=(4000, inputs)) * np.arange(1, inputs + 1) ** -0.7 @ rng.normal(size=(inputs, inputs))
    x = mixed * np.exp(rng.normal(size=inputs))
    return x.T @ x, torch.tensor(rng.normal(size=(48, inputs)), dtype=torch.float32)


def _error(H: NDArray[np.float64], W: torch.Tensor, pruned: torch.Tensor) -> float:
    """What pruning changes in the outputs, as a share of them."""
    change, weight = (W - pruned).double().numpy(), W.double().numpy()
    return float(np.trace(change @ H @ change.T) / np.trace(weight @ H @ weight.T))


def _pruned(W: torch.Tensor, H: NDArray[np.float64]) -> torch.Tensor:
    moment = torch.tensor(H, dtype=torch.float32)
    return sparsegpt([W], moment, _HALF, damping=0.01, block=32).weights[0]


@given(_SEEDS, st.integers(1, 12), _SIGMAS)
def test_whatever_was_released_becomes_positive_definite(seed: int, inputs: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, inputs))
    repaired = repair_matrix(x.T @ x + sigma * _noise(rng, inputs), sigma)
    assert (repaired == repaired.T).all()
    eigenvalues = np.linalg.eigvalsh(repaired)
    assert eigenvalues[0] >= sigma - 1e-12 * eigenvalues[-1]
    diagonal = repair_diagonal((x**2).sum(0) + sigma * rng.normal(size=inputs), sigma)
    assert (diagonal >= sigma).all()


@pytest.mark.parametrize("sigma", [1e-9, 1e-4, 1.0])
def test_the_repaired_matrix_is_as_near_to_the_truth_as_the_noise_is_small(sigma: float) -> None:
    H, _ = _layer(0)
    sigma *= H.trace() / len(H)
    repaired = repair_matrix(H + sigma * _noise(np.random.default_rng(1), len(H)), sigma)
    assert np.linalg.norm(repaired - H, 2) < 4 * sigma * np.sqrt(2 * len(H))


def test_an_eigenvalue_that_stands_out_is_set_back_to_its_size() -> None:
    rng = np.random.default_rng(2)
    inputs, sigma = 200, 1.0
    v = rng.normal(size=inputs)
    v /= np.linalg.norm(v)
    theta = 1.5 * sigma * np.sqrt(2 * inputs)
    released = theta * np.outer(v, v) + sigma * _noise(rng, inputs)
    shown = np.linalg.eigvalsh(released)[-1]
    repaired = repair_matrix(released, sigma)
    assert shown > 1.08 * theta
    kept = np.linalg.eigvalsh(repaired)[-1]
    assert abs(kept - theta) < shown - theta


@pytest.mark.parametrize("noise", [0.03, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_sparsegpt_prunes_better_from_the_repaired_matrix(seed: int, noise: float) -> None:
    H, W = _layer(seed)
    sigma = noise * H.trace() / len(H)
    released = H + sigma * _noise(np.random.default_rng(seed), len(H))
    shown, directions = np.linalg.eigh(released)
    barely = (directions * np.maximum(shown, 1e-6 * shown[-1])) @ directions.T
    raised = (directions * np.maximum(shown, sigma * np.sqrt(2 * len(H)))) @ directions.T
    error = _error(H, W, _pruned(W, repair_matrix(released, sigma)))
    assert error < _error(H, W, _pruned(W, barely))
    assert error < _error(H, W, _pruned(W, raised))
    assert error < _error(H, W, _pruned(W, np.eye(len(H))))
    assert error > _error(H, W, _pruned(W, H))


@pytest.mark.parametrize("seed", range(3))
def test_wanda_prunes_better_from_the_repaired_diagonal(seed: int) -> None:
    H, W = _layer(seed)
    diagonal = np.diagonal(H)
    sigma = 0.3 * diagonal.mean()
    released = diagonal + sigma * np.random.default_rng(seed).normal(size=len(H))

    def error(moment: NDArray[np.float64]) -> float:
        return _error(H, W, W * wanda(W, torch.tensor(moment, dtype=torch.float32), _HALF))

    assert error(repair_diagonal(released, sigma)) < error(np.maximum(released, 0))
    assert error(repair_diagonal(released, sigma)) < error(np.ones(len(H)))


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_a_moment_without_noise_is_not_repaired(sigma: float) -> None:
    with pytest.raises(ConfigError, match="nothing to repair"):
        repair_matrix(np.eye(2), sigma)
    with pytest.raises(ConfigError, match="nothing to repair"):
        repair_diagonal(np.ones(2), sigma)
