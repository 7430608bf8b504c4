"""The server in one round: it adds masked lanes up, publishes the sums, and checks that everybody got the same model.

A lane's sum is one running vector: the masked blobs are added to it one after the other, so memory does not grow with
the number of institutions or with the model.
"""

from __future__ import annotations

import numpy as np

from fedspallm_secure.charter import unmasking_threshold
from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, Identity, LaneBlob, SumName
from fedspallm_secure.rounds.outcome import Outcome
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.statement import compare_statement, state_model
from fedspallm_secure.rounds.telemetry import RoundTelemetry
from fedspallm_secure.secagg import Delivery, Lane, Participation, Server, ServerState
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
        self._stated: str | None = None
        self._due: frozenset[str] = frozenset()
        self._confirmed: frozenset[str] = frozenset()
        self._closed = False

    @property
    def model(self) -> str | None:
        """The new model's digest, once every institution that is still there has stated the same one."""
        return self._stated if self._stated is not None and (self._closed or not self.missing()) else None

    @property
    def participation(self) -> Participation:
        """Who contributed to which sum."""
        return self._sums.participation

    @property
    def suspects(self) -> tuple[str, ...]:
        """Institutions whose shares of the last sum did not fit the others': ask them, before a larger part errs."""
        return self._sums.suspects

    @property
    def telemetry(self) -> RoundTelemetry:
        """The operator's figures, once votes were published."""
        return self._outcome.telemetry(self._published["votes"], self._values(), self.participation)

    @property
    def waits_for_witness(self) -> bool:
        """Whether the witness's word is due."""
        return self._sums.state in (ServerState.COUNT_WITNESS, ServerState.SUM_WITNESS)

    def missing(self) -> tuple[str, ...]:
        """Whose message of the step that is due has not come, in roster order."""
        if self._stated is None:
            return self._sums.missing()
        return tuple(name for name in self._plan.context.roster if name in self._due - self._confirmed)

    def receive(self, envelope: Envelope) -> list[Delivery]:
        """Take an institution's message, or the witness's.

        Returns:
            What is to be sent now, to whom.

        Raises:
            ProtocolError: the message is not acceptable.
            StorageError: a payload can't be read or written.
        """
        if self._stated is not None:
            due = self._due - self._confirmed
            sender = compare_statement(self._plan.context, envelope, due, self._identity.name, self._stated)
            self._confirmed |= {sender}
            return []
        return self._go_on(self._sums.receive(envelope))

    def close(self) -> list[Delivery]:
        """The deadline of this step passed: go on without those that are missing.

        Raises:
            RemoteProtocolError: too few are left; nothing was revealed.
            StorageError: a payload can't be read or written.
        """
        if self._stated is None:
            return self._go_on(self._sums.close())
        needed = unmasking_threshold(len(self._plan.context.roster), self._plan.charter.parameters.colluders)
        if len(self._confirmed) < needed:
            raise RemoteProtocolError(
                f"{len(self._confirmed)} institutions stated the model {self._stated}; {needed} must before it counts.",
                f"Wait for {', '.join(self.missing())}, or start anew under another charter.",
            )
        self._closed = True
        return []

    def _go_on(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Whatever the machine can't do alone: add up, say how much is eligible, compute the model."""
        match self._sums.state:
            case ServerState.ADDING_VOTES:
                return deliveries + self._publish("votes")
            case ServerState.ADDING_VALUES:
                return deliveries + self._publish("values")
            case ServerState.CHECKED:
                lengths = self._outcome.eligible_lengths(self._published["votes"], self.participation)
                self._sums.know_eligible(lengths)
            case ServerState.DONE:
                return deliveries + self._state_model()
        return deliveries

    def _publish(self, name: SumName) -> list[Delivery]:
        self._published[name] = tuple(self._add(lane) for lane in self._plan.context.lanes)
        return self._sums.publish(self._published[name])

    def _add(self, lane: Lane) -> LaneBlob:
        contributions = self._sums.contributions(lane)
        total = np.zeros(contributions[0][1].words, np.uint64)
        for name, contribution in contributions:
            words = self._blobs.get(contribution.blob)
            if words.size != total.size:
                raise RemoteProtocolError(
                    f"{name!r} stored {words.size} words for lane {lane.name}; {total.size} are due.",
                    "The round fails; ask that institution what it sent.",
                )
            total += words
        self._sums.unmask(lane, total)
        return LaneBlob(lane=lane.name, words=total.size, blob=self._blobs.put(total))

    def _values(self) -> tuple[LaneBlob, ...] | None:
        """The published values if they were shown to be true."""
        return self._published["values"] if self.participation.accepted("values") else None

    def _state_model(self) -> list[Delivery]:
        self._stated = self._outcome.model(self._published["votes"], self._values(), self.participation, self._output)
        last: SumName = "values" if "values" in self._published else "votes"
        self._due = frozenset(self._plan.context.names(self.participation.contributors(last)))
        statement = state_model(self._plan.context, self._identity, self._stated)
        return [Delivery(name, statement) for name in sorted(self._due)]
