"""An append-only file of lines, each the RFC 8785 form of one entry, on the disk before an append returns.

A process may be killed, or the power cut, at any moment. Then the last line may be torn: it lacks its line end, its
append never returned, nothing followed from it, and who opens the file to go on drops it. Anything else that can't be
read may have been acted on, so the file is refused. What it can't notice is that whole lines are gone from its end.

One process at a time writes (flock). Reading needs neither the lock nor the right to write, and changes nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import Frozen, canonical

__all__ = ["LineFile", "LineForm", "TornLineError", "make_folder", "read_lines", "sync_folder"]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
_LIMIT = 1 << 26  # bytes of a line with its end: a file of garbage is refused before it fills the memory

_Entry = TypeVar("_Entry", bound=Frozen)


class TornLineError(StorageError):
    """The last line has no end: its writer was killed, has not come to the end yet, or the file was cut."""


@dataclass(frozen=True)
class LineForm(Generic[_Entry]):
    """What a file of lines holds.

    Attributes:
        what: the file is, one word for the errors' texts.
        entry: of which each line is the canonical form.
        damaged: what to do about a line that is not, one sentence.
        mode: permissions of a new file, before the umask.
    """

    what: str
    entry: type[_Entry]
    damaged: str
    mode: int


class LineFile(Generic[_Entry]):
    """A file of lines that this process holds alone, until `close` or its end.

    Args:
        path: made if it is missing; its folder is made too.
        form: of its lines.

    Raises:
        StorageError: another process or object holds the file, it can't be read or written, or a line is damaged. The
            file is as it was.
    """

    def __init__(self, path: Path, form: LineForm[_Entry]) -> None:
        self.path = path
        self._form = form
        self._process = os.getpid()
        self._size = 0
        try:
            make_folder(path.parent)
            self._file = os.fdopen(os.open(path, _FLAGS, form.mode), "r+b", buffering=0)
        except OSError as error:
            raise StorageError(
                f"The {form.what} {path} can't be opened: {error}.", "Make its folder writable, or choose another."
            ) from error
        try:
            self._lock()
            self._recover()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """This file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __iter__(self) -> Iterator[_Entry]:
        """The entries that are there when this is called, first one first.

        Raises:
            StorageError: the file can't be read any more, or was damaged since it was opened.
        """
        return self._until(self._size)

    def extend(self, entries: Iterable[_Entry]) -> None:
        """Add entries at the end; when this returns, they are on the disk.

        A crash before that may leave the first of them, never a later one without those before it.

        Args:
            entries: in order.

        Raises:
            StorageError: they can't be written, or one is too long; none was added.
        """
        lines = b"".join(map(self._line, entries))
        if self._file.closed or self._process != os.getpid():
            raise StorageError(
                f"The {self._form.what} {self.path} is closed, or belongs to the process that opened it.",
                "Open it again.",
            )
        try:
            self._cut()
            rest = memoryview(lines)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except BaseException as error:
            with suppress(OSError):
                self._cut()
            if not isinstance(error, OSError):
                raise
            raise StorageError(
                f"The {self._form.what} {self.path} can't be written: {error}.", "Free space and go on."
            ) from error
        self._size += len(lines)

    def close(self) -> None:
        """Let go of the file. Nothing can be added afterwards; what is there can still be read."""
        self._file.close()

    def _line(self, entry: _Entry) -> bytes:
        line = canonical(entry) + b"\n"
        if len(line) > _LIMIT:
            raise StorageError(
                f"An entry of {len(line)} bytes is too long for the {self._form.what} {self.path}, which takes lines "
                f"of at most {_LIMIT}.",
                "Put what is large into a blob, and name that.",
            )
        return line

    def _until(self, end: int) -> Iterator[_Entry]:
        """The entries in the first `end` bytes; past them may stand what a failed write left."""
        at = 0
        lines = read_lines(self.path, self._form)
        while at < end:
            line, entry = next(lines, (b"", None))
            if entry is None:
                raise StorageError(
                    f"The {self._form.what} {self.path} ends after {at} bytes, of which {end} were there before.",
                    self._form.damaged,
                )
            yield entry
            at += len(line) + 1

    def _cut(self) -> None:
        """End the file after the last entry; past it may stand what a failed or torn write left."""
        os.ftruncate(self._file.fileno(), self._size)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"The {self._form.what} {self.path} can't be locked: {error}.",
                "Another process holds it: let that one end, or choose another folder.",
            ) from error

    def _recover(self) -> None:
        """Find the end of the last whole line, and make sure that all of it is on the disk.

        The last writer may not have come to that.
        """
        with suppress(TornLineError):
            for line, _ in read_lines(self.path, self._form):
                self._size += len(line) + 1
        try:
            self._cut()
            os.fsync(self._file.fileno())
            sync_folder(self.path.parent)
        except OSError as error:
            raise StorageError(
                f"The {self._form.what} {self.path} can't be brought to the disk: {error}.",
                f"Repair the disk; do not go on without the {self._form.what}.",
            ) from error


def read_lines(path: Path, form: LineForm[_Entry]) -> Iterator[tuple[bytes, _Entry]]:
    """The lines of a file, one at a time, from a disk that need not be writable.

    Args:
        path: of the file.
        form: of its lines.

    Yields:
        A line without its end, and the entry it is the canonical form of.

    Raises:
        TornLineError: after all whole lines, where the last one has no end.
        StorageError: the file can't be read, or a line is damaged.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no file")  # a named pipe would wait for ever, a device might never end
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_LIMIT + 1):
                number += 1
                yield line[:-1], _entry(path, form, number, line)
    except OSError as error:
        raise StorageError(
            f"The {form.what} {path} can't be read: {error}.", "Give a file that is there, and that you may read."
        ) from error


def _entry(path: Path, form: LineForm[_Entry], number: int, line: bytes) -> _Entry:
    where = f"Line {number} of the {form.what} {path}"
    if len(line) > _LIMIT:
        raise StorageError(f"{where} is damaged: it is longer than {_LIMIT} bytes.", form.damaged)
    if not line.endswith(b"\n"):
        raise TornLineError(
            f"{where} is torn: its end is missing, and so may be lines after it.",
            "Take the file again, once nobody writes to it.",
        )
    try:
        entry = form.entry.model_validate_json(line)
        if canonical(entry) + b"\n" == line:
            return entry
    except ValueError:  # of pydantic: no such entry; of rfc8785: an entry that has no canonical form
        pass
    raise StorageError(
        f"{where} is damaged: it is not the canonical JSON of one {form.entry.__name__.strip('_').lower()}.",
        form.damaged,
    )


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, each on the disk before anything is put into it; OSError if that fails."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Let the names in `folder` survive a power cut; OSError if the disk refuses."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
