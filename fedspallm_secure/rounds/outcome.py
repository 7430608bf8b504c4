"""What published sums mean: counts -> final mask and eligible positions -> new weights -> the model's digest.

A deterministic function of the charter, the public weights, the counts and the sums. Every institution, the server and
the auditor compute it with this code; nobody has to be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation import Quantiser, average, expand_mask, sums_fit_counts
from fedspallm_secure.charter import model_digest, tensor_digest
from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import LaneBlob, SumName
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.telemetry import RoundTelemetry
from fedspallm_secure.secagg import Lane, Participation
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.workspace import LayerStore

__all__ = ["Outcome"]


class Outcome:
    """The meaning of one round's sums.

    Args:
        plan: of the round.
        public: the weights the round starts from.
        blobs: where the published sums are found.
    """

    def __init__(self, plan: RoundPlan, public: PublicWeights, blobs: BlobStore) -> None:
        self._plan = plan
        self._public = public
        self._blobs = blobs

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
        tensor = self._plan.tensor(lane)
        votes = self.digits(lane, "votes", counts, lane.length).reshape(tensor.rows, tensor.columns)
        voters = participation.number(lane, "votes")
        if votes.size and votes.max() > voters:
            raise RemoteProtocolError(
                f"Lane {lane.name} counts up to {votes.max()} votes of {voters} institutions.",
                "The round fails: the server published no counts. Ask it what it added up.",
            )
        kept = expand_mask(votes, self._public.weight(tensor), self._public.scales(tensor), self._plan.pattern)
        return kept, kept & (votes >= participation.bar(lane)), votes

    def digits(self, lane: Lane, name: SumName, published: LaneBlob, length: int) -> NDArray[Any]:
        """The digits of a published lane, unsigned, shape (length,).

        Raises:
            RemoteProtocolError: the words are not that many, or no sum of digits.
            StorageError: the payload can't be read.
        """
        packing = lane.packing(name)
        return packing.unpack(self._words(published, packing.words(length)), length)

    def eligible_lengths(self, counts: Sequence[LaneBlob], participation: Participation) -> list[int]:
        """How many positions of each lane take part in the values sum, one number a lane of the round."""
        weights = [
            int(np.count_nonzero(self.masks(lane, blob, participation)[1]))
            for lane, blob in zip(self._plan.lanes, counts, strict=False)
        ]
        return weights if self._plan.telemetry is None else [*weights, self._plan.telemetry.length]

    def telemetry(
        self, counts: Sequence[LaneBlob], sums: Sequence[LaneBlob] | None, participation: Participation
    ) -> RoundTelemetry | None:
        """The operator's figures of the round, if it has any."""
        lane = self._plan.telemetry
        if lane is None:
            return None
        values = None if sums is None else self.digits(lane, "values", sums[-1], lane.length)
        votes = self.digits(lane, "votes", counts[-1], lane.length)
        return RoundTelemetry.of(participation.number(lane, "votes"), votes, values)

    def quantiser(self, lane: Lane) -> Quantiser:
        """How changes of a lane's weights are written as digits."""
        scales = self._public.scales(self._plan.tensor(lane))
        return Quantiser.of(scales, lane.values.top // 2, Fraction(self._plan.charter.parameters.clip))

    def weight(self, lane: Lane, counts: LaneBlob, sums: LaneBlob | None, participation: Participation) -> NDArray[Any]:
        """The new weight, shape (rows, columns), dtype of the base.

        Args:
            lane: which.
            counts: its published votes.
            sums: its published values, or None where no weight changes: the method changes none, or nobody could check
                the sums.
            participation: who contributed.

        Raises:
            RemoteProtocolError: a sum that the votes can't have given.
        """
        W = self._public.weight(self._plan.tensor(lane))
        kept, eligible, votes = self.masks(lane, counts, participation)
        if sums is None:
            return np.where(kept, W, np.zeros((), W.dtype))
        length = int(np.count_nonzero(eligible))
        digits = self.digits(lane, "values", sums, length)
        clients, quantiser = participation.number(lane, "values"), self.quantiser(lane)
        if not sums_fit_counts(digits, votes[eligible], quantiser.Q, clients):
            raise RemoteProtocolError(
                f"A sum of lane {lane.name} is larger than its votes allow.",
                "A contribution was malformed; the round fails. Ask the institutions of this layer's cohort.",
            )
        return average(W, kept, eligible, votes, digits, quantiser, clients)

    def model(
        self,
        counts: Sequence[LaneBlob],
        sums: Sequence[LaneBlob] | None,
        participation: Participation,
        output: LayerStore | None,
    ) -> str:
        """Compute the whole new model, a layer at a time.

        Args:
            counts: published votes, one a lane.
            sums: published values, one a lane, or None where no weight changes.
            participation: who contributed.
            output: where the layers are stored, or None if only the digest is wanted.

        Returns:
            The model's digest, 64 hexadecimal digits.
        """
        return model_digest(self.tensors(counts, sums, participation, output))

    def tensors(
        self,
        counts: Sequence[LaneBlob],
        sums: Sequence[LaneBlob] | None,
        participation: Participation,
        output: LayerStore | None,
        progress: Callable[[], None] = lambda: None,
    ) -> dict[str, str]:
        """The same, but for the result: every tensor's name -> its digest. `progress` is called after each lane."""
        lanes = self._plan.lanes
        work = zip(lanes, counts, sums if sums is not None else [None] * len(lanes), strict=False)
        digests = dict(self._plan.charter.base.rest)
        for layer, group in groupby(work, key=lambda item: self._plan.tensor(item[0]).layer):
            weights = {}
            for lane, count, values in group:
                new = self.weight(lane, count, values, participation)
                digests[lane.name] = tensor_digest(new)
                weights[lane.name] = new
                progress()
            if output is not None:
                output.write(layer, weights)
        return digests

    def _words(self, blob: LaneBlob, due: int) -> NDArray[np.uint64]:
        words = self._blobs.get(blob.blob)
        if words.size != due:
            raise RemoteProtocolError(
                f"The published sum of lane {blob.lane} has {words.size} words; {due} are due.", "The round fails."
            )
        return words
