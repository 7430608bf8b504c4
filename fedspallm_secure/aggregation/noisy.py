"""Noisy second moments, drawn towards what one knows without them, the same bits on every machine.

Inputs are scaled so that on public text all have one size, and noise is the same for all. So the best guess without a
look at the sum is a diagonal of equal numbers and nothing beside it. Numbers are drawn towards the guess as far as they
themselves ask for (Efron, Morris 1973, JASA 68, 117-130): what they vary by in truth, tau^2, is their mean square
distance from it less the noise's variance v, and tau^2 / (tau^2 + v) of the distance is left. Half of the time noise
alone looks as if tau^2 were above 0, so that counts only from 3 standard deviations of such a chance on.

`privacy.repair` does the same for one institution, with a public matrix and eigenvalues. Here all is elementwise, or a
sum that is rounded once, since institutions, server and auditor need equal bits.
"""

from __future__ import annotations

from math import fsum, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_diagonal", "draw_matrix"]

_CHANCE = 3.0  # standard deviations of the mean square of noise
_FARTHEST = 4.0  # times the square of the guess


def draw_diagonal(released: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    """A diagonal drawn towards its mean.

    Args:
        released: of scaled inputs, with noise, float64 (inputs,), finite.
        variance: v, of the noise in each number, above 0.

    Returns:
        float64 (inputs,), above 0. What varies much is taken to vary by twice the mean at most, and no input counts
        less than the noise's deviation, or the mean where that is less.
    """
    d, sigma = len(released), sqrt(variance)
    mean = max(fsum(released.tolist()) / d, sigma / sqrt(d))
    left = released - mean
    square, share = fsum((left * left).tolist()) / d - variance, 0.0
    if square > _CHANCE * variance * sqrt(2 / d):
        square = min(square, _FARTHEST * mean * mean)
        share = square / (square + variance)
    return np.maximum(mean + share * left, min(sigma, mean))


def draw_matrix(moment: NDArray[np.float64], variance: float) -> NDArray[np.float64] | None:
    """A moment drawn towards its diagonal.

    Symmetric noise has eigenvalues up to rho = sigma sqrt(2 inputs) (Wigner). As much of rho as of the rest is added to
    the diagonal, so that what is left of the noise changes little.

    Pruning from a matrix solves for what the other inputs can make up for, and believes noise in it more readily than
    in a diagonal. So the rest is left out unless it is as large as the noise, and what is left of rho at most half of
    the mean of the diagonal, which is the mean eigenvalue.

    Args:
        moment: of scaled inputs, float64 (inputs, inputs), symmetric, finite: the drawn diagonal, and noise elsewhere.
        variance: v, of the noise on the diagonal, above 0; half of it elsewhere.

    Returns:
        float64 (inputs, inputs), or None where the noise hides what is not on the diagonal.
    """
    d, half, diagonal = len(moment), variance / 2, np.diagonal(moment)
    pairs = d * (d - 1) // 2
    rows = (moment[row, row + 1 :] for row in range(d - 1))
    square = fsum(x for row in rows for x in (row * row).tolist()) / max(pairs, 1) - half
    if square < half:
        return None
    share = square / (square + half)
    more = share * sqrt(variance) * sqrt(2.0 * d)
    if more > fsum(diagonal.tolist()) / d / 2:
        return None
    drawn: NDArray[np.float64] = share * moment
    np.fill_diagonal(drawn, diagonal + more)
    return drawn
