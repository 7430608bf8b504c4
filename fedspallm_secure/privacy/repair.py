"""What was released with noise, made fit for pruning: what the noise hides is taken from a public text's moment.

All of it follows from the released numbers, public text and the public width of the noise, so it costs no privacy. It
happens in coordinates in which the public moment's diagonal is 1 (`clipping.public_scale`): there private deviations
from public text are of one size for all inputs, as the noise is. What comes back is in units of the public moment, as
no pruner asks for the scale; where the noise hides everything it is the public moment itself, bit for bit.

**Scale.** a fits the public moment P to the released one by their traces, which the noise hardly touches. Unless the
trace stands out of the noise, nothing else can.

**Diagonal.** d = a P + w (released - a P), w = tau^2 / (tau^2 + sigma^2), with tau^2 the mean square of what is left over
sigma^2: shrinkage towards a guess, as far as the data themselves ask for (Efron, Morris 1973, JASA 68). By chance tau^2
is above zero half of the time, and large noise would then come in with a small weight. So it counts only where chance
does not explain it, and no further than twice the public moment.

**Matrix.** B = S a P S has the diagonal d, S diagonal: inputs that are larger than on public text take their
correlations with them. Symmetric noise with variance sigma^2 on the diagonal and sigma^2 / 2 elsewhere has eigenvalues
up to rho = sigma sqrt(2 n) (Wigner), and the largest is seldom above rho (1 + 2 n^(-2/3)) (Tracy, Widom 1996). What is
beyond that in released - B, on either side, stands out of the noise. An eigenvalue theta > rho / 2 of the truth shows as
shown = theta + rho^2 / (4 theta), along a direction that has the share 1 - rho^2 / (4 theta^2) in common with the true
one (Benaych-Georges, Nadakuditi 2011, arXiv 0910.2120). So the nearest matrix along that direction has the eigenvalue
theta - rho^2 / (4 theta) = sqrt(shown^2 - rho^2), which is added to B; all others of the difference are dropped.

A sum of squares is not negative. An input, or a direction, counts at least a quarter of what public text gives it, or
sigma where that is less.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import ConfigError

__all__ = ["repair_diagonal", "repair_matrix"]

_SURE = 4.0  # standard deviations of the trace's noise
_CHANCE = 3.0  # standard deviations of a mean square of noise
_FARTHEST = 4.0  # a deviation's mean square beside the public moment's
_LEAST = 0.25
_EDGE = 2.0


def repair_diagonal(
    released: NDArray[np.float64], sigma: float, public: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A diagonal, in units of the public one.

    Args:
        released: float64, shape (inputs,), whitened, with noise.
        sigma: standard deviation of its noise, above 0.
        public: float64, shape (inputs,), of public text, not whitened.
        scale: float64, shape (inputs,), that `released` was whitened by.

    Returns:
        float64, shape (inputs,), not whitened; positive where `public` is. `public` itself where the noise hides all.

    Raises:
        ConfigError: sigma is not above 0.
    """
    _check(sigma)
    P = public / scale
    a = _fitted(released, sigma, P)
    d = _shrunk(released, sigma, a * P)
    return public.copy() if d is None else scale * d / a


def repair_matrix(
    released: NDArray[np.float64], sigma: float, public: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A symmetric matrix without negative eigenvalues, but for rounding, in units of the public one.

    Args:
        released: float64, shape (inputs, inputs), symmetric, whitened, with noise.
        sigma: standard deviation of the noise on its diagonal, above 0.
        public: float64, shape (inputs, inputs), symmetric, of public text, not whitened.
        scale: float64, shape (inputs,), that `released` was whitened by.

    Returns:
        float64, shape (inputs, inputs), not whitened. `public` itself where the noise hides all.

    Raises:
        ConfigError: sigma is not above 0.
    """
    _check(sigma)
    root = np.sqrt(scale)
    B = public / root[:, None] / root
    a = _fitted(np.diagonal(released), sigma, np.diagonal(B))
    if a == 0:
        return public.copy()
    B *= a
    d = _shrunk(np.diagonal(released), sigma, np.diagonal(B))
    if d is not None:
        seen = np.diagonal(B) > 0
        S = np.sqrt(np.divide(d, np.diagonal(B), out=np.ones_like(d), where=seen))
        B *= S[:, None] * S
        np.fill_diagonal(B, d)
    rho = sigma * sqrt(2 * len(B))
    shown, directions = np.linalg.eigh(released - B)
    beyond = np.abs(shown) > rho * (1 + _EDGE * len(B) ** (-2 / 3))
    if d is None and not beyond.any():
        return public.copy()
    shown, directions = shown[beyond], directions[:, beyond]
    repaired = B + (directions * np.copysign(np.sqrt(shown**2 - rho**2), shown)) @ directions.T
    if (shown < 0).any():
        repaired = _raised(repaired, B, sigma)
    return _symmetric(repaired * root[:, None] * root / a)


def _fitted(diagonal: NDArray[np.float64], sigma: float, P: NDArray[np.float64]) -> float:
    """The scale that fits the whitened public diagonal to the released one; 0 if their noise alone could be that."""
    trace, public = float(diagonal.sum()), float(P.sum())
    return trace / public if public > 0 and trace > _SURE * sigma * sqrt(len(P)) else 0.0


def _shrunk(released: NDArray[np.float64], sigma: float, public: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The released diagonal drawn towards the public one, both whitened; None where that is all that is left."""
    if not public.any():
        return None
    left = released - public
    square = float(np.mean(left**2)) - sigma**2
    if square <= _CHANCE * sigma**2 * sqrt(2 / len(left)):
        return None
    square = min(square, _FARTHEST * float(np.mean(public**2)))
    shrunk = public + square / (square + sigma**2) * left
    return np.maximum(shrunk, np.minimum(sigma, _LEAST * public))


def _raised(matrix: NDArray[np.float64], public: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """`matrix` with eigenvalues that are not below what `public` has along the same directions, or sigma."""
    eigenvalues, directions = np.linalg.eigh(matrix)
    along = np.einsum("ik,ik->k", directions, public @ directions)
    least = np.minimum(sigma, _LEAST * np.maximum(along, 0))
    return np.asarray((directions * np.maximum(eigenvalues, least)) @ directions.T)


def _symmetric(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((matrix + matrix.T) / 2)


def _check(sigma: float) -> None:
    if not sigma > 0:
        raise ConfigError(f"A moment without noise, sigma {sigma}, has nothing to repair.", "Prune from it as it is.")
