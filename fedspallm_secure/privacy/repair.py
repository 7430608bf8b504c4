"""What was released with noise, made fit for pruning: what the noise hides is taken from a public text's moment.

All of it follows from the released numbers, public text and the public width of the noise, so it costs no privacy. It
is done on whitened moments (`clipping.public_scale`), where the public diagonal is about 1 and so is the noise's ratio
to it for all inputs. What comes back is not whitened, and in units of the public moment, as no pruner asks for the
scale; where the noise hides everything it is the public moment itself, bit for bit.

**Scale.** a fits the public moment P to the released one, by least squares.

**Diagonal.** d = a P + w (released - a P), w = tau^2 / (tau^2 + sigma^2), tau^2 the mean square of released - a P less
sigma^2: drawn towards a guess as far as the numbers themselves ask for (Efron, Morris 1973, JASA 68, 117-130). Half of
the time tau^2 is above 0 by chance, and then noise of any size comes in with a small weight. So it counts only from 3
standard deviations of such a chance on, and a deviation is taken to be twice as large as the public moment at most.

**Matrix.** B = S a P S has the diagonal d, S diagonal: inputs that are larger than on public text take their
correlations with them. Symmetric noise with variance sigma^2 on the diagonal and sigma^2 / 2 elsewhere has eigenvalues
up to rho = sigma sqrt(2 n) (Wigner), and seldom one beyond rho (1 + 2 n^(-2/3)) (Tracy, Widom 1996). What is beyond
that in released - B, above or below 0, stands out of the noise. An eigenvalue theta shows there as
theta + rho^2 / (4 theta), in a direction whose squared cosine with its own is 1 - rho^2 / (4 theta^2)
(Benaych-Georges, Nadakuditi 2011, arXiv 0910.2120). So what comes nearest to it in that direction is
theta - rho^2 / (4 theta) = sqrt(shown^2 - rho^2), and that is added to B (Nadakuditi 2014, arXiv 1306.6042). The rest
of released - B is dropped.

Noise can also take away too much, and what is next to nothing is pruned first, or compensates for everything. So an
input, or a direction, counts no less than the public text has it, or than sigma where that is less.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import ConfigError

__all__ = ["repair_diagonal", "repair_matrix"]

_SURE = 1.0  # standard deviations of the scale's noise
_CHANCE = 3.0  # standard deviations of the mean square of noise
_FARTHEST = 4.0  # times the public moment's mean square
_EDGE = 2.0  # in the width n^(-2/3) in which the largest eigenvalue of noise varies


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
    d = None if a == 0 else _shrunk(released, sigma, a * P)
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
    a = _fitted(released, sigma, B)
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
    shown, directions = _beyond(released - B, rho * (1 + _EDGE * len(B) ** (-2 / 3)))
    if d is None and not shown.size:
        return public.copy()
    repaired = B + (directions * np.copysign(np.sqrt(shown**2 - rho**2), shown)) @ directions.T
    if (shown < 0).any():
        repaired = _raised(repaired, B, sigma)
    return _symmetric(repaired * root[:, None] * root / a)


def _fitted(released: NDArray[np.float64], sigma: float, P: NDArray[np.float64]) -> float:
    """The scale at which P comes nearest to what was released, both whitened; 0 if noise alone could be that near."""
    product, square = float(np.vdot(released, P)), float(np.vdot(P, P))
    return product / square if product > _SURE * sigma * sqrt(square) else 0.0


def _shrunk(released: NDArray[np.float64], sigma: float, public: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The released diagonal drawn towards the public one, both whitened; None where that is all that is left."""
    left = released - public
    square = float(np.mean(left**2)) - sigma**2
    if square <= _CHANCE * sigma**2 * sqrt(2 / len(left)):
        return None
    square = min(square, _FARTHEST * float(np.mean(public**2)))
    return np.maximum(public + square / (square + sigma**2) * left, np.minimum(sigma, public))


def _beyond(matrix: NDArray[np.float64], limit: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The eigenvalues of a symmetric matrix beyond a limit, of either sign, (k,), and their directions, (inputs, k)."""
    if _is_positive(limit, matrix) and _is_positive(limit, -matrix):  # as a rule, and much faster than eigenvalues
        return np.empty(0), np.empty((len(matrix), 0))
    values, directions = np.linalg.eigh(matrix)
    beyond = np.abs(values) > limit
    return values[beyond], directions[:, beyond]


def _is_positive(limit: float, matrix: NDArray[np.float64]) -> bool:
    """Whether limit I + matrix has a Cholesky factor: whether no eigenvalue is below -limit."""
    shifted = matrix.copy()
    shifted[np.diag_indices_from(shifted)] += limit
    try:
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        return False
    return True


def _raised(matrix: NDArray[np.float64], public: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """`matrix` with no eigenvalue below what `public` has along its direction, or below sigma where that is less."""
    eigenvalues, directions = np.linalg.eigh(matrix)
    along = np.einsum("ik,ik->k", directions, public @ directions)
    least = np.clip(along, 0, sigma)
    return np.asarray((directions * np.maximum(eigenvalues, least)) @ directions.T)


def _symmetric(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((matrix + matrix.T) / 2)


def _check(sigma: float) -> None:
    if not sigma > 0:
        raise ConfigError(f"A moment without noise, sigma {sigma}, has nothing to repair.", "Prune from it as it is.")
