"""One record's second moments as whole numbers of bounded length, whatever the record holds.

A record is one calibration window; what it adds to a moment is the sum over its tokens of x^2 (Wanda: one number an
input) or of x x^T (SparseGPT: a symmetric matrix). That is what may move a released sum, so its length is bounded: for
a diagonal the Euclidean norm, for a matrix the Frobenius norm, in which an element off the diagonal counts twice.

The bound is a whole number C of steps of a grid, and the step a power of two. A record that is longer is scaled down
to C (times 1 - 2^-20, for the rounding of doubles), and all of them are rounded towards zero, which lengthens nothing.
So the numbers that are added up satisfy |v|^2 <= C^2 exactly, in whole numbers: the sensitivity needs no allowance
for the grid. Rounding takes less than a step from an element, and the noise on it is at least as wide as C is long for
a noise multiplier of 1: with C >= 2^14 that is nothing, up to thousands of records.

A record that is not finite counts as zero: an error would tell that there is such a record.

A few inputs of a language model are a hundred times larger than the others. They would make up the whole length, and
noise that is as wide as they are long would drown the rest. So a record can be whitened first: x_j divided by the root
of what its square is on a public text, M_ij / sqrt(p_i p_j). It is the whitened record whose length is bounded, and
the noise then has one ratio to all inputs.

Neither bound nor grid nor scale may come from private data: they are chosen from a public text's records and are public
themselves, and no private quantile is ever taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, frexp, isfinite, ldexp, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import ConfigError, DataError

__all__ = [
    "WHOLE",
    "Clipping",
    "clip_diagonal",
    "clip_matrix",
    "diagonal_length",
    "diagonal_places",
    "matrix_length",
    "public_clipping",
    "public_scale",
    "to_diagonal",
    "to_matrix",
    "whitened_diagonal",
    "whitened_matrix",
    "whole_scale",
]

WHOLE = 2.0**16
"""Parts of one that a root of `whole_scale` is a whole number of."""

_BITS = 15  # of a bound that is chosen here
_LARGEST_BOUND = 2**26
_LARGEST_EXPONENT = 500
_SMALLEST_SHARE = 2.0**-10  # of the mean, for inputs that hardly occur in the public text
_MARGIN = 1 - 2.0**-20  # a norm of 2^30 elements in doubles is off by less


@dataclass(frozen=True)
class Clipping:
    """How one moment's records are clipped; public.

    Attributes:
        bound: C, the largest length of a record, in steps of the grid.
        exponent: of the step, which is 2^exponent in units of what is clipped.
    """

    bound: int
    exponent: int

    def __post_init__(self) -> None:
        """Refuse what doubles can't do."""
        if not (1 <= self.bound <= _LARGEST_BOUND and abs(self.exponent) <= _LARGEST_EXPONENT):
            raise ConfigError(
                f"A bound of {self.bound} steps of 2^{self.exponent} is out of range.",
                f"Give 1 to {_LARGEST_BOUND} steps of 2^-{_LARGEST_EXPONENT} to 2^{_LARGEST_EXPONENT}.",
            )


def public_clipping(lengths: Sequence[float], quantile: Fraction) -> Clipping:
    """A bound that the given share of a public text's records keeps, on a grid on which it has 15 bits.

    Args:
        lengths: of the public records, from `diagonal_length` or `matrix_length`.
        quantile: share of them that is not to be clipped, above 0 and up to 1.

    Raises:
        DataError: there is no record, or the bound would be zero or not finite.
    """
    todo = "Choose bounds from more of a public text, with the model that is pruned."
    if not (lengths and 0 < quantile <= 1):
        raise DataError(f"{len(lengths)} public records have no quantile {quantile}.", todo)
    length = sorted(lengths)[ceil(quantile * len(lengths)) - 1]
    if not (isfinite(length) and length > 0):
        raise DataError(f"A bound of {length} was found in the public records.", todo)
    exponent = frexp(length)[1] - _BITS
    return Clipping(ceil(ldexp(length, -exponent)), exponent)


def public_scale(diagonal: NDArray[Any]) -> NDArray[np.float64]:
    """What whitening divides by: mean squares on public text, none below a small share of their mean.

    Args:
        diagonal: float, shape (inputs,), the mean square of each input on public text.

    Returns:
        float64, shape (inputs,), above 0.

    Raises:
        DataError: they are zero throughout, or not finite.
    """
    p = diagonal.astype(np.float64)
    mean = float(p.mean())
    if not (isfinite(mean) and mean > 0):
        raise DataError(
            f"Mean squares of {mean} on average were found in the public records.",
            "Choose bounds from more of a public text, with the model that is pruned.",
        )
    return np.maximum(p, _SMALLEST_SHARE * mean)


