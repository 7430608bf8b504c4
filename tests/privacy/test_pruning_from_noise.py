"""Drawn towards public text, a noisy moment prunes as well as the better of the two, and better than noise alone.

Inputs are simulated, in windows that are clipped and added up like a run's. The error is what pruning changes in the
outputs on private text.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fedspallm_secure.charter import Unstructured
from fedspallm_secure.privacy import repair_diagonal, repair_matrix
from fedspallm_secure.pruning.sparsegpt import sparsegpt
from fedspallm_secure.pruning.wanda import wanda
from tests.privacy.simulated import INPUTS, Text, released, text

_HALF = Unstructured(sparsity=Fraction(1, 2))
_LAYERS = 5

# Windows, noise multiplier, deviation from public text, how far correlations are turned.
_WORLDS = [
    (50, 0.3, 0.3, 0.0),
    (50, 7.0, 0.3, 0.0),
    (50, 2.0, 1.0, 0.3),
    (200, 2.0, 0.3, 0.3),
    (200, 7.0, 1.0, 0.0),
    (800, 2.0, 1.0, 0.3),
    (800, 7.0, 0.3, 0.0),
]

Moment = NDArray[np.float64]


def _raised(noisy: Moment, sigma: float) -> Moment:
    """Made positive without public text: no input less than the noise is wide."""
    return np.maximum(noisy, sigma)


def _standing_out(noisy: Moment, sigma: float) -> Moment:
    """Made positive without public text: eigenvalues that stand out of the noise, and what the diagonal lacks."""
    rho = sigma * sqrt(2 * len(noisy))
    shown, directions = np.linalg.eigh(noisy)
    theta = (shown + np.sqrt(np.maximum(shown**2 - rho**2, 0))) / 2 * (shown > rho)
    H = (directions * theta) @ directions.T
    np.fill_diagonal(H, np.diagonal(H) + np.maximum(np.diagonal(noisy - H), sigma))
    return np.asarray(H)


def _by_wanda(W: torch.Tensor, H: Moment) -> torch.Tensor:
    return W * wanda(W, torch.tensor(H, dtype=torch.float32), _HALF)


def _by_sparsegpt(W: torch.Tensor, H: Moment) -> torch.Tensor:
    return sparsegpt([W], torch.tensor(H, dtype=torch.float32), _HALF, damping=0.01, block=32).weights[0]


def _errors(
    those: Text,
    truth: Moment,
    multiplier: float,
    seed: int,
    pruned: Callable[[torch.Tensor, Moment], torch.Tensor],
    alone: Callable[[Moment, float], Moment],
    repair: Callable[[Moment, float, Moment, Moment], Moment],
) -> list[float]:
    """From public text, from whitened noise alone, from plain noise alone, and from both texts."""
    W = torch.tensor(np.random.default_rng(seed).normal(size=(48, INPUTS)), dtype=torch.float32)
    public = those.public.sum(axis=0)
    noisy, sigma, scale = released(those, multiplier, whitened=True, seed=seed)
    back = scale if those.truth.ndim == 1 else np.sqrt(scale) * np.sqrt(scale)[:, None]
    plain = alone(*released(those, multiplier, whitened=False, seed=seed)[:2])
    moments = public, alone(noisy, sigma) * back, plain, repair(noisy, sigma, public, scale)

    def error(moment: Moment) -> float:
        change = (W - pruned(W, moment)).double().numpy()
        return float(np.trace(change @ truth @ change.T) / np.trace(W.double().numpy() @ truth @ W.double().numpy().T))

    return [error(moment) for moment in moments]


@pytest.mark.parametrize(("windows", "multiplier", "deviation", "turned"), _WORLDS)
def test_wanda_prunes_as_well_as_from_the_better_of_both_texts_and_better_than_without_public_text(
    windows: int, multiplier: float, deviation: float, turned: float
) -> None:
    errors = []
    for seed in range(2 * _LAYERS):
        those = text(seed, windows, deviation=deviation, turned=turned)
        errors.append(_errors(those.diagonals(), those.truth, multiplier, seed, _by_wanda, _raised, repair_diagonal))
    public, noise, plain, both = np.mean(errors, axis=0)
    assert both < 1.05 * min(public, noise)
    assert both < plain


@pytest.mark.parametrize(("windows", "multiplier", "deviation", "turned"), _WORLDS)
def test_sparsegpt_prunes_as_well_as_from_the_better_of_both_texts_and_better_than_without_public_text(
    windows: int, multiplier: float, deviation: float, turned: float
) -> None:
    errors = []
    for seed in range(_LAYERS):
        those = text(seed, windows, deviation=deviation, turned=turned)
        errors.append(_errors(those, those.truth, multiplier, seed, _by_sparsegpt, _standing_out, repair_matrix))
    public, noise, plain, both = np.mean(errors, axis=0)
    assert both < 1.05 * min(public, noise)
    assert both < 0.95 * plain


def test_with_fewer_windows_than_noise_can_bear_most_worlds_gain_from_public_text() -> None:
    gains = []
    for windows, multiplier, deviation, turned in _WORLDS:
        those = text(99, windows, deviation=deviation, turned=turned)
        public, noise, _, both = _errors(
            those, those.truth, multiplier, 99, _by_sparsegpt, _standing_out, repair_matrix
        )
        gains.append(min(public, noise) / both)
    assert np.exp(np.mean(np.log(gains))) > 1.03
