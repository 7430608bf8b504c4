"""What published sums mean: from sums to the new weights and the model's digest.

A deterministic function of the charter, the public weights and the sums. Every institution, the server and the auditor
compute it with this code; nobody has to be believed. What a lane's sums say is `averaged`'s or `pooled`'s, as the
charter has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from numpy.typing import NDArray

from fedspallm_secure.charter import model_digest, tensor_digest
from fedspallm_secure.messages import LaneBlob, SumName
from fedspallm_secure.rounds.averaged import AveragedLanes
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.pooled import PooledLanes
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.published import PublishedSums
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

    Attributes:
        averaged: of lanes whose weights are averaged.
        pooled: of lanes whose statistics are pooled.
    """

    def __init__(self, plan: RoundPlan, public: PublicWeights, blobs: BlobStore) -> None:
        self._plan = plan
        self._public = public
        self._published = PublishedSums(blobs)
        self.averaged = AveragedLanes(plan, public, self._published)
        self.pooled = PooledLanes(plan, public, self._published)
        self._meaning = self.averaged if plan.charter.pooled is None else self.pooled

    def digits(self, lane: Lane, name: SumName, published: LaneBlob, length: int) -> NDArray[Any]:
        """The digits of a published lane, unsigned, shape (length,).

        Raises:
            RemoteProtocolError: the words are not that many, or no sum of digits.
            StorageError: the payload can't be read.
        """
        return self._published.digits(lane, name, published, length)

    def eligible_lengths(self, counts: Sequence[LaneBlob], participation: Participation) -> list[int]:
        """How many digits of each lane take part in the values sum, one number a lane of the round."""
        lengths = [
            self._meaning.eligible(lane, blob, participation)
            for lane, blob in zip(self._plan.lanes, counts, strict=False)
        ]
        return lengths if self._plan.telemetry is None else [*lengths, self._plan.telemetry.length]

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
            output: where the layers that the round prunes are stored, or None if only the digest is wanted.

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
        base, lanes = self._plan.charter.base, self._plan.lanes
        work = zip(lanes, counts, sums if sums is not None else [None] * len(lanes), strict=False)
        digests = dict(base.rest)
        for layer, group in groupby(work, key=lambda item: self._plan.tensors(item[0])[0].layer):
            weights: dict[str, NDArray[Any]] = {}
            for lane, count, values in group:
                sent = count.blob, None if values is None else values.blob
                of = (self._plan.context.digest, self._plan.context.round, lane.name, sent, participation.key(lane))
                if output is not None or of not in self._public.outcomes:
                    new = self._meaning.weights(lane, count, values, participation)
                    self._public.outcomes[of] = {name: tensor_digest(weight) for name, weight in new.items()}
                    weights |= new
                digests |= self._public.outcomes[of]
                progress()
            if output is not None:
                output.write(layer, weights)
        return {
            tensor.name: self._public.digest(tensor) for tensor in base.pruned if tensor.name not in digests
        } | digests
