"""The quantile is as near to the true one as it says, and the tail is exact to the digits that decide."""

from __future__ import annotations

from decimal import Decimal
from math import erfc, exp, pi, sqrt

import numpy as np
import pytest

from fedspallm_secure.privacy.normal import ERROR, SMALLEST_TAIL, tail, upper_quantile


def test_the_quantile_is_off_by_less_than_half_of_what_is_allowed_for() -> None:
    rng = np.random.default_rng(0)
    p = np.concatenate(
        [
            np.exp(rng.uniform(np.log(SMALLEST_TAIL), np.log(0.5), 30_000)),
            0.5 - np.exp(rng.uniform(-36, -1, 10_000)),
            [SMALLEST_TAIL, 0.5, 0.075, np.nextafter(0.075, 0), np.nextafter(0.075, 1)],
        ]
    )
    x = upper_quantile(p)
    off = [
        abs(erfc(value / sqrt(2)) / 2 - chance) / (exp(-value * value / 2) / sqrt(2 * pi))
        for value, chance in zip(x.tolist(), p.tolist(), strict=True)
    ]
    assert max(off) < ERROR / 2
    assert (x >= 0).all()


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ("0", "0.5"),
        ("1", "0.158655253931457051414767454367962077522087033273395609012606"),
        ("12.5", "3.73256429887771337722583633803141088850071340245962369434947e-36"),
    ],
)
def test_the_tail_has_95_correct_places(x: str, expected: str) -> None:
    # computed with mpmath 1.3, erfc at 120 digits, shown with 60
    off = abs(tail(Decimal(x)) - Decimal(expected))
    assert off < max(Decimal("1e-95"), Decimal(expected) * Decimal("1e-59"))


@pytest.mark.parametrize("x", [0.001, 0.5, 2.25, 4.9, 8.0, 13.0, 18.5])
def test_the_tail_agrees_with_the_one_of_doubles(x: float) -> None:
    assert float(tail(Decimal(x))) == pytest.approx(erfc(x / sqrt(2)) / 2, rel=1e-12)
