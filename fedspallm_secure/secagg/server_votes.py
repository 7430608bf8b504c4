"""What the server knows of encrypted votes: whose digests came, whose ciphertexts, and what the custodian counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Counted, CountedLane, Encrypted, Envelope, LaneBlob, Release
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.encrypted import check_counted, check_encrypted
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.participation import Participation

__all__ = ["ServerVotes"]


@dataclass(frozen=True)
class ServerVotes:
    """Never changed: every step gives a new one.

    Attributes:
        context: of the round.
        owners: digest of a lane's ciphertexts -> roster index of whose they are.
        message: what the custodian said.
        envelope: that, as it signed it.
    """

    context: RoundContext
    owners: Mapping[str, int] = field(default_factory=dict)
    message: Counted | None = None
    envelope: Envelope | None = None

    def with_encrypted(self, sender: int, message: Encrypted) -> ServerVotes:
        """Digests came.

        Raises:
            RemoteProtocolError: see `check_encrypted`.
        """
        return replace(self, owners=check_encrypted(self.context, sender, message, self.owners))

    def check_release(self, message: Release, chosen: str) -> None:
        """Refuse ciphertexts that were handed over for other survivors than those with digest `chosen`.

        Raises:
            RemoteProtocolError: as said.
        """
        if message.survivors != chosen:
            raise RemoteProtocolError(
                f"{message.sender!r} released its votes for other survivors than those confirmed.",
                "The message was ignored.",
            )

    def with_counted(
        self, message: Counted, envelope: Envelope, chosen: str, participation: Participation
    ) -> ServerVotes:
        """The custodian counted the votes of `participation`.

        Raises:
            RemoteProtocolError: see `check_counted`.
        """
        check_counted(self.context, message, chosen, participation)
        return replace(self, message=message, envelope=envelope)

    def lane(self, lane: Lane) -> CountedLane | None:
        """What the custodian said of a lane; None where it counts nothing."""
        if self.message is None:
            return None
        return next(counted for counted in self.message.lanes if counted.lane == lane.name)

    def check_published(self, blobs: Sequence[LaneBlob]) -> None:
        """Refuse to publish other counts than the custodian's, where it counts.

        Raises:
            LocalProtocolError: as said.
        """
        if self.message is not None and list(blobs) != [counted.counts for counted in self.message.lanes]:
            raise LocalProtocolError("We publish other counts than the custodian's.", "Our own fault.")
