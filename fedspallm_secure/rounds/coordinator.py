"""The server in one round: it adds masked lanes up, publishes the sums, and checks that everybody got the same model.

A lane's sum is one running vector: the masked blobs are added to it one after the other, so memory does not grow with
the number of institutions or with the model.
"""

from __future__ import annotations

import numpy as np

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, Identity, LaneBlob, Proof, Proofs, SumName, seal
from fedspallm_secure.rounds.outcome import Outcome
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.statement import compare_statement, state_model
from fedspallm_secure.secagg import Lane, Server, ServerState
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
        self._counts: tuple[LaneBlob, ...] = ()
        self._published: tuple[LaneBlob, ...] = ()
        self._proofs: dict[str, Envelope] | None = None
        self._model: str | None = None
        self._confirmed: set[str] = set()

    @property
    def model(self) -> str | None:
        """The new model's digest, once every institution has stated the same one."""
        return self._model if self._confirmed == set(self._plan.context.roster) else None

    def missing(self) -> list[str]:
        """The institutions whose message of the step that is due has not come, in roster order."""
        if self._proofs is not None:
            return [name for name in self._plan.context.roster if name not in self._proofs]
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
        if self._proofs is not None:
            return self._take_proof(envelope, self._proofs)
        broadcast = self._sums.receive(envelope)
        if broadcast is not None:
            return [broadcast]
        if self._sums.state is ServerState.ADDING_VOTES:
            return [self._publish("votes")]
        if self._sums.state is ServerState.ADDING_VALUES:
            return [self._publish("values")]
        return []

    def _publish(self, name: SumName) -> Envelope:
        self._published = self._add()
        if name == "votes":
            self._counts = self._published
        self._proofs = {}
        self._proving: SumName = name
        return self._sums.publish(self._published)

    def _take_proof(self, envelope: Envelope, proofs: dict[str, Envelope]) -> list[Envelope]:
        context = self._plan.context
        message = context.open(envelope, context.digest())
        if not isinstance(message, Proof) or message.sum != self._proving or message.sender not in self.missing():
            raise RemoteProtocolError(
                f"{message.sender!r} sent {message.kind!r}; proofs of {self._proving} are due from "
                f"{', '.join(self.missing())}.",
                "Nothing was changed.",
            )
        proofs[message.sender] = envelope
        if self.missing():
            return []
        self._proofs = None
        broadcast = Proofs(
            charter=context.digest(),
            round=context.round,
            sender=self._identity.name,
            sum=self._proving,
            proofs=tuple(proofs[name] for name in context.roster),
        )
        sealed = seal(broadcast, self._identity)
        if self._proving == "values":
            return [sealed, self._state_model(self._published)]
        if not self._plan.charter.changes_weights:
            return [sealed, self._state_model(None)]
        self._sums.know_eligible(self._outcome.eligible_lengths(self._counts))
        return [sealed]

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

    def _state_model(self, sums: tuple[LaneBlob, ...] | None) -> Envelope:
        self._model = self._outcome.model(self._counts, sums, self._output)
        return state_model(self._plan.context, self._identity, self._model)
