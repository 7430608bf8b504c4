"""The log is all that the server needs: killed at any write, and started again, it goes on where it was."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fedspallm_secure.audit import audit
from fedspallm_secure.charter import load_charter_signatures, sign_charter
from fedspallm_secure.messages import Envelope, canonical, open_envelope
from fedspallm_secure.rounds import InstitutionRound, LocalTelemetry, Member, OwnCiphertexts, PublicWeights
from fedspallm_secure.runtime.embedded import Participants
from fedspallm_secure.tlog import Evidence, OwnPlace, leaf_hash
from fedspallm_secure.transcript import read_log
from fedspallm_secure.workspace import Journal
from tests.deployment.server_process import KEY
from tests.rounds.synthetic import CUSTODIAN, Run, Setting

_SETTING = Setting(clients=3, minimum_cohort=3, dropouts=0)
_ENCRYPTED = Setting(clients=3, layers=1, shapes=((4, 4),), minimum_cohort=3, dropouts=0, method="wanda", ckks=True)
_MOMENTS = ("before", "within", "after", "sent")
_ONE_WRITE_EACH = ((2, "before"), (2, "within"), (1, "after"), (1, "sent"))
"""Deaths that leave one write to each life."""


@dataclass
class _Server:
    """The process, started again whenever it is gone."""

    folder: Path
    deaths: Iterator[tuple[int, str]]
    killed: int = 0
    process: subprocess.Popen[str] | None = None
    port: int = 0

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request, again and again until there is an answer to it."""
        while True:
            if self.process is None:
                self._start()
            if self.process is None:  # it died of a write with which it made good what its log lacked
                continue
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
                    stream = connection.makefile("rwb")
                    stream.write(json.dumps(request).encode() + b"\n")
                    stream.flush()
                    if line := stream.readline():
                        answer: dict[str, Any] = json.loads(line)
                        return answer
            except OSError:
                pass
            self._bury()

    def end(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def _start(self) -> None:
        writes, moment = next(self.deaths, (0, "never"))
        command = [sys.executable, "-m", "tests.deployment.server_process", str(self.folder), str(writes), moment]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            self.port = int(line)
        else:
            self._bury()

    def _bury(self) -> None:
        assert self.process is not None
        self.process.communicate()
        assert self.process.returncode == -signal.SIGKILL
        self.killed += 1
        self.process = None


@dataclass
class _Institution:
    """One institution, which knows nothing of the server but how to ask it."""

    name: str
    round: InstitutionRound
    member: Member
    sent: Envelope | None = None
    got: str | None = None
    answered: list[Envelope | None] = field(default_factory=list)

    def turn(self, server: _Server) -> None:
        """Ask once, and answer what comes."""
        chain = self.member.view.chain
        request = {
            "name": self.name,
            "sent": None if self.sent is None else self.sent.model_dump(mode="json"),
            "seen": None if chain.seen is None else chain.seen.model_dump(),
            "got": self.got,
            "closing": False,
        }
        answer = server.ask(request)
        if answer["envelope"] is None:
            return
        envelope = Envelope.model_validate_json(json.dumps(answer["envelope"]))
        evidence = Evidence.model_validate_json(json.dumps(answer["evidence"]))
        self.sent = self.round.receive(envelope, evidence)
        self.answered.append(self.sent)
        self.got = leaf_hash(canonical(envelope)).hex()

    def cosign(self, server: _Server) -> str:
        """The checkpoint at the end, with this institution's line last."""
        chain = self.member.view.chain
        assert chain.seen is not None
        request = {"name": self.name, "sent": None, "seen": chain.seen.model_dump(), "closing": True}
        answer = server.ask(request)
        own = OwnPlace.model_validate_json(json.dumps(answer["own"]))
        since = tuple(answer["since"])
        line = self.member.view.cosign(answer["checkpoint"], since, own, self.member.identity, 1_700_000_000)
        return f"{answer['checkpoint']}|{line}"


@dataclass
class _Custodian:
    """It counts when it is asked to, from the log on the disk."""

    run: Run
    sent: Envelope | None = None
    counted: int = 0

    def turn(self, server: _Server) -> None:
        """Ask once, and count if the server says that it may."""
        sent = None if self.sent is None else self.sent.model_dump(mode="json")
        answer = server.ask({"name": CUSTODIAN.name, "sent": sent, "seen": None, "got": None, "closing": False})
        if answer["envelope"] is not None and self.sent is None:
            assert self.run.office is not None
            log = [envelope for _, envelope in read_log(self.run.transcript.log)]
            self.sent = self.run.office.count(self.run.plan(), log, self.run.transcript.blobs)
            self.counted += 1


def _play(folder: Path, deaths: list[tuple[int, str]], setting: Setting = _SETTING) -> tuple[Run, int, list[Envelope]]:
    """A round with a server that dies as told; how often it did, and the log."""
    run = Run(setting, folder)
    plan, participants = run.plan(), run.participants
    pruned = run.prune(plan, run.base)
    custodian = [CUSTODIAN] if setting.ckks else []
    run.transcript.write_charter(run.charter, sign_charter(run.charter, [*participants.everybody, *custodian]))
    (folder / KEY).write_bytes(participants.server.key.private_bytes_raw())
    server = _Server(folder, iter(deaths))
    institutions = [_institution(run, name, participants, pruned[name]) for name in run.names]
    everybody: list[_Institution | _Custodian] = [*institutions, *([_Custodian(run)] if setting.ckks else [])]
    try:
        while any(not one.answered or one.answered[-1] is not None for one in institutions):
            for one in everybody:
                one.turn(server)
        notes = [one.cosign(server).split("|") for one in institutions]
    finally:
        server.end()
    run.transcript.write_checkpoint(0, notes[0][0] + "".join(line for _, line in notes))
    return run, server.killed, [envelope for _, envelope in read_log(run.transcript.log)]


def _institution(run: Run, name: str, participants: Participants, pruned: Any) -> _Institution:
    plan, public = run.plan(), PublicWeights(run.base)
    view = participants.view(name, run.charter)
    member = Member(participants.institutions[name], run.entropy, Journal(), view, run.setting.policy)
    own = _ciphertexts(run, run.folder / "own" / name) if run.setting.ckks else None
    one = InstitutionRound(plan, member, public, pruned, LocalTelemetry(), run.transcript.blobs, None, own)
    return _Institution(name, one, member, one.start())


def _ciphertexts(run: Run, folder: Path) -> OwnCiphertexts:
    signatures = load_charter_signatures(run.transcript.signatures)
    own = OwnCiphertexts.under(run.plan(), signatures, run.transcript.blobs, folder)
    assert own is not None
    return own


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Envelope]:
    """The log of the same run, with nobody killed."""
    _, killed, log = _play(tmp_path_factory.mktemp("undisturbed"), [])
    assert killed == 0
    return log


