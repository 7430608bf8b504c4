"""Whatever comes is accepted or refused in one way: no input makes anything else escape."""

from __future__ import annotations

import base64
from random import Random

import pytest
from pydantic import ValidationError

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, canonical, open_envelope, seal
from fedspallm_secure.messages.envelope import PAYLOAD_TYPE, Signature
from tests.messages.example_messages import ALICE, EXAMPLES, KEYS

_TOKENS = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\ud800", b"null", b"1e999", b"-0", b"0.5", b"\x00", b"="]
_TOKENS += [b"A", b"/", "é".encode(), "😀".encode(), b"\xff", b"9" * 30, b'"kind":"sums"', b"\n", b"sum", b"[" * 300]


def _mutated(data: bytes, random: Random) -> bytes:
    """`data` after one to three random edits: a bit flipped, a piece deleted, doubled or moved, a token put in."""
    for _ in range(random.randint(1, 3)):
        start, end = sorted(random.choices(range(len(data) + 1), k=2))
        end = min(end, start + random.choice([1, 4, 64]))
        piece = data[start:end]
        match random.randrange(5):
            case 0:
                data = data[:start] + bytes(byte ^ 1 << random.randrange(8) for byte in piece[:1]) + data[start + 1 :]
            case 1:
                data = data[:start] + data[end:]
            case 2:
                data = data[:end] + piece + data[end:]
            case 3:
                other = random.randrange(len(data) + 1)
                data = data[:other] + piece + data[other:]
            case 4:
                data = data[:start] + random.choice(_TOKENS) + data[end:]
    return data


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_damaged_envelope_is_refused_or_means_the_same_message(kind: str) -> None:
    random = Random(f"envelope {kind}")
    message = EXAMPLES[kind]
    whole = canonical(seal(message, ALICE))
    opened = parsed = 0
    for _ in range(600):
        try:
            envelope = Envelope.model_validate_json(_mutated(whole, random))
        except ValidationError:
            continue
        parsed += 1
        try:
            assert open_envelope(envelope, KEYS) == message
        except RemoteProtocolError:
            continue
        opened += 1
    assert parsed > 120
    assert opened < parsed


@pytest.mark.parametrize("kind", EXAMPLES)
def test_anything_that_a_participant_signs_is_a_canonical_message_or_refused(kind: str) -> None:
    random = Random(f"payload {kind}")
    whole = canonical(EXAMPLES[kind])
    accepted = 0
    for _ in range(600):
        payload = _mutated(whole, random)
        signed = ALICE.key.sign(
            b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
        )
        envelope = Envelope(
            payloadType=PAYLOAD_TYPE,
            payload=base64.b64encode(payload).decode(),
            signatures=(Signature(keyid="alice", sig=base64.b64encode(signed).decode()),),
        )
        try:
            message = open_envelope(envelope, KEYS)
        except RemoteProtocolError:
            continue
        assert canonical(message) == payload
        assert message.sender == "alice"
        accepted += 1
    assert 0 < accepted < 600
