"""Published sums as digits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import LaneBlob, SumName
from fedspallm_secure.secagg import Lane
from fedspallm_secure.transcript import BlobStore

__all__ = ["PublishedSums"]


class PublishedSums:
    """Reads what a server published.

    Args:
        blobs: where the sums are found.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def digits(self, lane: Lane, name: SumName, published: LaneBlob, length: int) -> NDArray[Any]:
        """The digits of a published lane, unsigned, shape (length,).

        Raises:
            RemoteProtocolError: the words are not that many, or no sum of digits.
            StorageError: the payload can't be read.
        """
        packing = lane.packing(name)
        due = packing.words(length)
        words: NDArray[np.uint64] = self._blobs.get(published.blob)
        if words.size != due:
            raise RemoteProtocolError(
                f"The published sum of lane {published.lane} has {words.size} words; {due} are due.",
                "The round fails.",
            )
        return packing.unpack(words, length)
