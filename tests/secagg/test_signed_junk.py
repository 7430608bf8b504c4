"""Whatever a participant signs, a machine takes it as a message that is due, or refuses it and stays as it was."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

import numpy as np
import pytest

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Envelope, Identity, canonical
from fedspallm_secure.messages.envelope import PAYLOAD_TYPE
from fedspallm_secure.secagg import Client, Server
from tests.secagg.small_round import SmallRound, identity, round_context, snapshot

_CONTEXT = round_context(2, [(9, (0, 1)), (4, (0, 1))])
_ODD: list[Any] = [None, True, 0, 1, -1, 2**53, 0.5, "", "votes", "values", "masked", "i0", "i1", "server", [], {}]
_ODD += ["00" * 32, "ff" * 32, "ab" * 32, "é"]


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value in a JSON document is."""
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(deeper for key, value in below for deeper in _paths(value, (*path, key)))]


def _edited(document: Any, random: Random) -> Any:
    """`document` with one value replaced by an odd one, or by another value of the same document, or taken out."""
    edited = json.loads(json.dumps(document))
    paths = _paths(edited)
    *parents, last = random.choice(paths[1:])
    place = edited
    for key in parents:
        place = place[key]
    match random.randrange(3):
        case 0:
            place[last] = random.choice(_ODD)
        case 1:
            other = json.loads(json.dumps(document))
            for key in random.choice(paths[1:]):
                other = other[key]
            place[last] = other
        case 2:
            del place[last]
    return edited


def _signed(body: Any, signer: Identity) -> Envelope:
    payload = json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    signature = signer.key.sign(
        b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    )
    fields = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": signer.name, "sig": base64.b64encode(signature).decode()}],
    }
    return Envelope.model_validate_json(json.dumps(fields))


def _body(envelope: Envelope) -> Any:
    return json.loads(base64.b64decode(envelope.payload))


def _bombard(machine: Client | Server, true: Envelope, signers: list[Identity], seed: str) -> None:
    """Until something is accepted, at most 400 times: the true message with edits, signed by anybody."""
    random = Random(seed)
    for _ in range(400):
        envelope = _signed(_edited(_body(true), random), random.choice(signers))
        before = snapshot(machine)
        try:
            machine.receive(envelope)
        except RemoteProtocolError:
            assert snapshot(machine) == before
        else:
            assert snapshot(machine) != before
            return
    machine.receive(true)


@pytest.mark.parametrize("seed", range(8))
def test_a_client_takes_a_due_message_or_stays_as_it_was(seed: int) -> None:
    played = SmallRound(_CONTEXT)
    signers = [identity("server"), identity("i0"), identity("i1")]
    broadcast = played.gather_keys()
    _bombard(played.clients[0], broadcast, signers, f"advertised {seed}")
    played.clients[1].receive(broadcast)
    for index in range(2):
        played.server.receive(played.masked(index, lambda _, lane: np.zeros(lane.length, np.bool_)))
    _bombard(played.clients[0], played.add(), signers, f"counts {seed}")


@pytest.mark.parametrize("seed", range(8))
def test_the_server_takes_a_due_message_or_stays_as_it_was(seed: int) -> None:
    played = SmallRound(_CONTEXT)
    signers = [identity("i0"), identity("i1"), identity("server")]
    advertised = [client.advertise() for client in played.clients]
    _bombard(played.server, advertised[0], signers, f"advertise {seed}")
    votes = SmallRound(_CONTEXT)
    votes.deliver(votes.gather_keys())
    masked = votes.masked(0, lambda _, lane: np.zeros(lane.length, np.bool_))
    _bombard(votes.server, masked, signers, f"masked {seed}")


def test_the_signing_of_this_file_is_the_project_s() -> None:
    broadcast = SmallRound(_CONTEXT).gather_keys()
    assert canonical(_signed(_body(broadcast), identity("server"))) == canonical(broadcast)
