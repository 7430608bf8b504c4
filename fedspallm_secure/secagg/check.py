"""Clients check the server's sums: a false one passes with probability about 2^-122.

Counts that the server invents would undo the rule that protects positions few institutions kept. So after a sum is
published, a public vector r is drawn from the hash of what was published (Fiat-Shamir), and each contributor sends, for
every group, the inner product of r with its own digits, hidden under pairwise masks that cancel over the contributors.
Everybody adds the proofs up and compares with the inner product of r with the published sums, modulo two primes of 61
bits:

    sum_i <r, digits_i>  =  <r, sums>     (mod p1 and mod p2, r drawn anew for each)

Masks and r depend on the hash, so clients that were shown different sums do not agree. Every contributor's proof is
needed; where one is missing, only a witness that recomputed the sum can stand in. A contributor's key must never be
revealed to rescue the check: its self mask is open already, so that would uncover its digits. What a dishonest
institution can do to a proof it can also do to its digits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Attest, Attested, Proof, Proofs, Sums, digest
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.groups import Group
from fedspallm_secure.secagg.keys import derive
from fedspallm_secure.secagg.keystream import apply_keystream
from fedspallm_secure.secagg.lanes import Lane

__all__ = ["PRIMES", "SumCheck", "check_attestation", "inner_products"]

PRIMES = (2**61 - 1, 2**61 - 31)

_LIMB = 21  # three limbs of 21 bits cover 61; a limb times half a digit, of 30 bits, leaves 12 bits for a block's sum
_HALF = 30
_BLOCK = 2**15
_TODO = "Send nothing more in this run; the server and the institutions must compare what they hold."


class SumCheck:
    """One client's check of one published sum, or a reader's who contributed nothing.

    Args:
        context: of the round.
        published: the server's message.
        index: this client's roster index; None for a reader, who verifies and can't prove.
        contributors: whose lanes the sum adds up.
        secrets: group's index -> neighbour among the contributors -> the X25519 secret shared with it for this sum.
    """

    def __init__(
        self,
        context: RoundContext,
        published: Sums,
        index: int | None,
        contributors: Collection[int],
        secrets: Mapping[int, Mapping[int, bytes]],
    ) -> None:
        self._context = context
        self._published = published
        self._index = index
        self._contributors = frozenset(contributors)
        self._secrets = secrets
        self._challenge = bytes.fromhex(digest(published))
        self._own = {group: [0, 0] for group in secrets}
        self._sums = {group.index: [0, 0] for group in context.groups}
        self._added: frozenset[str] = frozenset()

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
        self._added |= {lane.name}
        group = self._context.group_of[lane.name].index
        for prime in range(2):
            key = derive(self._challenge, b"check/vector", bytes([prime]) + lane.index.to_bytes(4, "big"))
            vectors = [sums] if own is None else [sums, own]
            products = inner_products(key, vectors)
            self._sums[group][prime] += products[0]
            if own is not None:
                self._own[group][prime] += products[1]

    def proof(self) -> Proof:
        """This client's masked inner products, for the server.

        Raises:
            LocalProtocolError: lanes are missing, or this is a reader.
        """
        if self._index is None or len(self._added) != len(self._context.lanes):
            raise LocalProtocolError(
                f"{len(self._added)} of {len(self._context.lanes)} lanes were added.", "Add every lane first."
            )
        return Proof(
            charter=self._published.charter,
            round=self._published.round,
            sender=self._context.roster[self._index],
            sum=self._published.sum,
            attempt=self._published.attempt,
            products=tuple(
                (self._masked(self._index, group, 0), self._masked(self._index, group, 1))
                for group in self._context.groups_of(self._index)
            ),
        )

    def verify(self, message: Proofs) -> None:
        """Compare everybody's proofs with what the server published.

        Raises:
            RemoteProtocolError: not the proofs of every contributor in roster order, or the published sum is false.
        """
        name = self._published.sum
        if (message.sum, message.attempt) != (name, self._published.attempt):
            raise RemoteProtocolError(f"Proofs of {message.sum} came; those of {name} are due.", _TODO)
        totals = {group.index: [0, 0] for group in self._context.groups}
        proofs = [self._context.open(proof) for proof in message.proofs]
        if tuple(proof.sender for proof in proofs) != self._context.names(self._contributors):
            raise RemoteProtocolError("The proofs are not one of each contributor, in roster order.", _TODO)
        for index, proof in zip(sorted(self._contributors), proofs, strict=True):
            groups = self._context.groups_of(index)
            if not isinstance(proof, Proof) or (proof.sum, proof.attempt) != (name, message.attempt):
                raise RemoteProtocolError(f"{proof.sender!r} did not prove its {name}.", _TODO)
            if len(proof.products) != len(groups):
                raise RemoteProtocolError(f"{proof.sender!r} proved another number of groups than it is in.", _TODO)
            for group, products in zip(groups, proof.products, strict=True):
                for prime in range(2):
                    totals[group.index][prime] += int(products[prime], 16)
        for group in self._context.groups:
            for total, published, modulus in zip(totals[group.index], self._sums[group.index], PRIMES, strict=True):
                if (total - published) % modulus:
                    raise RemoteProtocolError(
                        f"{self._who} found that the published {name} are not the sum of what the institutions sent, "
                        f"or not the same for all of them (lane {group.lanes[0].name} or one with its cohort).",
                        _TODO,
                    )

    @property
    def _who(self) -> str:
        return "This check" if self._index is None else repr(self._context.roster[self._index])

    def _masked(self, index: int, group: Group, prime: int) -> str:
        return f"{(self._own[group.index][prime] + self._mask(index, group, prime)) % PRIMES[prime]:016x}"

    def _mask(self, index: int, group: Group, prime: int) -> int:
        """What this client adds: plus the pair's mask at its smaller index, minus at the larger one."""
        total = 0
        for peer, secret in self._secrets[group.index].items():
            low, high = sorted((index, peer))
            numbers = b"".join(number.to_bytes(4, "big") for number in (group.index, low, high))
            mask = int.from_bytes(derive(secret, b"check/mask", bytes([prime]) + numbers + self._challenge), "big")
            total += mask if index == low else -mask
        return total


