"""SPEC.md sections 22.5 and 22.6: exact products, and the factor of an inverse; lists of rows of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import frexp, fsum, ldexp, sqrt

__all__ = ["FEW", "inverse_factor", "take_product"]

FEW = 16
_RAISES = 4
_LEAST = 10 * 2.0**-23

Rows = Sequence[Sequence[float]]


def _slices(vector: Sequence[float], b: int) -> tuple[list[int], list[int], int]:
    """H and l of a row or column, and its e."""
    e = frexp(max(map(abs, vector)))[1]
    scaled = [ldexp(x, b - e) for x in vector]
    high = [round(x) for x in scaled]
    return high, [round((x - h) * 2.0**b) for x, h in zip(scaled, high, strict=True)], e


def _dot(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(map(int.__mul__, one, other))


def take_product(C: list[list[float]], rows: range, columns: range, A: Rows, B: Rows) -> None:
    """C[rows][columns] -= the exact product of A (row by row) and B (row by row)."""
    b = (53 - (len(B) - 1).bit_length()) // 2
    right = [_slices(column, b) for column in zip(*B, strict=True)]
    for i, row in zip(rows, A, strict=True):
        high, low, e = _slices(row, b)
        for k, (other_high, other_low, other_e) in zip(columns, right, strict=True):
            rest = (_dot(high, other_low) + _dot(low, other_high)) * 2.0**-b
            C[i][k] -= ldexp(_dot(high, other_high) + rest, e + other_e - 2 * b)


def inverse_factor(M: Rows, damping: Fraction) -> list[list[float]] | None:
    """U; None if there is none, with any damping."""
    d = len(M)
    e = frexp(max(0.0, *(M[i][i] for i in range(d))))[1]
    h = [ldexp(M[i][i], -e) for i in range(d)]
    live = [x for x in h if x > 0]
    filled = fsum(live) / float(len(live)) if live else 1.0
    h = [x if x > 0 else filled for x in h]
    mean = fsum(h) / float(d)
    for raises in range(_RAISES + 1):
        damped = [x + float(damping * 10**raises) * mean for x in h]
        R = [[ldexp(M[d - 1 - i][d - 1 - k], -e) for k in range(d)] for i in range(d)]
        for i in range(d):
            R[i][i] = damped[d - 1 - i]
        if _factor(R, [_LEAST * x for x in reversed(damped)], 0, d):
            X = [[float(i == k) for k in range(d)] for i in range(d)]
            _invert(X, R, 0, d)
            return [row[::-1] for row in X[::-1]]
    return None


def _above(R: list[list[float]], first: int, middle: int, last: int) -> list[list[float]]:
    """The part of R^T that takes rows `first` to `middle` from those up to `last`."""
    return [[R[i][j] for i in range(first, middle)] for j in range(middle, last)]


def _factor(R: list[list[float]], least: Sequence[float], first: int, last: int) -> bool:
    d = len(R)
    if last - first > FEW:
        middle = (first + last) // 2
        if not _factor(R, least, first, middle):
            return False
        done = [row[middle:] for row in R[first:middle]]
        take_product(R, range(middle, last), range(middle, d), _above(R, first, middle, last), done)
        return _factor(R, least, middle, last)
    for j in range(first, last):
        if not R[j][j] > least[j]:
            return False
        root = sqrt(R[j][j])
        for k in range(j, d):
            R[j][k] /= root
        for i in range(j + 1, last):
            for k in range(j + 1, d):
                R[i][k] -= R[j][i] * R[j][k]
    return True


def _invert(X: list[list[float]], R: list[list[float]], first: int, last: int) -> None:
    if last - first > FEW:
        middle = (first + last) // 2
        _invert(X, R, first, middle)
        done = [row[:middle] for row in X[first:middle]]
        take_product(X, range(middle, last), range(middle), _above(R, first, middle, last), done)
        _invert(X, R, middle, last)
        return
    for j in range(first, last):
        for k in range(j + 1):
            X[j][k] /= R[j][j]
        for i in range(j + 1, last):
            for k in range(j + 1):
                X[i][k] -= R[j][i] * X[j][k]
