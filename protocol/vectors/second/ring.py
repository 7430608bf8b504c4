"""SPEC.md section 21.4: polynomials modulo X^N + 1 and q in SEAL's order, and numbers as polynomials."""

from __future__ import annotations

import cmath
from collections.abc import Sequence
from functools import cache

__all__ = ["RING", "Q", "decode", "encode", "invert", "transform"]

RING = 4096
Q = 2**60 - 2**14 + 1

_PSI = 116777451583545
_BITS = RING.bit_length() - 1
_REVERSED = [int(f"{i:0{_BITS}b}"[::-1], 2) for i in range(RING)]


@cache
def _roots(psi: int) -> list[int]:
    """psi^brv(i)."""
    powers = [1]
    while len(powers) < RING:
        powers.append(powers[-1] * psi % Q)
    return [powers[i] for i in _REVERSED]


def transform(a: Sequence[int]) -> list[int]:
    """Coefficients -> values; place i has the value at psi^(2 brv(i) + 1)."""
    values, roots, half = [x % Q for x in a], _roots(_PSI), RING
    for blocks in (2**stage for stage in range(_BITS)):
        half //= 2
        for block in range(blocks):
            root = roots[blocks + block]
            for i in range(2 * block * half, (2 * block + 1) * half):
                x, y = values[i], values[i + half] * root % Q
                values[i], values[i + half] = (x + y) % Q, (x - y) % Q
    return values


def invert(values: Sequence[int]) -> list[int]:
    """The coefficients again."""
    a, roots, half = list(values), _roots(pow(_PSI, -1, Q)), 1
    for blocks in (2**stage for stage in reversed(range(_BITS))):
        for block in range(blocks):
            root = roots[blocks + block]
            for i in range(2 * block * half, (2 * block + 1) * half):
                x, y = a[i], a[i + half]
                a[i], a[i + half] = (x + y) % Q, (x - y) * root % Q
        half *= 2
    scale = pow(RING, -1, Q)
    return [x * scale % Q for x in a]


def encode(numbers: Sequence[int], scale: int) -> list[float]:
    """Section 21.4: the real coefficients whose values at zeta^(3^j) are `scale` times slot j."""
    values = [0j] * RING
    for j, at in enumerate(_slots()):
        slot = complex(numbers[j], numbers[RING // 2 + j])
        values[at], values[RING - 1 - at] = slot, slot.conjugate()
    return [(x * _zeta(-k)).real * scale / RING for k, x in enumerate(_fourier(values, -1))]


def decode(a: Sequence[int], scale: int) -> list[float]:
    """The numbers of a polynomial, approximately."""
    values = _fourier([x * _zeta(k) for k, x in enumerate(a)], 1)
    slots = [values[at] / scale for at in _slots()]
    return [*(slot.real for slot in slots), *(slot.imag for slot in slots)]


@cache
def _slots() -> list[int]:
    """Of slot j: the t for which 2 t + 1 is 3^j."""
    return [(pow(3, j, 2 * RING) - 1) // 2 for j in range(RING // 2)]


@cache
def _zeta(power: int) -> complex:
    return cmath.exp(1j * cmath.pi * power / RING)


def _fourier(values: Sequence[complex], sign: int) -> list[complex]:
    """Sum over t of values[t] exp(sign 2 pi i t k / n), for each k."""
    if len(values) == 1:
        return list(values)
    even, odd = _fourier(values[::2], sign), _fourier(values[1::2], sign)
    turned = [x * _zeta(sign * k * (2 * RING // len(values))) for k, x in enumerate(odd)]
    pairs = list(zip(even, turned, strict=True))
    return [x + y for x, y in pairs] + [x - y for x, y in pairs]
