"""An entry that was added is on the disk, whatever happens; one that was not leaves no trace; one process writes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import Frozen, canonical
from fedspallm_secure.workspace import LineFile, LineForm, TornLineError, read_lines


class _Note(Frozen):
    text: str
    more: int = 0


FORM = LineForm("notebook", _Note, "Write it anew.", 0o640)
"""Of the files here."""

_LIMIT = 1 << 26  # bytes of a line with its end

_IMPORTS = """
import os, resource, sys
from pathlib import Path
from fedspallm_secure.errors import StorageError
from fedspallm_secure.workspace import LineFile, read_lines
from tests.workspace.test_line_file import FORM, notes
path = Path(sys.argv[1])
"""


def notes(*texts: str) -> list[_Note]:
    """One entry a text."""
    return [_Note(text=text) for text in texts]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with three entries."""
    path = tmp_path / "notebook.jsonl"
    with LineFile(path, FORM) as file:
        file.extend(notes("a", "b", "c"))
    return path


def _texts(path: Path) -> list[str]:
    return [entry.text for _, entry in read_lines(path, FORM)]


def _output(script: str, path: Path) -> list[str]:
    command = [sys.executable, "-c", _IMPORTS + script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


@settings(max_examples=50, deadline=None)
@given(batches=st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])))))
def test_whatever_is_added_comes_back_in_order_here_and_after_opening_again(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("notebook") / "notebook.jsonl"
    with LineFile(path, FORM) as file:
        for batch in batches:
            file.extend(notes(*batch))
        entries = [entry for batch in batches for entry in notes(*batch)]
        assert list(file) == entries
    with LineFile(path, FORM) as file:
        assert list(file) == entries
    assert list(read_lines(path, FORM)) == [(canonical(entry), entry) for entry in entries]
    assert path.read_bytes() == b"".join(canonical(entry) + b"\n" for entry in entries)


def test_a_new_file_has_the_permissions_of_its_form(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        LineFile(tmp_path / "notebook.jsonl", FORM).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "notebook.jsonl").stat().st_mode) == 0o640


def test_a_torn_last_line_is_dropped_by_who_writes_and_reported_to_who_reads(path: Path) -> None:
    whole = path.read_bytes()
    for left in (b"{", whole.splitlines()[0], bytes(50), b'{"text":"k' + bytes(30), b"\xff\xfe"):
        path.write_bytes(whole + left)
        with pytest.raises(TornLineError, match=r"^Line 4 of the notebook .* is torn: its end is missing"):
            list(read_lines(path, FORM))
        assert path.read_bytes() == whole + left
        LineFile(path, FORM).close()
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json",
        b'{"more":0,"text":"b"',
        b'{"more":0,"text":"b"}{"more":0,"text":"b"}',
        b'{"text":"b"}',
        b'{"else":1,"more":0,"text":"b"}',
        b'{"more":0,"text":1}',
        b'{"more":0.0,"text":"b"}',
        b'{"more":9007199254740993,"text":"b"}',
        b'{"more":0,"text":"a","text":"b"}',
        b'{"text":"b","more":0}',
        b'{"more":0, "text":"b"}',
        b'{"more":0,"text":"b"}\r',
        b'{"more":0,"text":"\xff"}',
        b'{"more":0,"text":"\\u0062"}',
        b'{"more":0,"text":"\\ud800"}',
        bytes(22),
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("after", [b"", b'{"more":0,"text":"c"}\n', b'{"more":0,"te'], ids=["last", "middle", "torn"])
def test_a_whole_line_that_is_damaged_is_refused_by_its_number_and_nothing_is_changed(
    path: Path, line: bytes, after: bytes
) -> None:
    whole = path.read_bytes()
    damaged = whole.splitlines(keepends=True)[0] + line + b"\n" + after
    path.write_bytes(damaged)
    problem = r"^Line 2 of the notebook .* is damaged: it is not the canonical JSON of one note\. Write it anew\.$"
    with pytest.raises(StorageError, match=problem) as refused:
        LineFile(path, FORM)
    with pytest.raises(StorageError, match=problem):
        list(read_lines(path, FORM))
    assert path.read_bytes() == damaged
    path.write_bytes(whole)
    LineFile(path, FORM).close()  # the refused one let go of its lock
    assert refused.tb  # although it was still in memory, in the frames of its error


