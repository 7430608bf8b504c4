"""Changes of weights as small non-negative integers, so that they can be added under masks.

    step_i = clip * rms_i / Q,    digit = round(clamp(d, -Q step, Q step) / step) + Q    in [0, 2 Q]

rms_i is the root mean square of row i of the public base weight: the step is known to all and derived from nobody's
data. No change is exactly digit Q. A sum of n clients' digits stands for (sum - n Q) steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation.rows import RowScales, row_blocks

__all__ = ["Quantiser"]


@dataclass(frozen=True)
class Quantiser:
    """The quantisation of one tensor's changes.

    Attributes:
        Q: largest change, in steps.
        step: float64, shape (outputs, 1), in units of the weights; 0 for a row of zeros, whose changes count as 0.
    """

    Q: int
    step: NDArray[np.float64]

    @classmethod
    def of(cls, scales: RowScales, Q: int, clip: Fraction) -> Quantiser:
        """The quantiser for changes to a base weight with these row scales, clipped at `clip` row RMS."""
        return cls(Q, scales.rms * (clip.numerator / clip.denominator) / Q)

    def encode(
        self, new: NDArray[Any], W: NDArray[Any], voted: NDArray[np.bool_], eligible: NDArray[np.bool_]
    ) -> NDArray[np.uint32]:
        """One client's changes at the eligible positions.

        Args:
            new: the client's weight, shape (outputs, inputs), finite.
            W: the base weight, same shape.
            voted: the client's mask, bool, same shape; where it pruned, its change counts as 0.
            eligible: positions of the values sum, bool, same shape.

        Returns:
            uint32 digits in [0, 2 Q], shape (number of eligible,), row-major.
        """
        digits = np.empty(np.count_nonzero(eligible), np.uint32)
        end = 0
        inverse = np.divide(1.0, self.step, out=np.zeros_like(self.step), where=self.step > 0)
        for rows in row_blocks(W.shape):
            steps = new[rows].astype(np.float64)
            steps -= W[rows]
            steps *= inverse[rows]
            steps *= voted[rows]
            chosen = steps.reshape(-1)[np.flatnonzero(eligible[rows])]
            np.clip(chosen, -self.Q, self.Q, out=chosen)
            start, end = end, end + chosen.size
            digits[start:end] = np.rint(chosen, out=chosen) + self.Q
        return digits
