"""A message that was sealed opens to itself, and the signature is DSSE's, checked here with bare Ed25519."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given

from fedspallm_secure.messages import Envelope, Message, canonical, digest, open_envelope, seal
from tests.messages.example_messages import ALICE, BOB, EXAMPLES, KEYS, messages

_TYPE = "application/vnd.fedspallm-secure.message.v1+json"


def _encoding(kind: str, body: bytes) -> bytes:
    """PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, written from the specification."""
    parts = [b"DSSEv1", str(len(kind.encode())).encode(), kind.encode(), str(len(body)).encode(), body]
    return b" ".join(parts)


@given(messages("alice"))
def test_any_message_opens_to_itself_after_a_trip_as_json(message: Message) -> None:
    envelope = seal(message, ALICE)
    arrived = Envelope.model_validate_json(canonical(envelope))
    assert arrived == envelope
    opened = open_envelope(arrived, KEYS)
    assert opened == message
    assert type(opened) is type(message)


def test_the_specification_s_own_example_holds_for_the_encoding_used_below() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert _encoding("http://example.com/HelloWorld", b"hello world") == expected


@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_signature_is_ed25519_over_the_dsse_encoding(kind: str) -> None:
    message = EXAMPLES[kind]
    envelope = seal(message, ALICE)
    payload = base64.b64decode(envelope.payload)
    assert envelope.payloadType == _TYPE
    assert payload == canonical(message)
    assert [signature.keyid for signature in envelope.signatures] == ["alice"]
    signature = base64.b64decode(envelope.signatures[0].sig)
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(ALICE.public)).verify(signature, _encoding(_TYPE, payload))


def test_a_message_signed_by_hand_from_the_specification_opens() -> None:
    body = {"charter": "c" * 64, "kind": "model", "model": "d" * 64, "round": 7, "sender": "bob"}
    payload = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": _TYPE,
        "signatures": [{"keyid": "bob", "sig": base64.b64encode(BOB.key.sign(_encoding(_TYPE, payload))).decode()}],
    }
    opened = open_envelope(Envelope.model_validate_json(json.dumps(envelope)), KEYS)
    assert opened.model_dump(mode="json") == body


def test_canonical_bytes_are_sorted_compact_utf8() -> None:
    masked = EXAMPLES["masked"]
    lane = '{"blob":"%s","lane":"%s","words":%d}'
    lanes = ",".join((lane % ("ab" * 32, "a.weight", 2**53 - 1), lane % ("0" * 64, "é\u2028😀", 0)))
    charter = "c" * 64
    expected = f'{{"charter":"{charter}","kind":"masked","lanes":[{lanes}],"round":1,"sender":"alice","sum":"votes"}}'
    assert canonical(masked) == expected.encode()


def test_messages_that_differ_have_digests_that_differ() -> None:
    assert len({digest(message) for message in EXAMPLES.values()}) == len(EXAMPLES)
