"""The journal that outlives its process: one line a decision, on the disk before `once` returns.

How it survives crashes is `LineFile`'s matter. What it can't notice is an older copy put in its place: never restore
one.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import Frozen
from fedspallm_secure.workspace.journal import Journal
from fedspallm_secure.workspace.line_file import LineFile, LineForm

__all__ = ["FileJournal"]


class _Decision(Frozen):
    what: str
    decision: str


_FORM = LineForm(
    "journal",
    _Decision,
    "What was decided there can't be known: start afresh with new keys and a new journal.",
    0o600,
)


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
        self._lines = LineFile(path, _FORM)
        try:
            for number, entry in enumerate(self._lines, 1):
                self._take(number, entry)
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
        self._lines.close()

    def _write(self, what: str, decision: str) -> None:
        try:
            self._lines.extend([_Decision(what=what, decision=decision)])
        except StorageError as error:
            raise StorageError(
                f"{error.problem.removesuffix('.')}: {what} can't be decided.",
                f"Nothing was decided about {what}, and nothing sent. {error.todo}",
            ) from error

    def _take(self, number: int, entry: _Decision) -> None:
        if self._decisions.setdefault(entry.what, entry.decision) != entry.decision:
            raise StorageError(f"Line {number} of the journal {self.path} contradicts a line before it.", _FORM.damaged)
