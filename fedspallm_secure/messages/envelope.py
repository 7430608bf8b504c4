"""The form every signed message travels in: a DSSE envelope with one Ed25519 signature.

DSSE: https://github.com/secure-systems-lab/dsse (envelope.md, protocol.md).
"""

from __future__ import annotations

from fedspallm_secure.messages.canonical import Frozen

__all__ = ["PAYLOAD_TYPE", "Envelope", "Signature"]

PAYLOAD_TYPE = "application/vnd.fedspallm-secure.message.v1+json"


class Signature(Frozen):
    """One Ed25519 signature (RFC 8032) over the pre-authentication encoding."""

    keyid: str
    sig: str


class Envelope(Frozen):
    """A DSSE envelope with exactly one signature; payload and signature are base64 (RFC 4648, padded)."""

    payloadType: str  # noqa: N815  (the field's name in DSSE)
    payload: str
    signatures: tuple[Signature]
