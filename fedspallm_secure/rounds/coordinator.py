"""The server in one round: it adds masked lanes up, publishes the sums, and checks that everybody got the same model.

A lane's sum is one running vector: the masked blobs are added to it one after the other, so memory does not grow with
the number of institutions or with the model.
"""

from __future__ import annotations

import numpy as np

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, Identity, LaneBlob, SumName
from fedspallm_secure.rounds.outcome import Outcome
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.statement import compare_statement, state_model
from fedspallm_secure.secagg import Lane, ProofGathering, Server, ServerState
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.workspace import LayerStore

__all__ = ["CoordinatorRound"]


class CoordinatorRound:
    """The coordinator's part of a round.

    Args:
        plan: of the round.
        identity: the coordinator's name and signing key.
        public: the weights the round starts from.
        blobs: where masked lanes come from, and sums go.
        output: where the new model's layers are stored.
    """

    def __init__(
        self, plan: RoundPlan, identity: Identity, public: PublicWeights, blobs: BlobStore, output: LayerStore
    ) -> None:
        self._plan = plan
        self._identity = identity
        self._blobs = blobs
        self._output = output
        self._sums = Server(plan.context, identity)
        self._outcome = Outcome(plan, public, blobs)
        self._published: dict[SumName, tuple[LaneBlob, ...]] = {}
        self._gathering: ProofGathering | None = None
        self._model: str | None = None
        self._confirmed: set[str] = set()

    @property
    def model(self) -> str | None:
        """The new model's digest, once every institution has stated the same one."""
        return self._model if self._confirmed == set(self._plan.context.roster) else None

    def missing(self) -> list[str]:
        """The institutions whose message of the step that is due has not come, in roster order."""
        if self._gathering is not None:
            return self._gathering.missing()
        if self._model is None:
            return self._sums.missing()
        return [name for name in self._plan.context.roster if name not in self._confirmed]

    def receive(self, envelope: Envelope) -> list[Envelope]:
        """Take an institution's message.

        Returns:
            What is to be sent to every institution now.

        Raises:
            ProtocolError: the message is not acceptable.
            StorageError: a payload can't be read or written.
        """
        if self._model is not None:
            roster = self._plan.context.roster
            sender = compare_statement(self._plan.context, envelope, roster, self._identity.name, self._model)
            self._confirmed.add(sender)
            return []
        if self._gathering is not None:
            broadcast = self._gathering.receive(envelope)
            return [] if broadcast is None else [broadcast, *self._go_on(self._gathering.name)]
        broadcast = self._sums.receive(envelope)
        if broadcast is not None:
            return [broadcast]
        if self._sums.state is ServerState.ADDING_VOTES:
            return [self._publish("votes")]
        if self._sums.state is ServerState.ADDING_VALUES:
            return [self._publish("values")]
        return []

    def _publish(self, name: SumName) -> Envelope:
        lanes = self._published[name] = self._add()
        self._gathering = ProofGathering(self._plan.context, self._identity, name)
        return self._sums.publish(lanes)

    def _go_on(self, name: SumName) -> list[Envelope]:
        """What follows a sum once all proofs are in: the model, or, before it, nothing that the server says."""
        self._gathering = None
        if name == "votes" and self._plan.charter.changes_weights:
            self._sums.know_eligible(self._outcome.eligible_lengths(self._published["votes"]))
            return []
        self._model = self._outcome.model(self._published["votes"], self._published.get("values"), self._output)
        return [state_model(self._plan.context, self._identity, self._model)]

    def _add(self) -> tuple[LaneBlob, ...]:
        return tuple(self._add_lane(lane) for lane in self._plan.context.lanes)

    def _add_lane(self, lane: Lane) -> LaneBlob:
        contributions = self._sums.contributions(lane)
        total = np.zeros(contributions[0].words, np.uint64)
        for index, contribution in zip(lane.cohort, contributions, strict=True):
            words = self._blobs.get(contribution.blob)
            if words.size != total.size:
                raise RemoteProtocolError(
                    f"{self._plan.context.roster[index]!r} stored {words.size} words for lane {lane.name}; "
                    f"{total.size} are due.",
                    "The round fails; ask that institution what it sent.",
                )
            total += words
        return LaneBlob(lane=lane.name, words=total.size, blob=self._blobs.put(total))
