"""The journal that outlives its process: one line of canonical JSON a decision, on the disk before `once` returns.

A process may be killed, or the power cut, at any moment. Then the last line may be torn: it lacks its line end, its
`once` never returned, nothing followed from it, and it is dropped. Anything else that can't be read may have been acted
on, so the journal refuses to open. What it can't notice is an older copy put in its place: never restore one.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import Frozen, canonical
from fedspallm_secure.workspace.journal import Journal

__all__ = ["FileJournal"]

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class _Line(Frozen):
    what: str
    decision: str


class FileJournal(Journal):
    """A journal in a file that this process holds alone, until `close` or its end.

    Args:
        path: made if it is missing, for its owner's eyes only; its folder is made too.

    Raises:
        StorageError: another journal is open on the file, it can't be read or written, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._process = os.getpid()
        self._size = 0
        try:
            _make_folder(path.parent)
            self._file = os.fdopen(os.open(path, _FLAGS, 0o600), "r+b", buffering=0)
        except OSError as error:
            raise StorageError(
                f"The journal {path} can't be opened: {error}.", "Make its folder writable, or choose another."
            ) from error
        try:
            self._lock()
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """This journal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of the file. Nothing new can be decided afterwards."""
        self._file.close()

    def _write(self, what: str, decision: str) -> None:
        line = canonical(_Line(what=what, decision=decision)) + b"\n"
        if self._file.closed or self._process != os.getpid():
            raise StorageError(
                f"The journal {self.path} is closed, or belongs to the process that opened it: "
                f"{what} can't be decided.",
                "Open it again.",
            )
        try:
            self._cut()
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except BaseException as error:
            with suppress(OSError):
                self._cut()
            if not isinstance(error, OSError):
                raise
            raise StorageError(
                f"The journal {self.path} can't be written: {error}.",
                f"Nothing was decided about {what}, and nothing sent. Free space and go on.",
            ) from error
        self._size += len(line)

    def _cut(self) -> None:
        """End the file after the last decision; past it may stand what a failed or torn write left."""
        os.ftruncate(self._file.fileno(), self._size)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"The journal {self.path} can't be locked: {error}.",
                "Another process holds it: let that one end, or choose another folder.",
            ) from error

    def _read(self) -> None:
        """Take every whole line in, and make sure that it is on the disk: the last writer may not have come to that."""
        try:
            self._file.seek(0)
            data = self._file.readall()
            self._size = data.rfind(b"\n") + 1
            for number, line in enumerate(data[: self._size].splitlines(keepends=True), 1):
                self._take(number, line)
            self._cut()
            os.fsync(self._file.fileno())
            _sync_folder(self.path.parent)
        except OSError as error:
            raise StorageError(
                f"The journal {self.path} can't be read: {error}.", "Repair the disk; do not go on without the journal."
            ) from error

    def _take(self, number: int, line: bytes) -> None:
        try:
            entry = _Line.model_validate_json(line)
            whole = canonical(entry) + b"\n" == line
        except ValidationError:
            whole = False
        if not whole or self._decisions.setdefault(entry.what, entry.decision) != entry.decision:
            raise StorageError(
                f"Line {number} of the journal {self.path} is damaged, or contradicts a line before it.",
                "What was decided there can't be known: start afresh with new keys and a new journal.",
            )


def _make_folder(folder: Path) -> None:
    """`folder` and those above it, each on the disk before anything is put into it."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """The names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
