"""Second moments of a layer's inputs as small non-negative integers, so that they can be added under masks.

A moment M is a sum over tokens, so the moment of all institutions' text is the sum of theirs. Two sums give it. The
diagonals come first, on one grid for all inputs; they have a sign, since noise may be added to them:

    step = 2^-exponent,    digit = round(clamp(M_ii / step, -Q, Q)) + Q    in [0, 2 Q]

The matrices follow, without their diagonals, on the grid that the pooled diagonal D gives:

    step_ij = sqrt(D_i) sqrt(D_j) / Q,    digit = round(clamp(M_ij / step_ij, -Q, Q)) + Q    in [0, 2 Q]

|M_ij| <= sqrt(M_ii M_jj) <= sqrt(D_i D_j) (Cauchy, Schwarz), so nothing is clamped but what rounding moved, and an
input a thousand times larger than the others takes no step from them. A sum of n institutions' digits stands for
(sum - n Q) steps. Decoding gives the same bits on every machine: it is elementwise, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DiagonalQuantiser", "MatrixQuantiser"]


@dataclass(frozen=True)
class DiagonalQuantiser:
    """The quantisation of the diagonal of one input's second moment.

    Attributes:
        Q: the largest entry, in steps; at most 2^51, to be exact in float64 with its sign.
        exponent: a step is 2^-exponent; may be negative.
    """

    Q: int
    exponent: int

    @property
    def top(self) -> int:
        """The largest digit."""
        return 2 * self.Q

    def encode(self, diagonal: NDArray[Any]) -> NDArray[Any]:
        """One institution's diagonal.

        Args:
            diagonal: sums of squares over tokens, any floating dtype, finite, shape (inputs,).

        Returns:
            Unsigned digits in [0, top], shape (inputs,).
        """
        with np.errstate(over="ignore"):
            steps = np.ldexp(diagonal.astype(np.float64), self.exponent)
        return _digits(steps, self.Q)

    def at_bound(self, digits: NDArray[Any]) -> int:
        """How many of these digits stand at a bound, where entries beyond it are clamped to."""
        return _at_bound(digits, self.top)

    def decode(self, sums: NDArray[Any], n: int) -> NDArray[np.float64]:
        """The diagonal of all institutions' text.

        Args:
            sums: digit sums, unsigned, shape (inputs,), at most n * top.
            n: how many institutions were summed, with n * top below 2^63.

        Returns:
            float64 (inputs,); sums of more than 53 bits are rounded.
        """
        return np.ldexp((sums.astype(np.int64) - n * self.Q).astype(np.float64), -self.exponent)


@dataclass(frozen=True, eq=False)
class MatrixQuantiser:
    """The quantisation of one input's second moment, all but its diagonal.

    Attributes:
        Q: the largest entry, in steps; at most 2^51, to be exact in float64 with its sign.
        diagonal: D, of all institutions' text, float64 (inputs,), finite and not negative. An entry whose step is 0
            counts as 0.
        exponent: all steps are 2^-exponent where it is given, as noise asks for whole numbers of one grid.
    """

    Q: int
    diagonal: NDArray[np.float64]
    exponent: int | None = None

    @property
    def top(self) -> int:
        """The largest digit."""
        return 2 * self.Q

    @property
    def length(self) -> int:
        """How many digits a moment has: those of the strict upper triangle, row-major."""
        inputs = len(self.diagonal)
        return inputs * (inputs - 1) // 2

    def encode(self, moment: NDArray[Any]) -> NDArray[Any]:
        """One institution's moment.

        Args:
            moment: sum over tokens, any floating dtype, finite, shape (inputs, inputs); only what lies above the
                diagonal is looked at.

        Returns:
            Unsigned digits in [0, top], shape (length,).
        """
        digits = np.empty(self.length, np.min_scalar_type(self.top))
        for row, part, step in self._rows():
            entries = moment[row, row + 1 :].astype(np.float64)
            digits[part] = _digits(np.divide(entries, step, out=np.zeros_like(step), where=step > 0), self.Q)
        return digits

    def at_bound(self, digits: NDArray[Any]) -> int:
        """How many of these digits stand at a bound, where entries beyond it are clamped to."""
        return _at_bound(digits, self.top)

    def decode(self, sums: NDArray[Any], n: int) -> NDArray[np.float64]:
        """The moment of all institutions' text.

        Args:
            sums: digit sums, unsigned, shape (length,), at most n * top.
            n: how many institutions were summed, with n * top below 2^63.

        Returns:
            float64 (inputs, inputs), symmetric, with D on its diagonal.
        """
        moment: NDArray[np.float64] = np.diag(self.diagonal)
        for row, part, step in self._rows():
            moment[row, row + 1 :] = (sums[part].astype(np.int64) - n * self.Q) * step
            moment[row + 1 :, row] = moment[row, row + 1 :]
        return moment

    def _rows(self) -> Iterator[tuple[int, slice, NDArray[np.float64]]]:
        """Each row but the last, with its place among the digits and its steps."""
        inputs = len(self.diagonal)
        root = np.sqrt(self.diagonal)
        end = 0
        for row in range(inputs - 1):
            start, end = end, end + inputs - row - 1
            step = root[row] * root[row + 1 :] / self.Q
            if self.exponent is not None:
                step[:] = np.ldexp(1.0, -self.exponent)
            yield row, slice(start, end), step


def _digits(steps: NDArray[np.float64], Q: int) -> NDArray[Any]:
    """Steps as digits; `steps` is overwritten."""
    np.clip(steps, -Q, Q, out=steps)
    np.rint(steps, out=steps)
    steps += Q
    return steps.astype(np.min_scalar_type(2 * Q))


def _at_bound(digits: NDArray[Any], top: int) -> int:
    return int(np.count_nonzero((digits == 0) | (digits == top)))
