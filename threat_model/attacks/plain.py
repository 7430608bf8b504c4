"""FedSpaLLM as published (arXiv 2410.14852), without any protection: what every attack is shown to work on.

Clients upload masks and pruned weights of the layers they sampled; the server averages the kept ones, expands the mask
to the target, and recomputes denominators when a client drops out. Paper and code were not to be had in full; ties and
sampling are the simplest that fit (docs/choices.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.workspace import LayerStore
from tests.rounds.synthetic import Run

__all__ = ["PlainServer", "Upload", "sample_as_they_can", "uploads"]


@dataclass(frozen=True)
class Upload:
    """One client's pruned copy of one tensor, flat.

    Attributes:
        mask: bool, True where the weight stays.
        weight: zero where it does not.
    """

    mask: NDArray[np.bool_]
    weight: NDArray[Any]


class PlainServer:
    """The server of one tensor: it keeps what comes, as it must to average it.

    Attributes:
        received: client -> its upload.
    """

    def __init__(self) -> None:
        self.received: dict[str, Upload] = {}

    def receive(self, client: str, upload: Upload) -> None:
        """Take a client's upload; one that came before is replaced."""
        self.received[client] = upload

    def votes(self, dropped: Collection[str] = ()) -> NDArray[np.int64]:
        """How many clients kept each position: the denominators, recomputed without those that dropped out."""
        masks = [upload.mask for client, upload in self.received.items() if client not in dropped]
        total: NDArray[np.int64] = np.sum(masks, axis=0, dtype=np.int64)
        return total

    def model(self, sparsity: Fraction, dropped: Collection[str] = ()) -> NDArray[np.float64]:
        """The l0-normalised average, with as many more positions zero as the target asks for: fewest votes first."""
        votes = self.votes(dropped)
        weights = [upload.weight for client, upload in self.received.items() if client not in dropped]
        total = np.sum(weights, axis=0, dtype=np.float64)
        average = np.divide(total, votes, out=np.zeros(votes.shape), where=votes > 0)
        average[np.argsort(votes, kind="stable")[: floor(sparsity * votes.size)]] = 0
        return average


def uploads(run: Run, pruned: Mapping[str, LayerStore]) -> dict[str, Upload]:
    """Every institution's copy of the run's first tensor, as it would upload it in the clear."""
    tensor = run.charter.base.pruned[0]
    return {
        name: Upload(
            store.kept(tensor.layer, tensor.name).reshape(-1), store.weights(tensor.layer, tensor.name).reshape(-1)
        )
        for name, store in pruned.items()
        if store.has(tensor.layer)
    }


def sample_as_they_can(shares: Sequence[Fraction], layers: int, random: Random) -> list[list[int]]:
    """Resource-aware layer sampling: each client draws as many layers as it can prune, whatever the others draw.

    Returns:
        For each layer the indices of its clients.
    """
    drawn = [random.sample(range(layers), floor(share * layers)) for share in shares]
    return [[client for client, mine in enumerate(drawn) if layer in mine] for layer in range(layers)]
