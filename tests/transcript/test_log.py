"""The log gives back the envelopes that were appended, in order, survives any crash, and says where it is damaged."""

from __future__ import annotations

import base64
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import Envelope, canonical
from fedspallm_secure.messages.envelope import PAYLOAD_TYPE, Signature
from fedspallm_secure.transcript.log import Log, read_log
from fedspallm_secure.workspace import TornLineError

_IMPORTS = """
import resource, sys
from pathlib import Path
from fedspallm_secure.errors import StorageError
from fedspallm_secure.transcript.log import Log
from tests.transcript.test_log import envelope
path = Path(sys.argv[1])
"""


def envelope(number: int) -> Envelope:
    """One of a few hundred bytes, with what a file of lines must not stumble over."""
    text = base64.b64encode(b"%d" % number * (number % 5 * 40 + 1)).decode()
    return Envelope(payloadType=PAYLOAD_TYPE, payload=text, signatures=(Signature(keyid="a\n\u2028\x85", sig=text),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with three envelopes."""
    path = tmp_path / "log.jsonl"
    with Log(path) as log:
        log.extend(map(envelope, range(3)))
    return path


def _python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", _IMPORTS + script, *map(str, arguments)]


def _read(path: Path) -> tuple[list[bytes], str]:
    """The lines that can be read, and why no more can."""
    lines: list[bytes] = []
    try:
        lines.extend(line for line, _ in read_log(path))
    except StorageError as error:
        return lines, error.problem
    return lines, ""


def test_envelopes_come_back_in_the_order_of_their_appending(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on demand" / "log.jsonl"
    for number in range(5):
        with Log(path) as log:
            log.append(envelope(number))
    with Log(path) as log:
        log.extend(map(envelope, range(5, 8)))
        assert list(log) == list(map(envelope, range(8)))
    assert path.read_bytes() == b"".join(canonical(envelope(number)) + b"\n" for number in range(8))


def test_a_log_can_be_read_again_and_while_it_grows(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl") as log:
        assert list(log) == []
        log.append(envelope(0))
        before = iter(log)
        log.append(envelope(1))
        assert list(before) == [envelope(0)]
        assert list(log) == [envelope(0), envelope(1)]


def test_an_auditor_gets_each_leaf_and_its_envelope_from_a_log_that_another_holds_and_changes_nothing(
    path: Path,
) -> None:
    with Log(path):
        before = path.stat(), path.parent.stat()
        assert list(read_log(path)) == [(canonical(envelope(number)), envelope(number)) for number in range(3)]
        after = path.stat(), path.parent.stat()
        assert [one.st_mtime_ns for one in before] == [one.st_mtime_ns for one in after]


def test_after_a_cut_at_any_byte_all_whole_envelopes_are_there_and_appending_goes_on(path: Path) -> None:
    whole = path.read_bytes()
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        left = whole[:end].count(b"\n")
        with Log(path) as log:
            assert list(log) == list(map(envelope, range(left)))
            log.append(envelope(7))
        assert [one for _, one in read_log(path)] == [*map(envelope, range(left)), envelope(7)]


def test_an_auditor_notices_a_cut_at_any_byte_within_a_line(path: Path) -> None:
    whole = path.read_bytes()
    ends = {0} | {at + 1 for at, byte in enumerate(whole) if byte == ord("\n")}
    for end in set(range(len(whole))) - ends:
        path.write_bytes(whole[:end])
        left = whole[:end].count(b"\n")
        with pytest.raises(TornLineError, match=rf"^Line {left + 1} of the log .* is torn"):
            list(read_log(path))
        assert path.read_bytes() == whole[:end]
    assert len(ends) == 4


def test_a_flipped_bit_in_any_byte_is_refused_by_the_number_of_its_line_or_gives_other_bytes(path: Path) -> None:
    whole = path.read_bytes()
    honest = [line for line, _ in read_log(path)]
    refused = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        damaged = whole[:at].count(b"\n")
        read, problem = _read(path)
        assert read[:damaged] == honest[:damaged]
        assert read != honest
        assert not problem or f"Line {damaged + 1} of the log {path} is " in problem
        refused += bool(problem)
    assert refused > len(whole) / 4  # the others changed a letter of a text, which its signature covers


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"{}",
        b"",
        b"\xff\xfe",
        canonical(envelope(1))[:-1],
        canonical(envelope(1)) * 2,
        b" " + canonical(envelope(1)),
        canonical(envelope(1)) + b"\r",
        envelope(1).model_dump_json().encode(),
        canonical(envelope(1)).replace(b"\\n", b"\\u000a"),
    ],
)
def test_a_whole_line_that_is_not_the_canonical_form_of_an_envelope_is_named_by_its_number(
    path: Path, line: bytes
) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[0] + line + b"\n" + lines[2]
    path.write_bytes(damaged)
    with pytest.raises(
        StorageError, match=r"^Line 2 of the log .* is damaged: it is not the canonical JSON of one env"
    ):
        Log(path)
    entries = read_log(path)
    assert next(entries)[1] == envelope(0)
    with pytest.raises(StorageError, match=r"^Line 2 of the log .* is damaged"):
        next(entries)
    assert path.read_bytes() == damaged


def test_everything_a_killed_process_announced_is_there_and_nothing_it_did_not_send(tmp_path: Path) -> None:
    script = """
log = Log(path)
for number in range(sum(1 for _ in log), 10**9, 3):
    log.append(envelope(number))
    log.extend([envelope(number + 1), envelope(number + 2)])
    print(number + 2, flush=True)
"""
    path, chance, announced = tmp_path / "log.jsonl", random.Random(0), -1
    for _ in range(8):
        with subprocess.Popen(_python(script, path), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(chance.randint(1, 20))]
            time.sleep(chance.uniform(0, 0.003))
            process.send_signal(signal.SIGKILL)
            said += process.stdout.readlines()
        assert process.returncode == -signal.SIGKILL
        announced = max([announced, *(int(line) for line in said if line.endswith(b"\n"))])
        with Log(path) as log:
            there = list(log)
            assert there == list(map(envelope, range(len(there))))
            assert len(there) > announced


def test_a_log_that_is_open_can_t_be_opened_by_another_process_until_that_is_killed(path: Path) -> None:
    script = "log = Log(path)\nprint('opened', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(_python(script, path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "opened\n"
        with pytest.raises(StorageError, match=r"The log .* can't be locked"):
            Log(path)
        process.kill()
        process.wait()
        Log(path).close()


def test_a_full_disk_refuses_a_batch_as_a_whole_and_leaves_the_log_as_it_was(path: Path) -> None:
    script = """
whole = path.read_bytes()
with Log(path) as log:
    for free in (0, 1, 150, 400, 700):
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + free, resource.RLIM_INFINITY))
        try:
            log.extend([envelope(3), envelope(4)])
        except StorageError as error:
            assert f"The log {path} can't be written" in error.problem
            print(free, path.read_bytes() == whole, len(list(log)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    log.append(envelope(3))
"""
    done = subprocess.run(_python(script, path), capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{free} True 3" for free in (0, 1, 150, 400, 700)]
    assert [one for _, one in read_log(path)] == list(map(envelope, range(4)))


def test_a_log_that_is_not_there_is_refused_and_not_made_by_who_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "none" / "log.jsonl"
    with pytest.raises(StorageError, match="can't be read"):
        list(read_log(path))
    assert not path.parent.exists()


def test_a_log_that_can_t_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path, tmp_path / "file" / "log.jsonl"):
        with pytest.raises(StorageError, match="can't be opened"):
            Log(path)
    with Log(tmp_path / "log.jsonl") as log:
        pass
    with pytest.raises(StorageError, match="is closed"):
        log.append(envelope(0))
