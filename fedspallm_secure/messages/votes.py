"""Votes that travel encrypted: first their digests, then who is in, then the ciphertexts, then the custodian's counts.

encrypted    client -> server       digests of its encrypted lanes, which it still keeps to itself
release      client -> server       its ciphertexts, once a quorum confirmed whose votes are in
collected    server -> custodian    whose ciphertexts came
counted      custodian -> server    the counts of all lanes, named by digest

Between the first and the second stand `survivors`, `confirm` and `confirmed`, as in every sum (`sums`). CKKS is
malleable: who sees a ciphertext can send another of the same votes as its own, and nobody can tell. So nobody sees one
before everybody's digests are settled.
"""

from __future__ import annotations

from typing import Literal

from fedspallm_secure.messages.exchange import InRound
from fedspallm_secure.messages.fields import Hex32, Name
from fedspallm_secure.messages.linking import Linked, LogHead
from fedspallm_secure.messages.sums import LaneBlob

__all__ = ["Collected", "Counted", "CountedLane", "Encrypted", "Release"]


class Encrypted(InRound, Linked):
    """A client's encrypted lanes: those whose cohort it is in, in the charter's order."""

    kind: Literal["encrypted"] = "encrypted"
    lanes: tuple[LaneBlob, ...]


class Release(InRound, Linked):
    """The ciphertexts of the sender's `encrypted` are there; `survivors` is the digest of the message it confirmed."""

    kind: Literal["release"] = "release"
    survivors: Hex32


class Collected(InRound):
    """Whose ciphertexts came, in the order of the roster; `log` is everything that stands in the log before."""

    kind: Literal["collected"] = "collected"
    survivors: Hex32
    contributors: tuple[Name, ...]
    log: LogHead


class CountedLane(LaneBlob):
    """One lane's counts as words, packed as sums of masked votes are; `ciphertexts` is the encrypted sum's SHA-256."""

    ciphertexts: Hex32

    @property
    def counts(self) -> LaneBlob:
        """The counts alone, as they are published."""
        return LaneBlob(lane=self.lane, words=self.words, blob=self.blob)


class Counted(InRound, Linked):
    """The counts of all lanes, in the charter's order: of the votes of `contributors`, who are among `survivors`."""

    kind: Literal["counted"] = "counted"
    survivors: Hex32
    contributors: tuple[Name, ...]
    lanes: tuple[CountedLane, ...]
