"""What is said: signed, validated, in one canonical form."""

from fedspallm_secure.messages.bodies import (
    Advertise,
    Advertised,
    LaneBlob,
    Masked,
    Message,
    ModelStatement,
    Proof,
    Proofs,
    SumName,
    Sums,
)
from fedspallm_secure.messages.canonical import Frozen, canonical, digest
from fedspallm_secure.messages.envelope import Envelope
from fedspallm_secure.messages.fields import Count, Hex32, LaneName, Name
from fedspallm_secure.messages.signing import Identity, open_envelope, seal

__all__ = [
    "Advertise",
    "Advertised",
    "Count",
    "Envelope",
    "Frozen",
    "Hex32",
    "Identity",
    "LaneBlob",
    "LaneName",
    "Masked",
    "Message",
    "ModelStatement",
    "Name",
    "Proof",
    "Proofs",
    "SumName",
    "Sums",
    "canonical",
    "digest",
    "open_envelope",
    "seal",
]