def whole_scale(diagonal: NDArray[Any]) -> NDArray[np.float64]:
    """`public_scale` over its largest, in roots that are whole numbers of 2^-16: exact, and short to write down.

    Args:
        diagonal: as for `public_scale`.

    Returns:
        float64, shape (inputs,), squares of 1 to 2^16 times 2^-16.

    Raises:
        DataError: as for `public_scale`.
    """
    p = public_scale(diagonal)
    roots = np.maximum(np.rint(np.sqrt(p / p.max()) * WHOLE), 1.0) / WHOLE
    squares: NDArray[np.float64] = roots * roots
    return squares


def whitened_diagonal(record: NDArray[Any], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """A record's diagonal, float, shape (inputs,), over `scale`."""
    with np.errstate(over="ignore", invalid="ignore"):
        return record.astype(np.float64) / scale


def whitened_matrix(record: NDArray[Any], scale: NDArray[np.float64]) -> NDArray[Any]:
    """A record's matrix, float, shape (inputs, inputs), of the same dtype, over the roots of `scale` on both sides."""
    root = np.sqrt(scale).astype(record.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        whitened: NDArray[Any] = record / root[:, None]
        whitened /= root
    return whitened


def diagonal_length(record: NDArray[Any]) -> float:
    """The Euclidean norm of a record's diagonal, float, shape (inputs,)."""
    return _norm(record.astype(np.float64))


def matrix_length(record: NDArray[Any]) -> float:
    """The Frobenius norm of a record's symmetric matrix, float, shape (inputs, inputs); the upper triangle counts."""
    return _symmetric_norm(_upper(record), len(record))


def clip_diagonal(record: NDArray[Any], clipping: Clipping) -> NDArray[np.int64]:
    """What a record adds to the sum of diagonals.

    Args:
        record: float, shape (inputs,).
        clipping: of this moment.

    Returns:
        int64, shape (inputs,), in steps, of Euclidean norm at most the bound.
    """
    values = record.astype(np.float64)
    return _clipped(values, _norm(values), clipping)


def clip_matrix(record: NDArray[Any], clipping: Clipping) -> NDArray[np.int64]:
    """What a record adds to the sum of matrices.

    Args:
        record: float, shape (inputs, inputs), symmetric; only the upper triangle is read.
        clipping: of this moment.

    Returns:
        int64, shape (inputs (inputs + 1) / 2,), the upper triangle row by row, in steps, of Frobenius norm at most the
        bound.
    """
    values = _upper(record)
    return _clipped(values, _symmetric_norm(values, len(record)), clipping)


def to_diagonal(values: NDArray[np.int64], clipping: Clipping) -> NDArray[np.float64]:
    """A sum of diagonals in units of what was clipped, float64."""
    return np.ldexp(values.astype(np.float64), clipping.exponent)


def to_matrix(triangle: NDArray[np.int64], inputs: int, clipping: Clipping) -> NDArray[np.float64]:
    """A sum of matrices in units of what was clipped: float64, shape (inputs, inputs), symmetric."""
    matrix = np.empty((inputs, inputs))
    end = 0
    for row in range(inputs):
        start, end = end, end + inputs - row
        matrix[row, row:] = matrix[row:, row] = triangle[start:end]
    return np.ldexp(matrix, clipping.exponent)


def diagonal_places(inputs: int) -> NDArray[np.intp]:
    """Where the diagonal is in an upper triangle that is written row by row, shape (inputs,)."""
    row = np.arange(inputs)
    return row * inputs - row * (row - 1) // 2


def _upper(matrix: NDArray[Any]) -> NDArray[np.float64]:
    return np.concatenate([row[i:] for i, row in enumerate(matrix)]).astype(np.float64)


def _norm(values: NDArray[np.float64]) -> float:
    return sqrt(_sum_of_squares(values))


def _symmetric_norm(triangle: NDArray[np.float64], inputs: int) -> float:
    return sqrt(2 * _sum_of_squares(triangle) - _sum_of_squares(triangle[diagonal_places(inputs)]))


def _sum_of_squares(values: NDArray[np.float64]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values @ values)


def _clipped(values: NDArray[np.float64], length: float, clipping: Clipping) -> NDArray[np.int64]:
    if not isfinite(length):
        return np.zeros(values.shape, np.int64)
    scale = ldexp(1.0, -clipping.exponent)
    if length * scale > clipping.bound * _MARGIN:
        scale = clipping.bound * _MARGIN / length
    values *= scale
    return np.trunc(values, out=values).astype(np.int64)
