"""Votes that are encrypted give the model that masked ones give, whoever holds the key, and wherever that one sits."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedspallm_secure.charter import load_charter
from fedspallm_secure.messages import digest, open_envelope
from fedspallm_secure.transcript import read_log
from tests.runtime.conftest import COMMAND, ENVIRONMENT, Fedspallm
from tests.runtime.test_bad_input import refused

_QUICK = ("evaluation.alone=false", "evaluation.central=false")
_PATIENCE = 240  # seconds


def _options(*settings: str) -> list[str]:
    return [word for setting in (*_QUICK, *settings) for word in ("--set", setting)]


def _elsewhere(keys: Path, *settings: str) -> list[str]:
    return _options("protocol.votes=ckks", f"protocol.custodian={keys / 'offer.json'}", *settings)


def _model(out: Path) -> str:
    found: str = json.loads((out / "results.json").read_text(encoding="utf-8"))["model_digest"]
    return found


@contextmanager
def _running(configuration: Path, out: Path, options: list[str]) -> Iterator[subprocess.Popen[str]]:
    """`fedspallm simulate` in a process of its own, which does not outlive the block."""
    command = [COMMAND, "simulate", str(configuration), "--out", str(out), *options]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def _told(running: subprocess.Popen[str]) -> list[str]:
    """The words of the next command that the run asks the custodian for."""
    assert running.stderr is not None
    for line in running.stderr:
        if line.strip().startswith("fedspallm custodian "):
            return line.split()[1:]
    raise AssertionError(f"the run ended with {running.wait()} and asked for nothing")


def _ended(running: subprocess.Popen[str]) -> tuple[int, str]:
    error = running.communicate(timeout=_PATIENCE)[1]
    return running.returncode, error


@pytest.fixture
def keys(fedspallm: Fedspallm, tmp_path: Path) -> Path:
    """A new custodian's folder."""
    return _keys(fedspallm, tmp_path / "keys")


def _keys(run: Fedspallm, folder: Path, rounds: int = 1) -> Path:
    done = run("custodian", "keygen", folder, "--name", "notary", "--institutions", "3", "--rounds", str(rounds))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
def test_with_the_custodian_here_the_model_is_that_of_masked_votes(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path, method: str
) -> None:
    for votes in ("masked", "ckks"):
        options = _options(f"pruning.method={method}", f"protocol.votes={votes}")
        done = fedspallm("simulate", configuration, "--out", tmp_path / votes, *options)
        assert done.returncode == 0, done.stderr
    assert _model(tmp_path / "ckks") == _model(tmp_path / "masked")
    assert {path.name for path in (tmp_path / "ckks").iterdir()} == {
        path.name for path in (tmp_path / "masked").iterdir()
    }


def test_a_custodian_in_other_processes_and_the_audit_of_its_run(
    process: Fedspallm, fedspallm: Fedspallm, configuration: Path, tiny: Path, tmp_path: Path
) -> None:
    keys, out, masked = _keys(process, tmp_path / "keys", rounds=2), tmp_path / "out", tmp_path / "masked"
    schedule = 'pruning.pattern=["0.25", "0.5"]'
    done = fedspallm("simulate", configuration, "--out", masked, *_options(schedule))
    assert done.returncode == 0, done.stderr
    asked = []
    with _running(configuration, out, _elsewhere(keys, schedule)) as running:
        for verb in ("sign", "count", "count"):
            words = _told(running)
            asked.append(words)
            done = process(*words, *(["--yes"] if verb == "sign" else []))
            assert done.returncode == 0, done.stderr
        code, error = _ended(running)
    assert code == 0, error
    assert asked == [["custodian", verb, str(keys), f"{out}.partial"] for verb in ("sign", "count", "count")]
    assert _model(out) == _model(masked)
    assert {path.name for path in out.iterdir()} == {path.name for path in masked.iterdir()}
    charter = load_charter(out / "transcript" / "charter.json")
    kinds = [open_envelope(entry, charter.keys).kind for _, entry in read_log(out / "transcript" / "log.jsonl")]
    assert kinds.count("counted") == 2
    for path in keys.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for depth in ("public", "full"):
        options = ["--base", tiny, "--model", out / "model", "--depth", depth]
        assert process("audit", out / "transcript", *options).returncode == 0
    assert process("custodian", "count", keys, out).returncode == 3
    assert process("custodian", "sign", keys, out).returncode == 3


