"""SPEC.md section 21: encrypted votes; how they are laid out, encrypted, added, decrypted and counted."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isqrt

from protocol.vectors.second import ring
from protocol.vectors.second.crypto import keystream
from protocol.vectors.second.refusal import require
from protocol.vectors.second.ring import RING, Q

__all__ = [
    "RING",
    "WORDS",
    "Parameters",
    "add",
    "check_ciphertexts",
    "choose",
    "counts",
    "decrypt",
    "encrypt",
    "secret_key",
    "sum_digest",
]

WORDS = 2 * RING
"""Of a ciphertext."""

_MOST = (
    *((24, 2), (19, 3), (16, 4), (15, 5), (13, 6), (12, 8), (11, 10), (10, 13), (9, 18), (8, 26), (7, 41)),
    *((6, 75), (5, 170), (4, 546), (3, 3370), (2, 2**14)),
)
"""Votes a number, and the most clients that allow so many."""


@dataclass(frozen=True)
class Parameters:
    """Of the votes of n clients.

    Attributes:
        n: clients of the charter.
        v: votes a number.
    """

    n: int
    v: int

    @property
    def base(self) -> int:
        """B."""
        return self.n + 1

    @property
    def top(self) -> int:
        """Numbers are below it."""
        return int(self.base**self.v)

    @property
    def scale(self) -> int:
        """What a number is multiplied by."""
        return Q // 2 // (isqrt(2 * self.top**2) + 2)

    def ciphertexts(self, length: int) -> int:
        """Of a lane."""
        return -(-length // (self.v * RING))

    def words(self, length: int) -> int:
        """Of a lane."""
        return WORDS * self.ciphertexts(length)

    def pack(self, votes: Sequence[int]) -> list[int]:
        """One ciphertext's votes as N numbers."""
        numbers = [0] * RING
        for at, vote in enumerate(votes):
            numbers[at % RING] += vote * self.base ** (at // RING)
        return numbers

    def split(self, votes: Sequence[int]) -> list[list[int]]:
        """A lane's votes as the numbers of each of its ciphertexts."""
        step = self.v * RING
        return [self.pack(votes[start : start + step]) for start in range(0, len(votes), step)]


def choose(n: int) -> Parameters:
    """Section 21.1."""
    return Parameters(n, next(v for v, most in _MOST if n <= most))


def counts(parameters: Parameters, numbers: Sequence[float], contributors: int, length: int) -> list[int]:
    """K12 and K13: the counts in one ciphertext's decrypted sum, of which `length` are votes."""
    whole = [round(number) for number in numbers]
    require("K12", all(abs(number - near) <= 0.25 for number, near in zip(numbers, whole, strict=True)))
    require("K13", all(0 <= number < parameters.top for number in whole), "no sum of votes")
    found, rest = list[int](), whole
    for _ in range(parameters.v):
        found += [number % parameters.base for number in rest]
        rest = [number // parameters.base for number in rest]
    require("K13", max(found) <= contributors and not any(found[length:]), "more than there are contributors")
    return found[:length]


def check_ciphertexts(check: str, parameters: Parameters, length: int, words: Sequence[int]) -> None:
    """Section 21.3: whether these are ciphertexts of a lane."""
    require(check, len(words) == parameters.words(length), f"{len(words)} words")
    require(check, all(word < Q for word in words), "no residues")
    for start in range(0, len(words), WORDS):
        require(check, any(words[start + RING : start + WORDS]), "it hides nothing")


def add(contributions: Sequence[Sequence[int]]) -> list[int]:
    """The homomorphic sum."""
    return [sum(column) % Q for column in zip(*contributions, strict=True)]


def sum_digest(words: Sequence[int]) -> str:
    """What is compared of it."""
    return hashlib.sha256(struct.pack(f"<{len(words)}Q", *words)).hexdigest()


@cache
def secret_key(key: bytes) -> list[int]:
    """A key of the vectors: coefficients are words of AES-CTR(key) modulo 3, less 1; transformed."""
    return ring.transform([word % 3 - 1 for word in keystream(key, RING)])


def encrypt(parameters: Parameters, secret: Sequence[int], stream: bytes, votes: Sequence[int]) -> list[int]:
    """A lane's ciphertexts as the vectors make them, with the secret key and known noise."""
    lane = parameters.split(votes)
    drawn = keystream(stream, WORDS * len(lane))
    words: list[int] = []
    for number, numbers in enumerate(lane):
        mine = drawn[WORDS * number : WORDS * (number + 1)]
        c1, noise = [word % Q for word in mine[:RING]], [word % 43 - 21 for word in mine[RING:]]
        m = [round(coefficient) for coefficient in ring.encode(numbers, parameters.scale)]
        hidden = ring.transform([a + b for a, b in zip(m, noise, strict=True)])
        words += [(h - a * s) % Q for h, a, s in zip(hidden, c1, secret, strict=True)] + c1
    return words


def decrypt(parameters: Parameters, secret: Sequence[int], words: Sequence[int]) -> list[float]:
    """The N numbers of a ciphertext, approximately."""
    c0, c1 = words[:RING], words[RING:]
    m = ring.invert([(a + b * s) % Q for a, b, s in zip(c0, c1, secret, strict=True)])
    return ring.decode([x - Q if x > Q // 2 else x for x in m], parameters.scale)
