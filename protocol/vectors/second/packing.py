"""SPEC.md section 6.2: digits in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Packing", "moments_packing", "values_packing", "votes_packing"]


@dataclass(frozen=True)
class Packing:
    """k digits of radix R = n q + 1 a word."""

    n: int
    q: int
    k: int

    @property
    def radix(self) -> int:
        """R."""
        return self.n * self.q + 1

    def exists(self) -> bool:
        """Whether no carry can cross a digit."""
        return self.n >= 1 and self.q >= 1 and 1 <= self.k <= 64 and self.radix < 2**64 and self.radix**self.k <= 2**64

    def words(self, length: int) -> int:
        """M."""
        return -(-length // self.k)

    def pack(self, digits: Sequence[int]) -> list[int]:
        """Digits as words, plane by plane."""
        m = self.words(len(digits))
        padded = [*digits, *[0] * (m * self.k - len(digits))]
        return [sum(self.radix**plane * padded[plane * m + i] for plane in range(self.k)) for i in range(m)]

    def unpack(self, words: Sequence[int], length: int) -> list[int] | None:
        """The digits of a sum; None if these words are none."""
        m = self.words(length)
        if len(words) != m or any(word >= self.radix**self.k for word in words):
            return None
        digits = [words[i] // self.radix**plane % self.radix for plane in range(self.k) for i in range(m)]
        return digits[:length] if not any(digits[length:]) else None


def votes_packing(n: int) -> Packing:
    """The most votes a word."""
    return max((Packing(n, 1, k) for k in range(1, 65) if (n + 1) ** k <= 2**64), key=lambda packing: packing.k)


def values_packing(n: int, k: int) -> Packing:
    """The largest Q that k digits a word allow; it may not exist."""
    return Packing(n, 2 * _largest(n, k, 2**23), k)


def moments_packing(n: int, k: int) -> Packing:
    """The same, of entries of second moments."""
    return Packing(n, 2 * _largest(n, k, min(2**51, (2**60 - 1) // (2 * n))), k)


def _largest(n: int, k: int, most: int) -> int:
    Q, step = 0, 2**51
    while step:
        if Q + step <= most and Packing(n, 2 * (Q + step), k).exists():
            Q += step
        step //= 2
    return Q
