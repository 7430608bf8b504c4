"""A coordinator's round that survives its process: what follows from a message is on the disk before anybody is told.

Killed at any moment and started again on its log, it is where it was: an institution whose message is not in the log
sends it again, one whose answer got lost is sent the same message again, and both are harmless.
"""

from __future__ import annotations

from fedspallm_secure.messages import Envelope, LogHead, Signer, open_envelope
from fedspallm_secure.rounds.coordinator import CoordinatorRound
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.replay import replay
from fedspallm_secure.secagg import Delivery
from fedspallm_secure.tlog import Evidence, HeldLog, OwnPlace, origin_of
from fedspallm_secure.transcript import Log

__all__ = ["DurableRound", "held_before"]


def held_before(plan: RoundPlan, log: Log) -> HeldLog:
    """The run's log as it was when the round began.

    Args:
        plan: of the round.
        log: on the disk, perhaps with entries of this round already.

    Raises:
        RemoteProtocolError: an entry is of nobody in the charter.
        StorageError: the log can't be read.
    """
    held = HeldLog(origin_of(plan.context.digest))
    for envelope in log:
        if open_envelope(envelope, plan.context.keys).round < plan.context.round:
            held.append(envelope)
    held.take_new()
    return held


class DurableRound:
    """The coordinator's part of a round, with a log on the disk.

    Args:
        plan: of the round.
        identity: the coordinator's name and signing key.
        coordinator: at the start of the round.
        held: the log as it was then, which the coordinator appends to.
        log: on the disk. Where it has entries of this round, the coordinator is brought to where they end.

    Raises:
        ProtocolError: the log has an entry that does not follow from those before it.
        StorageError: the log or a payload can't be read or written.
    """

    def __init__(
        self, plan: RoundPlan, identity: Signer, coordinator: CoordinatorRound, held: HeldLog, log: Log
    ) -> None:
        self.coordinator = coordinator
        self._identity = identity
        self._held = held
        self._log = log
        self._first = len(held)
        replayed = replay(coordinator, plan, held, self.entries())
        log.extend(replayed.unwritten)
        self._last = {delivery.to: delivery for delivery in replayed.deliveries}

    def entries(self) -> list[Envelope]:
        """The round's entries so far."""
        return [envelope for number, envelope in enumerate(self._log) if number >= self._first]

    def log(self) -> list[Envelope]:
        """All entries of the run so far."""
        return list(self._log)

    def receive(self, envelope: Envelope) -> list[Delivery]:
        """Take a message; one that is in the log already changes nothing.

        Returns:
            What is to be sent now, to whom.

        Raises:
            ProtocolError: the message is not acceptable.
            StorageError: a payload or the log can't be read or written. The round has to be opened again.
        """
        return [] if self._held.holds(envelope) else self._written(self.coordinator.receive(envelope))

    def close(self) -> list[Delivery]:
        """The deadline of this step passed: go on without those that are missing.

        Raises:
            RemoteProtocolError: too few are left; nothing was revealed.
            StorageError: as for `receive`.
        """
        return self._written(self.coordinator.close())

    def last_to(self, name: str) -> Delivery | None:
        """The last message to an institution, to be sent again when it asks."""
        return self._last.get(name)

    def evidence(self, delivery: Delivery, seen: LogHead | None) -> Evidence:
        """What goes beside a message to somebody who saw `seen`.

        Raises:
            LocalProtocolError: the receiver saw what is not in this log.
        """
        return self._held.evidence(delivery.envelope, self._identity, delivery.to, seen)

    def checkpoint(self) -> str:
        """The note that says how far the log goes now."""
        return self._held.checkpoint(self._identity)

    def since(self, seen: LogHead | None) -> tuple[str, ...]:
        """Proof that the log continues what somebody saw."""
        return self._held.since(seen)

    def own(self, name: str) -> OwnPlace | None:
        """Where somebody's last entry stands."""
        return self._held.own(name)

    def _written(self, deliveries: list[Delivery]) -> list[Delivery]:
        self._log.extend(self._held.take_new())
        self._last |= {delivery.to: delivery for delivery in deliveries}
        return deliveries
