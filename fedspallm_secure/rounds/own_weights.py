"""What an institution hands in where weights are averaged: its masks as votes, its changes as values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import ModelError
from fedspallm_secure.messages import LaneBlob
from fedspallm_secure.rounds.averaged import AveragedLanes
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.telemetry import ClippedValues
from fedspallm_secure.secagg import Lane, Participation
from fedspallm_secure.workspace import LayerStore

__all__ = ["OwnWeights"]


class OwnWeights:
    """One institution's pruned layers, as digits.

    Args:
        plan: of the round.
        name: the institution's.
        public: the weights the round starts from.
        meaning: of the round's lanes.
        pruned: the institution's layers, with their masks.

    Attributes:
        clipped: how many of the values handed in reached their bound.
    """

    def __init__(
        self, plan: RoundPlan, name: str, public: PublicWeights, meaning: AveragedLanes, pruned: LayerStore
    ) -> None:
        self._plan = plan
        self._name = name
        self._public = public
        self._meaning = meaning
        self._pruned = pruned
        self.clipped = ClippedValues()

    def votes(self, lane: Lane) -> NDArray[Any]:
        """1 for every weight that is kept, bool, shape (rows * columns,)."""
        (tensor,) = self._plan.tensors(lane)
        return self._pruned.kept(tensor.layer, tensor.name).reshape(-1)

    def values(self, lane: Lane, counts: LaneBlob, participation: Participation) -> NDArray[Any]:
        """The quantised changes of the eligible positions, unsigned.

        Raises:
            ModelError: a weight is not finite.
        """
        (tensor,) = self._plan.tensors(lane)
        _, eligible, _ = self._meaning.masks(lane, counts, participation)
        new = self._pruned.weights(tensor.layer, tensor.name)
        if not np.isfinite(new.astype(np.float32, copy=False)).all():
            raise ModelError(
                f"{self._name}'s pruned {tensor.name} holds values that are not finite.",
                "Prune that layer again with more damping.",
            )
        voted = self._pruned.kept(tensor.layer, tensor.name)
        quantiser = self._meaning.quantiser(lane)
        digits = quantiser.encode(new, self._public.weight(tensor), voted, eligible)
        at_bound = int(np.count_nonzero((digits == 0) | (digits == 2 * quantiser.Q)))
        self.clipped.note(lane, at_bound, digits.size)
        return digits
