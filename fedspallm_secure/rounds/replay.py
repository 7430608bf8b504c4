"""From the log back to the coordinator as it was: the log is all that it keeps, and every step follows from it.

What institutions sent is given to the coordinator again, which answers as it did: signatures are deterministic, and so
is all that it computes. Deadlines leave no entry of their own; one passed where the log goes on with the coordinator's
word although somebody's message is missing. An auditor replays a log in the same way, without the signing key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Attest, Envelope
from fedspallm_secure.rounds.coordinator import CoordinatorRound
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.secagg import Delivery
from fedspallm_secure.tlog import HeldLog

__all__ = ["Replayed", "replay"]


@dataclass(frozen=True)
class Replayed:
    """Where a log leads.

    Attributes:
        deliveries: the last message to each institution, which may not have come.
        unwritten: what follows from the log's entries and is not in it: to be written before anything is sent.
    """

    deliveries: tuple[Delivery, ...]
    unwritten: tuple[Envelope, ...]


def replay(
    coordinator: CoordinatorRound,
    plan: RoundPlan,
    log: HeldLog,
    entries: Sequence[Envelope],
    at: Callable[[int], None] = lambda number: None,
) -> Replayed:
    """Bring a coordinator to where the log ends.

    Args:
        coordinator: at the start of the round.
        plan: of the round.
        log: the coordinator's, as it was when the round began.
        entries: the round's, in order.
        at: called with the number of each entry before anything is made of it.

    Raises:
        ProtocolError: an entry is refused, or is not what follows from those before it.
        StorageError: a payload can't be read.
    """
    last: dict[str, Delivery] = {}
    made: list[Envelope] = []
    while len(made) < len(entries):
        at(len(made))
        entry, before = entries[len(made)], (len(made), coordinator.missing())
        message = plan.context.open(entry)
        early = isinstance(message, Attest) and not coordinator.waits_for_witness
        if message.sender == plan.charter.server or early:
            deliveries = coordinator.close()
        else:
            deliveries = coordinator.receive(entry)
        for envelope in log.take_new():
            if len(made) < len(entries) and envelope != entries[len(made)]:
                raise _unexpected(plan, entries[len(made)], plan.context.open(envelope).kind)
            made.append(envelope)
        if (len(made), coordinator.missing()) == before:
            raise _unexpected(plan, entry, "nothing")
        last |= {delivery.to: delivery for delivery in deliveries}
    return Replayed(tuple(last.values()), tuple(made[len(entries) :]))


def _unexpected(plan: RoundPlan, entry: Envelope, due: str) -> RemoteProtocolError:
    message = plan.context.open(entry)
    return RemoteProtocolError(
        f"The log goes on with {message.kind!r} of {message.sender!r}; by what stands before it, {due!r} of "
        f"{plan.charter.server!r} is due, in one form only.",
        "Keep the log as evidence: its keeper did not follow the protocol, or it was changed.",
    )
