"""The messages of one round, in the order in which they are sent.

    advertise    client -> server    fresh X25519 keys, one a sum
    advertised   server -> clients   all of those, as signed
    masked       client -> server    one sum's masked lanes, named by digest            (votes, then values)
    sums         server -> clients   that sum's lanes, added up, named by digest        (votes, then values)
    proof        client -> server    inner products that let everybody check the sums   (votes, then values)
    proofs       server -> clients   all of those, as signed                            (votes, then values)
    model        everyone            the digest of the model that follows from all this

Every message names the charter and the round, so that none can be replayed elsewhere, and its sender, who signs it.
Large payloads are blobs: the message carries their SHA-256.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedspallm_secure.messages.canonical import Frozen
from fedspallm_secure.messages.envelope import Envelope
from fedspallm_secure.messages.fields import Count, Hex8, Hex32, LaneName, Name

__all__ = [
    "Advertise",
    "Advertised",
    "LaneBlob",
    "Masked",
    "Message",
    "ModelStatement",
    "Proof",
    "Proofs",
    "SumName",
    "Sums",
]

SumName = Literal["votes", "values"]
"""The two sums of a round."""


class _InRound(Frozen):
    charter: Hex32
    round: Count
    sender: Name


class Advertise(_InRound):
    """A client's fresh X25519 public keys. `values` is null where the method changes no weight."""

    kind: Literal["advertise"] = "advertise"
    votes: Hex32
    values: Hex32 | None


class Advertised(_InRound):
    """Every client's advertisement as the client signed it, in the order of the roster."""

    kind: Literal["advertised"] = "advertised"
    advertisements: tuple[Envelope, ...]


class LaneBlob(Frozen):
    """One lane's words (uint64, little-endian) as a blob."""

    lane: LaneName
    words: Count
    blob: Hex32


class Masked(_InRound):
    """A client's masked lanes of one sum: those whose cohort it is in, in the charter's order."""

    kind: Literal["masked"] = "masked"
    sum: SumName
    lanes: tuple[LaneBlob, ...]


class Sums(_InRound):
    """One sum's lanes, all of them, added up over each cohort, in the charter's order."""

    kind: Literal["sums"] = "sums"
    sum: SumName
    lanes: tuple[LaneBlob, ...]


class Proof(_InRound):
    """A client's inner products of its digits of one sum with the challenge's vectors, masked, modulo either prime."""

    kind: Literal["proof"] = "proof"
    sum: SumName
    products: tuple[Hex8, Hex8]


class Proofs(_InRound):
    """Every client's proof as the client signed it, in the order of the roster."""

    kind: Literal["proofs"] = "proofs"
    sum: SumName
    proofs: tuple[Envelope, ...]


class ModelStatement(_InRound):
    """The digest of the model that the sender computed from the published sums."""

    kind: Literal["model"] = "model"
    model: Hex32


Message = Annotated[
    Advertise | Advertised | Masked | Sums | Proof | Proofs | ModelStatement, Field(discriminator="kind")
]
"""Any message of the protocol."""
