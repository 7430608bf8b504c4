"""What an institution hands in where statistics are pooled: diagonals of its second moments first, then the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation import DiagonalQuantiser, MatrixQuantiser
from fedspallm_secure.errors import ModelError
from fedspallm_secure.messages import LaneBlob
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.pooled import PooledLanes
from fedspallm_secure.rounds.telemetry import ClippedValues
from fedspallm_secure.secagg import Lane, Participation
from fedspallm_secure.workspace import LayerStore

__all__ = ["OwnMoments"]


class OwnMoments:
    """One institution's second moments, as digits.

    Args:
        plan: of the round.
        name: the institution's.
        meaning: of the round's lanes.
        moments: sums over its tokens, under the lanes' names: (inputs, inputs), or the diagonal (inputs,) where no more
            is summed; any floating dtype.

    Attributes:
        clipped: how many of the values handed in reached their bound.
    """

    def __init__(self, plan: RoundPlan, name: str, meaning: PooledLanes, moments: LayerStore) -> None:
        self._plan = plan
        self._name = name
        self._meaning = meaning
        self._moments = moments
        self.clipped = ClippedValues()

    def votes(self, lane: Lane) -> NDArray[Any]:
        """The digits of the diagonal.

        Raises:
            ModelError: a moment is not finite.
        """
        moment = self._moment(lane)
        diagonal = moment if moment.ndim == 1 else moment.diagonal()
        quantiser = self._meaning.diagonal_quantiser(lane)
        digits = quantiser.encode(diagonal)
        self._at_bound(lane, quantiser, digits)
        return digits

    def values(self, lane: Lane, counts: LaneBlob, participation: Participation) -> NDArray[Any]:
        """The digits of the rest, none where none are due.

        Raises:
            ModelError: a moment is not finite.
        """
        if self._meaning.eligible(lane, counts, participation) == 0:
            return np.zeros(0, np.uint8)
        quantiser = self._meaning.matrix_quantiser(lane, counts, participation)
        digits = quantiser.encode(self._moment(lane))
        self.clipped.note(lane, self._at_bound(lane, quantiser, digits), digits.size)
        return digits

    def _at_bound(self, lane: Lane, quantiser: DiagonalQuantiser | MatrixQuantiser, digits: NDArray[Any]) -> int:
        """How many digits were clamped; none may be where they hold a share of the noise, which counts in the sum."""
        at_bound = quantiser.at_bound(digits)
        if at_bound and self._plan.pooled(lane).noise is not None:
            raise ModelError(
                f"{self._name}'s second moment of the input of {lane.name} with its noise is beyond what is summed.",
                "Agree on fewer digits a word; nothing was sent.",
            )
        return at_bound

    def _moment(self, lane: Lane) -> NDArray[Any]:
        (first, *_) = self._plan.tensors(lane)
        moment = self._moments.weights(first.layer, lane.name)
        if not np.isfinite(moment).all():
            raise ModelError(
                f"{self._name}'s second moment of the input of {lane.name} is not finite.",
                "Measure it again, with the model in bfloat16 or float32.",
            )
        return moment
