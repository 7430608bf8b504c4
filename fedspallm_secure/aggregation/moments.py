"""Second moments of a layer's inputs as small non-negative integers, so that they can be added under masks.

    step_ij = sqrt(m_i m_j) / Q,    digit = round(clamp(M_ij, -Q step_ij, Q step_ij) / step_ij) + Q    in [0, 2 Q]

M is a sum over tokens, and m_i a bound on M_ii that is known to all. |M_ij| <= sqrt(M_ii M_jj) (Cauchy, Schwarz), so
what fits on the diagonal fits everywhere, and an input a thousand times larger than the others takes no step from them.
Diagonals are not negative: there digit = round(M_ii / step_ii) in [0, Q]. A sum of n institutions' digits stands for
(sum - n Q) steps, on a diagonal for `sum` steps: that is the moment of all their text, since moments are sums.

The bound of a diagonal is a constant; the diagonal that comes out of its sum is the tightest bound for the matrices,
since no institution's M_ii exceeds the sum of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MomentQuantiser"]


@dataclass(frozen=True)
class MomentQuantiser:
    """The quantisation of one input's second moment.

    Attributes:
        Q: largest entry, in steps; below 2^53, to be exact in float64.
        root: sqrt(m_i), float64 (inputs,); an entry whose step is 0 counts as 0.
        diagonal: whether only the diagonal is sent.
    """

    Q: int
    root: NDArray[np.float64]
    diagonal: bool

    @classmethod
    def of(cls, scale: NDArray[Any], clip: Fraction, Q: int, *, diagonal: bool) -> MomentQuantiser:
        """The quantiser with m = clip * scale.

        Args:
            scale: what the diagonal is like, the same for all institutions, finite and not negative, shape (inputs,).
            clip: how many times larger an institution's may be.
            Q: largest entry, in steps.
            diagonal: whether only the diagonal is sent.
        """
        return cls(Q, np.sqrt(scale.astype(np.float64) * (clip.numerator / clip.denominator)), diagonal)

    @property
    def top(self) -> int:
        """The largest digit."""
        return self.Q + self._zero

    @property
    def length(self) -> int:
        """How many digits a moment has."""
        inputs = len(self.root)
        return inputs if self.diagonal else inputs * (inputs + 1) // 2

    def encode(self, moment: NDArray[Any]) -> NDArray[Any]:
        """One institution's moment.

        Args:
            moment: sum over tokens, any floating dtype, finite, shape (inputs,) or (inputs, inputs); of a matrix, what
                lies below the diagonal is not looked at.

        Returns:
            Unsigned digits in [0, top], shape (length,); of a matrix the upper triangle, row-major.
        """
        digits = np.empty(self.length, np.min_scalar_type(self.top))
        for part, where, step in self._parts():
            steps = np.divide(moment[where], step, out=np.zeros(step.shape), where=step > 0)
            np.clip(steps, -self._zero, self.Q, out=steps)
            digits[part] = np.rint(steps, out=steps) + self._zero
        return digits

    def decode(self, sums: NDArray[Any], n: int) -> NDArray[np.float64]:
        """The moment of all institutions' text, the same bits on every machine.

        Args:
            sums: digit sums, unsigned, shape (length,), at most n * top.
            n: how many institutions were summed, with n * top below 2^63.

        Returns:
            float64, shape (inputs,) or (inputs, inputs), symmetric.
        """
        moment = np.empty(self.root.shape if self.diagonal else self.root.shape * 2)
        for part, where, step in self._parts():
            moment[where] = (sums[part].astype(np.int64) - n * self._zero) * step
            moment[where[::-1]] = moment[where]
        return moment

    @property
    def _zero(self) -> int:
        """The digit of an entry that is 0."""
        return 0 if self.diagonal else self.Q

    def _parts(self) -> Iterator[tuple[slice, tuple[Any, ...], NDArray[np.float64]]]:
        """Runs of digits, with their place in the moment and their steps: all of a diagonal, or a triangle's rows."""
        inputs = len(self.root)
        if self.diagonal:
            yield slice(0, inputs), (slice(None),), self.root * self.root / self.Q
            return
        end = 0
        for row in range(inputs):
            start, end = end, end + inputs - row
            yield slice(start, end), (row, slice(row, None)), self.root[row] * self.root[row:] / self.Q