def test_a_line_that_does_not_end_is_refused_before_it_fills_the_memory(path: Path) -> None:
    whole = path.read_bytes()
    script = """
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
for opened in (lambda: LineFile(path, FORM), lambda: list(read_lines(path, FORM))):
    try:
        opened()
    except StorageError as error:
        print(error.problem)
"""
    os.truncate(path, 1 << 32)  # zeros that take no room on the disk
    problem = f"Line 4 of the notebook {path} is damaged: it is longer than {_LIMIT} bytes."
    assert _output(script, path) == [problem] * 2
    assert path.stat().st_size == 1 << 32
    os.truncate(path, len(whole) + _LIMIT)
    with pytest.raises(TornLineError, match="Line 4"):
        list(read_lines(path, FORM))


def test_the_longest_line_that_can_be_added_can_be_read_and_a_longer_one_is_not_added(tmp_path: Path) -> None:
    path = tmp_path / "notebook.jsonl"
    rest = len(canonical(_Note(text=""))) + 1
    with LineFile(path, FORM) as file:
        file.extend(notes("x" * (_LIMIT - rest)))
        assert path.stat().st_size == _LIMIT
        with pytest.raises(StorageError, match=f"An entry of {_LIMIT + 1} bytes is too long"):
            file.extend(notes("y", "x" * (_LIMIT - rest + 1)))
        file.extend(notes("z"))
    assert [len(text) for text in _texts(path)] == [_LIMIT - rest, 1]


def test_reading_opens_nothing_for_writing_and_takes_no_lock(path: Path) -> None:
    script = """
def tell(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or event == "fcntl.flock":
        print(event)
sys.addaudithook(tell)
print([entry.text for _, entry in read_lines(path, FORM)])
LineFile(Path(sys.argv[1] + ".new"), FORM)
"""
    with LineFile(path, FORM):
        said = _output(script, path)
    assert said[0] == "['a', 'b', 'c']"
    assert set(said[1:]) == {"open", "fcntl.flock"}  # which tells of them where they are


