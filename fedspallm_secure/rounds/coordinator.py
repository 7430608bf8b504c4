"""The server in one round: it publishes the sums of masked lanes, and checks that everybody got the same model."""

from __future__ import annotations

from fedspallm_secure.charter import unmasking_threshold
from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, LaneBlob, Release, Signer, SumName
from fedspallm_secure.rounds.adding import Adder
from fedspallm_secure.rounds.outcome import Outcome
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.statement import compare_statement, state_model
from fedspallm_secure.rounds.telemetry import RoundTelemetry
from fedspallm_secure.secagg import Delivery, Participation, Server, ServerState
from fedspallm_secure.tlog import HeldLog
from fedspallm_secure.workspace import LayerStore

__all__ = ["CoordinatorRound"]


class CoordinatorRound:
    """The coordinator's part of a round.

    Args:
        plan: of the round.
        identity: the coordinator's name and signing key.
        outcome: what published sums mean.
        add: gives a lane's sum.
        output: where the new model's layers are stored, or None if only its digest is wanted.
        log: of the run; takes in every message that is accepted, and every one that follows, in order.
    """

    def __init__(
        self,
        plan: RoundPlan,
        identity: Signer,
        outcome: Outcome,
        add: Adder,
        output: LayerStore | None,
        log: HeldLog,
    ) -> None:
        self._plan = plan
        self._identity = identity
        self._outcome = outcome
        self._add = add
        self._output = output
        self._log = log
        self._sums = Server(plan.context, identity, log)
        self._published: dict[SumName, tuple[LaneBlob, ...]] = {}
        self._computed: str | None = None
        self._due: frozenset[str] = frozenset()
        self._agreed: frozenset[str] = frozenset()
        self._stated = False

    @property
    def model(self) -> str | None:
        """The new model's digest, once every institution that is still there has stated the same one."""
        return self._computed if self._stated else None

    @property
    def computed(self) -> str | None:
        """The digest of the model that the coordinator computed, once it could, whatever the institutions state."""
        return self._computed

    @property
    def agreed(self) -> tuple[str, ...]:
        """Who stated the model so far, in roster order."""
        return tuple(name for name in self._plan.context.roster if name in self._agreed)

    @property
    def participation(self) -> Participation:
        """Who contributed to which sum."""
        return self._sums.participation

    @property
    def suspects(self) -> tuple[str, ...]:
        """Institutions whose shares of the last sum did not fit the others': ask them, before a larger part errs."""
        return self._sums.suspects

    @property
    def telemetry(self) -> RoundTelemetry | None:
        """The operator's figures, once votes were published; None where the round has none."""
        return self._outcome.telemetry(self._published["votes"], self._values(), self.participation)

    @property
    def waits_for_witness(self) -> bool:
        """Whether the witness's word is due."""
        return self._sums.state in (ServerState.COUNT_WITNESS, ServerState.SUM_WITNESS)

    def missing(self) -> tuple[str, ...]:
        """Whose message of the step that is due has not come, in roster order."""
        if self._computed is None:
            return self._sums.missing()
        left = frozenset() if self._stated else self._due - self._agreed
        return tuple(name for name in self._plan.context.roster if name in left)

    def receive(self, envelope: Envelope) -> list[Delivery]:
        """Take an institution's message, or the witness's.

        Returns:
            What is to be sent now, to whom.

        Raises:
            ProtocolError: the message is not acceptable.
            StorageError: a payload can't be read or written.
        """
        message = self._plan.context.open(envelope)
        if not self._log.holds(envelope):
            self._log.check_links(message)
        if isinstance(message, Release) and self._sums.state is ServerState.RELEASES:
            self._add.check_released(message.sender, self._sums.committed(message.sender))
        if self._computed is None:
            return self._go_on(self._sums.receive(envelope))
        due = frozenset(self.missing())
        self._agreed |= {compare_statement(self._plan.context, envelope, due, self._identity.name, self._computed)}
        self._log.append(envelope)
        return [] if self.missing() else self._state_model(self._computed)

    def close(self) -> list[Delivery]:
        """The deadline of this step passed: go on without those that are missing.

        Raises:
            RemoteProtocolError: too few are left; nothing was revealed.
            StorageError: a payload can't be read or written.
        """
        if self._computed is None:
            return self._go_on(self._sums.close())
        needed = unmasking_threshold(len(self._plan.context.roster), self._plan.charter.parameters.colluders)
        if len(self._agreed) < needed:
            raise RemoteProtocolError(
                f"{len(self._agreed)} institutions stated the model {self._computed}; {needed} must before it counts.",
                f"Wait for {', '.join(self.missing())}, or start anew under another charter.",
            )
        return self._state_model(self._computed)

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
                self._compute_model()
        return deliveries

    def _publish(self, name: SumName) -> list[Delivery]:
        self._published[name] = tuple(self._add(self._sums, name, lane) for lane in self._plan.context.lanes)
        return self._sums.publish(self._published[name])

    def _values(self) -> tuple[LaneBlob, ...] | None:
        """The published values if they were shown to be true."""
        return self._published["values"] if self.participation.accepted("values") else None

    def _compute_model(self) -> None:
        self._computed = self._outcome.model(self._published["votes"], self._values(), self.participation, self._output)
        last: SumName = "values" if "values" in self._published else "votes"
        self._due = frozenset(self._plan.context.names(self.participation.contributors(last)))

    def _state_model(self, model: str) -> list[Delivery]:
        """The last word of the round, once the institutions have had theirs."""
        statement = state_model(self._plan.context, self._identity, model)
        self._log.append(statement)
        self._stated = True
        return [Delivery(name, statement) for name in self._plan.context.roster if name in self._due]
