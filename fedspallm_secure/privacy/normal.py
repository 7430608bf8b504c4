"""The inverse of the normal distribution's upper tail: fast and nearly right, or slow and right.

Fast is Wichura's approximation (1988, algorithm AS 241), good to 16 digits, on arrays. Slow is the tail itself,
Q(x) = 1/2 - phi(x) (x + x^3/3 + x^5/(3 5) + x^7/(3 5 7) + ...), whose terms all have one sign, in decimal arithmetic of
100 digits: with it a number that the fast one leaves open is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["ERROR", "SMALLEST_TAIL", "tail", "upper_quantile"]

ERROR = 2.0**-44
"""What `upper_quantile` is off by, at most."""

SMALLEST_TAIL = 2.0**-22
"""Smaller tails are not for `upper_quantile`."""

_DIGITS = 100
_CENTRAL = 0.425

_MIDDLE = (
    (
        2.50908_09287_30122_6727e3, 3.34305_75583_58812_8105e4, 6.72657_70927_00870_0853e4, 4.59219_53931_54987_1457e4,
        1.37316_93765_50946_1125e4, 1.97159_09503_06551_4427e3, 1.33141_66789_17843_7745e2, 3.38713_28727_96366_6080e0,
    ),
    (
        5.22649_52788_52854_5610e3, 2.87290_85735_72194_2674e4, 3.93078_95800_09271_0610e4, 2.12137_94301_58659_5867e4,
        5.39419_60214_24751_1077e3, 6.87187_00749_20579_0830e2, 4.23133_30701_60091_1252e1, 1.0,
    ),
)  # fmt: skip
_OUTSIDE = (
    (
        7.74545_01427_83414_07640e-4, 2.27238_44989_26918_45833e-2, 2.41780_72517_74506_11770e-1,
        1.27045_82524_52368_38258e0, 3.64784_83247_63204_60504e0, 5.76949_72214_60691_40550e0,
        4.63033_78461_56545_29590e0, 1.42343_71107_49683_57734e0,
    ),
    (
        1.05075_00716_44416_84324e-9, 5.47593_80849_95344_94600e-4, 1.51986_66563_61645_71966e-2,
        1.48103_97642_74800_74590e-1, 6.89767_33498_51000_04550e-1, 1.67638_48301_83803_84940e0,
        2.05319_16266_37758_82187e0, 1.0,
    ),
)  # fmt: skip


def upper_quantile(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The x >= 0 with Q(x) = p, off by less than `ERROR` / 2.

    Args:
        p: float64, shape (m,), from `SMALLEST_TAIL` to 1/2.
    """
    q = 0.5 - p
    x = q * _ratio(_MIDDLE, 0.180625 - q * q)
    far = np.flatnonzero(q > _CENTRAL)
    x[far] = _ratio(_OUTSIDE, np.sqrt(-np.log(p[far])) - 1.6)
    return x


def tail(x: Decimal) -> Decimal:
    """Q(x) for 0 <= x <= 20, off by less than 10^-95."""
    with localcontext(prec=_DIGITS):
        term = total = x
        square = x * x
        odd = 1
        while term > total.scaleb(-_DIGITS):
            odd += 2
            term *= square / odd
            total += term
        density = (-square / 2).exp() / (2 * _pi()).sqrt()
        return Decimal("0.5") - density * total


def _ratio(polynomials: tuple[Sequence[float], Sequence[float]], r: NDArray[np.float64]) -> NDArray[np.float64]:
    above, below = (_polynomial(coefficients, r) for coefficients in polynomials)
    above /= below
    return above


def _polynomial(coefficients: Sequence[float], r: NDArray[np.float64]) -> NDArray[np.float64]:
    """Horner's rule, highest power first."""
    value = np.full_like(r, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= r
        value += coefficient
    return value


@cache
def _pi() -> Decimal:
    """Machin: pi = 16 arctan(1/5) - 4 arctan(1/239)."""
    with localcontext(prec=_DIGITS):
        return 16 * _inverse_arctangent(5) - 4 * _inverse_arctangent(239)


def _inverse_arctangent(n: int) -> Decimal:
    """arctan(1/n)."""
    power = total = Decimal(1) / n
    odd = 1
    while abs(power) > Decimal(10) ** -_DIGITS:
        odd += 2
        power /= -n * n
        total += power / odd
    return total
