"""SPEC.md sections 1 and 8: canonical JSON, base64, the form of every body, and signed envelopes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.vectors.second.refusal import CheckError, require

__all__ = [
    "PAYLOAD_TYPE",
    "Form",
    "base64_text",
    "canonical",
    "count",
    "decimal",
    "decode_base64",
    "digest",
    "hex32",
    "lane_name",
    "listed",
    "mapping",
    "matching",
    "members",
    "name",
    "nullable",
    "one_of",
    "open_envelope",
    "parse",
    "seal",
    "sign",
    "signature_holds",
]

PAYLOAD_TYPE = "application/vnd.fedspallm-secure.message.v1+json"

_plain = json.JSONEncoder(ensure_ascii=False).encode

Form = Callable[[Any], bool]
"""Whether a parsed JSON value is of a type."""


def canonical(value: Any) -> bytes:
    """RFC 8785: members sorted by UTF-16 code units, no white space, whole numbers only."""
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return b"{" + b",".join(canonical(key) + b":" + canonical(item) for key, item in ordered) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(canonical(item) for item in value) + b"]"
    if isinstance(value, float):
        raise ValueError("a number that is not whole")
    return _plain(value).encode()


def digest(value: Any) -> str:
    """hex(SHA-256(JCS(value)))."""
    return hashlib.sha256(canonical(value)).hexdigest()


def parse(text: bytes | str) -> Any:
    """JSON in which no object names a member twice; ValueError otherwise."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a member is there twice")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=unique)


