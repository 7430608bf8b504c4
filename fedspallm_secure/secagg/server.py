"""The server's side of a round of secure sums, without any input or output of its own.

What each state waits for, what is checked of it, and what follows: it says which blobs to add up, takes the masks off
the total, and publishes it. It holds no secret but its signing key, and never sees an unmasked lane of one client:
everything it decides with is in signed messages.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import (
    Advertise,
    Again,
    Attest,
    Attested,
    Collected,
    Confirm,
    Confirmed,
    Counted,
    CountedLane,
    Encrypted,
    Envelope,
    LaneBlob,
    Masked,
    Proof,
    Proofs,
    Release,
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
from fedspallm_secure.secagg.enough import check_enough
from fedspallm_secure.secagg.gathering import Delivery, Gatherer, Gathering
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.participation import Participation
from fedspallm_secure.secagg.quorum import quorum_of
from fedspallm_secure.secagg.server_exchange import ServerExchange
from fedspallm_secure.secagg.server_votes import ServerVotes
from fedspallm_secure.secagg.states import ServerState, ServerStep
from fedspallm_secure.secagg.unmasking import Unmasking, check_unmask
from fedspallm_secure.tlog import HeldLog

__all__ = ["Server"]


class Server(Gatherer):
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
        super().__init__(context, identity, log)
        self._participation = Participation(context)
        self._keys: dict[str, int] = {}
        self._exchange = ServerExchange(context, 0)
        self._exchanges: dict[SumName, ServerExchange] = {}
        self._lanes: dict[int, Mapping[str, LaneBlob]] = {}
        self._votes = ServerVotes(context)
        self._lengths = {lane.name: lane.length for lane in context.lanes}
        self._chosen = ""  # digest of the survivors that are to be confirmed
        self._unmasking: Unmasking | None = None
        self._published: Sums | None = None

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
        custodian = self._context.charter.custodian
        if custodian is not None and self._state is ServerState.COUNTING:
            return (custodian.name,)
        return super().missing()

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
        if isinstance(message, Counted):
            return self._take_counted(message, envelope)
        return self._gather(message, envelope)

    def close(self) -> list[Delivery]:
        """The deadline of this step passed: go on without those that are missing.

        Raises:
            RemoteProtocolError: too few came; the state is as it was, and nothing was revealed.
            LocalProtocolError: nothing is being gathered.
        """
        if self._state in (ServerState.COUNT_WITNESS, ServerState.SUM_WITNESS):
            return self._logged(self._send_unproven())
        if self._state is ServerState.COUNTING:
            raise RemoteProtocolError(
                f"{', '.join(self.missing())} has not counted the votes.",
                "Nothing was revealed. Ask the custodian, or start anew, under another charter.",
            )
        return super().close()

    def contributions(self, lane: Lane) -> list[tuple[str, LaneBlob]]:
        """ADDING_VOTES or ADDING_VALUES: contributors to `lane` and their masked or encrypted blobs.

        Raises:
            LocalProtocolError: not due now.
        """
        contributors = self._participation.contributors(self._adding())
        return [
            (self._context.roster[index], self._lanes[index][lane.name])
            for index in lane.cohort
            if index in contributors
        ]

    def committed(self, name: str) -> list[tuple[Lane, LaneBlob]]:
        """RELEASES: the ciphertexts that an institution has to hand over; none of who is no survivor.

        Args:
            name: the institution's.
        """
        index = self._context.indices.get(name, -1)
        lanes = self._lanes.get(index, {})
        return [(lane, lanes[lane.name]) for lane in self._context.lanes_of(index) if lane.name in lanes]

    def counted(self, lane: Lane) -> CountedLane | None:
        """ADDING_VOTES: what the custodian says of a lane; None where nothing is encrypted.

        Raises:
            LocalProtocolError: not due now.
        """
        return self._votes.lane(lane) if self._adding() == "votes" else None

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
        if name == "votes":
            self._votes.check_published(blobs)
        counted = self._votes.envelope if name == "votes" else None
        message = Sums(**self._header(name), lanes=tuple(blobs), counted=counted)
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

    def _gathering(self) -> Gathering | None:
        keys = Gathering(Advertise, ServerStep.GET_ADVERTISE, self._check_advertise, self._send_advertised)
        shares = Gathering(Share, ServerStep.GET_SHARE, self._check_share, self._send_shares)
        masked = Gathering(Masked, ServerStep.GET_MASKED, self._check_masked, self._send_survivors)
        encrypted = Gathering(Encrypted, ServerStep.GET_ENCRYPTED, self._check_encrypted, self._send_survivors)
        release = Gathering(Release, ServerStep.GET_RELEASE, self._check_release, self._send_collected)
        confirm = Gathering(Confirm, ServerStep.GET_CONFIRM, self._check_confirm, self._send_confirmed)
        unmask = Gathering(Unmask, ServerStep.GET_UNMASK, self._check_unmask, self._unmask)
        proofs = Gathering(Proof, ServerStep.GET_PROOF, self._check_proof, self._send_proofs)
        return {
            ServerState.KEYS: keys,
            ServerState.KEYS_AGAIN: keys,
            ServerState.SHARES: shares,
            ServerState.SHARES_AGAIN: shares,
            ServerState.VOTES: encrypted if self._context.encrypts_votes else masked,
            ServerState.VALUES: masked,
            ServerState.VOTES_CONFIRM: confirm,
            ServerState.VALUES_CONFIRM: confirm,
            ServerState.VOTES_UNMASK: unmask,
            ServerState.RELEASES: release,
            ServerState.VALUES_UNMASK: unmask,
            ServerState.COUNT_PROOFS: proofs,
            ServerState.SUM_PROOFS: proofs,
        }.get(self._state)

    def _sum(self) -> SumName:
        """The sum that the server is in."""
        votes = (
            *(ServerState.VOTES, ServerState.VOTES_CONFIRM, ServerState.VOTES_UNMASK, ServerState.ADDING_VOTES),
            *(ServerState.RELEASES, ServerState.COUNTING, ServerState.COUNT_PROOFS, ServerState.COUNT_WITNESS),
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

    def _header(self, name: SumName) -> dict[str, Any]:
        return self._in_round() | {"sum": name, "attempt": self._exchanges[name].attempt}

    def _check_attempt(self, message: Masked | Confirm | Unmask | Proof) -> None:
        name = self._sum()
        if (message.sum, message.attempt) != (name, self._exchanges[name].attempt):
            raise RemoteProtocolError(
                f"{message.sender!r} speaks of attempt {message.attempt} at {message.sum}; attempt "
                f"{self._exchanges[name].attempt} at {name} is due.",
                "The message was ignored.",
            )

    def _check_enough(self, there: Collection[int], did: str) -> None:
        """In every group enough must be left, or nothing can be opened any more."""
        todo = "Nothing of this sum was revealed; start anew, under another charter, when they are there."
        for group in self._context.groups:
            check_enough(self._context, group, there, did, todo)

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

    def _check_encrypted(self, sender: int, message: Encrypted) -> None:
        self._votes = self._votes.with_encrypted(sender, message)

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
        self._lanes = {index: {blob.lane: blob for blob in sent.lanes} for index, sent in self._bodies().items()}
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
        release = self._sum() == "votes" and self._context.encrypts_votes
        after = self._after(ServerStep.ASK_RELEASE if release else ServerStep.SEND_CONFIRMED)
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

    def _check_release(self, sender: int, message: Release) -> None:
        self._votes.check_release(message, self._chosen)

    def _send_collected(self) -> list[Delivery]:
        after = self._after(ServerStep.SEND_COLLECTED)
        custodian = self._context.charter.custodian
        assert custodian is not None  # or nothing would have been encrypted
        self._check_enough(self._came, "released their votes")
        contributors = self._context.names(self._came)
        self._participation = self._participation.with_collected(contributors, None)
        message = Collected(**self._in_round(), survivors=self._chosen, contributors=contributors, log=self._log.head())
        self._wait(after, ())
        return [Delivery(custodian.name, seal(message, self._identity))]

    def _take_counted(self, message: Counted, envelope: Envelope) -> list[Delivery]:
        after = self._after(ServerStep.GET_COUNTED)
        self._votes = self._votes.with_counted(message, envelope, self._chosen, self._participation)
        self._wait(after, ())
        self._log.append(envelope)
        return []

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
            if self._context.charter.witness is None or self._published_counts:
                return self._send_unproven()
            self._state = self._after(ServerStep.ASK_WITNESS)
            return []
        proofs = tuple(envelope for _, (_, envelope) in sorted(self._came.items()))
        return self._send_verdict(Proofs(**self._header(self._sum()), proofs=proofs))

    @property
    def _published_counts(self) -> bool:
        """Whether the sum to be proved is the custodian's, which no witness can compute again."""
        return self._published is not None and self._published.counted is not None

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
