"""Matrix products whose bits do not depend on who computes them.

A floating-point sum depends on the order of its terms, and a BLAS chooses that order by processor, thread count and
shape. So each factor is split, without error, into integers (Ozaki, Ogita, Oishi and Rump 2012, "Error-free
transformations of matrix multiplication by using fast routines of matrix multiplication and its applications",
Numerical Algorithms 59): with 2^e just above the largest entry of a row of A (a column of B) and b bits a slice,

    A = 2^(e - b) (A_hi + 2^-b A_lo),    |A_hi| <= 2^b,    |A_lo| <= 2^(b-1),    2 b + ceil(log2 k) <= 53

and every partial sum of A_hi B_hi, A_hi B_lo and A_lo B_hi over the k inner entries is an integer of at most 53 bits:
the products are exact in any order, with fused multiply-adds or without. They are added up elementwise, in one order.
What is left out, A_lo B_lo and what two slices do not hold, is below 1.3 k 2^(-2b) times the row's and the column's
power of two. So a term is kept to 2 b bits: 46 at k = 128, 42 at k = 1536, where float32 has 24.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import NumericalError

__all__ = ["exact_product", "subtract_product"]

_SIGNIFICAND = 53
_TILE = 2**17  # elements of the result: what a core's second-level cache holds of it
_FEWEST_ROWS = 64  # of a tile, so that the work on B's slices is worth it


def exact_product(A: NDArray[np.float64], B: NDArray[np.float64]) -> NDArray[np.float64]:
    """A B, the same bits for any order of the inner entries, any tiling, thread count, BLAS and processor.

    Args:
        A: float64 (m, k), finite.
        B: float64 (k, n), finite.

    Returns:
        float64 (m, n); zeros are positive; beyond float64's range an entry is infinite.

    Raises:
        NumericalError: an entry is not finite.
    """
    product = np.empty((len(A), B.shape[1]))
    for rows, tile in _tiles(A, B):
        product[rows] = tile
    return product


def subtract_product(C: NDArray[np.float64], A: NDArray[np.float64], B: NDArray[np.float64]) -> None:
    """`C -= exact_product(A, B)` in place, a few rows at a time, so that the product is never held as a whole.

    Raises:
        NumericalError: an entry of A or B is not finite.
    """
    for rows, tile in _tiles(A, B):
        C[rows] -= tile


def _tiles(A: NDArray[np.float64], B: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """The product's rows, a few at a time; an entry depends on its row and column alone, not on where tiles end."""
    bits = (_SIGNIFICAND - (A.shape[1] - 1).bit_length()) // 2
    B_hi, B_lo, B_exponent = _slices(B, bits, axis=0)
    step = max(_FEWEST_ROWS, _TILE // max(1, B.shape[1]))
    for start in range(0, len(A), step):
        rows = slice(start, start + step)
        A_hi, A_lo, A_exponent = _slices(A[rows], bits, axis=1)
        tile = A_hi @ B_lo
        tile += A_lo @ B_hi
        tile *= 2.0**-bits
        tile += A_hi @ B_hi
        with np.errstate(over="ignore"):
            np.ldexp(tile, A_exponent + B_exponent - 2 * bits, out=tile)
        tile += 0.0  # the sign of a zero is the BLAS's choice
        yield rows, tile


def _slices(
    X: NDArray[np.float64], bits: int, axis: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intc]]:
    """High and low slice of X, integers, and the exponent of the power of two above the largest along `axis`."""
    largest = np.abs(X).max(axis=axis, keepdims=True, initial=0)
    if not np.isfinite(largest).all():
        raise NumericalError(
            "A matrix that is to be multiplied has entries that are not finite.",
            "Look for infinite or missing numbers in the base model's weights and in the moments.",
        )
    _, exponent = np.frexp(largest)
    low = np.ldexp(X, bits - exponent)
    high = np.rint(low)
    low -= high
    low *= 2.0**bits
    return high, np.rint(low, out=low), exponent