def decode_base64(text: str) -> bytes:
    """RFC 4648 with padding; ValueError for any text that an encoder would not have written."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not canonical base64")
    return data


def matching(pattern: str) -> Form:
    """Text that matches `pattern` from end to end."""
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def one_of(*values: str) -> Form:
    """One of these texts."""
    return lambda value: value in values


def count(value: Any) -> bool:
    """A whole number from 0 to 2^53 - 1."""
    return type(value) is int and 0 <= value < 2**53


def lane_name(value: Any) -> bool:
    """1 to 256 characters."""
    return isinstance(value, str) and 1 <= len(value) <= 256


name = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
decimal = matching(r"[0-9]{1,9}(\.[0-9]{1,9})?")
hex32 = matching(r"[0-9a-f]{64}")
_hex33 = matching(r"[0-9a-f]{66}")
_hex8 = matching(r"[0-9a-f]{16}")
base64_text = matching(r"[A-Za-z0-9+/]*={0,2}")
_text = matching(r"(?s).*")


def nullable(form: Form) -> Form:
    """Null, or what `form` says."""
    return lambda value: value is None or form(value)


def listed(form: Form) -> Form:
    """A list of such."""
    return lambda value: isinstance(value, list) and all(map(form, value))


def mapping(key: Form, form: Form) -> Form:
    """An object with such keys and such values."""
    return lambda value: isinstance(value, dict) and all(key(one) and form(other) for one, other in value.items())


def members(**forms: Form) -> Form:
    """An object with exactly these members."""
    return lambda value: (
        isinstance(value, dict)
        and value.keys() == forms.keys()
        and all(form(value[member]) for member, form in forms.items())
    )


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_hex8, value))


def _signatures(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1 and members(keyid=_text, sig=_text)(value[0])


_envelope = members(payloadType=_text, payload=_text, signatures=_signatures)
_by_sum = members(votes=nullable(hex32), values=nullable(hex32))
_lanes = listed(members(lane=lane_name, words=count, blob=hex32))
_counted_lanes = listed(members(lane=lane_name, words=count, blob=hex32, ciphertexts=hex32))
_sum = {"sum": one_of("votes", "values"), "attempt": count}
_head = members(size=count, root=hex32)
_linked = {"prev": nullable(hex32), "seen": nullable(_head)}

_BODIES: Mapping[str, Mapping[str, Form]] = {
    "advertise": {**_linked, "attempt": count, "channel": hex32, "groups": listed(_by_sum)},
    "advertised": {"attempt": count, "advertisements": listed(_envelope)},
    "share": {**_linked, "attempt": count, "commitments": listed(_by_sum), "sealed": mapping(name, base64_text)},
    "shares": {"attempt": count, "to": name, "sealed": mapping(name, base64_text)},
    "again": {"attempt": count, "gone": listed(name)},
    "masked": {**_linked, **_sum, "lanes": _lanes},
    "survivors": {
        **_sum,
        "participants": listed(name),
        "survivors": listed(name),
        "gone": listed(name),
        "start": hex32,
        "log": _head,
    },
    "confirm": {**_sum, "survivors": hex32},
    "confirmed": {**_sum, "survivors": hex32, "signatures": mapping(name, base64_text)},
    "unmask": {
        **_linked,
        **_sum,
        "groups": listed(members(seeds=mapping(name, _hex33), keys=mapping(name, _hex33))),
    },
    "sums": {**_sum, "lanes": _lanes, "counted": nullable(_envelope)},
    "encrypted": {**_linked, "lanes": _lanes},
    "release": {**_linked, "survivors": hex32},
    "collected": {"survivors": hex32, "contributors": listed(name), "log": _head},
    "counted": {**_linked, "survivors": hex32, "contributors": listed(name), "lanes": _counted_lanes},
    "proof": {**_linked, **_sum, "products": listed(_pair)},
    "proofs": {**_sum, "proofs": listed(_envelope)},
    "attest": {**_linked, **_sum, "sums": hex32},
    "attested": {**_sum, "attestation": _envelope},
    "unproven": {**_sum, "missing": listed(name)},
    "model": {**_linked, "model": hex32},
}


def _is_body(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str) or value["kind"] not in _BODIES:
        return False
    kind = value["kind"]
    return members(kind=one_of(kind), charter=hex32, round=count, sender=name, **_BODIES[kind])(value)


def _encoded(payload: bytes, payload_type: str) -> bytes:
    kind = payload_type.encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def signature_holds(payload: bytes, signature: str, key: str, payload_type: str = PAYLOAD_TYPE) -> bool:
    """Whether this base64 is the Ed25519 signature of `key` over a payload of that type."""
    try:
        raw, signed = decode_base64(signature), _encoded(payload, payload_type)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(raw, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def sign(payload: bytes, key: bytes, payload_type: str = PAYLOAD_TYPE) -> str:
    """The signature of an Ed25519 private key over a payload of that type, as base64."""
    return base64.b64encode(Ed25519PrivateKey.from_private_bytes(key).sign(_encoded(payload, payload_type))).decode()


def seal(body: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    """The envelope of `body`, signed with the Ed25519 private key `key`."""
    payload = canonical(body)
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": body["sender"], "sig": sign(payload, key)}],
    }


def open_envelope(envelope: Any, keys: Mapping[str, str], charter: str, round_index: int | None) -> dict[str, Any]:
    """E1 to E9: the body.

    Args:
        envelope: parsed JSON.
        keys: participant's name -> Ed25519 public key.
        charter: its digest.
        round_index: the round we are in; None where entries of all rounds are read.
    """
    require("E1", _envelope(envelope) and envelope["payloadType"] == PAYLOAD_TYPE)
    signer = envelope["signatures"][0]["keyid"]
    require("E2", signer in keys)
    try:
        payload = decode_base64(envelope["payload"])
    except ValueError as error:
        raise CheckError("E3", str(error)) from error
    require("E4", signature_holds(payload, envelope["signatures"][0]["sig"], keys[signer]))
    try:
        body = json.loads(payload.decode())
        require("E5", _is_body(body))
        again = canonical(body)
    except ValueError as error:
        raise CheckError("E5", str(error)) from error
    require("E6", again == payload)
    require("E7", body["sender"] == signer)
    require("E8", body["charter"] == charter)
    require("E9", round_index is None or body["round"] == round_index)
    return dict(body)
