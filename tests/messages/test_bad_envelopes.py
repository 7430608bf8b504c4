"""Every way in which an envelope can be bad is refused as the sender's fault, and says what is wrong with it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, Identity, Linked, canonical, open_envelope, seal
from fedspallm_secure.messages.envelope import PAYLOAD_TYPE
from tests.messages.example_messages import ALICE, BOB, EXAMPLES, KEYS

_GOOD = seal(EXAMPLES["model"], ALICE)
_BODY: dict[str, Any] = json.loads(base64.b64decode(_GOOD.payload))


def _signed(payload: bytes, identity: Identity = ALICE, kind: str = PAYLOAD_TYPE) -> Envelope:
    """Anything at all, signed as DSSE says."""
    encoding = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    return _with(
        payloadType=kind,
        payload=base64.b64encode(payload).decode(),
        keyid=identity.name,
        sig=base64.b64encode(identity.key.sign(encoding)).decode(),
    )


def _json(body: Any) -> bytes:
    """In canonical form, as long as all names are ASCII."""
    return json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _body(**changes: Any) -> Envelope:
    """The good message with fields changed or added, in canonical form, signed by alice."""
    return _signed(_json(_BODY | changes))


def _with(**changes: str) -> Envelope:
    """The good envelope with fields changed after signing."""
    fields = {
        "payloadType": _GOOD.payloadType,
        "payload": _GOOD.payload,
        "keyid": _GOOD.signatures[0].keyid,
        "sig": _GOOD.signatures[0].sig,
    } | changes
    signature = {"keyid": fields.pop("keyid"), "sig": fields.pop("sig")}
    return Envelope.model_validate_json(json.dumps({**fields, "signatures": [signature]}))


def _flipped(text: str, index: int) -> str:
    data = bytearray(base64.b64decode(text))
    data[index] ^= 1
    return base64.b64encode(data).decode()


def _last_bits(text: str) -> str:
    """The same bytes in base64 whose unused last bits are not zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    end = text.rstrip("=")
    changed = end[:-1] + alphabet[alphabet.index(end[-1]) + 1] + "=" * (len(text) - len(end))
    assert base64.b64decode(changed) == base64.b64decode(text)
    return changed


def _malleated(text: str) -> str:
    """The same signature with the group's order added to its number, which RFC 8032 (section 5.1.7) refuses."""
    data, order = base64.b64decode(text), 2**252 + 27742317777372353535851937790883648493
    number = int.from_bytes(data[32:], "little") + order
    return base64.b64encode(data[:32] + number.to_bytes(32, "little")).decode()


_PAYLOAD = base64.b64decode(_GOOD.payload)
_PADDED = next(text for text in (seal(message, ALICE).payload for message in EXAMPLES.values()) if text[-1] == "=")
_HOLDS = "signature of 'alice' does not hold"
_BASE64 = "payload of 'alice' is not base64"
_NO_MESSAGE = "no message"
_FORM = "not in canonical form"

