"""Keys and shares: what clients exchange through the server before they mask anything.

    advertise    client -> server    fresh public keys: one for the channel to its peers, and one a group and sum
    advertised   server -> client    its peers' advertisements, as they signed them
    share        client -> server    shares of this client's secrets, sealed for each peer
    shares       server -> client    what its peers sealed for it
    again        server -> clients   too many vanished from the values sum: exchange fresh keys, without those

An exchange serves both sums (attempt 0); each repetition of the values sum has its own (attempt 1, 2, ...).
"""

from __future__ import annotations

from typing import Literal

from fedspallm_secure.messages.canonical import Frozen
from fedspallm_secure.messages.envelope import Envelope
from fedspallm_secure.messages.fields import Base64, Count, Hex32, Name
from fedspallm_secure.messages.linking import Linked

__all__ = ["Advertise", "Advertised", "Again", "GroupCommitments", "GroupKeys", "InRound", "Share", "Shares"]


class InRound(Frozen):
    """What every message of a round says: which charter, which round, and who signs."""

    charter: Hex32
    round: Count
    sender: Name


class GroupKeys(Frozen):
    """A client's X25519 public keys for one group, one a sum; null for a sum that the exchange does not serve."""

    votes: Hex32 | None
    values: Hex32 | None


class Advertise(InRound, Linked):
    """A client's fresh X25519 public keys, `groups` being those of the groups it is in, in order."""

    kind: Literal["advertise"] = "advertise"
    attempt: Count
    channel: Hex32
    groups: tuple[GroupKeys, ...]


class Advertised(InRound):
    """The advertisements that one client needs: its own and its peers', as signed, in the order of the roster."""

    kind: Literal["advertised"] = "advertised"
    attempt: Count
    advertisements: tuple[Envelope, ...]


class GroupCommitments(Frozen):
    """Commitments to a client's self-mask seeds of one group, one a sum."""

    votes: Hex32 | None
    values: Hex32 | None


class Share(InRound, Linked):
    """A client's shares, sealed: peer's name -> ciphertext; and what the seeds' reconstruction is checked against."""

    kind: Literal["share"] = "share"
    attempt: Count
    commitments: tuple[GroupCommitments, ...]
    sealed: dict[Name, Base64]


class Shares(InRound):
    """What its peers sealed for the client `to`: peer's name -> ciphertext. Who is not in it takes no part."""

    kind: Literal["shares"] = "shares"
    attempt: Count
    to: Name
    sealed: dict[Name, Base64]


class Again(InRound):
    """The values sum is repeated as attempt `attempt`, without the clients `gone`, which had voted; in roster order."""

    kind: Literal["again"] = "again"
    attempt: Count
    gone: tuple[Name, ...]
