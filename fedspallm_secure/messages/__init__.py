"""What is said: signed, validated, in one canonical form."""

from fedspallm_secure.messages.bodies import Message
from fedspallm_secure.messages.canonical import Frozen, canonical, digest
from fedspallm_secure.messages.checks import Attest, Attested, ModelStatement, Proof, Proofs, Unproven
from fedspallm_secure.messages.envelope import PAYLOAD_TYPE, Envelope
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
from fedspallm_secure.messages.linking import Linked, LogHead
from fedspallm_secure.messages.signing import (
    Identity,
    Signer,
    check_signatures,
    decode_base64,
    open_envelope,
    pre_authentication_encoding,
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
from fedspallm_secure.messages.votes import Collected, Counted, CountedLane, Encrypted, Release

__all__ = [
    "PAYLOAD_TYPE",
    "Advertise",
    "Advertised",
    "Again",
    "Attest",
    "Attested",
    "Base64",
    "Collected",
    "Confirm",
    "Confirmed",
    "Count",
    "Counted",
    "CountedLane",
    "Encrypted",
    "Envelope",
    "Frozen",
    "GroupCommitments",
    "GroupKeys",
    "Hex32",
    "Identity",
    "LaneBlob",
    "LaneName",
    "Linked",
    "LogHead",
    "Masked",
    "Message",
    "ModelStatement",
    "Name",
    "Proof",
    "Proofs",
    "Release",
    "Revealed",
    "Share",
    "Shares",
    "Signer",
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
    "pre_authentication_encoding",
    "seal",
]