BAD: dict[str, tuple[Callable[[], Envelope], str]] = {
    "unknown signer": (lambda: _with(keyid="mallory"), "'mallory' is not in the charter"),
    "signature by another key": (
        lambda: _with(sig=seal(EXAMPLES["model"], Identity("alice", BOB.key)).signatures[0].sig),
        _HOLDS,
    ),
    "another's name on a good signature": (lambda: _with(keyid="bob"), "signature of 'bob' does not hold"),
    "signature of another message": (lambda: _with(sig=seal(EXAMPLES["sums"], ALICE).signatures[0].sig), _HOLDS),
    "first payload byte flipped": (lambda: _with(payload=_flipped(_GOOD.payload, 0)), _HOLDS),
    "last payload byte flipped": (lambda: _with(payload=_flipped(_GOOD.payload, -1)), _HOLDS),
    "first signature byte flipped": (lambda: _with(sig=_flipped(_GOOD.signatures[0].sig, 0)), _HOLDS),
    "last signature byte flipped": (lambda: _with(sig=_flipped(_GOOD.signatures[0].sig, -1)), _HOLDS),
    "signature cut": (lambda: _with(sig=base64.b64encode(bytes(63)).decode()), _HOLDS),
    "no signature bytes": (lambda: _with(sig=""), _HOLDS),
    "junk base64 payload": (lambda: _with(payload="!" + _GOOD.payload[1:]), _BASE64),
    "unpadded payload": (lambda: _with(payload=_PADDED.rstrip("=")), _BASE64),
    "unused bits set in the payload": (
        lambda: _with(payload=_last_bits(_PADDED)),
        _BASE64,
    ),
    "junk base64 signature": (lambda: _with(sig="no base64"), _HOLDS),
    "payload beyond ascii": (lambda: _with(payload="é" + _GOOD.payload[1:]), _BASE64),
    "signature beyond ascii": (lambda: _with(sig="é" + _GOOD.signatures[0].sig[1:]), _HOLDS),
    "unpadded signature": (lambda: _with(sig=_GOOD.signatures[0].sig.rstrip("=")), _HOLDS),
    "a line feed in the payload": (lambda: _with(payload=_GOOD.payload + "\n"), _BASE64),
    "unused bits set in the signature": (lambda: _with(sig=_last_bits(_GOOD.signatures[0].sig)), _HOLDS),
    "the signature's other number": (lambda: _with(sig=_malleated(_GOOD.signatures[0].sig)), _HOLDS),
    "other payload type": (lambda: _with(payloadType="application/json"), "payload type is 'application/json'"),
    "signed as other payload type": (lambda: _signed(_PAYLOAD, kind="text/plain"), "payload type is 'text/plain'"),
    "signed as other type, relabelled": (
        lambda: _with(sig=_signed(_PAYLOAD, kind="text/plain").signatures[0].sig),
        _HOLDS,
    ),
    "spaces": (lambda: _signed(json.dumps(_BODY, sort_keys=True).encode()), _FORM),
    "keys out of order": (
        lambda: _signed(json.dumps(dict(reversed(_BODY.items())), separators=(",", ":")).encode()),
        _FORM,
    ),
    "a key twice": (lambda: _signed(_PAYLOAD[:-1] + b',"sender":"alice"}'), _FORM),
    "a name twice": (
        lambda: _signed(canonical(EXAMPLES["shares"]).replace(b'{"alice":', b'{"alice":"AAAA","alice":')),
        _FORM,
    ),
    "an escaped letter": (lambda: _signed(_PAYLOAD.replace(b'"alice"', b'"\\u0061lice"')), _FORM),
    "default left out": (
        lambda: _signed(_PAYLOAD.replace(b'"kind":"model",', b"")),
        _NO_MESSAGE,
    ),
    "what may be null left out": (lambda: _signed(_PAYLOAD.replace(b',"seen":null', b"")), _FORM),
    "unknown field": (lambda: _body(surprise=1), _NO_MESSAGE),
    "unknown kind": (lambda: _body(kind="rumour"), _NO_MESSAGE),
    "missing field": (
        lambda: _signed(json.dumps({key: _BODY[key] for key in ("kind", "sender")}).encode()),
        _NO_MESSAGE,
    ),
    "a whole float where an integer is due": (lambda: _body(round=3.0), _NO_MESSAGE),
    "a float where an integer is due": (lambda: _body(round=3.5), _NO_MESSAGE),
    "text where an integer is due": (lambda: _body(round="3"), _NO_MESSAGE),
    "true where an integer is due": (lambda: _body(round=True), _NO_MESSAGE),
    "negative round": (lambda: _body(round=-1), _NO_MESSAGE),
    "round beyond exact numbers": (lambda: _body(round=2**53), _NO_MESSAGE),
    "upper-case digest": (lambda: _body(model="D" * 64), _NO_MESSAGE),
    "digest and a line feed": (lambda: _body(model="d" * 64 + "\n"), _NO_MESSAGE),
    "null": (lambda: _signed(b"null"), _NO_MESSAGE),
    "no json": (lambda: _signed(b"\xff\x00"), _NO_MESSAGE),
    "nothing": (lambda: _signed(b""), _NO_MESSAGE),
    "deep nesting": (lambda: _signed(b"[" * 100_000), _NO_MESSAGE),
    "sender is not the signer": (lambda: _body(sender="bob"), "'alice' signed a message in the name of 'bob'"),
}


