"""How far a decrypted sum can be from the whole number it stands for.

Four things move it (CKKS: Cheon, Kim, Kim, Song 2017, ePrint 2016/421; how SEAL does it: SEAL 4, `encryptor.cpp`).

1. *Rounding when the special prime goes.* SEAL encrypts modulo q p and divides by p, so what stays of a fresh
   ciphertext is r0 + r1 s: r0 and r1 have coefficients uniform in [-1/2, 1/2], the key s is uniform in {-1, 0, 1}.
2. *Rounding when numbers are encoded*: each coefficient by at most 1/2, once a client.
3. *Encryption noise*: e0 + u e + e1 s before the division, with |e| <= 21 by construction (centred binomial; the
   Gaussian with sigma 3.2 is cut at 6 sigma = 19.2). Divided by p it is nothing, and it is counted at its worst.
4. *Floating point*: SEAL encodes and decodes with a complex FFT in doubles. Its error has at most the norm of Higham
   (2002, theorem 24.2); we take it to be spread over the slots evenly and at random.

A slot is the polynomial at a root zeta of unity. There r1 s is r1(zeta) s(zeta). First the key: s(zeta) is a sum of N
independent terms, each strictly sub-Gaussian with variance 2/3, and in any one of 8 directions its part has variance
N/3; the nearest direction is at most pi/16 off. So |s(zeta)|^2 <= S for all zeta, except with probability 2^-41. Given
the key, an error is a sum of independent uniform numbers, strictly sub-Gaussian with variance 1/12, and the real and
the imaginary part of a slot have n (N / 2) (S + 2) / 12 in all. That gives the tail at which all of 2^32 numbers, which
is billions of votes, are within the bound, except with probability 2^-41. Together: 2^-40.

That r1 is uniform and independent of the rest is what the encryption rests on anyway (ring-LWE).
"""

from __future__ import annotations

from math import cos, log, log2, pi, sqrt

__all__ = ["error_bound", "typical_error"]

_FAILURE_BITS = 41  # of the key, and of the noise: 2^-40 together
_NUMBERS_BITS = 32
_LARGEST_NOISE = 21  # of a coefficient
_DIRECTIONS = 8
_UNIT = 2.0**-53  # of a double
_FFT_STEP = 7 * _UNIT  # Higham's eta: mu + gamma_4 (sqrt 2 + mu), with roots of unity good to mu = one unit

_TAIL = sqrt(2 * (1 + _NUMBERS_BITS + _FAILURE_BITS) * log(2))  # P(|x| > tail sigma) <= 2 exp(-tail^2 / 2)


def error_bound(ring: int, special_prime: int, clients: int, scale: int, top: int) -> float:
    """How far a number of the sum can be off, except with probability 2^-40 for all numbers of a run.

    Args:
        ring: N, the degree of the polynomials.
        special_prime: p, by which a fresh ciphertext is divided.
        clients: n, the ciphertexts that are added up.
        scale: what numbers are multiplied by before they are rounded.
        top: the largest number in the sum.
    """
    rounding = _TAIL * sqrt(clients * ring / 2 * (_key_bound(ring) + 2) / 12)
    encryption = clients * ring * _LARGEST_NOISE * (2 * ring + 1) / special_prime
    floating = 2 * _TAIL * log2(ring) * _FFT_STEP * sqrt(2) * top
    return (rounding + encryption) / scale + floating


def typical_error(ring: int, clients: int, scale: int) -> float:
    """Standard deviation of a number's error over keys, slots and encryptions: what a measurement should show."""
    return sqrt(clients * ring / 2 * (2 * ring / 3 + 2) / 12) / scale


def _key_bound(ring: int) -> float:
    """S, which |s(zeta)|^2 exceeds at none of the N / 2 slots, except with probability 2^-41."""
    parts = ring // 2 * _DIRECTIONS
    tail = 2 * ring / 3 * (log(2 * parts) + _FAILURE_BITS * log(2))
    return tail / cos(pi / (2 * _DIRECTIONS)) ** 2
