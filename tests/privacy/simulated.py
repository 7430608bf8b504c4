"""Private text that is like public text and unlike it, released with noise: inputs of a layer, drawn from Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.privacy import (
    Release,
    add_noise,
    add_symmetric_noise,
    clip_diagonal,
    clip_matrix,
    diagonal_length,
    matrix_length,
    public_clipping,
    public_scale,
    to_diagonal,
    to_matrix,
    variance_for,
    whitened_diagonal,
    whitened_matrix,
)
from tests.privacy.independent import entropy_of

__all__ = ["INPUTS", "Text", "released", "text"]

INPUTS = 64
_TOKENS = 32
_PUBLIC = 32


@dataclass(frozen=True, eq=False)
class Text:
    """Moments of windows, float64 (windows, inputs, inputs), and what private ones are around, (inputs, inputs)."""

    public: NDArray[np.float64]
    private: NDArray[np.float64]
    truth: NDArray[np.float64]

    def diagonals(self) -> Text:
        """Of all of them."""
        return Text(*(np.diagonal(m, axis1=-2, axis2=-1).copy() for m in (self.public, self.private, self.truth)))


def text(seed: int, windows: int, *, deviation: float, turned: float = 0.0) -> Text:
    """Correlated inputs, a few of them much larger than the others, in 32 public windows and so many private ones.

    Args:
        seed: of everything.
        windows: private ones.
        deviation: standard deviation of the logarithm of an input's private mean square over its public one.
        turned: how far private correlations differ from public ones.
    """
    rng = np.random.default_rng(seed)
    public = rng.normal(size=(INPUTS, INPUTS)) * np.arange(1, INPUTS + 1) ** -0.7
    public = public @ rng.normal(size=(INPUTS, INPUTS)) * np.exp(rng.normal(size=INPUTS))
    private = public * np.exp(deviation / 2 * rng.normal(size=INPUTS))
    private = private @ (np.eye(INPUTS) + turned * rng.normal(size=(INPUTS, INPUTS)) / np.sqrt(INPUTS))

    def moments(mixed: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        x = rng.normal(size=(count, _TOKENS, INPUTS)) * np.exp(0.3 * rng.normal(size=(count, 1, 1))) @ mixed
        return np.asarray(x.transpose(0, 2, 1) @ x)

    return Text(moments(public, _PUBLIC), moments(private, windows), private.T @ private)


def released(
    those: Text, multiplier: float, *, whitened: bool, seed: int = 0
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """The private sum with noise, the noise's standard deviation, and the public scale (ones where not `whitened`)."""
    diagonal = those.truth.ndim == 1
    mean = those.public.mean(axis=0) / _TOKENS
    scale = public_scale(mean if diagonal else np.diagonal(mean)) if whitened else np.ones(INPUTS)
    whiten, length, clip = (
        (whitened_diagonal, diagonal_length, clip_diagonal)
        if diagonal
        else (whitened_matrix, matrix_length, clip_matrix)
    )
    clipping = public_clipping([length(whiten(record, scale)) for record in those.public], Fraction(1, 2))
    total = np.sum([clip(whiten(record, scale), clipping) for record in those.private], axis=0)
    release = Release(
        name="input",
        kind="diagonal" if diagonal else "matrix",
        inputs=INPUTS,
        bound=clipping.bound,
        exponent=clipping.exponent,
        variance=variance_for(multiplier, clipping.bound),
    )
    if diagonal:
        add_noise(total, Fraction(release.variance), entropy_of(seed))
        return to_diagonal(total, clipping), release.deviation, scale
    add_symmetric_noise(total, INPUTS, Fraction(release.variance), entropy_of(seed))
    return to_matrix(total, INPUTS, clipping), release.deviation, scale
