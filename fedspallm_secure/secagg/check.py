"""Clients check the server's sums: a false one passes with probability about 2^-122.

Counts that the server invents would undo the rule that protects positions few institutions kept. So after a sum is
published, a public vector r is drawn from the hash of what was published (Fiat-Shamir), and each client sends the inner
product of r with its own digits, hidden under pairwise masks that cancel over the roster. Everybody adds the proofs up
and compares with the inner product of r with the published sums, modulo two primes of 61 bits:

    sum_i <r, digits_i>  =  <r, sums>     (mod p1 and mod p2, r drawn anew for each)

Masks and r depend on the hash, so clients that were shown different sums do not agree. Everybody must be there. What a
dishonest institution can do to a proof it can also do to its digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, Identity, Proof, Proofs, SumName, Sums, digest, seal
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.keystream import apply_keystream
from fedspallm_secure.secagg.lanes import Lane

__all__ = ["PRIMES", "ProofGathering", "SumCheck", "inner_products"]

PRIMES = (2**61 - 1, 2**61 - 31)

_LIMB = 21  # three limbs of 21 bits cover 61; a limb times a digit below 2^37 leaves room in a word for 2^5 of them
_BLOCK = 2**15


class SumCheck:
    """One client's check of one published sum.

    Args:
        context: of the round.
        published: the server's message.
        identity: this client.
        secrets: roster index of every other client -> the X25519 secret shared with it for this sum.
    """

    def __init__(
        self, context: RoundContext, published: Sums, identity: Identity, secrets: Mapping[int, bytes]
    ) -> None:
        self._context = context
        self._published = published
        self._identity = identity
        self._index = context.roster.index(identity.name)
        self._challenge = bytes.fromhex(digest(published))
        self._secrets = secrets
        self._own = [0, 0]
        self._sums = [0, 0]
        self._added: set[str] = set()

    def add(self, lane: Lane, sums: NDArray[Any], own: NDArray[Any] | None) -> None:
        """Take one lane into both sides of the comparison.

        Args:
            lane: any lane of the round, each once.
            sums: its published digits, unsigned, shape (L,).
            own: this client's digits as it masked them, same shape; None if it is not in the lane's cohort.

        Raises:
            LocalProtocolError: a lane twice, or own digits that do not belong there.
        """
        if lane.name in self._added or (own is None) is (self._index in lane.cohort):
            raise LocalProtocolError(f"Lane {lane.name} was added already, or not as it was masked.", "Our own fault.")
        self._added.add(lane.name)
        for prime in range(2):
            key = _derive(self._challenge, b"vector" + bytes([prime]) + lane.index.to_bytes(4, "big"))
            vectors = [sums] if own is None else [sums, own]
            products = inner_products(key, vectors)
            self._sums[prime] += products[0]
            self._own[prime] += sum(products[1:])

    def proof(self) -> Envelope:
        """This client's masked inner products, for the server.

        Raises:
            LocalProtocolError: lanes are missing.
        """
        if len(self._added) != len(self._context.lanes):
            raise LocalProtocolError(
                f"{len(self._added)} of {len(self._context.lanes)} lanes were added.", "Add every lane first."
            )
        masked = [
            (own + self._mask(prime)) % modulus
            for prime, (own, modulus) in enumerate(zip(self._own, PRIMES, strict=True))
        ]
        message = Proof(
            charter=self._context.digest(),
            round=self._context.round,
            sender=self._identity.name,
            sum=self._published.sum,
            products=(f"{masked[0]:016x}", f"{masked[1]:016x}"),
        )
        return seal(message, self._identity)

    def verify(self, envelope: Envelope) -> None:
        """Compare everybody's proofs with what the server published.

        Args:
            envelope: the server's `Proofs`.

        Raises:
            RemoteProtocolError: not the proofs of every client in roster order, or the published sum is false.
        """
        charter = self._context.digest()
        message = self._context.open(envelope, charter)
        todo = "Send nothing more in this run; the server and the institutions must compare what they hold."
        if (
            not isinstance(message, Proofs)
            or message.sender != self._context.charter.server
            or message.sum != self._published.sum
        ):
            raise RemoteProtocolError(
                f"{message.sender!r} sent {message.kind!r}; the server's proofs of {self._published.sum} are due.", todo
            )
        proofs = [self._context.open(proof, charter) for proof in message.proofs]
        if [proof.sender for proof in proofs] != list(self._context.roster):
            raise RemoteProtocolError("The proofs are not one of each institution, in roster order.", todo)
        totals = [0, 0]
        for proof in proofs:
            if not isinstance(proof, Proof) or proof.sum != self._published.sum:
                raise RemoteProtocolError(f"{proof.sender!r} did not prove its {self._published.sum}.", todo)
            for prime in range(2):
                totals[prime] += int(proof.products[prime], 16)
        for total, published, modulus in zip(totals, self._sums, PRIMES, strict=True):
            if (total - published) % modulus:
                raise RemoteProtocolError(
                    f"{self._identity.name!r} found that the published {self._published.sum} are not the sum of what "
                    "the institutions sent, or not the same for all of them.",
                    todo,
                )

    def _mask(self, prime: int) -> int:
        """What this client adds: plus the pair's mask at its smaller index, minus at the larger one."""
        total = 0
        for peer, secret in self._secrets.items():
            low, high = sorted((self._index, peer))
            label = b"mask" + bytes([prime]) + low.to_bytes(4, "big") + high.to_bytes(4, "big")
            mask = int.from_bytes(_derive(secret, label + self._challenge), "big")
            total += mask if self._index == low else -mask
        return total


