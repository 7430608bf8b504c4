"""The server's side of a round of secure sums, without any input or output of its own.

It gathers one message a client, goes on when all came or when it is told that the deadline passed, says which blobs to
add up, takes the masks off the total, and publishes it. It holds no secret but its signing key, and never sees an
unmasked lane of one client: everything it decides with is in signed messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import (
    Advertise,
    Again,
    Attest,
    Attested,
    Confirm,
    Confirmed,
    Envelope,
    LaneBlob,
    Masked,
    Message,
    Proof,
    Proofs,
    Share,
    Signer,
    SumName,
    Sums,
    Survivors,
    Unmask,
    Unproven,
    digest,
    seal,
)
from fedspallm_secure.secagg.advertisement import sums_of
from fedspallm_secure.secagg.check import check_attestation
from fedspallm_secure.secagg.context import RoundContext, check_lanes, lengths_by_lane
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.participation import Participation
from fedspallm_secure.secagg.quorum import quorum_of
from fedspallm_secure.secagg.server_exchange import ServerExchange
from fedspallm_secure.secagg.states import SERVER_STEPS, ServerState, ServerStep, next_state
from fedspallm_secure.secagg.unmasking import Unmasking, check_unmask
from fedspallm_secure.tlog import HeldLog, origin_of

__all__ = ["Delivery", "Server"]


@dataclass(frozen=True)
class Delivery:
    """What goes to one client, by name."""

    to: str
    envelope: Envelope


@dataclass(frozen=True)
class _Gathering:
    """What one state waits for: of whom, of which type, by which step it is taken, and what follows."""

    type: type
    step: ServerStep
    check: Callable[[int, Any], None]
    go_on: Callable[[], list[Delivery]]


class Server:
    """The coordinator in one round.

    Args:
        context: the charter, the round and its lanes.
        identity: the coordinator's name and signing key.
        log: of the run; takes in every message that is accepted, and every one that follows. A new one where the round
            stands alone.

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
        self._participation = Participation(context)
        self._due: frozenset[int] = context.everybody
        self._came: dict[int, tuple[Message, Envelope]] = {}
        self._keys: dict[str, int] = {}
        self._exchange = ServerExchange(context, 0)
        self._exchanges: dict[SumName, ServerExchange] = {}
        self._masked: dict[int, Mapping[str, LaneBlob]] = {}
        self._lengths = {lane.name: lane.length for lane in context.lanes}
        self._chosen = ""  # digest of the survivors that are to be confirmed
        self._unmasking: Unmasking | None = None
        self._published: Sums | None = None

    @property
    def state(self) -> ServerState:
        """Where the server is."""
        return self._state

    @property
    def participation(self) -> Participation:
        """Who contributed to which sum."""
        return self._participation

    @property
    def suspects(self) -> tuple[str, ...]:
        """Clients whose shares of the last sum did not fit the others'; see `robust_combine` for what that proves."""
        return () if self._unmasking is None else self._context.names(self._unmasking.liars)

    def missing(self) -> tuple[str, ...]:
        """The clients (or the witness) whose message of this step has not come; nobody where none is waited for."""
        witness = self._context.charter.witness
        if witness is not None and self._state in (ServerState.COUNT_WITNESS, ServerState.SUM_WITNESS):
            return (witness.name,)
        return self._context.names(self._due - self._came.keys())

    def receive(self, envelope: Envelope) -> list[Delivery]:
        """Take a message of a client, or of the witness.

        Returns:
            What became due with it. When the last shares came, the state is ADDING_VOTES or ADDING_VALUES.

        Raises:
            RemoteProtocolError: the message is not acceptable; the state is as it was.
        """
        message = self._context.open(envelope)
        if isinstance(message, Attest):
            return self._take_attest(message, envelope)
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

    def close(self) -> list[Delivery]:
        """The deadline of this step passed: go on without those that are missing.

        Raises:
            RemoteProtocolError: too few came; the state is as it was, and nothing was revealed.
            LocalProtocolError: nothing is being gathered.
        """
        if self._state in (ServerState.COUNT_WITNESS, ServerState.SUM_WITNESS):
            return self._logged(self._send_unproven())
        gathering = self._gathering()
        if gathering is None:
            raise LocalProtocolError(f"In state {self._state.value!r} nobody is waited for.", "Our own fault.")
        return self._logged(gathering.go_on())

    def contributions(self, lane: Lane) -> list[tuple[str, LaneBlob]]:
        """ADDING_VOTES or ADDING_VALUES: contributors to `lane` and their masked blobs.

        Raises:
            LocalProtocolError: not due now.
        """
        contributors = self._participation.contributors(self._adding())
        return [
            (self._context.roster[index], self._masked[index][lane.name])
            for index in lane.cohort
            if index in contributors
        ]

    def unmask(self, lane: Lane, total: NDArray[np.uint64]) -> None:
        """ADDING_VOTES or ADDING_VALUES: take all masks off the sum of a lane's contributions, in place.

        Args:
            lane: one of the round's.
            total: uint64, the contributions added up modulo 2^64.

        Raises:
            LocalProtocolError: not due now.
        """
        self._adding()
        assert self._unmasking is not None
        self._unmasking.subtract_masks(lane, total)

    def publish(self, blobs: Sequence[LaneBlob]) -> list[Delivery]:
        """ADDING_VOTES -> COUNT_PROOFS, or ADDING_VALUES -> SUM_PROOFS: the sums, for every contributor.

        Args:
            blobs: one a lane of the round, in the charter's order.

        Raises:
            LocalProtocolError: not due now, or not exactly the lanes due.
        """
        name = self._adding()
        after = self._after(ServerStep.SEND_SUMS)
        check_lanes(blobs, self._context.lanes, self._words(name, self._context.lanes), "We", LocalProtocolError)
        message = Sums(**self._header(name), lanes=tuple(blobs))
        self._wait(after, self._participation.contributors(name))
        self._published = message
        return self._logged(self._broadcast(message))

    def know_eligible(self, lengths: Sequence[int]) -> None:
        """CHECKED -> VALUES: how many positions of each lane take part in the values sum.

        Args:
            lengths: one number a lane of the round, in the charter's order, under `participation.bar`.

        Raises:
            LocalProtocolError: not due now, or not one number a lane.
        """
        after = self._after(ServerStep.KNOW_ELIGIBLE)
        self._lengths = lengths_by_lane(self._context.lanes, lengths)
        self._wait(after, self._participants("values"))

    def _after(self, step: ServerStep) -> ServerState:
        return next_state(SERVER_STEPS, self._state, step)

    def _wait(self, state: ServerState, due: Iterable[int]) -> None:
        self._state, self._due, self._came = state, frozenset(due), {}

    def _gathering(self) -> _Gathering | None:
        keys = _Gathering(Advertise, ServerStep.GET_ADVERTISE, self._check_advertise, self._send_advertised)
        shares = _Gathering(Share, ServerStep.GET_SHARE, self._check_share, self._send_shares)
        masked = _Gathering(Masked, ServerStep.GET_MASKED, self._check_masked, self._send_survivors)
        confirm = _Gathering(Confirm, ServerStep.GET_CONFIRM, self._check_confirm, self._send_confirmed)
        unmask = _Gathering(Unmask, ServerStep.GET_UNMASK, self._check_unmask, self._unmask)
        proofs = _Gathering(Proof, ServerStep.GET_PROOF, self._check_proof, self._send_proofs)
        return {
            ServerState.KEYS: keys,
            ServerState.KEYS_AGAIN: keys,
            ServerState.SHARES: shares,
            ServerState.SHARES_AGAIN: shares,
            ServerState.VOTES: masked,
            ServerState.VALUES: masked,
            ServerState.VOTES_CONFIRM: confirm,
            ServerState.VALUES_CONFIRM: confirm,
            ServerState.VOTES_UNMASK: unmask,
            ServerState.VALUES_UNMASK: unmask,
            ServerState.COUNT_PROOFS: proofs,
            ServerState.SUM_PROOFS: proofs,
        }.get(self._state)

    def _sum(self) -> SumName:
        """The sum that the server is in."""
        votes = (
            *(ServerState.VOTES, ServerState.VOTES_CONFIRM, ServerState.VOTES_UNMASK, ServerState.ADDING_VOTES),
            *(ServerState.COUNT_PROOFS, ServerState.COUNT_WITNESS),
        )
        return "votes" if self._state in votes else "values"

    def _adding(self) -> SumName:
        self._after(ServerStep.SEND_SUMS)
        return self._sum()

    def _words(self, name: SumName, lanes: Sequence[Lane]) -> list[int]:
        """Words of each of `lanes` in a sum."""
        return [lane.packing(name).words(self._lengths[lane.name]) for lane in lanes]

    def _participants(self, name: SumName) -> frozenset[int]:
        """Who may contribute to a sum: those that shared keys for it and, for values, voted."""
        return self._participation.eligible(name).intersection(self._exchanges[name].shared)

    def _in_round(self) -> dict[str, Any]:
        return {"charter": self._context.digest, "round": self._context.round, "sender": self._identity.name}

    def _header(self, name: SumName) -> dict[str, Any]:
        return self._in_round() | {"sum": name, "attempt": self._exchanges[name].attempt}

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

    def _check_attempt(self, message: Masked | Confirm | Unmask | Proof) -> None:
        name = self._sum()
        if (message.sum, message.attempt) != (name, self._exchanges[name].attempt):
            raise RemoteProtocolError(
                f"{message.sender!r} speaks of attempt {message.attempt} at {message.sum}; attempt "
                f"{self._exchanges[name].attempt} at {name} is due.",
                "The message was ignored.",
            )

    def _check_enough(self, there: Iterable[int], what: str) -> None:
        """In every group a quorum must be left, or nothing can be opened any more."""
        present = set(there)
        for group in self._context.groups:
            found = present.intersection(group.cohort)
            if len(found) < group.quorum:
                absent = self._context.names(set(group.cohort) - found)
                raise RemoteProtocolError(
                    f"{len(found)} of the {len(group.cohort)} institutions of lane {group.lanes[0].name}'s cohort "
                    f"{what}; {group.quorum} are needed. Missing: {', '.join(absent)}.",
                    "Nothing of this sum was revealed; start anew, under another charter, when they are there.",
                )

    def _check_advertise(self, sender: int, message: Advertise) -> None:
        self._keys = self._exchange.check_advertise(sender, message, self._keys)

    def _send_advertised(self) -> list[Delivery]:
        after = self._after(ServerStep.SEND_ADVERTISED)
        self._check_enough(self._came, "advertised keys")
        envelopes = {index: envelope for index, (_, envelope) in sorted(self._came.items())}
        self._exchange = self._exchange.with_advertised(self._bodies(), envelopes)
        self._wait(after, envelopes)
        return self._each(self._exchange.advertised_to(self._in_round()))

    def _check_share(self, sender: int, message: Share) -> None:
        self._exchange.check_share(sender, message)

    def _send_shares(self) -> list[Delivery]:
        after = self._after(ServerStep.SEND_SHARES)
        self._check_enough(self._came, "shared their secrets")
        self._exchange = self._exchange.with_shared(self._bodies())
        self._exchanges |= dict.fromkeys(sums_of(self._context, self._exchange.attempt), self._exchange)
        self._wait(after, self._exchange.shared if after is ServerState.VOTES else ())
        return self._each(self._exchange.shares_to(self._in_round()))

    def _check_masked(self, sender: int, message: Masked) -> None:
        self._check_attempt(message)
        lanes = self._context.lanes_of(sender)
        due = self._words(message.sum, lanes)
        check_lanes(message.lanes, lanes, due, repr(message.sender), RemoteProtocolError)

    def _send_survivors(self) -> list[Delivery]:
        name, survivors = self._sum(), frozenset(self._came)
        self._check_enough(survivors, f"sent their {name}")
        if name == "values" and self._participation.exceeded(survivors):
            return self._send_again(survivors)
        after = self._after(ServerStep.SEND_SURVIVORS)
        message = Survivors(
            **self._header(name),
            participants=self._context.names(self._participants(name)),
            survivors=self._context.names(survivors),
            gone=self._context.names(self._participation.gone),
            start=self._context.start,
            log=self._log.head(),
        )
        self._participation = self._participation.with_survivors(message, None, (), ())
        self._masked = {index: {blob.lane: blob for blob in masked.lanes} for index, masked in self._bodies().items()}
        self._chosen = digest(message)
        self._wait(after, survivors)
        return self._broadcast(message)

    def _send_again(self, survivors: frozenset[int]) -> list[Delivery]:
        after = self._after(ServerStep.SEND_AGAIN)
        gone = self._participation.contributors("votes") - survivors
        attempt = self._exchange.attempt + 1
        message = Again(**self._in_round(), attempt=attempt, gone=self._context.names(gone))
        self._participation = self._participation.with_gone(message, None)
        self._exchange = ServerExchange(self._context, attempt)
        self._wait(after, survivors)
        return self._broadcast(message)

    def _check_confirm(self, sender: int, message: Confirm) -> None:
        self._check_attempt(message)
        if message.survivors != self._chosen:
            raise RemoteProtocolError(
                f"{message.sender!r} confirmed other survivors than those it was told of.", "The message was ignored."
            )

    def _send_confirmed(self) -> list[Delivery]:
        after = self._after(ServerStep.SEND_CONFIRMED)
        self._check_enough(self._came, "confirmed the survivors")
        signatures = {body.sender: envelope.signatures[0].sig for body, envelope in self._came.values()}
        names, _ = quorum_of(self._context, sorted(signatures), self._context.groups)
        message = Confirmed(
            **self._header(self._sum()),
            survivors=self._chosen,
            signatures={name: signatures[name] for name in names},
        )
        self._wait(after, self._participation.contributors(self._sum()))
        return self._broadcast(message)

    def _check_unmask(self, sender: int, message: Unmask) -> None:
        self._check_attempt(message)
        participation = self._participation
        participants, survivors = participation.participants(message.sum), participation.contributors(message.sum)
        check_unmask(self._context, sender, message, participants, survivors)

    def _unmask(self) -> list[Delivery]:
        after = self._after(ServerStep.UNMASK)
        name = self._sum()
        exchange = self._exchanges[name]
        self._unmasking = Unmasking(
            self._context,
            name,
            exchange.attempt,
            exchange.advertised,
            exchange.shared,
            self._participation.participants(name),
            self._participation.contributors(name),
            self._bodies(),
        )
        self._wait(after, ())
        return []

    def _check_proof(self, sender: int, message: Proof) -> None:
        self._check_attempt(message)
        if len(message.products) != len(self._context.groups_of(sender)):
            raise RemoteProtocolError(
                f"{message.sender!r} proved another number of groups than it is in.", "The message was ignored."
            )

    def _send_proofs(self) -> list[Delivery]:
        if self.missing():
            if self._context.charter.witness is None:
                return self._send_unproven()
            self._state = self._after(ServerStep.ASK_WITNESS)
            return []
        proofs = tuple(envelope for _, (_, envelope) in sorted(self._came.items()))
        return self._send_verdict(Proofs(**self._header(self._sum()), proofs=proofs))

    def _take_attest(self, message: Attest, envelope: Envelope) -> list[Delivery]:
        if self._state not in (ServerState.COUNT_WITNESS, ServerState.SUM_WITNESS):
            raise RemoteProtocolError(
                f"A witness's word is not due in state {self._state.value!r}.", "The message was ignored."
            )
        assert self._published is not None
        attested = Attested(**self._header(self._sum()), attestation=envelope)
        check_attestation(self._context, attested, self._published)
        self._log.append(envelope)
        return self._logged(self._send_verdict(attested))

    def _send_verdict(self, message: Proofs | Attested) -> list[Delivery]:
        last = message.sum == "votes" and not self._context.charter.changes_weights
        after = self._after(ServerStep.SEND_LAST_VERDICT if last else ServerStep.SEND_VERDICT)
        deliveries = self._broadcast(message)
        self._participation = self._participation.with_accepted(message.sum)
        self._wait(after, ())
        return deliveries

    def _send_unproven(self) -> list[Delivery]:
        after = self._after(ServerStep.SEND_UNPROVEN)
        absent = self._due - self._came.keys()
        deliveries = self._broadcast(Unproven(**self._header(self._sum()), missing=self._context.names(absent)))
        self._wait(after, ())
        return deliveries
