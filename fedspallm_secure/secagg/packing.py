"""Several small digits in one 64-bit word, so that adding words adds every digit.

If each of n clients sends digits in [0, q], a sum lies in [0, n q]. With radix R = n q + 1 no carry ever crosses a
digit, and k digits fit a word when R^k <= 2^64; the gate below refuses anything else, so overflow is impossible by
construction.

Digits lie in planes: of a lane of L digits in m = ceil(L / k) words, word i holds the digits i, m + i, 2m + i, ...,
the first one least significant, and packing is k vectorised multiply-adds. Positions past L are zero, in sums too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import CharterError, RemoteProtocolError

__all__ = ["Packing", "diagonals_packing", "moments_packing", "most_digits", "values_packing", "votes_packing"]

_WORD = 2**64
_BLOCK = 2**14  # words: small enough to stay in the processor's cache from plane to plane
_LARGEST_TOP = 2**24  # 25 bits of a change are more than a float32 weight can tell apart
_LARGEST_ENTRY = 2**51  # of a diagonal, in steps: with its sign what float64 holds exactly
_LARGEST_SUM = 2**60  # of diagonals: the check of a sum tells apart what is below its primes


@dataclass(frozen=True)
class Packing:
    """How one lane's digits share words.

    Attributes:
        clients: n, how many clients add up.
        top: q, the largest digit of one client.
        digits: k, digits a word.
    """

    clients: int
    top: int
    digits: int

    def __post_init__(self) -> None:
        if self.clients < 1 or self.top < 1 or not _fits(self.radix, self.digits):
            raise CharterError(
                f"{self.digits} digits of up to {self.top} from {self.clients} clients do not fit a 64-bit word.",
                "Lower digits_per_word, or split the roster.",
            )

    @property
    def radix(self) -> int:
        """R = n q + 1."""
        return self.clients * self.top + 1

    @property
    def sum_dtype(self) -> np.dtype[Any]:
        """The smallest unsigned dtype that holds a digit of the sum."""
        return np.min_scalar_type(self.radix - 1)

    def words(self, length: int) -> int:
        """Words a lane of `length` digits takes."""
        return -(-length // self.digits)

    def pack(self, digits: NDArray[Any]) -> NDArray[np.uint64]:
        """One client's digits, or a sum of several clients' digits, as words.

        Args:
            digits: shape (L,), any unsigned or bool dtype, values in [0, R - 1].

        Returns:
            uint64, shape (ceil(L / k),).
        """
        m = self.words(digits.size)
        words = np.zeros(m, np.uint64)
        radix = np.uint64(self.radix)
        for start in range(0, m, _BLOCK):
            block = words[start : start + _BLOCK]
            for plane in reversed(range(self.digits)):
                part = digits[plane * m : (plane + 1) * m][start : start + _BLOCK]
                block *= radix
                block[: part.size] += part
        return words

    def unpack(self, words: NDArray[np.uint64], length: int) -> NDArray[Any]:
        """The digits of a sum.

        Args:
            words: uint64, shape (ceil(length / k),).
            length: L.

        Returns:
            `sum_dtype`, shape (L,).

        Raises:
            RemoteProtocolError: the words are no sum of digits.
        """
        m = self.words(length)
        digits = np.empty(length, self.sum_dtype)
        radix = np.uint64(self.radix)
        for start in range(0, m, _BLOCK):
            rest = words[start : start + _BLOCK]
            beyond = False
            for plane in range(self.digits):
                part = digits[plane * m : (plane + 1) * m][start : start + _BLOCK]
                quotient = rest // radix
                digit = rest - quotient * radix
                part[:] = digit[: part.size]
                beyond |= bool(digit[part.size :].any())
                rest = quotient
            if beyond or rest.any():
                raise RemoteProtocolError(
                    f"A word is no sum of digits: it is not below {self.radix}^{self.digits}, or goes past the end.",
                    "A contribution was malformed, or the masks did not cancel; run the sum again.",
                )
        return digits


def votes_packing(clients: int) -> Packing:
    """The most digits a word for votes, q = 1."""
    return Packing(clients, 1, most_digits(clients, 1))


def diagonals_packing(clients: int) -> Packing:
    """One digit a word for the diagonal of a second moment."""
    return moments_packing(clients, 1)


def moments_packing(clients: int, digits: int) -> Packing:
    """The finest grid for entries of second moments: q = 2 Q, the largest that fits, with Q <= 2^51 and 2 n Q < 2^60.

    Raises:
        CharterError: not even Q = 1 fits.
    """
    return Packing(
        clients, 2 * _finest(clients, digits, min(_LARGEST_ENTRY, (_LARGEST_SUM - 1) // (2 * clients))), digits
    )


def most_digits(clients: int, top: int) -> int:
    """The most digits a word that leave room for digits up to `top` from each of `clients` clients, at least 1."""
    digits = 1
    while _fits(clients * top + 1, digits + 1):
        digits += 1
    return digits


def values_packing(clients: int, digits: int) -> Packing:
    """The finest quantisation that `digits` digits a word allow: q = 2 Q with the largest Q, (2 n Q + 1)^k <= 2^64.

    Raises:
        CharterError: not even Q = 1 fits.
    """
    return Packing(clients, 2 * _finest(clients, digits, _LARGEST_TOP // 2), digits)


def _finest(clients: int, digits: int, largest: int) -> int:
    """The largest Q up to `largest` with (2 n Q + 1)^k <= 2^64."""
    low, high = 0, largest  # Q fits at low (0: nothing to fit), perhaps not at high + 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _fits(2 * clients * middle + 1, digits) else (low, middle - 1)
    return low


def _fits(radix: int, digits: int) -> bool:
    """Whether R^k <= 2^64, for R < 2^64 (a radix is a word itself) and 1 <= k <= 64 (R >= 2, so no other k can fit)."""
    return radix < _WORD and 1 <= digits <= 64 and radix**digits <= _WORD
