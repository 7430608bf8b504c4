"""SPEC.md section 17.4: checkpoints, and the signed notes that they travel in."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.vectors.second.encoding import decode_base64
from protocol.vectors.second.refusal import CheckError, require

__all__ = [
    "checkpoint_text",
    "cosignature_line",
    "origin_of",
    "parse_checkpoint",
    "read_checkpoint",
    "read_note",
    "signature_line",
]

_LINE = re.compile("\u2014 ([^ +]+) ([A-Za-z0-9+/]+=*)")
_SIZE = re.compile("0|[1-9][0-9]{0,15}")


def origin_of(charter: str) -> str:
    """The log's name."""
    return f"fedspallm-secure.invalid/v1/log/{charter}"


def checkpoint_text(origin: str, head: Mapping[str, Any]) -> str:
    """What a checkpoint says."""
    return f"{origin}\n{head['size']}\n{base64.b64encode(bytes.fromhex(head['root'])).decode()}\n"


def signature_line(text: str, name: str, key: bytes) -> str:
    """The author's line below a text."""
    return _line(name, key, 1, Ed25519PrivateKey.from_private_bytes(key).sign(text.encode()))


def cosignature_line(text: str, name: str, key: bytes, time: int) -> str:
    """The line of somebody who saw the text."""
    signature = Ed25519PrivateKey.from_private_bytes(key).sign(_seen_at(time, text))
    return _line(name, key, 4, time.to_bytes(8, "big") + signature)


def read_note(note: str, keys: Mapping[str, str]) -> tuple[str, list[tuple[str, int | None]]]:
    """L1: the text, and who of `keys` signed it; with the time where it is a cosignature."""
    head, blank, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    require("L1", bool(blank) and len(lines) > 1 and lines[-1] == "", "no note")
    text, found = head + "\n", list[tuple[str, int | None]]()
    require("L1", not re.search("[\x00-\x09\x0b-\x1f]", text), "control characters")
    for line in lines[:-1]:
        matched = _LINE.fullmatch(line)
        if matched is None:
            raise CheckError("L1", f"no signature line: {line!r}")
        name = matched[1]
        try:
            raw = decode_base64(matched[2])
        except ValueError as error:
            raise CheckError("L1", str(error)) from error
        require("L1", len(raw) > 4, "no signature")
        public = keys.get(name)
        if public is None:
            continue
        signed, signature, time = text.encode(), raw[4:], None
        if raw[:4] == _key_id(name, 4, public):
            time = int.from_bytes(signature[:8], "big")
            signed, signature = _seen_at(time, text), signature[8:]
        elif raw[:4] != _key_id(name, 1, public):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, signed)
        except InvalidSignature as error:
            raise CheckError("L1", f"the signature of {name}") from error
        found.append((name, time))
    return text, found


def read_checkpoint(note: str, origin: str, key: str) -> dict[str, Any]:
    """L1: size and root of the log `origin`, as the holder of `key` signed them."""
    text, found = read_note(note, {origin: key})
    require("L1", (origin, None) in found, "not signed by the log's keeper")
    return parse_checkpoint(text, origin)


def parse_checkpoint(text: str, origin: str) -> dict[str, Any]:
    """L1: what a text says of the log `origin`."""
    lines = text.split("\n")
    require("L1", len(lines) == 4 and lines[0] == origin and lines[3] == "", "no checkpoint of this log")
    require("L1", _SIZE.fullmatch(lines[1]) is not None, "no size")
    try:
        root = decode_base64(lines[2])
    except ValueError as error:
        raise CheckError("L1", str(error)) from error
    require("L1", len(root) == 32 and lines[1] != "0", "no root, or of nothing")
    return {"size": int(lines[1]), "root": root.hex()}


def _line(name: str, key: bytes, kind: int, signature: bytes) -> str:
    public = Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw().hex()
    return f"\u2014 {name} {base64.b64encode(_key_id(name, kind, public) + signature).decode()}\n"


def _key_id(name: str, kind: int, public: str) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + bytes.fromhex(public)).digest()[:4]


def _seen_at(time: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
