"""Scales of a matrix's output rows, the same to the last bit on every machine.

Tie-breaks and quantisation steps derive from the public base weights, and everybody must derive the same ones. A
floating-point sum depends on the order of its terms, which libraries choose by processor. So magnitudes are rounded to
22 bits relative to the row's largest, summed as integers (exact in any order), and only then divided: division and
square root of exact numbers are correctly rounded everywhere (IEEE 754).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowScales", "row_blocks", "row_scales"]

_BITS = 22  # squares of up to 2^44 leave room for fewer than 2^19 columns in an int64
_BLOCK = 2**15  # elements: what a core's second-level cache holds of a few float64 arrays


@dataclass(frozen=True)
class RowScales:
    """How large the weights of each output row are.

    Attributes:
        mean: mean_j |W_ij|, float64, shape (outputs, 1), 0 for a row of zeros.
        rms: sqrt(mean_j W_ij^2), same shape.
    """

    mean: NDArray[np.float64]
    rms: NDArray[np.float64]


def row_scales(W: NDArray[Any]) -> RowScales:
    """The scales of a base weight.

    Args:
        W: shape (outputs, inputs), any floating dtype, finite, fewer than 2^19 inputs.
    """
    mean, rms = np.empty((len(W), 1)), np.empty((len(W), 1))
    for rows in row_blocks(W.shape):
        magnitude = np.abs(W[rows].astype(np.float64))
        _, exponent = np.frexp(magnitude.max(axis=1, keepdims=True))
        unit = np.ldexp(1.0, exponent - _BITS)
        magnitude *= np.ldexp(1.0, _BITS - exponent)
        fixed = np.rint(magnitude, out=magnitude).astype(np.int64)
        mean[rows] = fixed.sum(axis=1, keepdims=True) / W.shape[1] * unit
        fixed *= fixed
        rms[rows] = np.sqrt(fixed.sum(axis=1, keepdims=True) / W.shape[1]) * unit
    return RowScales(mean, rms)


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of a matrix's rows that are small enough to work on in the processor's cache."""
    rows, columns = shape
    step = max(1, _BLOCK // columns)
    for start in range(0, rows, step):
        yield slice(start, start + step)
