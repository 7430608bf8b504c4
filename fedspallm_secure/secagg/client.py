"""The client's side of a round of secure sums, without any input or output of its own.

A lane leaves the machine only as packed digits plus a self mask plus the pairwise masks of its graph, where the pair's
member with the smaller roster index adds and the other one subtracts (Bonawitz et al. 2017, section 4). It is masked
once a sum and attempt: two different vectors under one keystream would reveal their difference.

Shares are handed out once a sum, after that decision was recorded, and only for survivors that a quorum of every group
confirmed: of a survivor's seed, or of a vanished client's key, never of both. Who confirmed one attempt at a sum takes
part in no other attempt, so that no two attempts are ever opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import (
    Advertised,
    Again,
    Attested,
    Confirm,
    Confirmed,
    Encrypted,
    Envelope,
    LaneBlob,
    Masked,
    Message,
    Proofs,
    Release,
    Shares,
    Signer,
    SumName,
    Sums,
    Survivors,
    Unmask,
    Unproven,
    digest,
)
from fedspallm_secure.secagg.check import SumCheck, check_attestation
from fedspallm_secure.secagg.context import RoundContext, check_lanes, lengths_by_lane
from fedspallm_secure.secagg.encrypted import open_counted
from fedspallm_secure.secagg.exchange import Exchange
from fedspallm_secure.secagg.keys import Entropy
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.participation import Participation
from fedspallm_secure.secagg.quorum import check_quorum
from fedspallm_secure.secagg.states import CLIENT_STEPS, ClientState, ClientStep, next_state
from fedspallm_secure.tlog import Chain
from fedspallm_secure.workspace import Journal

__all__ = ["Client"]

_UNCHANGED = "Nothing was changed."


class Client:
    """One institution in one round.

    Args:
        context: the charter, the round and its lanes.
        identity: this institution's name and signing key.
        entropy: source of the ephemeral keys.
        journal: remembers what was handed out, also after a crash.
        chain: what it says of the log, over all rounds; a new one where it says nothing.

    Raises:
        LocalProtocolError: the identity is not in the roster, or has another key there.
    """

    def __init__(
        self,
        context: RoundContext,
        identity: Signer,
        entropy: Entropy,
        journal: Journal,
        chain: Chain | None = None,
    ) -> None:
        if context.charter.keys.get(identity.name) != identity.public or identity.name not in context.roster:
            raise LocalProtocolError(
                f"{identity.name!r} is not in the charter's roster with this signing key.",
                "Use the key that was registered, or have the charter changed.",
            )
        self._context = context
        self._identity = identity
        self._index = context.indices[identity.name]
        self._lanes = context.lanes_of(self._index)
        self._entropy = entropy
        self._journal = journal
        self._chain = Chain() if chain is None else chain
        self._state = ClientState.START
        self._participation = Participation(context)
        self._exchange = Exchange(context, self._index, 0, context.everybody, entropy)
        self._exchanges: dict[SumName, Exchange] = dict.fromkeys(self._exchange.sums, self._exchange)
        self._masked: frozenset[str] = frozenset()
        self._lengths = {lane.name: lane.length for lane in context.lanes}
        self._confirmed: tuple[SumName, str] | None = None  # the sum, and the digest of its survivors
        self._published: Sums | None = None
        self._check: SumCheck | None = None

    @property
    def state(self) -> ClientState:
        """Where this client is."""
        return self._state

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes to which this client contributes, in the order in which they are due."""
        return self._lanes

    @property
    def participation(self) -> Participation:
        """Who contributed to which sum, as a quorum confirmed it."""
        return self._participation

    @property
    def published(self) -> Sums:
        """COUNTED or SUMMED, and after: the last sum that the server published.

        Raises:
            LocalProtocolError: there is none yet.
        """
        if self._published is None:
            raise LocalProtocolError("No sum was published yet.", "This is a fault of the calling program.")
        return self._published

    def advertise(self) -> Envelope:
        """START -> ADVERTISED: this round's public keys, for the server. Once a round, also after a crash.

        Raises:
            LocalProtocolError: not due now, or keys were advertised for this round before.
        """
        after = self._after(ClientStep.SEND_ADVERTISE)
        advertisement = self._chain.link(self._exchange.advertisement)
        self._record("advertise", digest(advertisement))
        self._exchange.advertisement = advertisement
        self._state = after
        return self._seal(advertisement)

    def receive(self, envelope: Envelope) -> Envelope | None:
        """Take a message of the server.

        Returns:
            The answer that is due and needs nothing from the caller; or None: `state` says what is due now.

        Raises:
            RemoteProtocolError: the message is not acceptable; the state is as it was.
            StorageError: the journal can't be written; nothing was handed out, and the state is as it was.
        """
        message = self._context.open(envelope)
        if message.sender != self._context.charter.server:
            raise RemoteProtocolError(
                f"{message.sender!r} sent what only the server {self._context.charter.server!r} may send.",
                _UNCHANGED,
            )
        take: Mapping[type, Callable[[Any], Message | None]] = {
            Advertised: self._take_advertised,
            Shares: self._take_shares,
            Survivors: self._take_survivors,
            Confirmed: self._take_confirmed,
            Sums: self._take_sums,
            Proofs: self._take_verdict,
            Attested: self._take_verdict,
            Unproven: self._take_unproven,
            Again: self._take_again,
        }
        if type(message) not in take:
            raise RemoteProtocolError(
                f"The server sent {message.kind!r}, which is not for a client's sums.", _UNCHANGED
            )
        answer = take[type(message)](message)
        return None if answer is None else self._seal(answer)

    def know_eligible(self, lengths: Sequence[int]) -> None:
        """CHECKED -> VALUING: how many positions of each lane take part in the values sum.

        Args:
            lengths: one number a lane of the round, in the charter's order, under `participation.bar`.

        Raises:
            LocalProtocolError: not due now, or not one number a lane.
        """
        after = self._after(ClientStep.KNOW_ELIGIBLE)
        self._lengths = lengths_by_lane(self._context.lanes, lengths)
        self._masked = frozenset()
        self._state = after

    def mask(self, lane: Lane, digits: NDArray[Any]) -> NDArray[Any]:
        """VOTING or VALUING: pack and mask one lane. Once a lane, sum and attempt.

        Args:
            lane: one of `lanes`.
            digits: shape (L,), bool or unsigned, in [0, q]: votes, or the eligible positions' quantised changes.

        Returns:
            uint64 words for the server.

        Raises:
            LocalProtocolError: not due now, not this client's lane, masked already, or digits that do not fit.
        """
        name = self._masking()
        packing = lane.packing(name)
        todo = "This is a fault of the calling program."
        if lane not in self._lanes or lane.name in self._masked:
            raise LocalProtocolError(f"Lane {lane.name} is not this client's, or was masked already.", todo)
        if digits.shape != (self._lengths[lane.name],):
            raise LocalProtocolError(
                f"Lane {lane.name} takes {self._lengths[lane.name]} digits; an array of shape {digits.shape} came.",
                todo,
            )
        if digits.dtype.kind not in "bu" or (digits.size and int(digits.max()) > packing.top):
            raise LocalProtocolError(f"Lane {lane.name} holds digits outside 0 to {packing.top}.", todo)
        words = packing.pack(digits)
        self._masked |= {lane.name}
        self._exchanges[name].mask(lane, name, words, self._participants(name))
        return words

    def send(self, blobs: Sequence[LaneBlob]) -> Envelope:
        """VOTING -> VOTED, or VALUING -> VALUED: the masked lanes are stored, here are their names.

        Raises:
            LocalProtocolError: not due now, or not exactly the lanes that were masked.
        """
        name = self._masking()
        after = self._after(ClientStep.SEND_VOTES if name == "votes" else ClientStep.SEND_VALUES)
        if len(self._masked) != len(self._lanes):
            raise LocalProtocolError(
                f"{len(self._masked)} of {len(self._lanes)} lanes were masked.", "Mask every lane first."
            )
        check_lanes(blobs, self._lanes, self._due(name, self._lanes), "We", LocalProtocolError)
        self._state = after
        return self._seal(Masked(**self._header(name), lanes=tuple(blobs)))

    def send_encrypted(self, blobs: Sequence[LaneBlob]) -> Envelope:
        """VOTING -> VOTED: the votes are encrypted, here are the names of the ciphertexts, which stay here for now.

        Raises:
            LocalProtocolError: not due now, not exactly the lanes that are due, or the charter wants masked votes.
        """
        after = self._after(ClientStep.SEND_ENCRYPTED)
        if not self._context.encrypts_votes:
            raise LocalProtocolError("The charter wants masked votes.", "This is a fault of the calling program.")
        due = [lane.ciphertext_words for lane in self._lanes]
        check_lanes(blobs, self._lanes, due, "We", LocalProtocolError)
        self._state = after
        return self._seal(Encrypted(**self._in_round(), lanes=tuple(blobs)))

    def release(self) -> Envelope:
        """RELEASING -> RELEASED: the ciphertexts may be shown now; they have to be there before this message is sent.

        Raises:
            LocalProtocolError: not due now.
            StorageError: the journal can't be written; the state is as it was.
        """
        after = self._after(ClientStep.SEND_RELEASE)
        assert self._confirmed is not None
        _, chosen = self._confirmed
        self._record("release votes", chosen)
        self._state = after
        return self._seal(Release(**self._in_round(), survivors=chosen))

    def check(self, lane: Lane, sums: NDArray[Any], own: NDArray[Any] | None) -> None:
        """COUNTED or SUMMED: take one lane of the published sum into the check. Every lane of the round, each once.

        Args:
            lane: any lane of the round.
            sums: its published digits, unsigned, shape (L,).
            own: this client's digits as it masked them, same shape; None if it is not in the lane's cohort.

        Raises:
            LocalProtocolError: not due now, a lane twice, or own digits that do not belong there.
        """
        self._after(ClientStep.SEND_PROOF)
        assert self._check is not None
        self._check.add(lane, sums, own)

    def prove(self) -> Envelope:
        """COUNTED -> COUNTS_PROVED, or SUMMED -> SUMS_PROVED: this client's part of the check.

        Raises:
            LocalProtocolError: not due now, or lanes are missing.
        """
        after = self._after(ClientStep.SEND_PROOF)
        assert self._check is not None
        proof = self._check.proof()
        self._state = after
        return self._seal(proof)

    def forget(self) -> None:
        """Drop all secrets of the round, whatever state it is in: best effort, see `Exchange.forget`."""
        for exchange in {*self._exchanges.values(), self._exchange}:
            exchange.forget()
        self._check = None

    def _after(self, step: ClientStep) -> ClientState:
        return next_state(CLIENT_STEPS, self._state, step)

    def _masking(self) -> SumName:
        if self._state is ClientState.VOTING:
            if self._context.encrypts_votes:
                raise LocalProtocolError(
                    "The charter wants encrypted votes.", "This is a fault of the calling program."
                )
            return "votes"
        self._after(ClientStep.SEND_VALUES)
        return "values"

    def _participants(self, name: SumName) -> frozenset[int]:
        """Who may take part in a sum, as far as this client masks with them."""
        return self._exchanges[name].mates & self._participation.eligible(name)

    def _due(self, name: SumName, lanes: Sequence[Lane]) -> list[int]:
        """Words of each of `lanes` in a sum."""
        return [lane.packing(name).words(self._lengths[lane.name]) for lane in lanes]

    def _in_round(self) -> dict[str, Any]:
        return {"charter": self._context.digest, "round": self._context.round, "sender": self._identity.name}

    def _header(self, name: SumName) -> dict[str, Any]:
        return self._in_round() | {"sum": name, "attempt": self._exchanges[name].attempt}

    def _seal(self, message: Message) -> Envelope:
        return self._chain.seal(message, self._identity)

    def _record(self, what: str, decision: str) -> None:
        """Write a decision down before anybody hears of it; another one for the same is refused."""
        self._journal.once(f"{self._context.digest} round {self._context.round} {what}", decision)

    def _check_attempt(self, name: SumName, attempt: int) -> None:
        if name not in self._exchanges or attempt != self._exchanges[name].attempt:
            raise RemoteProtocolError(
                f"The server speaks of attempt {attempt} at {name}, which is not the one we are in.",
                "Nothing was changed; it may replay a message.",
            )

    def _take_advertised(self, message: Advertised) -> Message:
        after = self._after(ClientStep.GET_ADVERTISED)
        share = self._exchange.take_advertised(message)
        self._state = after
        return share

    def _take_shares(self, message: Shares) -> None:
        after = self._after(ClientStep.GET_SHARES)
        self._exchange.take_shares(message)
        self._exchanges |= dict.fromkeys(self._exchange.sums, self._exchange)
        self._state = after

    def _take_survivors(self, message: Survivors) -> Message:
        after = self._after(ClientStep.GET_SURVIVORS)
        name: SumName = "votes" if self._state is ClientState.VOTED else "values"
        if message.sum != name:
            raise RemoteProtocolError(f"Survivors of {message.sum} came; those of {name} are due.", _UNCHANGED)
        self._check_attempt(name, message.attempt)
        mates = self._exchanges[name].mates
        participation = self._participation.with_survivors(
            message, self._index, mates, self._context.peers_of(self._index)
        )
        chosen = digest(message)
        self._record(f"confirm {name}", chosen)
        self._participation, self._confirmed, self._state = participation, (name, chosen), after
        return Confirm(**self._header(name), survivors=chosen)

    def _take_confirmed(self, message: Confirmed) -> Message | None:
        leave = self._state is ClientState.VOTES_CONFIRMED and self._context.encrypts_votes
        after = self._after(ClientStep.GET_LEAVE if leave else ClientStep.GET_CONFIRMED)
        assert self._confirmed is not None
        name, chosen = self._confirmed
        if (message.sum, message.survivors) != (name, chosen):
            raise RemoteProtocolError(
                "The confirmations are not for the survivors that we confirmed.",
                "No share was handed out; the server shows different institutions different survivors.",
            )
        self._check_attempt(name, message.attempt)
        contributors = self._participation.contributors(name)
        check_quorum(self._context, message, self._index, contributors, self._entropy)
        if leave:
            self._state = after
            return None
        self._record(f"unmask {name}", chosen)
        groups = self._exchanges[name].reveal(name, self._participation.participants(name), contributors)
        self._state = after
        return Unmask(**self._header(name), groups=groups)

    def _take_sums(self, message: Sums) -> None:
        after = self._after(ClientStep.GET_COUNTS if message.sum == "votes" else ClientStep.GET_SUMS)
        self._check_attempt(message.sum, message.attempt)
        due = self._due(message.sum, self._context.lanes)
        check_lanes(message.lanes, self._context.lanes, due, "The server", RemoteProtocolError)
        participation = self._counted(message)
        contributors = participation.contributors(message.sum)
        exchange = self._exchanges[message.sum]
        secrets = {
            group.index: exchange.pair_secrets(group, message.sum, contributors)
            for group in self._context.groups_of(self._index)
        }
        self._check = SumCheck(self._context, message, self._index, contributors, secrets)
        self._participation, self._published, self._state = participation, message, after

    def _counted(self, message: Sums) -> Participation:
        """Whose votes were counted, if they were encrypted; else nothing changes."""
        if message.sum == "values" or not self._context.encrypts_votes:
            if message.counted is not None:
                raise RemoteProtocolError("A custodian's word came for a sum that it does not count.", _UNCHANGED)
            return self._participation
        assert self._confirmed is not None
        counted = open_counted(self._context, message, self._confirmed[1])
        return self._participation.with_collected(counted.contributors, self._index)

    def _take_verdict(self, message: Proofs | Attested) -> None:
        last = self._state is ClientState.COUNTS_PROVED and not self._context.charter.changes_weights
        after = self._after(ClientStep.GET_LAST_VERDICT if last else ClientStep.GET_VERDICT)
        self._check_attempt(message.sum, message.attempt)
        assert self._check is not None
        assert self._published is not None
        if isinstance(message, Proofs):
            self._check.verify(message)
        else:
            check_attestation(self._context, message, self._published)
        self._participation = self._participation.with_accepted(self._published.sum)
        self._state = after

    def _take_unproven(self, message: Unproven) -> None:
        after = self._after(ClientStep.GET_UNPROVEN)
        assert self._published is not None
        if message.sum != self._published.sum:
            raise RemoteProtocolError(
                f"The server calls {message.sum} unproven; {self._published.sum} are being checked.",
                _UNCHANGED,
            )
        self._check_attempt(message.sum, message.attempt)
        contributors = self._participation.contributors(message.sum)
        if not self._context.members(message.missing, contributors, "institutions without a proof"):
            raise RemoteProtocolError(f"The server calls {message.sum} unproven, but no proof is missing.", _UNCHANGED)
        self._state = after

    def _take_again(self, message: Again) -> Message:
        after = self._after(ClientStep.GET_AGAIN)
        attempt = self._exchanges["values"].attempt + 1
        if message.attempt != attempt:
            raise RemoteProtocolError(f"Attempt {message.attempt} at values came; {attempt} is next.", _UNCHANGED)
        participation = self._participation.with_gone(message, self._index)
        exchange = Exchange(self._context, self._index, attempt, participation.eligible("values"), self._entropy)
        exchange.advertisement = self._chain.link(exchange.advertisement)
        self._record(f"advertise {attempt}", digest(exchange.advertisement))
        self._participation, self._exchange, self._state = participation, exchange, after
        return exchange.advertisement
