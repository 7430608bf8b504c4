"""A coordinator in a process of its own, on a port of this machine, that kills itself where it is told to.

    python -m tests.deployment.server_process FOLDER WRITES MOMENT

FOLDER is that of a `Run` of `tests.rounds.synthetic`. The first line of output is the port. WRITES is how many writes
to the log it survives, or 0 for all; MOMENT is when it dies in the next one: "before" it, "within" it, "after" it, or
when its answer is "sent".

A request is one line of JSON: who asks, the message it sends, what it saw of the log, and the leaf hash of the last
message it got. The answer is the message for it and the evidence, or nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspallm_secure.charter import load_charter
from fedspallm_secure.messages import Envelope, Identity, LogHead, canonical
from fedspallm_secure.rounds import (
    AddingUp,
    CoordinatorRound,
    DurableRound,
    Outcome,
    PublicWeights,
    held_before,
    plan_round,
)
from fedspallm_secure.tlog import leaf_hash
from fedspallm_secure.transcript import Log, Transcript
from fedspallm_secure.workspace import LayerStore

KEY = "server.key"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _DyingLog(Log):
    """A log in which its process dies at a certain write."""

    def __init__(self, path: Path, writes: int, moment: str) -> None:
        super().__init__(path)
        self.left = writes
        self.moment = moment
        self.dying = False

    def extend(self, envelopes: Iterable[Envelope]) -> None:
        lines = list(envelopes)
        self.dying = bool(lines) and self.left == 1
        self.left -= bool(lines)
        if self.dying and self.moment == "before":
            _die()
        if self.dying and self.moment == "within":
            with self.path.open("ab") as file:
                data = b"".join(canonical(line) + b"\n" for line in lines)
                file.write(data[: len(data) // 2])
                file.flush()
            _die()
        super().extend(lines)
        if self.dying and self.moment == "after":
            _die()


def _serve(folder: Path, writes: int, moment: str) -> None:
    transcript = Transcript(folder / "transcript")
    charter = load_charter(transcript.charter)
    plan = plan_round(charter, 0)
    key = Ed25519PrivateKey.from_private_bytes((folder / KEY).read_bytes())
    identity = Identity(charter.server, key)
    log = _DyingLog(transcript.log, writes, moment)
    held = held_before(plan, log)
    outcome = Outcome(plan, PublicWeights(LayerStore(folder / "base")), transcript.blobs)
    output = LayerStore(folder / "model")
    coordinator = CoordinatorRound(plan, identity, outcome, AddingUp(transcript.blobs, plan.ckks), output, held)
    server = DurableRound(plan, identity, coordinator, held, log)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            with connection, connection.makefile("rwb") as stream:
                asked = json.loads(stream.readline())
                stream.write(json.dumps(_answer(server, asked)).encode() + b"\n")
                stream.flush()
            if log.dying:
                _die()


def _answer(server: DurableRound, asked: dict[str, Any]) -> dict[str, Any]:
    """What to send to somebody: its last message if it has not got that, and the checkpoint when all is over."""
    if asked["sent"] is not None:
        server.receive(Envelope.model_validate_json(json.dumps(asked["sent"])))
    seen = None if asked["seen"] is None else LogHead.model_validate(asked["seen"])
    if asked["closing"]:
        own = server.own(asked["name"])
        assert own is not None
        return {"checkpoint": server.checkpoint(), "since": server.since(seen), "own": own.model_dump()}
    last = server.last_to(asked["name"])
    if last is None or leaf_hash(canonical(last.envelope)).hex() == asked["got"]:
        return {"envelope": None}
    evidence = server.evidence(last, seen)
    return {"envelope": last.envelope.model_dump(mode="json"), "evidence": evidence.model_dump(mode="json")}


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
