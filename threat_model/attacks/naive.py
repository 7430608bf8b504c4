"""The naive secure aggregation of FedSpaLLM: masked sums of weights and masks in one shot, and nothing else.

Bonawitz et al. 2017 for a server that keeps to the rules (their figure 4 without the consistency check): pairwise masks
from X25519 keys, a self mask, and shares of both secrets for drop-outs. What the server says goes: whose keys are
whose, and who is alive. Masks depend on keys alone, not on a round.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from fedspallm_secure.secagg.shamir import combine, split

__all__ = ["NaiveClient", "deal", "fixed_point", "naive_sum", "unmask"]

Entropy = Callable[[int], bytes]

_STEP = 2.0**-32


class NaiveClient:
    """One client.

    Args:
        index: its number.
        entropy: source of its secrets.

    Attributes:
        public: its key, for everybody.
        held: owner -> (share of its seed, share of its key).
    """

    def __init__(self, index: int, entropy: Entropy) -> None:
        self.index = index
        self.held: dict[int, tuple[bytes, bytes]] = {}
        self._entropy = entropy
        self._key, self._seed = entropy(32), entropy(32)
        self.public = _private(self._key).public_key().public_bytes_raw()

    def shares(self, holders: Sequence[int], threshold: int) -> dict[int, tuple[bytes, bytes]]:
        """Shares of its seed and of its key, for each holder."""
        seeds = split(self._seed, threshold, holders, self._entropy)
        keys = split(self._key, threshold, holders, self._entropy)
        return {holder: (seeds[holder], keys[holder]) for holder in holders}

    def masked(self, words: NDArray[np.uint64], publics: Mapping[int, bytes]) -> NDArray[np.uint64]:
        """Its words under its self mask and one for every peer whose key the server lists."""
        total = words + _stream(self._seed, words.size)
        for peer, public in publics.items():
            if peer != self.index:
                total += _pair_mask(self._key, public, self.index, peer, words.size)
        return total

    def reveal(self, alive: Collection[int], vanished: Collection[int]) -> dict[int, bytes]:
        """A share of the seed of everybody who is alive, and of the key of everybody who is not, says the server."""
        return {owner: self.held[owner][0] for owner in alive} | {owner: self.held[owner][1] for owner in vanished}


def deal(clients: Sequence[NaiveClient], threshold: int) -> None:
    """Everybody gives everybody shares."""
    numbers = [client.index for client in clients]
    for owner in clients:
        shares = owner.shares(numbers, threshold)
        for holder in clients:
            holder.held[owner.index] = shares[holder.index]


def naive_sum(vectors: Sequence[NDArray[np.uint64]], entropy: Entropy) -> NDArray[np.uint64]:
    """What an honest server gets to see: the sum of everybody's words modulo 2^64, in one shot with fresh keys."""
    clients = [NaiveClient(index, entropy) for index in range(len(vectors))]
    deal(clients, len(clients) // 2 + 1)
    publics = {client.index: client.public for client in clients}
    sent = [client.masked(words, publics) for client, words in zip(clients, vectors, strict=True)]
    total: NDArray[np.uint64] = np.sum(sent, axis=0, dtype=np.uint64)
    told = {client.index: client.reveal(publics, ()) for client in clients}
    for owner in publics:
        shares = {holder: said[owner] for holder, said in told.items()}
        total -= _stream(combine(shares), total.size)
    return total


def unmask(
    words: NDArray[np.uint64], index: int, seed: bytes, key: bytes, publics: Mapping[int, bytes]
) -> NDArray[np.uint64]:
    """What one client sent, for somebody who has both its secrets."""
    left = words - _stream(seed, words.size)
    for peer, public in publics.items():
        if peer != index:
            left -= _pair_mask(key, public, index, peer, words.size)
    return left


def _pair_mask(key: bytes, public: bytes, own: int, peer: int, size: int) -> NDArray[np.uint64]:
    """What the owner of `key` adds because of a peer, who adds its negative."""
    mask = _stream(_private(key).exchange(X25519PublicKey.from_public_bytes(public)), size)
    return mask if own < peer else np.uint64(0) - mask


def _stream(secret: bytes, size: int) -> NDArray[np.uint64]:
    """The keystream that a secret gives: the same whenever it is used."""
    key = HKDF(SHA256(), length=32, salt=None, info=b"naive").derive(secret)
    return np.frombuffer(Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(8 * size)), "<u8")


def fixed_point(weights: NDArray[Any]) -> NDArray[np.uint64]:
    """Weights as whole multiples of 2^-32, modulo 2^64."""
    return np.rint(weights.astype(np.float64) / _STEP).astype(np.int64).view(np.uint64)


def _private(raw: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(raw)
