"""An institution's encrypted votes, which stay with it until a quorum confirmed whose votes are in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.messages import LaneBlob
from fedspallm_secure.secagg import Lane
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import Encryptor

__all__ = ["OwnCiphertexts"]


class OwnCiphertexts:
    """The ciphertexts of one institution in one round.

    Args:
        encryptor: under the round's key.
        store: in a folder that nobody else reads; 1 to 8 bytes a vote (docs/ckks.md).
    """

    def __init__(self, encryptor: Encryptor, store: BlobStore) -> None:
        self._encryptor = encryptor
        self._store = store
        self._names: list[str] = []

    def encrypt(self, lane: Lane, votes: NDArray[np.bool_]) -> LaneBlob:
        """Encrypt and keep one lane's votes.

        Args:
            lane: whose.
            votes: bool, shape (L,).

        Raises:
            StorageError: the disk refuses.
        """
        words = np.concatenate(list(self._encryptor.encrypt(votes)))
        name = self._store.put(words)
        self._names.append(name)
        return LaneBlob(lane=lane.name, words=words.size, blob=name)

    def hand_over(self, to: BlobStore) -> None:
        """Store all of them where the server and the custodian find them.

        Raises:
            StorageError: either disk refuses.
        """
        for name in self._names:
            to.put(self._store.get(name))