@pytest.mark.parametrize("defect", BAD)
def test_a_bad_envelope_is_refused_as_the_sender_s_fault(defect: str) -> None:
    make, says = BAD[defect]
    with pytest.raises(RemoteProtocolError, match=says):
        open_envelope(make(), KEYS)


def test_the_helpers_of_this_file_make_good_envelopes_when_nothing_is_changed() -> None:
    assert open_envelope(_with(), KEYS) == open_envelope(_body(), KEYS) == EXAMPLES["model"]
    assert _signed(_PAYLOAD) == _GOOD


def _changed(kind: str, path: str, value: Any) -> Envelope:
    """An example with the value at a path of keys and positions changed, in canonical form, signed by alice."""
    body = json.loads(canonical(EXAMPLES[kind]))
    *parents, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    place = body
    for step in parents:
        place = place[step]
    place[last] = value
    return _signed(_json(body))


# kind, where, and what can't be there.
FIELDS: list[tuple[str, str, Any]] = [
    ("advertise", "attempt", -1),
    ("advertise", "channel", "1" * 63),
    ("advertise", "groups", {}),
    ("advertise", "groups/0/votes", "2" * 65),
    ("advertise", "groups/0/values", ""),
    ("advertise", "groups/0", {"votes": None}),
    ("advertise", "groups/0", {"values": None, "votes": None, "more": None}),
    ("advertised", "advertisements", None),
    ("advertised", "advertisements/0", "an envelope"),
    ("advertised", "advertisements/0/signatures", []),
    ("advertised", "advertisements/0/more", 1),
    ("share", "commitments/0/votes", "G" * 64),
    ("share", "sealed", []),
    ("share", "sealed/bob", None),
    ("share", "sealed/bob", "AA-_"),
    ("share", "sealed/bob", "AAEC\n"),
    ("share", "sealed/.bob", "AAEC"),
    ("share", "sealed/bob smith", "AAEC"),
    ("share", "sealed/bób", "AAEC"),
    ("share", "sealed/bob\n", "AAEC"),
    ("share", f"sealed/{'b' * 65}", "AAEC"),
    ("shares", "to", ""),
    ("shares", "to", None),
    ("again", "gone", "bob"),
    ("again", "gone/0", ["bob"]),
    ("again", "attempt", 2**53),
    ("masked", "prev", ""),
    ("masked", "prev", "0D" * 32),
    ("masked", "prev", 0),
    ("masked", "seen", {}),
    ("masked", "seen", "0e" * 32),
    ("masked", "seen/size", -1),
    ("masked", "seen/size", 2**53),
    ("masked", "seen/size", None),
    ("masked", "seen/root", None),
    ("masked", "seen/root", "0e" * 31),
    ("masked", "seen/more", 1),
    ("masked", "sum", "Votes"),
    ("masked", "sum", None),
    ("masked", "lanes/0/lane", ""),
    ("masked", "lanes/0/lane", "a" * 257),
    ("masked", "lanes/0/words", -1),
    ("masked", "lanes/0/blob", "AB" * 32),
    ("survivors", "participants", {"alice": 1}),
    ("survivors", "survivors/0", "-alice"),
    ("survivors", "log", None),
    ("survivors", "log/size", 7.0),
    ("survivors", "log/root", "0E" * 32),
    ("confirm", "survivors", ["alice"]),
    ("confirmed", "signatures/bob", 1),
    ("unmask", "groups/0/seeds/bob", "7" * 64),
    ("unmask", "groups/0/keys", None),
    ("unmask", "groups/1/seeds/ bob", "7" * 66),
    ("encrypted", "lanes/0/blob", "AB" * 32),
    ("encrypted", "lanes", None),
    ("release", "survivors", None),
    ("collected", "contributors", "alice"),
    ("collected", "contributors/0", ""),
    ("collected", "log", None),
    ("counted", "contributors/1", 7),
    ("counted", "lanes/0/ciphertexts", None),
    ("counted", "lanes/1/words", -1),
    ("counted", "survivors", "a" * 63),
    ("sums", "counted", []),
    ("sums", "counted/payload", None),
    ("sums", "lanes/1", []),
    ("proof", "products/0", ["0" * 16]),
    ("proof", "products/0", ["0" * 16] * 3),
    ("proof", "products/0/0", "0" * 15),
    ("proof", "products/0/1", "F" * 16),
    ("proofs", "proofs/0/payload", None),
    ("attest", "sums", None),
    ("attested", "attestation", []),
    ("attested", "attestation", None),
    ("unproven", "missing/0", 7),
    ("model", "model", 0),
    ("model", "seen", []),
]


