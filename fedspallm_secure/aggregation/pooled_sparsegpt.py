"""SparseGPT (arXiv 2301.00774, algorithm 1) from a pooled second moment, the same bits on every machine.

It prunes as local pruning does: with `H = sum_t x_t x_t^T` damped by lambda I and U the upper factor of its inverse
(`H^-1 = U^T U`), zeroing `W[:, j]` costs `W[:, j]^2 / U[j, j]^2`, and the error is fed back as
`W[:, k] -= (W[:, j] / U[j, j]) U[j, k]`, k > j. The mask is chosen a block of columns at a time, one threshold over
all rows of a matrix (N:M: a group at a time). Matrices that see the same input share U and keep their own thresholds. A
dead input (H_jj = 0) loses its column. A factor in H changes U as a whole, and so neither masks nor weights.

All is float64, elementwise or by `exact_product`, so that institutions, server and auditor get equal weights and not
nearly equal ones. Halves of the columns, down to a few, take the place of the paper's blocks of lazy updates (see
`factor`): the order of the columns is the paper's.

W is held transposed, (inputs, outputs), so that a column of the paper is contiguous here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation.exact_product import subtract_product
from fedspallm_secure.aggregation.factor import FEW, inverse_factor
from fedspallm_secure.aggregation.selection import GONE, pruned_in_groups, smallest, spread
from fedspallm_secure.charter import NM, Pattern, Unstructured
from fedspallm_secure.errors import NumericalError

__all__ = ["prune_from_moment"]


def prune_from_moment(
    matrices: Sequence[NDArray[Any]],
    moment: NDArray[np.float64],
    pattern: Pattern,
    damping: Fraction,
    block: int,
) -> list[NDArray[Any]]:
    """Prune the base weights that see the input with this second moment.

    Args:
        matrices: each (outputs, inputs), any floating dtype, finite.
        moment: float64 (inputs, inputs), symmetric; a power of two as a factor changes no bit.
        pattern: for each matrix on its own.
        damping: lambda as a share of the mean of the moment's diagonal.
        block: columns that share a threshold, at least 1; N:M needs none.

    Returns:
        New arrays of the matrices' shapes and dtypes, exactly +0 where pruned. Weights of fewer than 64 bits are
        rounded to float32 first, then to their own dtype.

    Raises:
        NumericalError: the moment is not finite, no damping makes it positive definite, or a weight is not finite or
            outgrows its dtype.
    """
    ends = list(accumulate((len(matrix) for matrix in matrices), initial=0))
    parts = [slice(*ends) for ends in pairwise(ends)]
    W = np.empty((len(moment), ends[-1]))
    for part, matrix in zip(parts, matrices, strict=True):
        W[:, part] = matrix.T
    if not np.isfinite(W).all():
        raise NumericalError("A base weight is not finite.", "Prune a model without infinite or missing weights.")
    W[np.diagonal(moment) <= 0] = 0
    U, _ = inverse_factor(moment, damping)
    sweep = _Sweep(W, U, parts, pattern, block)
    sweep.columns(0, len(W))
    W[sweep.pruned] = 0
    return [_as(matrix.dtype, W[:, part].T) for part, matrix in zip(parts, matrices, strict=True)]


@dataclass(eq=False)
class _Sweep:
    """One pass over the columns of stacked matrices.

    Attributes:
        W: float64 (inputs, all outputs); a pruned weight stays here, as it was when its column was reached.
        U: float64 (inputs, inputs), upper triangular.
        parts: the columns here (rows of the paper) of each matrix.
        pattern: for each matrix on its own.
        block: columns that share a threshold when unstructured.
    """

    W: NDArray[np.float64]
    U: NDArray[np.float64]
    parts: Sequence[slice]
    pattern: Pattern
    block: int

    def __post_init__(self) -> None:
        self.gone = self.W == 0
        self.pruned = np.zeros_like(self.gone)
        self.step = self.pattern.group if isinstance(self.pattern, NM) else self.block
        self.quotas: list[list[int]] = []
        if isinstance(self.pattern, Unstructured):
            starts = range(0, len(self.W), self.step)
            self.quotas = [_quotas(self.gone[:, part], starts, self.pattern) for part in self.parts]

    def columns(self, first: int, last: int) -> None:
        """Prune the columns `first` to `last`, which those before were fed back to, and feed back among them.

        Halves meet where a block or group does as long as one fits, so that when its first column is reached, all of it
        has been fed back to.
        """
        W, U = self.W, self.U
        if last - first > FEW:
            unit = self.step if last - first > self.step else 1
            middle = first + unit * max(1, (last - first) // (2 * unit))
            self.columns(first, middle)
            errors = self._errors(slice(first, middle))
            subtract_product(W[middle:last], U[first:middle, middle:last].T, errors)
            self.columns(middle, last)
            return
        for j in range(first, last):
            if j % self.step == 0:
                self._choose(j)
            error = self._errors(slice(j, j + 1))
            W[j + 1 : last] -= U[j, j + 1 : last, None] * error

    def _errors(self, columns: slice) -> NDArray[np.float64]:
        """What is fed back of these columns, `W[:, j] / U[j, j]` where pruned, 0 elsewhere."""
        d = self.U.diagonal()[columns, None]
        return np.divide(self.W[columns], d, out=np.zeros_like(self.W[columns]), where=self.pruned[columns])

    def _choose(self, start: int) -> None:
        """Choose the mask of the block or group that begins at column `start`."""
        columns = slice(start, min(start + self.step, len(self.W)))
        scores = self.W[columns] / self.U.diagonal()[columns, None]
        scores *= scores
        np.copyto(scores, GONE, where=self.gone[columns])
        if isinstance(self.pattern, NM):
            self.pruned[columns] = pruned_in_groups(scores.T, self.pattern).T
            return
        for part, quotas in zip(self.parts, self.quotas, strict=True):
            quota = np.array([quotas[start // self.step]])
            chosen = smallest(scores[:, part].reshape(1, -1), quota)
            self.pruned[columns, part] = chosen.reshape(len(scores), -1)


def _quotas(gone: NDArray[np.bool_], starts: range, pattern: Unstructured) -> list[int]:
    """Zeros each block of one matrix must have, so that they add up to the pattern's exact number."""
    blocks = [gone[start : start + starts.step] for start in starts]
    there = [int(np.count_nonzero(part)) for part in blocks]
    free = [part.size - zeros for part, zeros in zip(blocks, there, strict=True)]
    new = spread(max(0, pattern.zeros(gone.size) - sum(there)), free)
    return [zeros + more for zeros, more in zip(there, new, strict=True)]


def _as(dtype: np.dtype[Any], W: NDArray[np.float64]) -> NDArray[Any]:
    """W in its own dtype; by way of float32, since libraries differ in how they round float64 to 16 bits.

    Raises:
        NumericalError: a weight outgrows the dtype.
    """
    with np.errstate(over="ignore"):
        new = (W if dtype.itemsize >= 8 else W.astype(np.float32)).astype(dtype, order="C")
    if not np.isfinite(new.astype(np.float64)).all():
        raise NumericalError(
            f"A pruned weight is larger than {dtype} can hold.", "Prune a model of a wider dtype, or damp more."
        )
    return new
