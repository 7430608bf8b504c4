"""What was released with noise, made fit for pruning: positive, and no more believed than the noise allows.

All of it follows from the released numbers and the public width of the noise, so it costs no privacy.

Noise can make a second moment negative, and then Wanda's score of an input is zero or no number. So elements of a
diagonal are raised to sigma, the standard deviation of the noise: below it they are not told from zero.

SparseGPT inverts its matrix, so small eigenvalues count most, and these are the ones that noise spoils. Symmetric noise
with variance sigma^2 on the diagonal and sigma^2 / 2 elsewhere has eigenvalues up to rho = sigma sqrt(2 n) (Wigner).
An eigenvalue theta > rho / 2 that the noise is added to shows as theta + rho^2 / (4 theta), above rho (Benaych-Georges,
Nadakuditi 2011, arXiv 0910.2120). So eigenvalues above rho are kept, set back to theta, and those below are dropped. In
their place comes what the diagonal still lacks, raised to sigma: single elements are known far better than eigenvalues,
and large inputs stay large. Raising all eigenvalues to some floor instead makes all inputs look alike, and raising them
to next to nothing lets noise choose what is pruned.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import ConfigError

__all__ = ["repair_diagonal", "repair_matrix"]


def repair_diagonal(moment: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """A positive diagonal.

    Args:
        moment: float64, shape (inputs,), as released.
        sigma: standard deviation of its noise, above 0.

    Raises:
        ConfigError: sigma is not above 0.
    """
    _check(sigma)
    return np.maximum(moment, sigma)


def repair_matrix(moment: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """A symmetric matrix whose eigenvalues are all `sigma` at least, but for rounding.

    Args:
        moment: float64, shape (inputs, inputs), symmetric, as released.
        sigma: standard deviation of the noise on its diagonal, above 0.

    Raises:
        ConfigError: sigma is not above 0.
    """
    _check(sigma)
    rho = sigma * sqrt(2 * len(moment))
    shown, directions = np.linalg.eigh(moment)
    kept = shown > rho
    theta = (shown[kept] + np.sqrt(shown[kept] ** 2 - rho**2)) / 2
    half = directions[:, kept] * np.sqrt(theta)
    repaired: NDArray[np.float64] = half @ half.T
    diagonal = np.diagonal(repaired)
    lacking = np.maximum(np.diagonal(moment) - diagonal, sigma)
    np.fill_diagonal(repaired, diagonal + lacking)
    return repaired


def _check(sigma: float) -> None:
    if not sigma > 0:
        raise ConfigError(f"A moment without noise, sigma {sigma}, has nothing to repair.", "Prune from it as it is.")
