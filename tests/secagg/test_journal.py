"""What was decided once is never decided otherwise, whatever happens to the process and the disk in between."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fedspallm_secure.errors import LocalProtocolError, StorageError
from fedspallm_secure.workspace.journal import Journal
from fedspallm_secure.workspace.journal_file import FileJournal

# What a line-based file must not stumble over, and the empty string, which is a decision too.
_AWKWARD = {"peer\n\r\u2028\x85 3": 'the "key"', "Ärztehaus": "\\", "": "", "nothing": ""}

_IMPORTS = """
import resource, sys
from pathlib import Path
from fedspallm_secure.errors import StorageError
from fedspallm_secure.workspace.journal_file import FileJournal
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with three decisions."""
    path = tmp_path / "journal.jsonl"
    with FileJournal(path) as journal:
        for number in range(3):
            journal.once(f"peer {number}", "key")
    return path


@pytest.fixture(params=["in memory", "in a file"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    """An empty journal of either kind."""
    if request.param == "in memory":
        yield Journal()
    else:
        with FileJournal(tmp_path / "journal.jsonl") as journal:
            yield journal


def _python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", _IMPORTS + script, *map(str, arguments)]


def _output(script: str, *arguments: object) -> list[str]:
    done = subprocess.run(_python(script, *arguments), capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_same_decision_again_is_fine_and_another_one_is_refused(journal: Journal) -> None:
    journal.once("peer 1", "key")
    journal.once("peer 2", "self mask")
    for _ in range(2):
        journal.once("peer 1", "key")
        with pytest.raises(LocalProtocolError, match=r"^peer 1 was decided as key before; refusing self mask\."):
            journal.once("peer 1", "self mask")
    journal.once("peer 2", "self mask")


def test_any_text_can_be_decided_about(journal: Journal) -> None:
    for _ in range(2):
        for what, decision in _AWKWARD.items():
            journal.once(what, decision)
    for what in _AWKWARD:
        with pytest.raises(LocalProtocolError, match="was decided as"):
            journal.once(what, "otherwise")


def test_a_journal_in_memory_knows_nothing_of_another_one() -> None:
    Journal().once("peer 1", "key")
    Journal().once("peer 1", "self mask")


def test_a_contradiction_is_refused_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on demand" / "journal.jsonl"
    with FileJournal(path) as journal:
        for what, decision in _AWKWARD.items():
            journal.once(what, decision)
    written = path.read_bytes()
    for _ in range(2):
        with FileJournal(path) as journal:
            for what, decision in _AWKWARD.items():
                journal.once(what, decision)
                with pytest.raises(LocalProtocolError, match="was decided as"):
                    journal.once(what, "otherwise")
    assert path.read_bytes() == written


def test_a_line_is_canonical_json_of_one_decision(tmp_path: Path) -> None:
    with FileJournal(tmp_path / "journal.jsonl") as journal:
        journal.once("peer\n3", "self mask")
        journal.once("peer 1", "Schlüssel")
    expected = '{"decision":"self mask","what":"peer\\n3"}\n{"decision":"Schlüssel","what":"peer 1"}\n'
    assert journal.path.read_bytes() == expected.encode()


def test_only_its_owner_can_read_a_journal(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        FileJournal(tmp_path / "journal.jsonl").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "journal.jsonl").stat().st_mode) == 0o600


def test_a_last_line_torn_at_any_byte_is_dropped_and_can_be_decided_anew(path: Path) -> None:
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        with FileJournal(path) as journal:
            assert path.read_bytes() == whole[:start]
            journal.once("peer 1", "key")
            journal.once("peer 2", "self mask")
        with FileJournal(path) as journal:
            journal.once("peer 2", "self mask")
            with pytest.raises(LocalProtocolError, match="was decided as key before"):
                journal.once("peer 1", "self mask")


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b'{"decision":"key"}',
        b'{"decision":"key","more":1,"what":"peer 1"}',
        b'{"decision":1,"what":"peer 1"}',
        b'{"what":"peer 1","decision":"key"}',
    ],
)
def test_a_whole_line_that_is_no_decision_is_refused(path: Path, line: bytes) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + line + b"\n" + lines[2])
    with pytest.raises(StorageError, match=r"Line 2 of the journal .* is damaged") as refused:
        FileJournal(path)
    assert "start afresh with new keys" in refused.value.todo


@pytest.mark.parametrize("last", [False, True])
def test_a_line_that_contradicts_another_is_refused_by_its_number(path: Path, last: bool) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[0] + b'{"decision":"self mask","what":"peer 0"}\n' + (b"" if last else lines[2])
    path.write_bytes(damaged)
    with pytest.raises(StorageError, match=r"Line 2 of the journal .* contradicts a line before it") as refused:
        FileJournal(path)
    assert path.read_bytes() == damaged
    path.write_bytes(b"".join(lines))
    FileJournal(path).close()  # the refused one let go of its lock
    assert refused.tb  # although it was still in memory, in the frames of its error


def test_nothing_new_is_decided_after_closing(path: Path) -> None:
    journal = FileJournal(path)
    journal.close()
    written = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StorageError, match=r"is closed, or belongs to .*: peer 3 can't be decided"):
            journal.once("peer 3", "key")
    journal.close()
    assert path.read_bytes() == written


def test_everything_a_killed_process_announced_is_there(tmp_path: Path) -> None:
    script = """
journal = FileJournal(Path(sys.argv[1]))
first = len(Path(sys.argv[1]).read_bytes().splitlines())
for number in range(first, 10**9):
    journal.once(f"peer {number}", "key" * (number % 40))
    print(number, flush=True)
"""
    path, random, announced = tmp_path / "journal.jsonl", Random(0), []
    for _ in range(12):
        with subprocess.Popen(_python(script, path), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(random.randint(1, 30))]
            time.sleep(random.uniform(0, 0.005))
            process.send_signal(signal.SIGKILL)
            said += process.stdout.readlines()
        assert process.returncode == -signal.SIGKILL
        announced += [int(line) for line in said if line.endswith(b"\n")]
        with FileJournal(path) as journal:
            written = path.read_bytes()
            for number in announced:
                journal.once(f"peer {number}", "key" * (number % 40))
                with pytest.raises(LocalProtocolError, match=f"^peer {number} was decided as"):
                    journal.once(f"peer {number}", "self mask")
            assert path.read_bytes() == written
    assert announced == sorted(set(announced))


def test_a_disk_that_fills_up_refuses_a_decision_without_a_trace_and_others_go_on(tmp_path: Path) -> None:
    script = """
path = Path(sys.argv[1])
journal = FileJournal(path)
journal.once("peer 0", "key")
whole = path.read_bytes()
for free in range(40):
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + free, resource.RLIM_INFINITY))
    try:
        journal.once("peer 1", "self mask")
    except StorageError as error:
        assert f"The journal {path} can't be written" in error.problem
        assert "Nothing was decided about peer 1" in error.todo
        print(free, path.read_bytes() == whole)
journal.once("peer 0", "key")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.once("peer 1", "key")
"""
    path = tmp_path / "journal.jsonl"
    line = len(b'{"decision":"self mask","what":"peer 1"}\n')
    assert _output(script, path) == [f"{free} True" for free in range(min(40, line))]
    assert path.read_bytes() == b'{"decision":"key","what":"peer 0"}\n{"decision":"key","what":"peer 1"}\n'
