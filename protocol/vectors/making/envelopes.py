"""Vectors of canonical JSON and of signed envelopes, in which every byte matters."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter

from fedspallm_secure.messages import Envelope, Identity, Message, open_envelope, seal
from protocol.vectors.making.rounds import signing_key
from protocol.vectors.making.stage import as_json

__all__ = ["CASES", "bad_envelopes", "envelopes"]

Json = dict[str, Any]

_message: TypeAdapter[Message] = TypeAdapter(Message)
_TYPE = "application/vnd.fedspallm-secure.message.v1+json"
_CHARTER = "c" * 64


def envelopes(given: Json) -> Json:
    """Canonical bytes of a value; a body in its envelope; or the body of an envelope."""
    match given["operation"]:
        case "canonical":
            return {"bytes": rfc8785.dumps(given["value"]).hex()}
        case "seal":
            key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(given["signing"]))
            body = _message.validate_json(json.dumps(given["body"]))
            return {"envelope": as_json(seal(body, Identity(body.sender, key)))}
        case _:
            envelope = Envelope.model_validate_json(json.dumps(given["envelope"]))
            return {"body": as_json(open_envelope(envelope, given["keys"]))}


def _public(name: str) -> str:
    return Ed25519PrivateKey.from_private_bytes(signing_key(name)).public_key().public_bytes_raw().hex()


_KEYS = {name: _public(name) for name in ("aachen", "berlin")}


def _head(kind: str) -> Json:
    return {"kind": kind, "charter": _CHARTER, "round": 0, "sender": "aachen"}


_CONFIRM = {**_head("confirm"), "sum": "votes", "attempt": 0, "survivors": "a" * 64}
_FIRST: Json = {"prev": None, "seen": None}
_LATER: Json = {"prev": "d" * 64, "seen": {"size": 2**53 - 1, "root": "e" * 64}}
_BODIES: list[Json] = [
    _CONFIRM,
    {
        **_head("share"),
        **_LATER,
        "attempt": 2,
        "commitments": [{"votes": None, "values": "b" * 64}],
        "sealed": {"berlin": "AAA="},
    },
    {
        **_head("masked"),
        **_LATER,
        "round": 2**53 - 1,
        "sum": "values",
        "attempt": 1,
        "lanes": [{"lane": 'é\u2028😀 "\\\n\u007f', "words": 2**53 - 1, "blob": "0" * 64}],
    },
    {**_head("proof"), **_FIRST, "sum": "votes", "attempt": 0, "products": [["0" * 16, "f" * 16]]},
    {**_head("encrypted"), **_LATER, "lanes": [{"lane": "a", "words": 8192, "blob": "0" * 64}]},
    {**_head("release"), **_LATER, "survivors": "a" * 64},
    {
        **_head("collected"),
        "survivors": "a" * 64,
        "contributors": ["aachen", "berlin"],
        "log": {"size": 9, "root": "e" * 64},
    },
    {
        **_head("counted"),
        **_LATER,
        "survivors": "a" * 64,
        "contributors": ["aachen", "berlin"],
        "lanes": [{"lane": "a", "words": 1, "blob": "0" * 64, "ciphertexts": "f" * 64}],
    },
]


def _signed(payload: bytes, signer: str = "aachen", keyid: str | None = None) -> Json:
    """An envelope of any bytes."""
    kind = _TYPE.encode()
    key = Ed25519PrivateKey.from_private_bytes(signing_key(signer))
    signature = key.sign(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
    return {
        "payloadType": _TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": keyid or signer, "sig": base64.b64encode(signature).decode()}],
    }


def _open(envelope: Json) -> Json:
    return {"operation": "open", "keys": _KEYS, "charter": _CHARTER, "round": 0, "envelope": envelope}


_VALUES: list[Any] = [
    {"b": 1, "a": [True, False, None, 0, 9007199254740991], "": {}, "A": []},
    {"\u20ac": 0, "\r": 1, "\ufb33": 2, "1": 3, "\U0001f600": 4, "\u0080": 5, "\u00f6": 6},
    'controls \u0000\u0008\t\n\u000b\u000c\r\u001f\u007f quotes "\\/ text é€\u2028',
]

CASES: list[Json] = [
    *({"operation": "canonical", "value": value} for value in _VALUES),
    *({"operation": "seal", "signing": signing_key("aachen").hex(), "body": body} for body in _BODIES),
    *(_open(_signed(rfc8785.dumps(body))) for body in _BODIES if body["round"] == 0),
]


def bad_envelopes() -> dict[str, Json]:
    """envelopes/NAME -> vector that must be refused."""
    good = _signed(rfc8785.dumps(_CONFIRM))
    text = rfc8785.dumps(_CONFIRM).decode()
    signature = good["signatures"][0]["sig"]

    def body(**changes: Any) -> Json:
        return _signed(rfc8785.dumps({**_CONFIRM, **changes}))

    def raw(change: Callable[[str], str]) -> Json:
        return _signed(change(text).encode())

    def with_signature(sig: str) -> Json:
        return {**good, "signatures": [{"keyid": "aachen", "sig": sig}]}

    missing = {name: value for name, value in _CONFIRM.items() if name != "attempt"}
    backwards = json.dumps(dict(reversed(list(json.loads(text).items()))), separators=(",", ":"))
    accented = rfc8785.dumps({**_BODIES[2], "round": 0})
    no_message, not_canonical = "that is no message", "not in canonical form"
    vectors = {
        "type": ("Another payload type.", {**good, "payloadType": _TYPE + "x"}, "E1", "payload type"),
        "stranger": ("A signer that the charter does not name.", _signed(text.encode(), "zwickau"), "E2", "not in the"),
        "payload_base64": (
            "A letter that is not base64.",
            {**good, "payload": "*" + good["payload"][1:]},
            "E3",
            "base64",
        ),
        "payload_spelling": ("Bits set that padding leaves out.", _spelled_otherwise(), "E3", "is not base64"),
        "payload": (
            "A payload that was not signed.",
            {**good, "payload": body(attempt=1)["payload"]},
            "E4",
            "not hold",
        ),
        "signer": ("Signed by berlin as aachen.", _signed(text.encode(), "berlin", "aachen"), "E4", "does not hold"),
        "signature_short": ("A signature of 63 bytes.", with_signature(signature[:84]), "E4", "does not hold"),
        "signature_spelling": (
            "A signature in base64 that no encoder writes.",
            with_signature(signature[:-3] + _next(signature[-3]) + "=="),
            "E4",
            "does not hold",
        ),
        "bare_payload": (
            "A signature over the payload alone, without its type.",
            with_signature(_bare(text.encode())),
            "E4",
            "does not hold",
        ),
        "no_json": ("No JSON.", raw(lambda it: it[:-1]), "E5", no_message),
        "kind": ("A kind that there is not.", body(kind="confess"), "E5", no_message),
        "missing": ("A member is missing.", _signed(rfc8785.dumps(missing)), "E5", no_message),
        "unlinked": (
            "A message that says nothing of the one before it.",
            _signed(rfc8785.dumps({name: value for name, value in _BODIES[3].items() if name != "prev"})),
            "E5",
            not_canonical,
        ),
        "linked_confirm": ("A confirmation with links.", body(**_FIRST), "E5", no_message),
        "half_seen": (
            "A log without its root.",
            _signed(rfc8785.dumps({**_BODIES[3], "seen": {"size": 1}})),
            "E5",
            no_message,
        ),
        "extra": ("A member too many.", body(comment=""), "E5", no_message),
        "number": ("A number as text.", body(attempt="0"), "E5", no_message),
        "float": (
            "A number with a point.",
            raw(lambda it: it.replace('"attempt":0', '"attempt":0.0')),
            "E5",
            no_message,
        ),
        "negative": ("A number below 0.", body(attempt=-1), "E5", no_message),
        "large": ("2^53.", raw(lambda it: it.replace('"attempt":0', f'"attempt":{2**53}')), "E5", no_message),
        "true": ("true for 1.", body(attempt=True), "E5", no_message),
        "upper_case": ("Hexadecimal in capitals.", body(survivors="A" * 64), "E5", no_message),
        "short_hex": ("A digest of 31 bytes.", body(survivors="a" * 62), "E5", no_message),
        "line_end": ("A digest with a line end.", body(survivors="a" * 64 + "\n"), "E5", no_message),
        "sum": ("A sum that there is not.", body(sum="weights"), "E5", no_message),
        "name": ("A name with a space.", body(sender="aachen aachen"), "E5", no_message),
        "space": ("White space.", raw(lambda it: it.replace(":", ": ", 1)), "E6", not_canonical),
        "order": ("Members in another order.", _signed(backwards.encode()), "E6", not_canonical),
        "twice": ("A member twice.", raw(lambda it: it.replace("{", '{"attempt":0,', 1)), "E6", not_canonical),
        "escape": (
            "A letter as an escape.",
            _signed(accented.replace("é".encode(), b"\\u00e9")),
            "E6",
            not_canonical,
        ),
        "minus_zero": ("-0.", raw(lambda it: it.replace('"attempt":0', '"attempt":-0')), "E6", not_canonical),
        "sender": ("In berlin's name.", body(sender="berlin"), "E7", "in the name of 'berlin'"),
    }
    return {
        f"envelopes/envelopes_bad_{defect}": {
            "family": "envelopes",
            "about": about,
            "input": _open(envelope),
            "refused": {"check": check, "error": "RemoteProtocolError", "says": says},
        }
        for defect, (about, envelope, check, says) in vectors.items()
    }


def _bare(payload: bytes) -> str:
    return base64.b64encode(Ed25519PrivateKey.from_private_bytes(signing_key("aachen")).sign(payload)).decode()


def _next(letter: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return alphabet[alphabet.index(letter) + 1]


def _spelled_otherwise() -> Json:
    envelope = next(
        made
        for attempt in (1, 10, 100)
        if (made := _signed(rfc8785.dumps({**_CONFIRM, "attempt": attempt})))["payload"].endswith("=")
    )
    body = envelope["payload"].rstrip("=")
    return {**envelope, "payload": body[:-1] + _next(body[-1]) + envelope["payload"][len(body) :]}
