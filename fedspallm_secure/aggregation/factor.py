"""The factor of an inverse that SparseGPT prunes with, the same bits on every machine.

H is factored as `V V^T` with V upper (the Cholesky factor of the matrix read backwards), so that `U = V^-1` has
`H^-1 = U^T U` and the inverse is never formed. Both steps, and SparseGPT's own, are substitutions: row j is finished,
then taken from the rows below. Here they halve the rows, finish the first half, take it from the second by one
`exact_product`, and finish that. A few rows are done one by one with elementwise operations, which IEEE 754 rounds
alike everywhere. No result depends on a reduction's order.

All that is read of a moment is its ratio to the power of two above its largest diagonal entry.
"""

from __future__ import annotations

from fractions import Fraction
from math import fsum

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation.exact_product import subtract_product
from fedspallm_secure.errors import NumericalError

__all__ = ["FEW", "inverse_factor"]

FEW = 16  # rows that are done one by one: below, a product's splitting costs more than it saves

# Both as in local pruning. Float64 could go further, but then the two would raise lambda at different moments, and a
# pivot this small beside its diagonal is rounding in moments of float32 inputs.
_MAX_RAISES = 4
_PRECISION = 10 * 2.0**-23


def inverse_factor(moment: NDArray[np.float64], damping: Fraction) -> tuple[NDArray[np.float64], int]:
    """U, upper triangular, with `(H + lambda I)^-1 = U^T U`, and how often lambda had to be multiplied by 10.

    H is the moment over the power of two above its largest diagonal entry. On its diagonal, an input that is dead has
    the mean of the others, so that H can be factored.

    Args:
        moment: float64 (inputs, inputs), symmetric.
        damping: lambda as a share of the mean of H's diagonal.

    Raises:
        NumericalError: the moment is not finite, or not positive definite even with the largest lambda.
    """
    if not np.isfinite(moment).all():
        raise NumericalError(
            "A second moment has entries that are not finite.", "Load the model in bfloat16 or float32."
        )
    inputs = len(moment)
    diagonal = np.diagonal(moment)
    _, exponent = np.frexp(diagonal.max(initial=0))
    diagonal = np.ldexp(diagonal, -exponent)
    live = diagonal > 0
    diagonal = np.where(live, diagonal, fsum(diagonal[live]) / np.count_nonzero(live) if live.any() else 1.0)
    mean = fsum(diagonal) / inputs
    for raises in range(_MAX_RAISES + 1):
        damped = diagonal + float(damping * 10**raises) * mean
        R = np.ldexp(moment[::-1, ::-1], -exponent, order="C")
        np.fill_diagonal(R, damped[::-1])
        if _factor(R, _PRECISION * damped[::-1], 0, inputs):
            X = np.eye(inputs)
            _invert(X, R, 0, inputs)
            return np.ascontiguousarray(X[::-1, ::-1]), raises
    raise NumericalError(
        f"The moment is not positive definite with damping {float(damping * 10**_MAX_RAISES):g}, "
        f"after {_MAX_RAISES} raises.",
        "Calibrate on more and more varied text, with a larger damping, or send moments with more bits.",
    )


def _factor(R: NDArray[np.float64], least: NDArray[np.float64], first: int, last: int) -> bool:
    """Turn rows `first` to `last` of a symmetric matrix into those of R, with `R^T R` the matrix and R upper.

    The rows above must be done and taken from these. What lies below the diagonal is left as it comes.

    Returns:
        Whether every pivot is larger than its entry in `least`.
    """
    if last - first > FEW:
        middle = (first + last) // 2
        if not _factor(R, least, first, middle):
            return False
        subtract_product(R[middle:last, middle:], R[first:middle, middle:last].T, R[first:middle, middle:])
        return _factor(R, least, middle, last)
    for j in range(first, last):
        if not R[j, j] > least[j]:
            return False
        R[j, j:] /= np.sqrt(R[j, j])
        R[j + 1 : last, j + 1 :] -= np.multiply.outer(R[j, j + 1 : last], R[j, j + 1 :])
    return True


def _invert(X: NDArray[np.float64], R: NDArray[np.float64], first: int, last: int) -> None:
    """Turn rows `first` to `last` of the identity into those of `X = (R^T)^-1`, lower triangular.

    The rows above must be done and taken from these.
    """
    if last - first > FEW:
        middle = (first + last) // 2
        _invert(X, R, first, middle)
        subtract_product(X[middle:last, :middle], R[first:middle, middle:last].T, X[first:middle, :middle])
        _invert(X, R, middle, last)
        return
    for j in range(first, last):
        X[j, : j + 1] /= R[j, j]
        X[j + 1 : last, : j + 1] -= np.multiply.outer(R[j, j + 1 : last], X[j, : j + 1])