def test_a_server_killed_at_every_write_ends_with_the_same_log_and_model(
    undisturbed: list[Envelope], tmp_path: Path
) -> None:
    run, killed, log = _play(tmp_path, [_ONE_WRITE_EACH[number % 4] for number in range(100)])
    writes = sum(envelope.signatures[0].keyid in run.names for envelope in log)  # each with what follows from it
    assert killed >= writes - 1 >= 12
    assert log == undisturbed
    _assert_audits_clean(run)


def test_a_server_killed_in_its_first_write_and_then_in_each_later_one_ends_with_the_same_log(
    undisturbed: list[Envelope], tmp_path: Path
) -> None:
    run, killed, log = _play(tmp_path, [(writes, _MOMENTS[writes % 4]) for writes in (1, 1, 1, 3, 5, 4, 7, 6)])
    assert killed >= 6
    assert log == undisturbed
    _assert_audits_clean(run)


def test_so_does_one_that_waits_for_ciphertexts_and_for_the_custodian(tmp_path: Path) -> None:
    """Ciphertexts and keys are random, so that no two logs are the same: kinds, senders and the audit are."""
    run, killed, log = _play(tmp_path, [_ONE_WRITE_EACH[number % 4] for number in range(100)], _ENCRYPTED)
    said = [open_envelope(envelope, run.charter.keys) for envelope in log]
    assert killed >= len([message for message in said if message.sender != run.charter.server]) - 1 >= 21
    own = ["advertise", "share", "encrypted", "confirm", "release", "proof", "model"]
    for name in run.names:
        assert [message.kind for message in said if message.sender == name] == own
    assert [message.kind for message in said if message.sender == CUSTODIAN.name] == ["counted"]
    _assert_audits_clean(run)


def _assert_audits_clean(run: Run) -> None:
    verdict = audit(run.transcript.folder, depth="full")
    assert {finding.status for finding in verdict.findings if finding.number not in ("A16", "A17")} == {"ok"}
    shutil.rmtree(run.folder)
