"""A server that keeps two versions of its log, and shows each to some of the institutions."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, Message
from fedspallm_secure.rounds import (
    AddingUp,
    CoordinatorRound,
    InstitutionRound,
    LocalTelemetry,
    Member,
    Outcome,
    PublicWeights,
)
from fedspallm_secure.secagg import Delivery
from fedspallm_secure.tlog import HeldLog, origin_of
from fedspallm_secure.workspace import Journal
from tests.rounds.synthetic import Run

__all__ = ["Side", "TwoFaced"]


class _Credulous(HeldLog):
    """Takes in what contradicts it: its keeper knows why."""

    def check_links(self, message: Message) -> None:
        pass


@dataclass(frozen=True)
class Side:
    """One version of the log.

    Attributes:
        log: that version.
        coordinator: on it; honest but for its log.
        shown: the institutions that see this version.
        entries: of it, so far.
    """

    log: HeldLog
    coordinator: CoordinatorRound
    shown: tuple[str, ...]
    entries: list[Envelope] = field(default_factory=list)


class TwoFaced:
    """A round under such a server: every message goes into both versions, if need be in another order.

    Args:
        run: whose first round.
        second: names of the institutions that see the second version.
    """

    def __init__(self, run: Run, second: Collection[str]) -> None:
        self.run = run
        self.plan = run.plan()
        pruned = run.prune(self.plan, run.base)
        blobs = run.transcript.blobs
        self.views = {name: run.participants.view(name, run.charter) for name in run.names}
        self.institutions = {
            name: InstitutionRound(
                self.plan,
                Member(identity, run.entropy, Journal(), self.views[name]),
                PublicWeights(run.base),
                pruned[name],
                LocalTelemetry(),
                blobs,
                None,
            )
            for name, identity in run.participants.institutions.items()
        }
        first = tuple(name for name in run.names if name not in second)
        self.sides = [self._side(_Credulous(self.origin), shown) for shown in (first, tuple(second))]
        self.upward = {name: institution.start() for name, institution in self.institutions.items()}

    @property
    def origin(self) -> str:
        """The name of the log, in both versions."""
        return origin_of(self.plan.context.digest)

    def honest(self) -> tuple[CoordinatorRound, HeldLog]:
        """A coordinator that judges a log, and the log it starts from."""
        side = self._side(HeldLog(self.origin), ())
        return side.coordinator, side.log

    def step(self, *, apart: bool = False) -> None:
        """Both coordinators take what is on its way, and everybody answers the one it sees.

        Args:
            apart: the second one takes it in the opposite order.
        """
        came, self.upward = list(self.upward.items()), {}
        for side in self.sides:
            deliveries: list[Delivery] = []
            for _, envelope in came[::-1] if apart and side is self.sides[1] else came:
                with suppress(RemoteProtocolError):  # what only the other version can use is left out
                    deliveries += side.coordinator.receive(envelope)
            side.entries.extend(side.log.take_new())
            for delivery in deliveries:
                if delivery.to in side.shown:
                    self.tell(side, delivery)

    def tell(self, side: Side, delivery: Delivery) -> None:
        """An institution takes a message as an entry of one side's log; its answer is on its way then."""
        server, seen = self.run.participants.server, self.views[delivery.to].chain.seen
        evidence = side.log.evidence(delivery.envelope, server, delivery.to, seen)
        answer = self.institutions[delivery.to].receive(delivery.envelope, evidence)
        if answer is not None:
            self.upward[delivery.to] = answer

    def said(self, side: Side) -> list[str]:
        """What stands in one side's log, in brief."""
        messages = [self.plan.context.open(envelope) for envelope in side.entries]
        return [f"{message.kind} {getattr(message, 'sum', '')}".strip() for message in messages]

    def checkpoint(self, side: Side) -> str:
        """One version as it is now, cosigned by those that see it."""
        server, institutions = self.run.participants.server, self.run.participants.institutions
        note = side.log.checkpoint(server)
        for name in side.shown:
            view = self.views[name]
            since, own = side.log.since(view.chain.seen), side.log.own(name)
            note += view.cosign(note, since, own, institutions[name], 0)
        return note

    def _side(self, log: HeldLog, shown: tuple[str, ...]) -> Side:
        blobs = self.run.transcript.blobs
        outcome = Outcome(self.plan, PublicWeights(self.run.base), blobs)
        server = self.run.participants.server
        return Side(log, CoordinatorRound(self.plan, server, outcome, AddingUp(blobs), None, log), shown)
