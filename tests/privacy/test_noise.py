"""Noise on whole numbers has the law it is said to have, and the lemmas about rounding hold."""

from __future__ import annotations

import os
from decimal import Decimal, localcontext
from fractions import Fraction
from math import erfc, exp, pi, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.errors import ConfigError
from fedspallm_secure.privacy import add_noise, add_symmetric_noise, noise, share_of_noise
from fedspallm_secure.privacy.clipping import diagonal_places
from fedspallm_secure.privacy.normal import tail
from tests.privacy.independent import entropy_of

_VARIANCES = st.fractions(Fraction(1, 100), 2**52)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def _drawn(count: int, variance: Fraction, seed: int = 0) -> NDArray[np.int64]:
    values = np.zeros(count, np.int64)
    add_noise(values, variance, entropy_of(seed))
    return values


def _probabilities(s: float, shift: float = 0.0, reach: int = 40) -> NDArray[np.float64]:
    """P(round(N(shift, s^2)) = k) for k = -reach ... reach; of both tails the smaller is used."""
    k = np.arange(-reach, reach + 1)

    def upper(x: float) -> float:
        return erfc(x / sqrt(2)) / 2

    low, high = (k - 0.5 - shift) / s, (k + 0.5 - shift) / s
    return np.array([upper(a) - upper(b) if a > 0 else upper(-b) - upper(-a) for a, b in zip(low, high, strict=True)])


@given(st.integers(-(2**40), 2**40), st.fractions(-(2**30), 2**30))
def test_a_whole_number_plus_rounded_noise_is_the_rounded_sum(x: int, drawn: Fraction) -> None:
    if (2 * drawn).denominator > 1 or drawn.denominator == 1:  # a half has probability zero
        assert x + round(drawn) == round(x + drawn)


@pytest.mark.parametrize("s", [0.3, 0.8, 3.0])
def test_each_whole_number_comes_as_often_as_the_rounded_gaussian_says(s: float) -> None:
    count = 300_000
    values = _drawn(count, Fraction(s) ** 2)
    expected = count * _probabilities(s)
    seen = np.bincount(values + 40, minlength=81)
    often = expected > 20
    chi_square = ((seen - expected)[often] ** 2 / expected[often]).sum()
    degrees = np.count_nonzero(often)
    assert chi_square < degrees + 4 * sqrt(2 * degrees)
    assert seen[~often].sum() < 30 + 2 * expected[~often].sum()


@pytest.mark.parametrize("bits", [4, 12, 20, 26])
def test_noise_is_normal_wide_and_narrow(bits: int) -> None:
    count = 200_000
    z = _drawn(count, Fraction(4**bits)) / 2.0**bits
    expected = np.array([erfc(-x / sqrt(2)) / 2 for x in np.sort(z).tolist()])
    distance = np.abs(expected - (np.arange(count) + 0.5) / count).max()
    assert distance < 1.95 / sqrt(count) + 0.5 * 2.0**-bits  # Kolmogorov and Smirnov, exceeded once in a thousand
    assert abs(z.mean()) < 4 / sqrt(count)
    assert abs(z.var() - 1) < 4 * sqrt(2 / count)
    assert abs((z**4).mean() - 3) < 4 * sqrt(96 / count)
    assert abs((z[::2] * z[1::2]).mean()) < 4 * sqrt(2 / count)


def test_every_number_is_the_one_that_its_random_bits_name() -> None:
    sigma, count = 2**20, 300
    values = _drawn(count, Fraction(sigma**2), 3)
    stream = noise._keystream(entropy_of(3)(64)[:32]).update(bytes(8 * count))
    for value, word in zip(values.tolist(), np.frombuffer(stream, "<u8").tolist(), strict=True):
        first, size = word >> 1, abs(value)
        low, high = (Fraction(first + more, 2**64) for more in (0, 1))
        assert Fraction(tail(Decimal(2 * size + 1) / (2 * sigma))) < high
        assert size == 0 or Fraction(tail(Decimal(2 * size - 1) / (2 * sigma))) > low
        assert value == 0 or (value < 0) == word % 2


