"""How a lane's masked words become its published sum: added up one after the other, and the masks taken off the total.

Encrypted votes are added up too, but to compare: the counts are the custodian's.

Memory is one lane's words, however many institutions there are and however large the model is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError, StorageError
from fedspallm_secure.messages import CountedLane, LaneBlob, SumName
from fedspallm_secure.secagg import Lane, Server
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import CkksParameters, add_ciphertexts, check_ciphertexts, sum_digest

__all__ = ["Adder", "AddingUp", "add_encrypted", "add_up"]


class Adder(Protocol):
    """How a coordinator comes from payloads to sums."""

    def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
        """What is published for a lane, when the shares that unmask it are there, or the custodian's counts."""
        ...

    def check_released(self, who: str, lanes: Iterable[tuple[Lane, LaneBlob]]) -> None:
        """Refuse ciphertexts that can't be added, while the round can still go on without them."""
        ...


class AddingUp:
    """The coordinator's own way: add the masked blobs up, and store the sum.

    Args:
        blobs: where masked and encrypted lanes come from, and sums go.
        ckks: how votes are encrypted; None where they are masked.
    """

    def __init__(self, blobs: BlobStore, ckks: CkksParameters | None = None) -> None:
        self._blobs = blobs
        self._ckks = ckks

    def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
        """Compute and store one lane's sum.

        Raises:
            RemoteProtocolError: an institution stored another number of words than it announced, or the custodian
                counted other ciphertexts.
            StorageError: a payload can't be read or written.
        """
        counted = server.counted(lane)
        if counted is not None:
            return self._compared(server, lane, counted)
        total = add_up(server, lane, self._blobs)
        return LaneBlob(lane=lane.name, words=total.size, blob=self._blobs.put(total))

    def check_released(self, who: str, lanes: Iterable[tuple[Lane, LaneBlob]]) -> None:
        """Read all that an institution released.

        Raises:
            RemoteProtocolError: it is not what the institution signed, or no ciphertexts of its lanes.
        """
        assert self._ckks is not None
        for lane, blob in lanes:
            try:
                for _ in check_ciphertexts(
                    self._ckks, lane.length, who, self._blobs.stream(blob.blob, self._ckks.words)
                ):
                    pass
            except StorageError as error:
                raise RemoteProtocolError(
                    f"{who!r} released no votes for lane {lane.name}: {error.problem}",
                    "The message was ignored; it may send them again before the deadline.",
                ) from error

    def _compared(self, server: Server, lane: Lane, counted: CountedLane) -> LaneBlob:
        assert self._ckks is not None
        found = add_encrypted(server, lane, self._blobs, self._ckks)
        if found != counted.ciphertexts:
            raise RemoteProtocolError(
                f"The custodian counted votes of lane {lane.name} whose encrypted sum is {counted.ciphertexts}; that "
                f"of the ciphertexts sent is {found}.",
                "The round fails; ask the custodian what it added up.",
            )
        return counted.counts


def add_encrypted(server: Server, lane: Lane, blobs: BlobStore, ckks: CkksParameters) -> str:
    """SHA-256 of one lane's encrypted sum, 64 hexadecimal digits; memory is a few ciphertexts.

    Args:
        server: in the state in which sums are due.
        lane: one of the round's.
        blobs: where the ciphertexts come from.
        ckks: how votes are encrypted.

    Raises:
        RemoteProtocolError: what an institution stored are not ciphertexts of the lane.
        StorageError: a payload can't be read.
    """
    streams = [
        check_ciphertexts(ckks, lane.length, name, blobs.stream(contribution.blob, ckks.words))
        for name, contribution in server.contributions(lane)
    ]
    return sum_digest(add_ciphertexts(ckks, lane.length, streams))


def add_up(server: Server, lane: Lane, blobs: BlobStore) -> NDArray[np.uint64]:
    """One lane's sum, unmasked.

    Args:
        server: in the state in which sums are due.
        lane: one of the round's.
        blobs: where masked lanes come from.

    Returns:
        uint64 words, the packed sums of digits.

    Raises:
        RemoteProtocolError: an institution stored another number of words than it announced.
        StorageError: a payload can't be read.
    """
    contributions = server.contributions(lane)
    total = np.zeros(contributions[0][1].words, np.uint64)
    for name, contribution in contributions:
        words = blobs.get(contribution.blob)
        if words.size != total.size:
            raise RemoteProtocolError(
                f"{name!r} stored {words.size} words for lane {lane.name}; {total.size} are due.",
                "The round fails; ask that institution what it sent.",
            )
        total += words
    server.unmask(lane, total)
    return total