def check_attestation(context: RoundContext, message: Attested, published: Sums) -> None:
    """Accept the witness's word for `published` in place of the proofs.

    Raises:
        RemoteProtocolError: the charter names no witness, it did not attest this very sum, or it can't know.
    """
    if published.counted is not None:
        raise RemoteProtocolError("A witness can't vouch for counts that the custodian decrypts.", _TODO)
    attest = context.open(message.attestation)
    witness = context.charter.witness
    if witness is None or attest.sender != witness.name or not isinstance(attest, Attest):
        raise RemoteProtocolError(f"{attest.sender!r} is not the charter's witness, or attested nothing.", _TODO)
    told = {(said.sum, said.attempt) for said in (message, attest)}
    if told != {(published.sum, published.attempt)} or attest.sums != digest(published):
        raise RemoteProtocolError("The witness attested other sums than those that were published to us.", _TODO)


def inner_products(key: bytes, vectors: list[NDArray[Any]]) -> list[int]:
    """<r, vector> of each vector, as an exact integer.

    Args:
        key: r is the AES-256-CTR keystream of this key, as uint64 words of which the lowest 61 bits count.
        vectors: unsigned or bool, all of shape (L,), below 2^60.
    """
    r = np.zeros(vectors[0].size, np.uint64)
    apply_keystream(r, key, subtract=False)
    r &= np.uint64(2**61 - 1)
    totals = []
    for vector in vectors:
        bits = int(vector.max()).bit_length() if vector.size else 0
        total = _inner_product(r, vector, min(bits, _HALF))
        if bits > _HALF:
            total += _inner_product(r, vector >> np.uint64(_HALF), bits - _HALF) << _HALF
        totals.append(total)
    return totals


def _inner_product(r: NDArray[np.uint64], vector: NDArray[Any], bits: int) -> int:
    """<r, the lowest `bits` bits of vector>, bits at most 30."""
    block = min(_BLOCK, 2 ** (63 - _LIMB - bits))
    total = 0
    for start in range(0, vector.size, block):
        digits = vector[start : start + block].astype(np.uint64)
        digits &= np.uint64(2**bits - 1)
        words = r[start : start + block]
        for limb in range(3):
            part = (words >> np.uint64(limb * _LIMB)) & np.uint64(2**_LIMB - 1)
            total += int(np.dot(part, digits)) << (limb * _LIMB)
    return total
