"""What makes a published sum believed, and the model that follows.

proof        client -> server    masked inner products of its digits, which let everybody check the sum
proofs       server -> clients   every survivor's, as signed
attest       witness -> server   "I recomputed this sum from the masked lanes", where a proof is missing
attested     server -> clients   that, as signed
unproven     server -> clients   neither can be had: no weight changes
model        everyone            the digest of the model that follows from all this
"""

from __future__ import annotations

from typing import Literal

from fedspallm_secure.messages.envelope import Envelope
from fedspallm_secure.messages.exchange import InRound
from fedspallm_secure.messages.fields import Hex8, Hex32, Name
from fedspallm_secure.messages.linking import Linked
from fedspallm_secure.messages.sums import InSum

__all__ = ["Attest", "Attested", "ModelStatement", "Proof", "Proofs", "Unproven"]


class Proof(InSum, Linked):
    """A client's inner products with the challenge's vectors, masked: for each of its groups one a modulus."""

    kind: Literal["proof"] = "proof"
    products: tuple[tuple[Hex8, Hex8], ...]


class Proofs(InSum):
    """Every survivor's proof as it signed it, in the order of the roster."""

    kind: Literal["proofs"] = "proofs"
    proofs: tuple[Envelope, ...]


class Attest(InSum, Linked):
    """The witness recomputed the sum whose `sums` message has this digest."""

    kind: Literal["attest"] = "attest"
    sums: Hex32


class Attested(InSum):
    """The witness's word, as signed."""

    kind: Literal["attested"] = "attested"
    attestation: Envelope


class Unproven(InSum):
    """Nobody can check the sum: the proofs of the clients `missing` did not come, in roster order."""

    kind: Literal["unproven"] = "unproven"
    missing: tuple[Name, ...]


class ModelStatement(InRound, Linked):
    """The digest of the model that the sender computed from the published sums. The server's is not linked."""

    kind: Literal["model"] = "model"
    model: Hex32