def test_entries_that_vanish_from_an_open_file_are_missed_when_it_is_read(path: Path) -> None:
    with LineFile(path, FORM) as file:
        os.truncate(path, len(path.read_bytes()) * 2 // 3)
        entries = iter(file)
        assert [next(entries).text for _ in "ab"] == ["a", "b"]
        with pytest.raises(StorageError, match="ends after 44 bytes, of which 66 were there before"):
            next(entries)


def test_a_file_that_is_open_can_t_be_opened_again_by_this_or_another_process(path: Path) -> None:
    script = """
try:
    LineFile(path, FORM)
except StorageError as error:
    print(error.problem)
else:
    print("opened")
"""
    with LineFile(path, FORM) as file:
        with pytest.raises(StorageError, match="can't be locked"):
            LineFile(path, FORM)
        assert "can't be locked" in _output(script, path)[0]
        file.extend(notes("d"))
    assert _output(script, path) == ["opened"]


def test_a_file_held_by_another_process_is_free_once_that_is_killed(path: Path) -> None:
    script = "file = LineFile(path, FORM)\nprint('opened', flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", _IMPORTS + script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "opened\n"
        with pytest.raises(StorageError, match="can't be locked"):
            LineFile(path, FORM)
        process.kill()
        process.wait()
        LineFile(path, FORM).close()


def test_a_forked_process_can_t_add_what_its_parent_does_not_know(path: Path) -> None:
    script = """
file = LineFile(path, FORM)
child = os.fork()
if not child:
    try:
        file.extend(notes("of the child"))
    except StorageError as error:
        print(error.problem, flush=True)
    os._exit(0)
os.waitpid(child, 0)
file.extend(notes("of the parent"))
"""
    (says,) = _output(script, path)
    assert "belongs to the process that opened it" in says
    assert _texts(path) == ["a", "b", "c", "of the parent"]


def test_nothing_is_added_after_closing_and_what_is_there_can_be_read(path: Path) -> None:
    file = LineFile(path, FORM)
    file.close()
    written = path.read_bytes()
    with pytest.raises(StorageError, match=r"is closed, or belongs to "):
        file.extend(notes("d"))
    file.close()
    assert [entry.text for entry in file] == ["a", "b", "c"]
    assert path.read_bytes() == written


def test_a_full_disk_adds_all_or_nothing(path: Path) -> None:
    script = """
whole = path.read_bytes()
file = LineFile(path, FORM)
for free in range(40):
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + free, resource.RLIM_INFINITY))
    try:
        file.extend(notes("d", "e"))
    except StorageError as error:
        assert f"The notebook {path} can't be written" in error.problem
        print(free, path.read_bytes() == whole)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.extend(notes("f"))
"""
    assert _output(script, path) == [f"{free} True" for free in range(40)]
    assert _texts(path) == ["a", "b", "c", "f"]


class _Syncs:
    """Lets every fsync of the process through, after it has looked at what is synced; fails those it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[bytes] = []
        self.folders: list[int] = []
        self.fails: BaseException | None = None
        self._fsync: Callable[[int], None] = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, handle: int) -> None:
        target = os.fstat(handle)
        if stat.S_ISDIR(target.st_mode):
            self.folders.append(target.st_ino)
        else:
            self.files.append(os.pread(handle, target.st_size, 0))
        if self.fails:
            raise self.fails
        self._fsync(handle)


def test_entries_and_the_names_that_lead_to_them_are_on_the_disk_when_they_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = _Syncs(monkeypatch)
    with LineFile(tmp_path / "made" / "on demand" / "notebook.jsonl", FORM) as file:
        holding = [tmp_path, tmp_path / "made", tmp_path / "made" / "on demand"]
        assert syncs.folders == [folder.stat().st_ino for folder in holding]
        for number in range(1, 4):
            syncs.files.clear()
            file.extend(notes("a", "b"))
            (synced,) = syncs.files  # one for the whole batch
            assert synced == file.path.read_bytes()
            assert synced.count(b"\n") == 2 * number


def test_what_a_killed_process_wrote_but_did_not_sync_is_synced_before_it_counts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = _Syncs(monkeypatch)
    written = path.read_bytes()
    path.write_bytes(written + b'{"more":0,"te')
    LineFile(path, FORM).close()
    assert syncs.files == [written]
    assert syncs.folders == [path.parent.stat().st_ino]


@pytest.mark.parametrize("fails", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_entries_that_could_not_be_synced_were_not_added(
    path: Path, monkeypatch: pytest.MonkeyPatch, fails: BaseException
) -> None:
    syncs = _Syncs(monkeypatch)
    written = path.read_bytes()
    with LineFile(path, FORM) as file:
        syncs.fails = fails
        with pytest.raises(StorageError if isinstance(fails, OSError) else KeyboardInterrupt):
            file.extend(notes("d"))
        assert path.read_bytes() == written
        syncs.fails = None
        file.extend(notes("e"))
    assert _texts(path) == ["a", "b", "c", "e"]


def test_what_could_not_be_taken_back_at_once_is_before_the_next_entry_and_never_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = _Syncs(monkeypatch)
    with LineFile(path, FORM) as file:
        written = path.read_bytes()
        syncs.fails = OSError(errno.EIO, "Input/output error")
        cut = os.ftruncate

        def refuses_once_it_would_shorten(handle: int, length: int) -> None:
            if os.fstat(handle).st_size > length:
                raise OSError(errno.EIO, "Input/output error")
            cut(handle, length)

        with monkeypatch.context() as broken:
            broken.setattr(os, "ftruncate", refuses_once_it_would_shorten)
            for _ in range(2):
                with pytest.raises(StorageError, match=r"can't be written: \[Errno 5\]"):
                    file.extend(notes("d"))
        assert path.read_bytes() == written + b'{"more":0,"text":"d"}\n'
        assert [entry.text for entry in file] == ["a", "b", "c"]
        syncs.fails = None
        file.extend(notes("e"))
    assert _texts(path) == ["a", "b", "c", "e"]


def test_a_disk_that_can_t_sync_opens_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = _Syncs(monkeypatch)
    syncs.fails = OSError(errno.EIO, "Input/output error")
    with pytest.raises(StorageError, match=r"can't be brought to the disk: \[Errno 5\]"):
        LineFile(path, FORM)
    syncs.fails = None
    LineFile(path, FORM).close()


def test_where_no_file_can_be_none_is_made_or_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path, tmp_path / "file" / "notebook.jsonl", tmp_path / "file" / "deeper" / "notebook.jsonl"):
        with pytest.raises(StorageError, match="can't be opened"):
            LineFile(path, FORM)
        with pytest.raises(StorageError, match="can't be read"):
            list(read_lines(path, FORM))


def test_a_pipe_or_a_device_in_a_file_s_place_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(StorageError, match="can't be read: it is no file"):
            list(read_lines(path, FORM))