def test_a_run_stopped_before_votes_were_encrypted_goes_on_under_the_charter_that_was_signed(
    fedspallm: Fedspallm, configuration: Path, keys: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "out", _elsewhere(keys, "pruning.method=wanda")
    with _running(configuration, out, options) as running:
        words = _told(running)
        running.send_signal(signal.SIGINT)
        code, error = _ended(running)
    assert code == 130
    assert "start again to go on" in error
    assert stat.S_IMODE((tmp_path / "out.partial" / "work" / "keys").stat().st_mode) == 0o700
    assert fedspallm(*words, "--yes").returncode == 0
    signed = digest(load_charter(tmp_path / "out.partial" / "custodian" / "charter.json"))
    with _running(configuration, out, options) as running:
        words = _told(running)  # its signature was there already
        assert words[1] == "count"
        assert fedspallm(*words).returncode == 0
        code, error = _ended(running)
    assert code == 0, error
    assert digest(load_charter(out / "transcript" / "charter.json")) == signed


def test_a_run_stopped_afterwards_needs_new_keys(
    fedspallm: Fedspallm, configuration: Path, keys: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "out", _elsewhere(keys, "pruning.method=wanda")
    with _running(configuration, out, options) as running:
        assert fedspallm(*_told(running), "--yes").returncode == 0
        assert _told(running)[1] == "count"
        running.send_signal(signal.SIGINT)
        assert _ended(running)[0] == 130
    assert not (tmp_path / "out.partial" / "work" / "keys").exists()
    refused(fedspallm("simulate", configuration, "--out", out, *options), 2, "serve no second attempt", "new keys")
    shutil.rmtree(keys)
    _keys(fedspallm, keys)
    with _running(configuration, out, options) as running:
        assert _told(running)[1] == "sign"


def test_an_answer_that_was_changed_ends_the_run_with_one_error(
    fedspallm: Fedspallm, configuration: Path, keys: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "out", _elsewhere(keys, "pruning.method=wanda")
    with _running(configuration, out, options) as running:
        assert fedspallm(*_told(running), "--yes").returncode == 0
        _told(running)
        (tmp_path / "out.partial" / "custodian").mkdir(exist_ok=True)
        (tmp_path / "out.partial" / "custodian" / "counted-0001.json").write_text("{}", encoding="utf-8")
        code, error = _ended(running)
    message = error[error.index("error: ") :]
    assert code == 7
    assert "Traceback" not in error
    assert message.count("\n") == 2
    assert "counted-0001.json is no answer of the custodian 'notary'" in message
    assert f"fedspallm custodian count {keys} {out}.partial" in message


@pytest.mark.parametrize(
    ("settings", "code", "part"),
    [
        (["protocol.custodian=offer.json"], 2, 'Set protocol.votes = "ckks"'),
        (["protocol.votes=ckks", "protocol.custodian=/no/offer.json"], 2, "/no/offer.json can't be read"),
        (["protocol.votes=paper"], 2, "protocol.votes"),
    ],
)
def test_a_custodian_that_can_not_be_is_refused(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path, settings: list[str], code: int, part: str
) -> None:
    refused(fedspallm("simulate", configuration, "--out", tmp_path / "out", *_options(*settings)), code, part)
    assert not list(tmp_path.iterdir())


def test_a_custodian_for_another_number_of_rounds_is_refused(
    fedspallm: Fedspallm, configuration: Path, keys: Path, tmp_path: Path
) -> None:
    options = _elsewhere(keys, 'pruning.pattern=["0.25", "0.5"]')
    refused(fedspallm("simulate", configuration, "--out", tmp_path / "out", *options), 2, "the run has 3 and 2")
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_an_institution_called_as_the_custodian_is_refused(
    fedspallm: Fedspallm, configuration: Path, keys: Path, tmp_path: Path
) -> None:
    options = _elsewhere(keys, "institution.0.name=notary")
    refused(fedspallm("simulate", configuration, "--out", tmp_path / "out", *options), 6, "have the same name")
    assert not (tmp_path / "out.partial").exists()