@pytest.mark.parametrize("variance", [Fraction(1, 3), Fraction(10**6, 7), Fraction(4**26)])
def test_the_slow_way_decides_as_the_fast_one(variance: Fraction, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = _drawn(600, variance)
    monkeypatch.setattr(noise, "_SURE", 1 << 63)
    assert np.array_equal(_drawn(600, variance), fast)


@pytest.mark.parametrize("m", [0, 1, 7, 9_999, 12_345, 80_000, 150_000])
def test_the_last_of_the_256_bits_decides_between_two_numbers(m: int) -> None:
    with localcontext(prec=100):
        K = int(tail(Decimal(2 * m + 1) / 20_000) * 2**256 - Decimal("0.5"))  # the last p below the threshold
    assert noise._exactly(K, Fraction(10**8)) == m + 1
    assert noise._exactly(K + 1, Fraction(10**8)) == m


def test_the_fast_way_leaves_few_numbers_open(monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[int] = []
    exactly = noise._exactly

    def counted(K: int, variance: Fraction) -> int:
        decided.append(K)
        return exactly(K, variance)

    monkeypatch.setattr(noise, "_exactly", counted)
    _drawn(2**20, Fraction(4**26))
    assert 1 <= len(decided) < 100


def test_the_smallest_and_the_largest_tail_give_the_farthest_and_the_nearest_number() -> None:
    assert 18 * 2**26 < noise._exactly(0, Fraction(4**26)) < 19 * 2**26
    assert noise._exactly(2**255 - 1, Fraction(4**26)) == 0


@given(st.integers(0, 100), _VARIANCES, st.integers(0, 50))
def test_the_same_entropy_gives_the_same_noise_and_a_longer_vector_goes_on_from_a_shorter(
    seed: int, variance: Fraction, count: int
) -> None:
    longer = _drawn(60, variance, seed)
    assert np.array_equal(_drawn(count, variance, seed), longer[:count])


def test_pieces_are_joined_without_repeating_anything() -> None:
    values = _drawn(2 * 2**15 + 5, Fraction(4**20))
    assert len(np.unique(np.abs(values))) > 0.96 * values.size
    assert not np.array_equal(values[: 2**15], values[2**15 : 2**16])
    assert not np.array_equal(_drawn(50, Fraction(4**20), 1), _drawn(50, Fraction(4**20), 2))


def test_noise_is_added_in_place_and_needs_64_bytes_of_entropy() -> None:
    asked: list[int] = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    values = np.full(9, 10**15, np.int64)
    add_noise(values, Fraction(100), entropy)
    assert (np.abs(values - 10**15) < 200).all()
    assert asked == [64]


@pytest.mark.parametrize("variance", [Fraction(0), Fraction(-1), Fraction(2**52) + 1])
def test_a_variance_out_of_range_is_refused(variance: Fraction) -> None:
    with pytest.raises(ConfigError, match="variance above 0"):
        add_noise(np.zeros(1, np.int64), variance, os.urandom)


def test_symmetric_noise_is_the_isotropic_gaussian_of_the_frobenius_norm() -> None:
    inputs, sigma, count = 3, 1000, 3_000
    triangles = np.zeros((count, 6), np.int64)
    entropy = entropy_of(5)
    for triangle in triangles:
        add_symmetric_noise(triangle, inputs, Fraction(sigma**2), entropy)
    i, j = np.triu_indices(inputs)
    coordinates = triangles * np.where(i == j, 1, sqrt(2)) / sigma  # of an orthonormal basis for the Frobenius norm
    covariance = coordinates.T @ coordinates / count
    assert np.abs(covariance - np.eye(6)).max() < 5 / sqrt(count)
    lengths = (coordinates**2).sum(1)
    assert lengths.mean() == pytest.approx(6, abs=4 * sqrt(12 / count))
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    matrices = np.zeros((count, 3, 3))
    matrices[:, i, j] = matrices[:, j, i] = triangles / sigma
    turned = (rotation @ matrices @ rotation.T)[:, i, j]
    assert np.abs(turned.var(0) - np.where(i == j, 1, 0.5)).max() < 5 * sqrt(2 / count)


@given(st.integers(1, 40))
def test_the_diagonal_of_a_triangle_is_found(inputs: int) -> None:
    i, j = np.triu_indices(inputs)
    assert np.array_equal(diagonal_places(inputs), np.flatnonzero(i == j))


def _sum_of_rounded(s: float, n: int) -> NDArray[np.float64]:
    """Law of R_1 + ... + R_n, each rounded N(0, s^2)."""
    law = one = _probabilities(s)
    for _ in range(n - 1):
        law = np.convolve(law, one)
    middle = len(law) // 2
    return law[middle - 40 : middle + 41]


def _rounded_sum(s: float, n: int) -> NDArray[np.float64]:
    """Law of round(N + V), N from N(0, n s^2), V of n - 1 numbers uniform in [-1/2, 1/2], by Gauss and Legendre."""
    law: Any = 0.0
    shifts = np.sum(np.meshgrid(*[_NODES / 2] * (n - 1)), axis=0)
    weights = np.prod(np.meshgrid(*[_WEIGHTS / 2] * (n - 1)), axis=0)
    for v, weight in zip(shifts.ravel(), weights.ravel(), strict=True):
        law = law + weight * _probabilities(s * sqrt(n), -v)
    return np.asarray(law)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("s", [1.0, 1.3, 1.6, 2.0])
def test_a_sum_of_rounded_gaussians_is_as_near_to_a_rounded_sum_as_the_lemma_says(s: float, n: int) -> None:
    bound = (n + 2) * 2.001 * exp(-(pi**2) * s**2 / 2)
    difference = np.abs(_sum_of_rounded(s, n) - _rounded_sum(s, n)).max()
    assert difference < bound + 1e-13
    assert _sum_of_rounded(s, n).sum() == pytest.approx(1)
    assert _rounded_sum(s, n).sum() == pytest.approx(1)


def test_the_lemma_is_false_on_a_grid_that_is_too_coarse() -> None:
    assert _sum_of_rounded(0.1, 3)[40] > 0.9999
    assert _rounded_sum(0.1, 3)[40] < 0.8


@given(st.integers(1, 50), st.integers(0, 10), st.integers(0, 10), st.integers(2**20, 2**52))
def test_the_shares_of_those_who_are_left_make_the_whole_variance(n: int, c: int, d: int, variance: int) -> None:
    if n > c + d:
        assert share_of_noise(variance, n, c, d) * (n - c - d) == variance
    else:
        with pytest.raises(ConfigError, match="nobody is left"):
            share_of_noise(variance, n, c, d)


def test_a_share_too_small_for_the_lemma_is_refused() -> None:
    assert share_of_noise(128 * 6, 8, 1, 1) == 128
    with pytest.raises(ConfigError, match="in 6 shares is less than 128 each"):
        share_of_noise(128 * 6 - 1, 8, 1, 1)
    with pytest.raises(ConfigError, match="nobody is left"):
        share_of_noise(10**6, 8, -1, 0)
