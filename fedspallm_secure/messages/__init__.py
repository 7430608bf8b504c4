"""What is said: signed, validated, in one canonical form."""

from fedspallm_secure.messages.bodies import Message
from fedspallm_secure.messages.canonical import Frozen, canonical, digest
from fedspallm_secure.messages.checks import Attest, Attested, ModelStatement, Proof, Proofs, Unproven
from fedspallm_secure.messages.envelope import Envelope
from fedspallm_secure.messages.exchange import (
    Advertise,
    Advertised,
    Again,
    GroupCommitments,
    GroupKeys,
    Share,
    Shares,
)
from fedspallm_secure.messages.fields import Base64, Count, Hex32, LaneName, Name, SumName
from fedspallm_secure.messages.signing import (
    Identity,
    check_signatures,
    decode_base64,
    open_envelope,
    seal,
)
from fedspallm_secure.messages.sums import (
    Confirm,
    Confirmed,
    LaneBlob,
    Masked,
    Revealed,
    Sums,
    Survivors,
    Unmask,
)

__all__ = [
    "Advertise",
    "Advertised",
    "Again",
    "Attest",
    "Attested",
    "Base64",
    "Confirm",
    "Confirmed",
    "Count",
    "Envelope",
    "Frozen",
    "GroupCommitments",
    "GroupKeys",
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
    "Revealed",
    "Share",
    "Shares",
    "SumName",
    "Sums",
    "Survivors",
    "Unmask",
    "Unproven",
    "canonical",
    "check_signatures",
    "decode_base64",
    "digest",
    "open_envelope",
    "seal",
]
