"""Whatever junk a participant signs, whenever it comes, nothing changes, and the round ends with the true sums."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, Identity, canonical
from fedspallm_secure.messages.envelope import PAYLOAD_TYPE, Signature
from fedspallm_secure.secagg import Client, Server
from tests.messages.example_messages import EXAMPLES
from tests.secagg.small_round import SmallRound, identity, snapshot
from tests.secagg.staged_round import STAGED, has_true_sums, scenes

_SIGNERS = [identity(name) for name in ("server", "i0", "i1", "i2", "i3")]
_LEAVES: list[Any] = [None, True, 0, 1, -1, 2**53, 10**400, 0.5, "", "votes", "i0", "server", "00" * 32, "é", "\u2028"]
_NAMES = sorted({name for example in EXAMPLES.values() for name in json.loads(canonical(example))} | {"i0", "", "é"})
_RAW = [b"", b"\x00", b"\xff\xfe", b"{", b"[" * 100_000, b'{"kind":"sums"', b"NaN", b'"\\ud800"', "{\u00a0}".encode()]


def _document(random: Random, depth: int = 3) -> Any:
    """Any JSON, of the words that messages are made of."""
    match random.randrange(4) if depth else 0:
        case 0 | 1:
            return random.choice(_LEAVES)
        case 2:
            return [_document(random, depth - 1) for _ in range(random.randrange(4))]
        case _:
            return {random.choice(_NAMES): _document(random, depth - 1) for _ in range(random.randrange(6))}


def _junk(random: Random, signer: Identity) -> bytes:
    """No message: bytes, any JSON, or the head of a message of some kind with anything behind it."""
    match random.randrange(4):
        case 0:
            return random.choice(_RAW)
        case 1:
            return _json(_document(random))
        case _:
            kind = random.choice(list(EXAMPLES))
            head = {"kind": kind, "charter": STAGED.digest, "round": 0, "sender": signer.name, "sum": "votes"}
            rest = {name: _document(random) for name in json.loads(canonical(EXAMPLES[kind])) if name not in head}
            return _json(head | {"attempt": 0} | rest)


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _signed(payload: bytes, signer: Identity) -> Envelope:
    signature = signer.key.sign(
        b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    )
    return Envelope(
        payloadType=PAYLOAD_TYPE,
        payload=base64.b64encode(payload).decode(),
        signatures=(Signature(keyid=signer.name, sig=base64.b64encode(signature).decode()),),
    )


def _takes_no_junk(machine: Client | Server, random: Random) -> None:
    before = snapshot(machine)
    for _ in range(40):
        signer = random.choice(_SIGNERS)
        payload = _junk(random, signer)
        try:
            machine.receive(_signed(payload, signer))
        except RemoteProtocolError:
            continue
        raise AssertionError(f"{payload!r} was taken")
    assert snapshot(machine) == before


def test_junk_before_every_message_changes_nothing_and_the_sums_are_true() -> None:
    played = SmallRound(STAGED)
    for scene in scenes(played):
        random = Random(scene.stage)
        machines: list[Client | Server] = [played.server, *played.clients[:2]]
        for machine in machines:
            _takes_no_junk(machine, random)
    assert has_true_sums(scene)


def test_the_signing_of_this_file_is_the_project_s() -> None:
    for delivery in SmallRound(STAGED).advertise():
        assert _signed(base64.b64decode(delivery.envelope.payload), identity("server")) == delivery.envelope
