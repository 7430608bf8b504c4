"""A message that was sealed opens to itself, and the signature is DSSE's, checked here with bare Ed25519."""

from __future__ import annotations

import base64
import json
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import (
    Confirm,
    Envelope,
    Identity,
    Message,
    Shares,
    canonical,
    check_signatures,
    decode_base64,
    digest,
    open_envelope,
    seal,
)
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
    head = {"charter": "c" * 64, "kind": "model", "model": "d" * 64, "round": 7, "sender": "bob"}
    body = head | {"prev": None, "seen": {"root": "e" * 64, "size": 12}}
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
    head = f'{{"attempt":0,"charter":"{charter}","kind":"masked"'
    links = f'"prev":"{"0d" * 32}","round":2,"seen":{{"root":"{"0e" * 32}","size":7}}'
    assert canonical(masked) == f'{head},"lanes":[{lanes}],{links},"sender":"alice","sum":"votes"}}'.encode()


def test_names_in_a_message_are_sorted_too_wherever_they_came_from() -> None:
    sealed = {"b": "AA==", "a": "AA==", "B": "AA==", "1": "AA=="}
    message = Shares(charter="c" * 64, round=0, sender="alice", attempt=0, to="bob", sealed=sealed)
    assert b'"sealed":{"1":"AA==","B":"AA==","a":"AA==","b":"AA=="}' in canonical(message)
    assert open_envelope(seal(message, ALICE), KEYS) == message


def test_there_is_an_example_of_every_kind_of_message() -> None:
    kinds = {kind.model_fields["kind"].default for kind in get_args(get_args(Message)[0])}
    assert kinds == EXAMPLES.keys()
    assert len(kinds) == 21


_CONFIRM = Confirm(charter="c" * 64, round=0, sender="alice", sum="votes", attempt=0, survivors="a" * 64)


def _signature(message: Message, signer: Identity) -> str:
    return seal(message.model_copy(update={"sender": signer.name}), signer).signatures[0].sig


@given(messages("alice"))
def test_signatures_alone_are_those_under_the_same_message_in_each_signer_s_name(message: Message) -> None:
    check_signatures(message, [(signer.name, _signature(message, signer)) for signer in (ALICE, BOB)], KEYS)


@pytest.mark.parametrize(
    "changes",
    [{"survivors": "b" * 64}, {"attempt": 1}, {"sum": "values"}, {"round": 1}, {"charter": "d" * 64}],
    ids=str,
)
def test_signatures_alone_do_not_hold_for_another_message(changes: dict[str, Any]) -> None:
    signatures = [(signer.name, _signature(_CONFIRM, signer)) for signer in (ALICE, BOB)]
    check_signatures(_CONFIRM, signatures, KEYS)
    with pytest.raises(RemoteProtocolError, match="The signature of 'alice' does not hold"):
        check_signatures(_CONFIRM.model_copy(update=changes), signatures, KEYS)


def test_each_signature_alone_is_looked_at() -> None:
    alice, bob = _signature(_CONFIRM, ALICE), _signature(_CONFIRM, BOB)
    as_alice = BOB.key.sign(base64.b64decode(seal(_CONFIRM, ALICE).payload))
    for bad in (alice, bob.rstrip("="), f" {bob}", "", base64.b64encode(as_alice).decode()):
        with pytest.raises(RemoteProtocolError, match="The signature of 'bob' does not hold"):
            check_signatures(_CONFIRM, [("alice", alice), ("bob", bad)], KEYS)


@pytest.mark.parametrize("text", ["A", "AA", "AA=", "AB==", "AA==\n", " AA==", "AA==AA==", "A-_=", "é", "=AAA"])
def test_bytes_have_one_spelling_in_base64(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padding|Padding|ASCII|data"):
        decode_base64(text)


@given(st.binary(max_size=60))
def test_base64_of_any_bytes_decodes_to_them(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode()) == data


def test_messages_that_differ_have_digests_that_differ() -> None:
    assert len({digest(message) for message in EXAMPLES.values()}) == len(EXAMPLES)
