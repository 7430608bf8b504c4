"""An institution's encrypted votes, which stay with it until a quorum confirmed whose votes are in.

Nothing is encrypted under a charter that not everybody signed. A server could show one institution a charter that the
custodian never saw, with the true keys, and carry its ciphertexts from there into the true run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.charter import CharterSignatures, CkksVotes, check_charter_signatures
from fedspallm_secure.messages import LaneBlob
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.secagg import Lane
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import Encryptor, PublicContext
from fedspallm_secure.workspace import make_folder

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

    @classmethod
    def under(
        cls, plan: RoundPlan, signatures: CharterSignatures, contexts: BlobStore, folder: Path
    ) -> OwnCiphertexts | None:
        """What encrypts votes under a charter; None where it has them masked.

        Args:
            plan: of the round.
            signatures: beside the charter.
            contexts: where the public contexts are.
            folder: that nobody else reads; made.

        Raises:
            RemoteProtocolError: not everybody signed the charter, or the context is not the one that it names.
            CharterError: the context is not what it must be.
            StorageError: the context is not there, or the disk refuses.
            ConfigError: TenSEAL is not installed.
        """
        if not isinstance(plan.charter.votes, CkksVotes) or plan.ckks is None:
            return None
        check_charter_signatures(plan.charter, signatures)
        name = plan.charter.votes.contexts[plan.context.round]
        public = PublicContext(plan.ckks, contexts.get_bytes(name), name)
        make_folder(folder)
        return cls(Encryptor(public, folder), BlobStore(folder / "blobs"))

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
