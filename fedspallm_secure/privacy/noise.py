"""Gaussian noise on whole numbers, so that the arithmetic of doubles gives nothing away.

Noise that is drawn as a double and added to a double leaves traces in the low bits (Mironov 2012, "On significance of
the least significant bits for differential privacy"). Here the values x are whole numbers of steps of a public grid,
and the noise is R = round(N), N ~ N(0, sigma^2). For whole x, x + round(N) = round(x + N): what is released is a
function of what the ideal Gaussian mechanism would release, so it is as private as that, and the formulas of `analytic`
hold as they stand.

**Noise of several.** Each of n institutions adds R_i = round(N_i), N_i ~ N(0, s_i^2), and only the sum is seen. A sum
of rounded Gaussians is not a rounded Gaussian; it is very nearly round(N + V), where N = N_1 + ... + N_n, and V is
independent of N, the sum of n - 1 numbers uniform in [-1/2, 1/2]. Then x + sum R_i is nearly round(x + N + V), again a
function of x + N. How nearly, with s the smallest s_i and t = 2.001 exp(-pi^2 s^2 / 2), s >= 1:

1. P(R_i = k) = f_i(k), f_i the density of N_i + uniform, with transform F_i(w) = exp(-2 pi^2 s_i^2 w^2) sinc(w). The
   density f of N + V + uniform has the transform F_1 ... F_n, and P(round(N + V) = k) = f(k).
2. By Poisson summation the characteristic functions are prod_i sum_m F_i(w + m) and sum_m prod_i F_i(w + m), m all
   whole numbers. For |w| <= 1/2 the terms with m != 0 of one i come to less than t, so both are within (1 + t)^n - 1
   and t of prod_i F_i(w), and any two probabilities of one k differ by less than (n + 2) t, if n t is small.
3. Sum over |k| <= 40 sigma + n; beyond it there is less than 4 exp(-800).

With s >= 8, n <= 2^16 and sigma <= 2^26 the total variation distance is below 2^-400 a number. So each share's variance
must be 64 at least. With s of a tenth of a step the claim would be false: all R_i would be 0, and round(V) is not. It
is enough to look at n honest institutions that stay; whatever the others add comes on top of x + sum R_i.

**Drawing it.** A number is a sign and p = (K + 1/2) / 2^256, K uniform in 0 ... 2^255 - 1: the whole number that is
nearest to sigma Q^-1(p), Q the upper tail. K comes from AES-256 in counter mode under a fresh key. Its first 63 bits
decide all but a few in doubles; where the double is so near to a half that its error could matter, the other 192 bits
are drawn, and decimal arithmetic decides. So the result is exact and the same on every machine. What is left is that p
has 256 bits: each of fewer than 2^31 thresholds moves by less than 2^-255, which is a total variation distance below
2^-224 a number. No number is larger than 19 sigma.

That AES is not told from random is assumed, as everywhere in the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from math import sqrt
from statistics import NormalDist

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from fedspallm_secure.errors import ConfigError
from fedspallm_secure.privacy.clipping import diagonal_places
from fedspallm_secure.privacy.normal import ERROR, SMALLEST_TAIL, tail, upper_quantile

__all__ = ["LARGEST_VARIANCE", "SMALLEST_SHARE", "Entropy", "add_noise", "add_symmetric_noise", "share_of_noise"]

LARGEST_VARIANCE = 2**52
"""Of the noise on one number, in steps of the grid squared; a finer grid has no use."""

SMALLEST_SHARE = 128
"""Of one institution in the variance, in steps squared; off the diagonal of a matrix it is half of that."""

_PIECE = 2**15  # numbers that stay in the processor's cache
_KEY = 32
_FIRST_BITS = 63
_MORE = 24  # bytes of K for a number that is open
_SURE = 1 << (_FIRST_BITS - 21)  # below it p is smaller than SMALLEST_TAIL
_DIGITS = 100

Entropy = Callable[[int], bytes]
"""So many bytes that nobody can predict: os.urandom, or in tests something fixed."""


def add_noise(values: NDArray[np.int64], variance: Fraction, entropy: Entropy) -> None:
    """Add an independent round(N(0, variance)) to each of `values`, in place.

    Args:
        values: int64, shape (m,), in steps of the grid.
        variance: in steps squared, above 0.
        entropy: where two keys of 32 bytes come from.

    Raises:
        ConfigError: the variance is out of range.
    """
    if not 0 < variance <= LARGEST_VARIANCE:
        raise ConfigError(
            f"Noise has a variance above 0 and up to {LARGEST_VARIANCE} steps squared, not {float(variance):g}.",
            "Choose a coarser grid, or less noise.",
        )
    keys = entropy(2 * _KEY)
    stream, more = _keystream(keys[:_KEY]), _keystream(keys[_KEY:])
    for start in range(0, values.size, _PIECE):
        piece = values[start : start + _PIECE]
        words = np.frombuffer(stream.update(bytes(8 * piece.size)), "<u8")
        piece += _rounded(words, variance, more)


def add_symmetric_noise(triangle: NDArray[np.int64], inputs: int, variance: Fraction, entropy: Entropy) -> None:
    """Add rounded Gaussian noise to a symmetric matrix, in place: `variance` on the diagonal, half of it elsewhere.

    In coordinates in which the Frobenius norm is the Euclidean one, each element off the diagonal counts sqrt 2 times,
    as it is there twice. So this is N(0, variance) in each coordinate: noise that fits the norm.

    Args:
        triangle: int64, shape (inputs (inputs + 1) / 2,), the upper triangle row by row, in steps of the grid.
        inputs: rows of the matrix.
        variance: on the diagonal, in steps squared, above 0.
        entropy: where keys come from.

    Raises:
        ConfigError: the variance is out of range.
    """
    places = diagonal_places(inputs)
    diagonal = triangle[places]
    add_noise(diagonal, variance, entropy)
    add_noise(triangle, variance / 2, entropy)
    triangle[places] = diagonal


def share_of_noise(variance: int, institutions: int, colluders: int, dropouts: int) -> Fraction:
    """The variance that each institution adds, so that honest ones who stay add `variance` together, or more.

    Colluders know their own noise, so it hides nothing from them; the noise of who vanishes is missing.

    Args:
        variance: of the whole noise, in steps squared.
        institutions: n.
        colluders: c.
        dropouts: d.

    Returns:
        variance / (n - c - d).

    Raises:
        ConfigError: nobody is left, or the share is too small for the sum to be as private as one Gaussian.
    """
    left = institutions - colluders - dropouts
    if min(colluders, dropouts) < 0 or left < 1:
        raise ConfigError(
            f"Of {institutions} institutions with {colluders} colluders and {dropouts} drop-outs nobody is left.",
            "Somebody honest must stay to add noise: agree on fewer colluders or drop-outs.",
        )
    if variance < SMALLEST_SHARE * left:
        raise ConfigError(
            f"A variance of {variance} steps squared in {left} shares is less than {SMALLEST_SHARE} each.",
            "Choose a finer grid.",
        )
    return Fraction(variance, left)


def _keystream(key: bytes) -> CipherContext:
    return Cipher(AES(key), CTR(bytes(16))).encryptor()


def _rounded(words: NDArray[np.uint64], variance: Fraction, more: CipherContext) -> NDArray[np.int64]:
    """One number a word: the lowest bit is its sign, the others the first bits of K."""
    sigma = sqrt(variance)
    firsts = (words >> np.uint64(1)).view(np.int64)
    p = firsts.astype(np.float64)
    p += 0.5
    p *= 2.0 ** -(_FIRST_BITS + 1)
    size = upper_quantile(np.maximum(p, SMALLEST_TAIL, out=p))
    size *= sigma
    nearest = np.rint(size)
    # Half of ERROR is for the bits that are not there yet, the other one for the quantile; twice that, to be sure.
    close = np.abs(size - nearest) > 0.5 - 2 * ERROR * sigma
    numbers = nearest.astype(np.int64)
    for i in np.flatnonzero(close | (firsts < _SURE)):
        rest = int.from_bytes(more.update(bytes(_MORE)), "little")
        numbers[i] = _exactly((int(firsts[i]) << 8 * _MORE) + rest, variance)
    negative = (words & np.uint64(1)).astype(np.bool_)
    return np.negative(numbers, out=numbers, where=negative)


def _exactly(K: int, variance: Fraction) -> int:
    """The whole number m nearest to sigma Q^-1((K + 1/2) / 2^256): Q is above that at m - 1/2, below it at m + 1/2."""
    with localcontext(prec=_DIGITS):
        p = Decimal(2 * K + 1) / 2 ** (_FIRST_BITS + 8 * _MORE + 2)
        sigma = (Decimal(variance.numerator) / variance.denominator).sqrt()
        m = round(-NormalDist().inv_cdf(float(p)) * float(sigma))
        while tail((m + Decimal("0.5")) / sigma) > p:
            m += 1
        while m > 0 and tail((m - Decimal("0.5")) / sigma) < p:
            m -= 1
        return m
