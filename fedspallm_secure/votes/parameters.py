"""Ring, primes, scale and votes a slot for a number of clients: computed from it, and refused if they would not hold.

Votes are digits in base B = n + 1, so no sum of n votes carries, and v of them make one number below B^v. A slot is a
complex number and takes two such numbers, one as its real and one as its imaginary part. A ciphertext holds N numbers
and takes 2 N words of 64 bits, so a vote costs 16 / v bytes. Four rules bound v:

1. the bits of all primes together stay within what the ring bears at 128-bit security (Albrecht et al. 2018,
   Homomorphic Encryption Standard, table 1; the same table is built into SEAL);
2. there are two primes: q, modulo which ciphertexts travel, as large as SEAL allows, since room in q is room for votes;
   and the special prime p, which makes fresh ciphertexts nearly free of noise and takes what the table leaves;
3. the sum fits: no coefficient is larger than the largest slot, which is below sqrt 2 B^v, and sqrt 2 B^v + 1 times the
   scale stays below q / 2;
4. what the sum can be off (`noise`) is below the margin of 1/4, so that whoever rounds can tell a wrong sum from noise.

Given v, the scale is the largest that rule 3 allows, as noise counts in units of it. One ring is enough: a larger one
has more noise and the same q, and costs as many words a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from fedspallm_secure.errors import CharterError
from fedspallm_secure.votes.noise import error_bound

__all__ = ["MARGIN", "CkksParameters", "choose_parameters"]

MARGIN = 0.25
"""A number of a sum that is further than this from a whole one is refused."""

_TOTAL_BITS = {2048: 54, 4096: 109, 8192: 218}
_RING = 4096
_Q = 2**60 - 2**14 + 1
_P = 562949953216513  # the largest prime of 49 bits that is 1 modulo 2 N
_TODO = "Let the parameters be chosen for the number of institutions, or use masked votes."


@dataclass(frozen=True)
class CkksParameters:
    """How votes are laid into ciphertexts.

    Attributes:
        clients: n, how many clients add up at most.
        ring: N, the degree of the polynomials.
        q: the prime modulo which ciphertexts travel and are added.
        p: the special prime, used for encryption only.
        digits: v, votes a number.
        scale: what numbers are multiplied by before they are rounded.
    """

    clients: int
    ring: int
    q: int
    p: int
    digits: int
    scale: int

    def __post_init__(self) -> None:
        if self.ring not in _TOTAL_BITS:
            rings = ", ".join(map(str, _TOTAL_BITS))
            raise CharterError(f"No CKKS ring of degree {self.ring} is known; there are {rings}.", _TODO)
        bits = self.q.bit_length() + self.p.bit_length()
        if bits > _TOTAL_BITS[self.ring]:
            raise CharterError(
                f"CKKS primes of {bits} bits with ring {self.ring} have less than 128-bit security; "
                f"at most {_TOTAL_BITS[self.ring]} bits have it.",
                _TODO,
            )
        if self.clients < 1 or self.digits < 1 or self.scale < 1 or not self._fits():
            raise CharterError(
                f"{self.digits} votes of {self.clients} clients at scale {self.scale} do not fit "
                f"a CKKS modulus of {self.q.bit_length()} bits.",
                _TODO,
            )
        if self.bound >= MARGIN:
            raise CharterError(
                f"{self.digits} votes of {self.clients} clients a number could come out {self.bound:.2g} off; "
                f"less than {MARGIN} is needed to round them.",
                _TODO,
            )

    @property
    def base(self) -> int:
        """B = n + 1."""
        return self.clients + 1

    @property
    def bound(self) -> float:
        """How far a number of a sum can be off, except with probability 2^-40."""
        return error_bound(self.ring, self.p, self.clients, self.scale, self.base**self.digits)

    @property
    def votes(self) -> int:
        """Votes in a ciphertext."""
        return self.digits * self.ring

    @property
    def words(self) -> int:
        """64-bit words of a ciphertext: two polynomials modulo q."""
        return 2 * self.ring

    def ciphertexts(self, length: int) -> int:
        """Ciphertexts that a lane of `length` votes takes."""
        return -(-length // self.votes)

    def _fits(self) -> bool:
        return self.scale <= _largest_scale(self.q, self.base**self.digits)


def choose_parameters(clients: int) -> CkksParameters:
    """The parameters with the most votes a number.

    Args:
        clients: n, how many clients add up at most.

    Raises:
        CharterError: not one vote of so many clients fits a number.
    """
    digits = _Q.bit_length()
    while True:
        scale = _largest_scale(_Q, (clients + 1) ** digits)
        try:
            return CkksParameters(clients, _RING, _Q, _P, digits, scale)
        except CharterError:
            if digits <= 1:
                raise
            digits -= 1


def _largest_scale(q: int, top: int) -> int:
    """The largest scale with (sqrt 2 top + 1) scale <= q / 2."""
    return q // 2 // (isqrt(2 * top * top) + 2)
