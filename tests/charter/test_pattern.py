"""A pattern means one exact number of zeros, and only the two documented forms are patterns."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.charter import NM, Unstructured, parse_pattern
from fedspallm_secure.errors import CharterError

_NUMEL = st.integers(0, 2**40)


@given(st.integers(1, 10**9), st.integers(1, 10**9), _NUMEL)
def test_a_share_zeroes_the_exact_rational_floor(one: int, other: int, numel: int) -> None:
    numerator, denominator = sorted((one, one + other))
    pattern = parse_pattern(f"{numerator}/{denominator}")
    assert pattern == Unstructured(Fraction(numerator, denominator))
    zeros = pattern.zeros(numel)
    # zeros <= s d < zeros + 1, in integers only
    assert zeros * denominator <= numerator * numel < (zeros + 1) * denominator


@given(st.integers(1, 10**9 - 1), _NUMEL)
def test_a_decimal_is_read_exactly(billionths: int, numel: int) -> None:
    pattern = parse_pattern(f"0.{billionths:09d}")
    assert pattern.sparsity == Fraction(billionths, 10**9)
    assert pattern.zeros(numel) == floor(Fraction(billionths * numel, 10**9))


def test_no_binary_rounding_enters() -> None:
    # 0.29 * 100 is 28.999999999999996 in binary floating point
    assert parse_pattern("0.29").zeros(100) == 29
    assert parse_pattern("1/3").zeros(3 * 10**17) == 10**17


@given(st.data())
def test_n_of_m_keeps_n_of_every_m(data: st.DataObject) -> None:
    group = data.draw(st.integers(2, 10**6))
    kept = data.draw(st.integers(1, group - 1))
    groups = data.draw(st.integers(0, 10**6))
    pattern = parse_pattern(f"{kept}:{group}")
    assert pattern == NM(kept, group)
    assert pattern.zeros(groups * group) == groups * (group - kept)
    assert pattern.sparsity == 1 - Fraction(kept, group)


@pytest.mark.parametrize(
    "text",
    [
        *("", "half", "0", "1", "1.0", "0/3", "3/3", "4/3", "1/0", "1/-2", "-0.5", "+0.5", "50%"),
        *("nan", "inf", "0,5", ".5", "0.", " 0.5", "0.5\n", "0.5_0", "5e-1", "1e-999999999", "0.٥"),
        *("0:4", "4:4", "5:4", "2:", ":4", ":", "2:4:8", "-2:4", "+2:4", " 2:4", "2: 4", "2.0:4", "2_0:40", "٢:٤"),
        *("0." + "1" * 5000, "9" * 5000 + ":4", "1:" + "9" * 5000),
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(CharterError, match="is not a pruning pattern"):
        parse_pattern(text)