@pytest.mark.parametrize(("kind", "path", "value"), FIELDS)
def test_a_field_that_is_not_as_it_is_defined_is_refused(kind: str, path: str, value: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="'alice' signed something that is no message"):
        open_envelope(_changed(kind, path, value), KEYS)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_each_kind_has_the_fields_that_it_is_defined_with_and_no_other(kind: str) -> None:
    body = json.loads(canonical(EXAMPLES[kind]))
    less = {left: {name: body[name] for name in body if name != left} for left in body}
    written_all_the_same = ("prev", "seen", "counted") if kind == "sums" else ("prev", "seen")
    nullable = {left: less.pop(left) for left in written_all_the_same if left in body}
    more = [body | {"more": None}, body | {"kind": f"{kind} "}, body | {"round": "2"}, body | {"sender": ["alice"]}]
    for bad in (*less.values(), *more):
        with pytest.raises(RemoteProtocolError, match="'alice' signed something that is no message"):
            open_envelope(_signed(_json(bad)), KEYS)
    for bad in nullable.values():
        with pytest.raises(RemoteProtocolError, match="'alice' signed a message that is not in canonical form"):
            open_envelope(_signed(_json(bad)), KEYS)
    assert open_envelope(_signed(_json(body)), KEYS) == EXAMPLES[kind]


_LINKED = {"advertise", "share", "masked", "unmask", "proof", "attest", "model", "encrypted", "release", "counted"}


def test_what_somebody_says_alone_links_to_what_it_said_before_and_no_other_kind_does() -> None:
    assert {kind for kind, message in EXAMPLES.items() if isinstance(message, Linked)} == _LINKED
    for kind, message in EXAMPLES.items():
        assert ({"prev", "seen"} <= json.loads(canonical(message)).keys()) is (kind in _LINKED)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_no_message_passes_for_another_kind_even_where_its_sender_signs_that_kind(kind: str) -> None:
    body = json.loads(canonical(EXAMPLES[kind]))
    for other in EXAMPLES.keys() - {kind}:
        with pytest.raises(RemoteProtocolError, match=r"signed something that is no message|not in canonical form"):
            open_envelope(_signed(_json(body | {"kind": other})), KEYS)


@pytest.mark.parametrize("signatures", [0, 2])
def test_an_envelope_has_exactly_one_signature(signatures: int) -> None:
    fields = json.loads(canonical(_GOOD))
    fields["signatures"] *= signatures
    with pytest.raises(ValidationError, match="signatures"):
        Envelope.model_validate_json(json.dumps(fields))


def test_no_message_can_be_changed_once_made() -> None:
    for message in EXAMPLES.values():
        with pytest.raises(ValidationError, match="frozen"):
            setattr(message, "sender", "bob")  # noqa: B010  (mypy would refuse the plain assignment too)
