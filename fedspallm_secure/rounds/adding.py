"""How a lane's masked words become its published sum: added up one after the other, and the masks taken off the total.

Memory is one lane's words, however many institutions there are and however large the model is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import LaneBlob, SumName
from fedspallm_secure.secagg import Lane, Server
from fedspallm_secure.transcript import BlobStore

__all__ = ["Adder", "AddingUp", "add_up"]

Adder = Callable[[Server, SumName, Lane], LaneBlob]
"""What a coordinator publishes for a lane, when the shares that unmask it are there."""


class AddingUp:
    """The coordinator's own way: add the masked blobs up, and store the sum.

    Args:
        blobs: where masked lanes come from, and sums go.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
        """Compute and store one lane's sum.

        Raises:
            RemoteProtocolError: an institution stored another number of words than it announced.
            StorageError: a payload can't be read or written.
        """
        total = add_up(server, lane, self._blobs)
        return LaneBlob(lane=lane.name, words=total.size, blob=self._blobs.put(total))


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
