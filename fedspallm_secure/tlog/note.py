"""Signed notes: a text for people with one signature a line below it (C2SP signed-note, https://c2sp.org/signed-note).

    <text, every line ended by a line feed>
    <empty line>
    — <name> base64(key id || signature)

A key id is the first four bytes of SHA-256(name || line feed || type || public key). Types used here are Ed25519
(0x01), which signs the text, and the timestamped cosignature (0x04, https://c2sp.org/tlog-cosignature), which signs
`cosignature/v1`, the time and the text. Signatures of unknown names or keys are skipped, as the format asks; one of a
known key that does not hold spoils the note.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Signer, decode_base64

__all__ = ["Cosignature", "cosign", "open_note", "sign_note", "signers"]

_ED25519 = 1
_COSIGNATURE = 4
_DASH = "— "
_TODO = "Ask for the note again, from somebody else too; keep this one as evidence."


@dataclass(frozen=True)
class Cosignature:
    """That a signature of a known key holds.

    Attributes:
        name: of the key.
        time: seconds since 1970 at which a cosigner says it saw the text; None for a plain signature.
    """

    name: str
    time: int | None


def sign_note(text: str, name: str, signer: Signer) -> str:
    """The note with `text`, signed by its author.

    Args:
        text: ends with a line feed, holds no empty line at its end and no control character but line feeds.
        name: that the signature stands under; of a log, its origin.
        signer: whose signature it carries.
    """
    return f"{text}\n{_line(name, signer, _ED25519, signer.sign(text.encode()))}"


def cosign(note: str, signer: Signer, time: int) -> str:
    """A line to be added to a note: "I saw this text at `time`" (seconds since 1970, below 2^64)."""
    text, _ = _split(note)
    signature = signer.sign(_cosigned(text, time))
    return _line(signer.name, signer, _COSIGNATURE, time.to_bytes(8, "big") + signature)


def open_note(note: str, keys: Mapping[str, str]) -> tuple[str, list[Cosignature]]:
    """The text of a note, and who signed it.

    Args:
        note: as it came.
        keys: name -> Ed25519 public key, 64 hexadecimal digits: whose signatures count.

    Returns:
        The text, and the signatures of known keys, in the note's order.

    Raises:
        RemoteProtocolError: no note, or a signature of a known key that does not hold.
    """
    text, lines = _split(note)
    found = []
    for line in lines:
        name, raw = _parse(line)
        if name not in keys:
            continue
        public = bytes.fromhex(keys[name])
        kinds = [kind for kind in (_ED25519, _COSIGNATURE) if raw[:4] == _key_id(name, kind, public)]
        found += [_verified(name, kind, public, raw[4:], text) for kind in kinds]
    return text, found


def signers(found: list[Cosignature], *, cosigners: bool) -> list[str]:
    """Names of those who signed, or of those who cosigned, each once, in order."""
    return list(dict.fromkeys(one.name for one in found if (one.time is not None) is cosigners))


def _verified(name: str, kind: int, public: bytes, signature: bytes, text: str) -> Cosignature:
    time = None
    signed = text.encode()
    if kind == _COSIGNATURE:
        time = int.from_bytes(signature[:8], "big")
        signature, signed = signature[8:], _cosigned(text, time)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except InvalidSignature as error:
        raise RemoteProtocolError(f"The signature of {name!r} under the note does not hold.", _TODO) from error
    return Cosignature(name, time)


def _split(note: str) -> tuple[str, list[str]]:
    """Text and signature lines."""
    text, blank, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not blank or lines.pop() != "" or not lines or not all(line.startswith(_DASH) for line in lines):
        raise RemoteProtocolError("This is no signed note: a text, an empty line and signatures are due.", _TODO)
    text += "\n"
    if any(character < " " and character != "\n" for character in text):
        raise RemoteProtocolError("The note's text holds control characters.", _TODO)
    return text, lines


def _parse(line: str) -> tuple[str, bytes]:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        raw = decode_base64(encoded)
    except ValueError as error:
        raise RemoteProtocolError(f"A signature line of the note is malformed: {line!r}.", _TODO) from error
    if not name or not space or "+" in name or len(raw) < 5:
        raise RemoteProtocolError(f"A signature line of the note is malformed: {line!r}.", _TODO)
    return name, raw


def _line(name: str, signer: Signer, kind: int, signature: bytes) -> str:
    key_id = _key_id(name, kind, bytes.fromhex(signer.public))
    return f"{_DASH}{name} {base64.b64encode(key_id + signature).decode()}\n"


def _key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
