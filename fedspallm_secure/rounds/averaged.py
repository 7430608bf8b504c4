"""What sums of votes and of changes mean: counts -> final mask and eligible positions -> averaged weights."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation import Quantiser, average, expand_mask, sums_fit_counts
from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import LaneBlob
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.published import PublishedSums
from fedspallm_secure.secagg import Lane, Participation

__all__ = ["AveragedLanes"]


class AveragedLanes:
    """The meaning of lanes that carry one tensor's masks and changes.

    Args:
        plan: of the round.
        public: the weights the round starts from.
        published: reads the sums.
    """

    def __init__(self, plan: RoundPlan, public: PublicWeights, published: PublishedSums) -> None:
        self._plan = plan
        self._public = public
        self._published = published

    def masks(
        self, lane: Lane, counts: LaneBlob, participation: Participation
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[Any]]:
        """The final mask, the eligible positions, and the counts they come from.

        Returns:
            kept (bool), eligible (bool, a subset: enough votes for a sum of values), counts (unsigned); all (rows,
            columns).

        Raises:
            RemoteProtocolError: a position with more votes than voters.
        """
        (tensor,) = self._plan.tensors(lane)
        votes = self._published.digits(lane, "votes", counts, lane.length).reshape(tensor.rows, tensor.columns)
        voters = participation.number(lane, "votes")
        if votes.size and votes.max() > voters:
            raise RemoteProtocolError(
                f"Lane {lane.name} counts up to {votes.max()} votes of {voters} institutions.",
                "The round fails: the server published no counts. Ask it what it added up.",
            )
        kept = expand_mask(votes, self._public.weight(tensor), self._public.scales(tensor), self._plan.pattern)
        return kept, kept & (votes >= participation.bar(lane)), votes

    def eligible(self, lane: Lane, counts: LaneBlob, participation: Participation) -> int:
        """How many positions take part in the values sum."""
        return int(np.count_nonzero(self.masks(lane, counts, participation)[1]))

    def quantiser(self, lane: Lane) -> Quantiser:
        """How changes of a lane's weights are written as digits."""
        (tensor,) = self._plan.tensors(lane)
        clip = Fraction(self._plan.charter.parameters.clip)
        return Quantiser.of(self._public.scales(tensor), lane.values.top // 2, clip)

    def weights(
        self, lane: Lane, counts: LaneBlob, sums: LaneBlob | None, participation: Participation
    ) -> dict[str, NDArray[Any]]:
        """The new weight by its tensor's name, shape (rows, columns), dtype of the base.

        Args:
            lane: which.
            counts: its published votes.
            sums: its published values, or None where no weight changes: the method changes none, or nobody could check
                the sums.
            participation: who contributed.

        Raises:
            RemoteProtocolError: a sum that the votes can't have given.
        """
        (tensor,) = self._plan.tensors(lane)
        W = self._public.weight(tensor)
        kept, eligible, votes = self.masks(lane, counts, participation)
        if sums is None:
            return {tensor.name: np.where(kept, W, np.zeros((), W.dtype))}
        length = int(np.count_nonzero(eligible))
        digits = self._published.digits(lane, "values", sums, length)
        clients, quantiser = participation.number(lane, "values"), self.quantiser(lane)
        if not sums_fit_counts(digits, votes[eligible], quantiser.Q, clients):
            raise RemoteProtocolError(
                f"A sum of lane {lane.name} is larger than its votes allow.",
                "A contribution was malformed; the round fails. Ask the institutions of this layer's cohort.",
            )
        return {tensor.name: average(W, kept, eligible, votes, digits, quantiser, clients)}