class ProofGathering:
    """The server's side of a check: it waits for one proof of every client and passes them all on.

    Args:
        context: of the round.
        identity: the server.
        name: which sum is checked.
    """

    def __init__(self, context: RoundContext, identity: Identity, name: SumName) -> None:
        self.name = name
        self._context = context
        self._identity = identity
        self._proofs: dict[str, Envelope] = {}

    def missing(self) -> list[str]:
        """The clients whose proof has not come, in roster order."""
        return [name for name in self._context.roster if name not in self._proofs]

    def receive(self, envelope: Envelope) -> Envelope | None:
        """Take a client's proof.

        Returns:
            The broadcast, with the last proof; else None.

        Raises:
            RemoteProtocolError: no proof of this sum, or not from a client whose proof is missing.
        """
        message = self._context.open(envelope, self._context.digest())
        if not isinstance(message, Proof) or message.sum != self.name or message.sender not in self.missing():
            raise RemoteProtocolError(
                f"{message.sender!r} sent {message.kind!r}; proofs of {self.name} are due from "
                f"{', '.join(self.missing())}.",
                "Nothing was changed.",
            )
        self._proofs[message.sender] = envelope
        if self.missing():
            return None
        broadcast = Proofs(
            charter=self._context.digest(),
            round=self._context.round,
            sender=self._identity.name,
            sum=self.name,
            proofs=tuple(self._proofs[name] for name in self._context.roster),
        )
        return seal(broadcast, self._identity)


def inner_products(key: bytes, vectors: list[NDArray[Any]]) -> list[int]:
    """<r, vector> of each vector, as an exact integer.

    Args:
        key: r is the AES-256-CTR keystream of this key, as uint64 words of which the lowest 61 bits count.
        vectors: unsigned or bool, all of shape (L,), below 2^37.
    """
    r = np.zeros(vectors[0].size, np.uint64)
    apply_keystream(r, key, subtract=False)
    r &= np.uint64(2**61 - 1)
    totals = []
    for vector in vectors:
        bits = int(vector.max()).bit_length() if vector.size else 0
        block = min(_BLOCK, 2 ** (63 - _LIMB - bits))
        total = 0
        for start in range(0, vector.size, block):
            digits = vector[start : start + block].astype(np.uint64)
            words = r[start : start + block]
            for limb in range(3):
                part = (words >> np.uint64(limb * _LIMB)) & np.uint64(2**_LIMB - 1)
                total += int(np.dot(part, digits)) << (limb * _LIMB)
        totals.append(total)
    return totals


def _derive(secret: bytes, label: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=b"fedspallm-secure/v1/check/" + label).derive(secret)
