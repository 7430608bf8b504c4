"""A sum: masked lanes, who survived, what unmasks them, and what came out.

masked       client -> server    its masked lanes, named by digest
survivors    server -> clients   whose lanes are added up
confirm      client -> server    "I hand out shares for these survivors, and for no others"
confirmed    server -> clients   the signatures of a quorum of every cohort
unmask       client -> server    shares: of a survivor's seed, or of the key of a client that vanished
sums         server -> clients   the lanes, added up, named by digest
"""

from __future__ import annotations

from typing import Literal

from fedspallm_secure.messages.canonical import Frozen
from fedspallm_secure.messages.envelope import Envelope
from fedspallm_secure.messages.exchange import InRound
from fedspallm_secure.messages.fields import Base64, Count, Hex32, Hex33, LaneName, Name, SumName
from fedspallm_secure.messages.linking import Linked, LogHead

__all__ = ["Confirm", "Confirmed", "InSum", "LaneBlob", "Masked", "Revealed", "Sums", "Survivors", "Unmask"]


class InSum(InRound):
    """What every message of a sum says besides: which sum, and which attempt at it."""

    sum: SumName
    attempt: Count


class LaneBlob(Frozen):
    """One lane's words (uint64, little-endian) as a blob."""

    lane: LaneName
    words: Count
    blob: Hex32


class Masked(InSum, Linked):
    """A client's masked lanes: those whose cohort it is in, in the charter's order."""

    kind: Literal["masked"] = "masked"
    lanes: tuple[LaneBlob, ...]


class Survivors(InSum):
    """Who could take part, whose lanes came, and without which voters values go on, all in the order of the roster.

    `start` is the digest of the model that the round starts from: with it and `gone`, whoever confirms agrees on which
    positions are eligible. `log` is everything that stands in the log before this message: whoever confirms agrees on
    that too.
    """

    kind: Literal["survivors"] = "survivors"
    participants: tuple[Name, ...]
    survivors: tuple[Name, ...]
    gone: tuple[Name, ...]
    start: Hex32
    log: LogHead


class Confirm(InSum):
    """The digest of the only `survivors` message of this sum that the sender hands out shares for.

    It says nothing of the log but what `survivors` says, so that everybody's text is the same.
    """

    kind: Literal["confirm"] = "confirm"
    survivors: Hex32


class Confirmed(InSum):
    """Client's name -> its Ed25519 signature under its `confirm`, whose text follows from this message and the name."""

    kind: Literal["confirmed"] = "confirmed"
    survivors: Hex32
    signatures: dict[Name, Base64]


class Revealed(Frozen):
    """Shares that one client holds in one group: survivor -> share of its seed, vanished -> share of its key."""

    seeds: dict[Name, Hex33]
    keys: dict[Name, Hex33]


class Unmask(InSum, Linked):
    """The shares that a client hands out: one entry for each group it is in, in order."""

    kind: Literal["unmask"] = "unmask"
    groups: tuple[Revealed, ...]


class Sums(InSum):
    """All lanes, added up over the survivors of each cohort, in the charter's order.

    `counted` is the custodian's word for them, as it signed it, where votes are encrypted, and null elsewhere.
    """

    kind: Literal["sums"] = "sums"
    lanes: tuple[LaneBlob, ...]
    counted: Envelope | None = None
