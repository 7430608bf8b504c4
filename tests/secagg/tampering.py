"""Changes to signed messages that know what they change, so that they reach the checks behind the signature.

A body is taken apart down to the envelopes inside it, changed anywhere, put together again, and signed by whoever it is
said to come from. What comes out is often a message that its sender could have meant.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspallm_secure.messages import Envelope
from fedspallm_secure.messages.envelope import PAYLOAD_TYPE, Signature
from tests.secagg.small_round import identity

__all__ = ["NAMES", "body_of", "damaged", "every_field", "places", "signed", "tampered"]

Path = tuple[Any, ...]

NAMES = ("i0", "i1", "i2", "i3", "i4", "server", "auditor", "custodian")
"""Everybody who could sign something."""

_SIGNER, _BODY = "signed by", "body"
_ODD: list[Any] = [None, True, False, 0, 1, -1, 2**32, 2**53 - 1, 2**53, 2**64, 0.5, "", "é", "\u2028", "a" * 300]
_ODD += [[], {}, [[]], [None] * 9, ["i0", "i1"], {"i0": "0" * 66}, *NAMES, "nobody", "votes", "values", "AAAA"]
_ODD += ["0" * 64, "1" + "0" * 63, "ff" * 32, "ff" * 33, "f" * 16]
_ODD += ["e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"]  # a point of small order
_HEX = "0123456789abcdef"
_KINDS = (
    *("advertise", "advertised", "share", "shares", "again", "masked", "survivors", "confirm", "confirmed", "unmask"),
    *("sums", "proof", "proofs", "attest", "attested", "unproven", "model"),
    *("encrypted", "release", "collected", "counted"),
)


def body_of(envelope: Envelope) -> Any:
    """What was signed, as JSON; an envelope inside it as {"signed by": name, "body": what was signed in turn}."""
    return _unfolded(json.loads(base64.b64decode(envelope.payload)))


def signed(body: Any, signer: str) -> Envelope:
    """An envelope with any body at all, by somebody whose key is the one of that name."""
    sealed = _sealed(body, signer)
    signature = Signature(**sealed["signatures"][0])
    return Envelope(payloadType=sealed["payloadType"], payload=sealed["payload"], signatures=(signature,))


def places(node: Any, path: Path = ()) -> list[Path]:
    """Where every value in a body is, the body itself first."""
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(deeper for key, value in below for deeper in places(value, (*path, key)))]


def every_field(body: Any, random: Random) -> Iterator[Any]:
    """The body with one of its values changed, for each of its values twice: once into something like it."""
    for path in places(body)[1:]:
        for change in (lambda value: _edited(value, body, random), lambda _: random.choice(_ODD)):
            changed = _changed(body, path, change)
            if changed != body:
                yield changed


def tampered(body: Any, paths: Sequence[Path], random: Random) -> Any:
    """The body after one or two changes.

    Args:
        body: of a message.
        paths: its `places`.
        random: draws the changes.
    """
    edits = random.choice((1, 1, 1, 2))
    changed = body
    for _ in range(edits):
        changed = _changed(changed, random.choice(paths), lambda value: _edited(value, body, random))
    return changed


def damaged(envelope: Envelope, random: Random) -> Envelope:
    """The envelope after one change to what is outside the signature, or to what it is over."""
    fields = {
        "payloadType": envelope.payloadType,
        "payload": envelope.payload,
        "keyid": envelope.signatures[0].keyid,
        "sig": envelope.signatures[0].sig,
    }
    field = random.choice(list(fields))
    text = fields[field]
    at = random.randrange(len(text))
    others = [*NAMES, "", "=", "é", text[:at], text + text, text[:at] + "!" + text[at:], text[:at] + text[at + 1 :]]
    fields[field] = random.choice([*others, text[:at] + random.choice("Aa0/+=") + text[at + 1 :]])
    signature = Signature(keyid=fields["keyid"], sig=fields["sig"])
    return Envelope(payloadType=fields["payloadType"], payload=fields["payload"], signatures=(signature,))


def _unfolded(node: Any) -> Any:
    if isinstance(node, list):
        return [_unfolded(member) for member in node]
    if not isinstance(node, dict):
        return node
    if "payload" in node:
        return {
            _SIGNER: node["signatures"][0]["keyid"],
            _BODY: _unfolded(json.loads(base64.b64decode(node["payload"]))),
        }
    return {key: _unfolded(member) for key, member in node.items()}


def _folded(node: Any) -> Any:
    if isinstance(node, list):
        return [_folded(member) for member in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {_SIGNER, _BODY} and isinstance(node[_SIGNER], str):
        return _sealed(node[_BODY], node[_SIGNER])
    return {key: _folded(member) for key, member in node.items()}


def _sealed(body: Any, signer: str) -> dict[str, Any]:
    payload = json.dumps(_folded(body), separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    encoded = b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": signer, "sig": base64.b64encode(_key(signer).sign(encoded)).decode()}],
    }


@cache
def _key(signer: str) -> Ed25519PrivateKey:
    return identity(signer).key


def _changed(node: Any, path: Path, change: Any) -> Any:
    """A copy of `node` in which the value at `path` is `change` of it, or the same if the path leads nowhere."""
    if not path:
        return change(node)
    key, *rest = path
    if isinstance(node, dict) and key in node:
        return node | {key: _changed(node[key], tuple(rest), change)}
    if isinstance(node, list) and isinstance(key, int) and key < len(node):
        return [*node[:key], _changed(node[key], tuple(rest), change), *node[key + 1 :]]
    return node


def _edited(value: Any, body: Any, random: Random) -> Any:
    """Another value that could stand in the place of `value`, or now and then something odd."""
    if random.random() < 0.15:
        return random.choice(_ODD)
    if isinstance(value, bool) or value is None:
        return "ab" * 32
    if isinstance(value, int):
        return random.choice((value + 1, value - 1, 0, 1, 2 * value, 2**32, 2**53 - 1))
    if isinstance(value, str):
        return _edited_text(value, body, random)
    if isinstance(value, list):
        return _edited_list(value, body, random)
    return _edited_dict(value, random) if isinstance(value, dict) else 0


def _edited_text(text: str, body: Any, random: Random) -> str:
    if text in NAMES:
        return random.choice(NAMES)
    if text in _KINDS:
        return random.choice(_KINDS)
    if text in ("votes", "values"):
        return "values" if text == "votes" else "votes"
    alike = [other for other in _texts(body) if len(other) == len(text)]
    if random.random() < 0.3 and alike:
        return random.choice(alike)
    at = random.randrange(len(text)) if text else 0
    alphabet = _HEX if set(text) <= set(_HEX) else "ABCabc012+/"
    return text[:at] + random.choice(alphabet) + text[at + 1 :]


def _edited_list(values: list[Any], body: Any, random: Random) -> list[Any]:
    if not values:
        return [random.choice(NAMES)]
    at, other = random.randrange(len(values)), random.randrange(len(values))
    match random.randrange(7):
        case 0:
            return values[:at] + values[at + 1 :]
        case 1:
            return [*values, values[at]]
        case 2:
            return values[::-1]
        case 3:
            swapped = values.copy()
            swapped[at], swapped[other] = swapped[other], swapped[at]
            return swapped
        case 4:
            return [*values[:at], _edited(values[at], body, random), *values[at + 1 :]]
        case 5:
            return sorted({*values, random.choice(NAMES)}) if all(value in NAMES for value in values) else values[1:]
        case _:
            return []


def _edited_dict(values: dict[str, Any], random: Random) -> dict[str, Any]:
    if not values:
        return {random.choice(NAMES): "0" * 66}
    keys = list(values)
    key, other = random.choice(keys), random.choice(keys)
    match random.randrange(6):
        case 0:
            return {name: value for name, value in values.items() if name != key}
        case 1:
            return values | {key: values[other], other: values[key]}
        case 2:
            return {random.choice(NAMES) if name == key else name: value for name, value in values.items()}
        case 3:
            return values | {random.choice(NAMES): values[key]}
        case 4:
            return values | {random.choice(("sum", "attempt", "surprise", "kind", "lanes")): values[key]}
        case _:
            return {}


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for member in node:
            yield from _texts(member)
    elif isinstance(node, dict):
        for member in node.values():
            yield from _texts(member)
