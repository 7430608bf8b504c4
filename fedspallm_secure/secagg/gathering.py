"""The server's rhythm: it gathers one message a client, and goes on when all came or when the deadline passed.

Which messages a state waits for, and what follows from them, is the server's matter (`server`). Whatever is accepted
stands in the log, and so does everything that follows, in this order; what is refused leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, Message, Signer, seal
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.states import SERVER_STEPS, ServerState, ServerStep, next_state
from fedspallm_secure.tlog import HeldLog, origin_of

__all__ = ["Delivery", "Gatherer", "Gathering"]


@dataclass(frozen=True)
class Delivery:
    """What goes to one client, by name."""

    to: str
    envelope: Envelope


@dataclass(frozen=True)
class Gathering:
    """What one state waits for: of whom, of which type, by which step it is taken, and what follows."""

    type: type
    step: ServerStep
    check: Callable[[int, Any], None]
    go_on: Callable[[], list[Delivery]]


class Gatherer:
    """A server that waits for its clients, state by state.

    Args:
        context: the charter, the round and its lanes.
        identity: the coordinator's name and signing key.
        log: of the run; a new one where the round stands alone.

    Raises:
        LocalProtocolError: the identity is not the charter's server.
    """

    def __init__(self, context: RoundContext, identity: Signer, log: HeldLog | None = None) -> None:
        if (identity.name, identity.public) != (context.charter.server, context.charter.server_key):
            raise LocalProtocolError(
                f"{identity.name!r} is not the charter's server with this signing key.",
                "Use the key that was registered, or have the charter changed.",
            )
        self._context = context
        self._identity = identity
        self._log = HeldLog(origin_of(context.digest)) if log is None else log
        self._state = ServerState.KEYS
        self._due: frozenset[int] = context.everybody
        self._came: dict[int, tuple[Message, Envelope]] = {}

    @property
    def state(self) -> ServerState:
        """Where the server is."""
        return self._state

    def missing(self) -> tuple[str, ...]:
        """The clients whose message of this step has not come; nobody where none is waited for."""
        return self._context.names(self._due - self._came.keys())

    def close(self) -> list[Delivery]:
        """The deadline of this step passed: go on without those that are missing.

        Raises:
            RemoteProtocolError: too few came; the state is as it was, and nothing was revealed.
            LocalProtocolError: nothing is being gathered.
        """
        gathering = self._gathering()
        if gathering is None:
            raise LocalProtocolError(f"In state {self._state.value!r} nobody is waited for.", "Our own fault.")
        return self._logged(gathering.go_on())

    def _gathering(self) -> Gathering | None:
        """What the state waits for, if it waits for clients."""
        raise NotImplementedError

    def _gather(self, message: Message, envelope: Envelope) -> list[Delivery]:
        """Take a client's message, and go on if it was the last."""
        sender = self._context.indices.get(message.sender)
        if sender is None:
            raise RemoteProtocolError(f"{message.sender!r} is not a client.", "Nothing was changed.")
        gathering = self._gathering()
        if gathering is None or not isinstance(message, gathering.type):
            due = "nothing" if gathering is None else f"{gathering.type.__name__.lower()!r}"
            raise RemoteProtocolError(
                f"{message.sender!r} sent {message.kind!r}, which is not due in state {self._state.value!r}; due: "
                f"{due}.",
                "The message was ignored; ask its sender what it believes happened.",
            )
        after = self._after(gathering.step)
        if sender not in self._due:
            raise RemoteProtocolError(
                f"{message.sender!r} takes no part in this step: it missed one before, or was never in.",
                "The message was ignored.",
            )
        if sender in self._came:
            raise RemoteProtocolError(f"{message.sender!r} sent this step's message twice.", "The second was ignored.")
        gathering.check(sender, message)
        before = self._state, self._came, len(self._log)
        self._state, self._came = after, self._came | {sender: (message, envelope)}
        self._log.append(envelope)
        if self.missing():
            return []
        try:
            return self._logged(gathering.go_on())
        except RemoteProtocolError:
            self._state, self._came, size = before
            self._log.rollback(size)
            raise

    def _after(self, step: ServerStep) -> ServerState:
        return next_state(SERVER_STEPS, self._state, step)

    def _wait(self, state: ServerState, due: Iterable[int]) -> None:
        self._state, self._due, self._came = state, frozenset(due), {}

    def _in_round(self) -> dict[str, Any]:
        return {"charter": self._context.digest, "round": self._context.round, "sender": self._identity.name}

    def _logged(self, deliveries: list[Delivery]) -> list[Delivery]:
        """What is sent stands in the log."""
        for delivery in deliveries:
            self._log.append(delivery.envelope)
        return deliveries

    def _broadcast(self, message: Message) -> list[Delivery]:
        """To everybody who is waited for now."""
        envelope = seal(message, self._identity)
        return [Delivery(name, envelope) for name in self._context.names(self._due)]

    def _each(self, messages: Iterable[tuple[int, Message]]) -> list[Delivery]:
        """To each its own, signed once where several get the same object."""
        sealed = dict[int, tuple[Message, Envelope]]()  # holds each message too, so that no other one gets its id
        deliveries = []
        for index, message in messages:
            if id(message) not in sealed:
                sealed[id(message)] = message, seal(message, self._identity)
            deliveries.append(Delivery(self._context.roster[index], sealed[id(message)][1]))
        return deliveries

    def _bodies(self) -> dict[int, Any]:
        return {index: message for index, (message, _) in sorted(self._came.items())}
