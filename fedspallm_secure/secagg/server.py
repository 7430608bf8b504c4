"""The server's side of a round of secure sums, without any input or output of its own.

It gathers one message a client, says which blobs to add up, and publishes the sums. It holds no secret but its signing
key and never sees an unmasked lane.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Advertise, Advertised, Envelope, Identity, LaneBlob, Masked, SumName, Sums, seal
from fedspallm_secure.secagg.context import RoundContext, check_lanes, lengths_by_lane
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.states import SERVER_STEPS, ServerState, ServerStep, next_state

__all__ = ["Server"]


class Server:
    """The coordinator in one round.

    Args:
        context: the charter, the round and its lanes.
        identity: the coordinator's name and signing key.

    Raises:
        LocalProtocolError: the identity is not the charter's server.
    """

    def __init__(self, context: RoundContext, identity: Identity) -> None:
        if (identity.name, identity.public) != (context.charter.server, context.charter.server_key):
            raise LocalProtocolError(
                f"{identity.name!r} is not the charter's server with this signing key.",
                "Use the key that was registered, or have the charter changed.",
            )
        self._context = context
        self._charter = context.digest()
        self._identity = identity
        self._state = ServerState.KEYS
        self._advertised: dict[str, Envelope] = {}
        self._masked: dict[str, dict[str, LaneBlob]] = {}
        self._lengths = {lane.name: lane.length for lane in context.lanes}

    @property
    def state(self) -> ServerState:
        """Where the server is."""
        return self._state

    def receive(self, envelope: Envelope) -> Envelope | None:
        """Take a client's message.

        Returns:
            A broadcast that became due (`Advertised`, with the last advertisement), or None. When the last masked lanes
            came, the state is ADDING_VOTES or ADDING_VALUES.

        Raises:
            RemoteProtocolError: the message is not acceptable; the state is as it was.
        """
        message = self._context.open(envelope, self._charter)
        if message.sender not in self._context.roster:
            raise RemoteProtocolError(f"{message.sender!r} is not a client.", "Nothing was changed.")
        if isinstance(message, Advertise):
            return self._take_advertise(message, envelope)
        if isinstance(message, Masked):
            self._take_masked(message)
            return None
        raise RemoteProtocolError(
            f"{message.sender!r} sent {message.kind!r}, which is no step of a sum.", "Nothing was changed."
        )

    def contributions(self, lane: Lane) -> list[LaneBlob]:
        """ADDING_VOTES or ADDING_VALUES: the masked blobs of `lane`, one a member of its cohort.

        Raises:
            LocalProtocolError: somebody's are still missing.
        """
        self._adding()
        return [self._masked[self._context.roster[index]][lane.name] for index in lane.cohort]

    def publish(self, blobs: Sequence[LaneBlob]) -> Envelope:
        """ADDING_VOTES -> COUNTED (or DONE), ADDING_VALUES -> DONE: the sums, for every client.

        Args:
            blobs: one a lane of the round, in the charter's order.

        Raises:
            LocalProtocolError: not due now, or not exactly the lanes due.
        """
        name = self._adding()
        if name == "values":
            step = ServerStep.SEND_SUMS
        elif self._context.charter.changes_weights:
            step = ServerStep.SEND_COUNTS
        else:
            step = ServerStep.SEND_LAST_COUNTS
        after = self._after(step)
        check_lanes(blobs, self._context.lanes, self._due(name, self._context.lanes), "We", LocalProtocolError)
        self._state = after
        message = Sums(
            charter=self._charter,
            round=self._context.round,
            sender=self._identity.name,
            sum=name,
            lanes=tuple(blobs),
        )
        return seal(message, self._identity)

    def know_eligible(self, lengths: Sequence[int]) -> None:
        """COUNTED -> VALUES: how many positions of each lane take part in the values sum.

        Args:
            lengths: one number a lane of the round, in the charter's order.

        Raises:
            LocalProtocolError: not due now, or not one number a lane.
        """
        after = self._after(ServerStep.KNOW_ELIGIBLE)
        self._lengths = lengths_by_lane(self._context.lanes, lengths)
        self._masked = {}
        self._state = after

    def missing(self) -> list[str]:
        """The clients whose message of this step has not come, in roster order."""
        came = self._advertised if self._state is ServerState.KEYS else self._masked
        return [name for name in self._context.roster if name not in came]

    def _after(self, step: ServerStep) -> ServerState:
        return next_state(SERVER_STEPS, self._state, step)

    def _due(self, name: SumName, lanes: Sequence[Lane]) -> list[int]:
        """Words of each of `lanes` in a sum."""
        return [lane.packing(name).words(self._lengths[lane.name]) for lane in lanes]

    def _adding(self) -> SumName:
        if self._state is ServerState.ADDING_VOTES:
            return "votes"
        self._after(ServerStep.SEND_SUMS)
        return "values"

    def _take_advertise(self, message: Advertise, envelope: Envelope) -> Envelope | None:
        last = len(self._advertised) == len(self._context.roster) - 1
        after = self._after(ServerStep.ALL_ADVERTISE if last else ServerStep.GET_ADVERTISE)
        self._refuse_twice(message.sender, self._advertised)
        if (message.values is None) is self._context.charter.changes_weights:
            raise RemoteProtocolError(f"{message.sender!r} did not advertise one key a sum.", "Nothing was changed.")
        self._advertised[message.sender] = envelope
        self._state = after
        if not last:
            return None
        broadcast = Advertised(
            charter=self._charter,
            round=self._context.round,
            sender=self._identity.name,
            advertisements=tuple(self._advertised[name] for name in self._context.roster),
        )
        return seal(broadcast, self._identity)

    def _take_masked(self, message: Masked) -> None:
        last = len(self._masked) == len(self._context.roster) - 1
        if message.sum == "votes":
            after = self._after(ServerStep.ALL_VOTES if last else ServerStep.GET_VOTES)
        else:
            after = self._after(ServerStep.ALL_VALUES if last else ServerStep.GET_VALUES)
        self._refuse_twice(message.sender, self._masked)
        lanes = self._context.lanes_of(self._context.roster.index(message.sender))
        check_lanes(message.lanes, lanes, self._due(message.sum, lanes), repr(message.sender), RemoteProtocolError)
        self._masked[message.sender] = {blob.lane: blob for blob in message.lanes}
        self._state = after

    def _refuse_twice(self, sender: str, came: dict[str, Envelope] | dict[str, dict[str, LaneBlob]]) -> None:
        if sender in came:
            raise RemoteProtocolError(f"{sender!r} sent this step's message twice.", "The second one was ignored.")
