"""What both ends of a round hold on to: the charter they signed, and what makes a message belong to the round."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from fedspallm_secure.charter import Charter, unmasking_threshold
from fedspallm_secure.errors import CharterError, LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, LaneBlob, Message, digest, open_envelope
from fedspallm_secure.secagg.groups import Group, make_groups
from fedspallm_secure.secagg.lanes import Lane

__all__ = ["RoundContext", "check_lanes", "lengths_by_lane"]


@dataclass(frozen=True)
class RoundContext:
    """One round of one charter.

    Attributes:
        charter: the agreement; rosters, keys, thresholds and packings come from it and never from a peer.
        round: index of the round, from 0.
        lanes: all lanes of the round, in the charter's order.
        start: digest of the model that the round starts from. What is eligible follows from its weights, so nobody
            confirms a sum with somebody who starts from others.

    Raises:
        CharterError: a lane's cohort is smaller than the charter allows, or too small for its colluders and drop-outs.
    """

    charter: Charter
    round: int
    lanes: tuple[Lane, ...]
    start: str

    def __post_init__(self) -> None:
        parameters = self.charter.parameters
        for lane in self.lanes:
            n = len(lane.cohort)
            if n < parameters.minimum_cohort:
                raise CharterError(
                    f"Lane {lane.name} has a cohort of {n}; the charter asks for {parameters.minimum_cohort}.",
                    "Nothing was sent. Raise capacities or add institutions.",
                )
            if n - parameters.dropouts < unmasking_threshold(n, parameters.colluders):
                raise CharterError(
                    f"Lane {lane.name} has a cohort of {n}, which does not bear {parameters.dropouts} drop-outs and "
                    f"{parameters.colluders} colluders.",
                    "Nothing was sent. Lower either, raise capacities or add institutions.",
                )

    @cached_property
    def roster(self) -> tuple[str, ...]:
        """The clients' names, by index."""
        return tuple(member.name for member in self.charter.roster)

    @cached_property
    def encrypts_votes(self) -> bool:
        """Whether votes are encrypted for the custodian, and not masked."""
        return self.charter.custodian is not None

    @cached_property
    def indices(self) -> dict[str, int]:
        """Client's name -> roster index."""
        return {name: index for index, name in enumerate(self.roster)}

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Lanes by cohort, each with its graph and thresholds."""
        return make_groups(self.charter, self.round, self.lanes)

    @cached_property
    def group_of(self) -> dict[str, Group]:
        """Lane's name -> its group."""
        return {lane.name: group for group in self.groups for lane in group.lanes}

    @cached_property
    def digest(self) -> str:
        """The charter's digest, 64 hexadecimal digits."""
        return digest(self.charter)

    @cached_property
    def keys(self) -> dict[str, str]:
        """Participant's name -> Ed25519 public key."""
        return self.charter.keys

    @cached_property
    def everybody(self) -> frozenset[int]:
        """The roster's indices."""
        return frozenset(range(len(self.roster)))

    def lanes_of(self, index: int) -> tuple[Lane, ...]:
        """The lanes to which the client with roster index `index` contributes."""
        return tuple(lane for lane in self.lanes if index in lane.cohort)

    @cached_property
    def _groups_of(self) -> tuple[tuple[Group, ...], ...]:
        groups: list[list[Group]] = [[] for _ in self.roster]
        for group in self.groups:
            for member in group.cohort:
                groups[member].append(group)
        return tuple(tuple(mine) for mine in groups)

    @cached_property
    def _places(self) -> dict[tuple[int, int], int]:
        return {
            (member, group.index): place
            for member, groups in enumerate(self._groups_of)
            for place, group in enumerate(groups)
        }

    def groups_of(self, index: int) -> tuple[Group, ...]:
        """The groups that the client with roster index `index` is in."""
        return self._groups_of[index]

    def place(self, index: int, group: Group) -> int:
        """Where `group` stands among the groups of the client with roster index `index`, as its messages list them."""
        return self._places[index, group.index]

    def peers_of(self, index: int) -> frozenset[int]:
        """With whom the client with roster index `index` exchanges keys: its neighbours in all groups."""
        return frozenset(peer for group in self.groups_of(index) for peer in group.neighbours[index])

    def names(self, indices: Iterable[int]) -> tuple[str, ...]:
        """Clients' names in roster order."""
        return tuple(self.roster[index] for index in sorted(indices))

    def members(self, names: Sequence[str], among: Collection[int], what: str) -> frozenset[int]:
        """The roster indices of `names`.

        Args:
            names: as a message has them.
            among: who may be named.
            what: they are, for the error's text.

        Raises:
            RemoteProtocolError: not in roster order, twice, or somebody who may not be named.
        """
        found = [self.indices.get(name, -1) for name in names]
        if any(index not in among for index in found) or found != sorted(set(found)):
            raise RemoteProtocolError(
                f"The {what} are not institutions that may be named here, each once and in roster order.",
                "Nothing was changed; the server must say what it believes happened.",
            )
        return frozenset(found)

    def open(self, envelope: Envelope) -> Message:
        """The signed message in `envelope`, once it is known to belong to this round.

        Raises:
            RemoteProtocolError: bad signature, unknown signer, another charter or another round.
        """
        message = open_envelope(envelope, self.keys)
        todo = "Nothing was changed; the sender took part in another run, or replays one."
        if message.charter != self.digest:
            raise RemoteProtocolError(f"{message.sender!r} speaks of charter {message.charter}.", todo)
        if message.round != self.round:
            raise RemoteProtocolError(f"{message.sender!r} speaks of round {message.round}, not {self.round}.", todo)
        return message


def lengths_by_lane(lanes: Sequence[Lane], lengths: Sequence[int]) -> dict[str, int]:
    """Lane's name -> its length in the values sum.

    Raises:
        LocalProtocolError: not one length a lane, or a length that the lane can't have.
    """
    if len(lengths) != len(lanes):
        raise LocalProtocolError(f"{len(lengths)} lengths came for {len(lanes)} lanes.", "Name every lane's.")
    for lane, length in zip(lanes, lengths, strict=True):
        if not 0 <= length <= lane.most_values:
            raise LocalProtocolError(
                f"{length} eligible positions came for lane {lane.name}, which has {lane.most_values}.",
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
