"""Who signed which bytes. The bytes are verified first, and only then parsed.

DSSE (https://github.com/secure-systems-lab/dsse) signs a pre-authentication encoding of type and payload, so that a
payload can't be read as another type. The payload is the RFC 8785 form of one message; anything else, even the same
message written differently, is refused, so that a message has exactly one signed form.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import TypeAdapter, ValidationError

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages.bodies import Message
from fedspallm_secure.messages.canonical import canonical
from fedspallm_secure.messages.envelope import PAYLOAD_TYPE, Envelope, Signature

__all__ = [
    "Identity",
    "Signer",
    "check_signatures",
    "decode_base64",
    "open_envelope",
    "pre_authentication_encoding",
    "seal",
]

_messages: TypeAdapter[Message] = TypeAdapter(Message)


class Signer(Protocol):
    """Whoever signs: a participant with its key at hand, or what stands in for one."""

    @property
    def name(self) -> str:
        """The participant's name."""

    @property
    def public(self) -> str:
        """Its Ed25519 public key, 64 hexadecimal digits."""

    def sign(self, data: bytes) -> bytes:
        """Its Ed25519 signature over `data`, 64 bytes."""


@dataclass(frozen=True)
class Identity:
    """A participant's name and its Ed25519 signing key."""

    name: str
    key: Ed25519PrivateKey

    @property
    def public(self) -> str:
        """The public key, 64 hexadecimal digits."""
        return self.key.public_key().public_bytes_raw().hex()

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`, 64 bytes."""
        return self.key.sign(data)


def seal(message: Message, signer: Signer) -> Envelope:
    """Sign `message` as `signer`."""
    payload = canonical(message)
    signature = signer.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    return Envelope(
        payloadType=PAYLOAD_TYPE,
        payload=base64.b64encode(payload).decode(),
        signatures=(Signature(keyid=signer.name, sig=base64.b64encode(signature).decode()),),
    )


def open_envelope(envelope: Envelope, keys: Mapping[str, str]) -> Message:
    """The message in `envelope`, once its signature holds.

    Args:
        envelope: what came.
        keys: participant's name -> Ed25519 public key, 64 hexadecimal digits: everybody whose word counts here.

    Raises:
        RemoteProtocolError: unknown signer, bad signature, a payload that is not one message in canonical form, or a
            message that names another sender than its signer.
    """
    signature = envelope.signatures[0]
    todo = "Nothing was changed; ask the sender which key and version it runs."
    if envelope.payloadType != PAYLOAD_TYPE:
        raise RemoteProtocolError(f"The payload type is {envelope.payloadType!r}, not {PAYLOAD_TYPE!r}.", todo)
    if signature.keyid not in keys:
        raise RemoteProtocolError(f"The signer {signature.keyid!r} is not in the charter.", todo)
    try:
        payload = decode_base64(envelope.payload)
    except ValueError as error:
        raise RemoteProtocolError(f"The payload of {signature.keyid!r} is not base64.", todo) from error
    _verify(payload, signature.sig, signature.keyid, keys[signature.keyid])
    try:
        message = _messages.validate_json(payload)
    except ValidationError as error:
        raise RemoteProtocolError(f"{signature.keyid!r} signed something that is no message: {error}.", todo) from error
    if canonical(message) != payload:
        raise RemoteProtocolError(f"{signature.keyid!r} signed a message that is not in canonical form.", todo)
    if message.sender != signature.keyid:
        raise RemoteProtocolError(f"{signature.keyid!r} signed a message in the name of {message.sender!r}.", todo)
    return message


def check_signatures(message: Message, signatures: Iterable[tuple[str, str]], keys: Mapping[str, str]) -> None:
    """Refuse signatures that are not each sender's under `message`, said in that sender's name.

    All those messages differ in one member only, so the canonical form is made once: in canonical JSON a member's place
    does not depend on its value, and `"sender":"..."` can't occur inside a text.

    Args:
        message: what should have been signed, of a kind that maps no names; its own sender does not matter.
        signatures: of (name, Ed25519 signature as base64).
        keys: participant's name -> Ed25519 public key, 64 hexadecimal digits.

    Raises:
        RemoteProtocolError: one of them does not hold.
    """
    head, _, tail = canonical(message).partition(_member("sender", message.sender))
    for name, signature in signatures:
        _verify(head + _member("sender", name) + tail, signature, name, keys[name])


def decode_base64(text: str) -> bytes:
    """What `text` encodes; ValueError where an encoder would have written those bytes differently."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not canonical base64")
    return data


def pre_authentication_encoding(kind: str, payload: bytes) -> bytes:
    """What DSSE signs, version 1: `payload` and its type `kind`, so that neither can be read as another."""
    return b"DSSEv1 %d %b %d %b" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _member(name: str, value: str) -> bytes:
    return rfc8785.dumps(name) + b":" + rfc8785.dumps(value)


def _verify(payload: bytes, signature: str, who: str, key: str) -> None:
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(decode_base64(signature), pre_authentication_encoding(PAYLOAD_TYPE, payload))
    except (InvalidSignature, ValueError) as error:
        raise RemoteProtocolError(
            f"The signature of {who!r} does not hold.",
            "Nothing was changed; ask the sender which key and version it runs.",
        ) from error
