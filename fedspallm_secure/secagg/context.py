"""What both ends of a round hold on to: the charter they signed, and what makes a message belong to the round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedspallm_secure.charter import Charter
from fedspallm_secure.errors import CharterError, LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, LaneBlob, Message, digest, open_envelope
from fedspallm_secure.secagg.lanes import Lane

__all__ = ["RoundContext", "check_lanes", "lengths_by_lane"]


@dataclass(frozen=True)
class RoundContext:
    """One round of one charter.

    Attributes:
        charter: the agreement; rosters, keys and packings come from it and never from a peer.
        round: index of the round, from 0.
        lanes: all lanes of the round, in the charter's order.

    Raises:
        CharterError: a lane's cohort is smaller than the charter allows.
    """

    charter: Charter
    round: int
    lanes: tuple[Lane, ...]

    def __post_init__(self) -> None:
        minimum = self.charter.parameters.minimum_cohort
        for lane in self.lanes:
            if len(lane.cohort) < minimum:
                raise CharterError(
                    f"Lane {lane.name} has a cohort of {len(lane.cohort)}; the charter asks for {minimum}.",
                    "Nothing was sent. Raise capacities or add institutions.",
                )

    @property
    def roster(self) -> tuple[str, ...]:
        """The clients' names, by index."""
        return tuple(member.name for member in self.charter.roster)

    def lanes_of(self, index: int) -> tuple[Lane, ...]:
        """The lanes to which the client with roster index `index` contributes."""
        return tuple(lane for lane in self.lanes if index in lane.cohort)

    def open(self, envelope: Envelope, charter_digest: str) -> Message:
        """The signed message in `envelope`, once it is known to belong to this round.

        Raises:
            RemoteProtocolError: bad signature, unknown signer, another charter or another round.
        """
        message = open_envelope(envelope, self.charter.keys)
        todo = "Nothing was changed; the sender took part in another run, or replays one."
        if message.charter != charter_digest:
            raise RemoteProtocolError(f"{message.sender!r} speaks of charter {message.charter}.", todo)
        if message.round != self.round:
            raise RemoteProtocolError(f"{message.sender!r} speaks of round {message.round}, not {self.round}.", todo)
        return message

    def digest(self) -> str:
        """The charter's digest."""
        return digest(self.charter)


def lengths_by_lane(lanes: Sequence[Lane], lengths: Sequence[int]) -> dict[str, int]:
    """Lane's name -> its length in the values sum.

    Raises:
        LocalProtocolError: not one length a lane, or a length that the lane can't have.
    """
    if len(lengths) != len(lanes):
        raise LocalProtocolError(f"{len(lengths)} lengths came for {len(lanes)} lanes.", "Name every lane's.")
    for lane, length in zip(lanes, lengths, strict=True):
        if not 0 <= length <= lane.length:
            raise LocalProtocolError(
                f"{length} eligible positions came for lane {lane.name}, which has {lane.length}.",
                "This is a fault of the calling program.",
            )
    return {lane.name: length for lane, length in zip(lanes, lengths, strict=True)}


def check_lanes(
    blobs: Sequence[LaneBlob],
    lanes: Sequence[Lane],
    words: Sequence[int],
    who: str,
    fault: type[RemoteProtocolError] | type[LocalProtocolError],
) -> None:
    """Refuse lanes that are missing, permuted, unknown, or of another length than everybody computed.

    Args:
        blobs: what came.
        lanes: what is due, in order.
        words: words of each of `lanes`.
        who: for the error's text.
        fault: whose.

    Raises:
        RemoteProtocolError: or LocalProtocolError, as `fault` says.
    """
    todo = "Nothing was changed; both ends must run the same charter and version."
    if [blob.lane for blob in blobs] != [lane.name for lane in lanes]:
        raise fault(f"{who} named {len(blobs)} lanes that are not the {len(lanes)} due, in the charter's order.", todo)
    for blob, due in zip(blobs, words, strict=True):
        if blob.words != due:
            raise fault(f"{who} announced {blob.words} words for lane {blob.lane}; {due} are due.", todo)
