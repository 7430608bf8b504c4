"""The client's side of a round of secure sums, without any input or output of its own.

A lane leaves the machine only as packed digits plus the keystreams of all pairs in its cohort. The pair's member with
the smaller roster index adds, the other one subtracts, so that over the whole cohort the masks cancel (Bonawitz et al.
2017, section 4). A lane is masked once a sum: two different vectors under one keystream would reveal their difference.

Everybody contributes to the end here; self masks, secret shares and the survivor set belong between VOTED and COUNTED
and between VALUED and DONE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import (
    Advertise,
    Advertised,
    Envelope,
    Identity,
    LaneBlob,
    Masked,
    Message,
    SumName,
    Sums,
    seal,
)
from fedspallm_secure.secagg.check import SumCheck
from fedspallm_secure.secagg.context import RoundContext, check_lanes, lengths_by_lane
from fedspallm_secure.secagg.keys import Entropy, MaskContext, ephemeral_key, lane_key, shared_secret
from fedspallm_secure.secagg.keystream import apply_keystream
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.states import CLIENT_STEPS, ClientState, ClientStep, next_state

__all__ = ["Client"]


class Client:
    """One institution in one round.

    Args:
        context: the charter, the round and its lanes.
        identity: this institution's name and signing key.
        entropy: source of the ephemeral keys.

    Raises:
        LocalProtocolError: the identity is not in the roster, or has another key there.
    """

    def __init__(self, context: RoundContext, identity: Identity, entropy: Entropy) -> None:
        if context.charter.keys.get(identity.name) != identity.public or identity.name not in context.roster:
            raise LocalProtocolError(
                f"{identity.name!r} is not in the charter's roster with this signing key.",
                "Use the key that was registered, or have the charter changed.",
            )
        self._context = context
        self._charter = context.digest()
        self._identity = identity
        self._index = context.roster.index(identity.name)
        self._lanes = context.lanes_of(self._index)
        self._state = ClientState.START
        sums: tuple[SumName, ...] = ("votes", "values") if context.charter.changes_weights else ("votes",)
        self._keys: dict[SumName, X25519PrivateKey] = {name: ephemeral_key(entropy) for name in sums}
        self._secrets: dict[tuple[SumName, int], bytes] = {}
        self._masked: set[str] = set()
        self._lengths = {lane.name: lane.length for lane in context.lanes}

    @property
    def state(self) -> ClientState:
        """Where this client is."""
        return self._state

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes to which this client contributes, in the order in which they are due."""
        return self._lanes

    def advertise(self) -> Envelope:
        """START -> ADVERTISED: this round's public keys, for the server.

        Raises:
            LocalProtocolError: not due now.
        """
        after = self._after(ClientStep.SEND_ADVERTISE)
        self._advertise = Advertise(
            charter=self._charter,
            round=self._context.round,
            sender=self._identity.name,
            votes=self._public("votes"),
            values=self._public("values") if "values" in self._keys else None,
        )
        self._state = after
        return seal(self._advertise, self._identity)

    def receive(self, envelope: Envelope) -> Message:
        """Take a message of the server.

        Returns:
            The message, accepted: `Advertised` (votes are due now) or `Sums` (counts, or sums of values).

        Raises:
            RemoteProtocolError: the message is not acceptable; the state is as it was.
        """
        message = self._context.open(envelope, self._charter)
        if message.sender != self._context.charter.server:
            raise RemoteProtocolError(
                f"{message.sender!r} sent what only the server {self._context.charter.server!r} may send.",
                "Nothing was changed.",
            )
        if isinstance(message, Advertised):
            after = self._after(ClientStep.GET_ADVERTISED)
            secrets = self._agree(message)
            self._secrets, self._state = secrets, after
        elif isinstance(message, Sums):
            after = self._after(self._sums_step(message.sum))
            due = self._due(message.sum, self._context.lanes)
            check_lanes(message.lanes, self._context.lanes, due, "The server", RemoteProtocolError)
            self._state = after
        else:
            raise RemoteProtocolError(f"The server sent {message.kind!r}, which clients send.", "Nothing was changed.")
        return message

    def check(self, published: Sums) -> SumCheck:
        """COUNTED or DONE: the check of a sum that this client has just accepted.

        Raises:
            LocalProtocolError: not due now.
        """
        if self._state not in (ClientState.COUNTED, ClientState.DONE):
            raise LocalProtocolError(f"In state {self._state.value!r} there is no sum to check.", "Our own fault.")
        secrets = {peer: secret for (name, peer), secret in self._secrets.items() if name == published.sum}
        return SumCheck(self._context, published, self._identity, secrets)

    def know_eligible(self, lengths: Sequence[int]) -> None:
        """COUNTED -> VALUING: how many positions of each lane take part in the values sum.

        Args:
            lengths: one number a lane of the round, in the charter's order.

        Raises:
            LocalProtocolError: not due now, or not one number a lane.
        """
        after = self._after(ClientStep.KNOW_ELIGIBLE)
        self._lengths = lengths_by_lane(self._context.lanes, lengths)
        self._masked = set()
        self._state = after

    def mask(self, lane: Lane, digits: NDArray[Any]) -> NDArray[Any]:
        """VOTING or VALUING: pack and mask one lane. Once a lane and sum.

        Args:
            lane: one of `lanes`.
            digits: shape (L,), bool or unsigned, in [0, q]: votes, or the eligible positions' quantised changes.

        Returns:
            uint64 words for the server.

        Raises:
            LocalProtocolError: not due now, not this client's lane, masked already, or digits that do not fit.
        """
        name = self._current_sum()
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
        self._masked.add(lane.name)
        for peer in lane.cohort:
            if peer != self._index:
                low, high = sorted((self._index, peer))
                context = MaskContext(self._charter, self._context.round, name, lane.index, low, high)
                apply_keystream(
                    words, lane_key(self._secrets[name, peer], context), subtract=self._index == context.high
                )
        return words

    def send(self, blobs: Sequence[LaneBlob]) -> Envelope:
        """VOTING -> VOTED, or VALUING -> VALUED: the masked lanes are stored, here are their names.

        Raises:
            LocalProtocolError: not due now, or not exactly the lanes that were masked.
        """
        name = self._current_sum()
        after = self._after(ClientStep.SEND_VOTES if name == "votes" else ClientStep.SEND_VALUES)
        if len(self._masked) != len(self._lanes):
            raise LocalProtocolError(
                f"{len(self._masked)} of {len(self._lanes)} lanes were masked.", "Mask every lane first."
            )
        check_lanes(blobs, self._lanes, self._due(name, self._lanes), "We", LocalProtocolError)
        self._state = after
        message = Masked(
            charter=self._charter,
            round=self._context.round,
            sender=self._identity.name,
            sum=name,
            lanes=tuple(blobs),
        )
        return seal(message, self._identity)

    def _after(self, step: ClientStep) -> ClientState:
        return next_state(CLIENT_STEPS, self._state, step)

    def _current_sum(self) -> SumName:
        if self._state is ClientState.VOTING:
            return "votes"
        self._after(ClientStep.SEND_VALUES)
        return "values"

    def _due(self, name: SumName, lanes: Sequence[Lane]) -> list[int]:
        """Words of each of `lanes` in a sum."""
        return [lane.packing(name).words(self._lengths[lane.name]) for lane in lanes]

    def _sums_step(self, name: SumName) -> ClientStep:
        if name == "values":
            return ClientStep.GET_SUMS
        return ClientStep.GET_COUNTS if self._context.charter.changes_weights else ClientStep.GET_LAST_COUNTS

    def _public(self, name: SumName) -> str:
        return self._keys[name].public_key().public_bytes_raw().hex()

    def _agree(self, message: Advertised) -> dict[tuple[SumName, int], bytes]:
        """Shared secrets with every peer, from advertisements that carry the peers' own signatures."""
        todo = "Do not go on; the server and the named institution must say what they sent."
        advertisements = [self._context.open(envelope, self._charter) for envelope in message.advertisements]
        if [advertisement.sender for advertisement in advertisements] != list(self._context.roster):
            raise RemoteProtocolError("The advertisements are not one of each institution, in roster order.", todo)
        secrets: dict[tuple[SumName, int], bytes] = {}
        seen: set[str] = set()
        for index, advertisement in enumerate(advertisements):
            who = advertisement.sender
            if not isinstance(advertisement, Advertise):
                raise RemoteProtocolError(f"{who!r} did not advertise keys but sent {advertisement.kind!r}.", todo)
            if index == self._index and advertisement != self._advertise:
                raise RemoteProtocolError("Our own advertisement came back changed.", todo)
            for name, private in self._keys.items():
                public = advertisement.votes if name == "votes" else advertisement.values
                if public is None or public in seen:
                    raise RemoteProtocolError(f"{who!r} advertised no {name} key, or one in use already.", todo)
                seen.add(public)
                if index != self._index:
                    secrets[name, index] = shared_secret(private, public, who)
        return secrets
