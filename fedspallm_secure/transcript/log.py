"""The log of a run: every envelope that was sent, in order, one line of canonical JSON each.

The server writes an envelope here before it acts on it, so what is not here did not happen: after a crash the log is
all it needs. An auditor reads a copy, which may lie on a disk that can't be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from fedspallm_secure.messages import Envelope
from fedspallm_secure.workspace import LineFile, LineForm, read_lines

__all__ = ["Log", "read_log"]

_FORM = LineForm("log", Envelope, "Keep this file as evidence, and take the log again from somebody else too.", 0o666)


class Log:
    """An append-only file of envelopes that this process holds alone, until `close` or its end.

    Args:
        path: made if it is missing; its folder is made too.

    Raises:
        StorageError: another log is open on the file, it can't be read or written, or a line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = LineFile(path, _FORM)

    def __enter__(self) -> Self:
        """This log."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __iter__(self) -> Iterator[Envelope]:
        """The envelopes that are there when this is called, first one first.

        Raises:
            StorageError: the file can't be read any more, or was damaged since it was opened.
        """
        return iter(self._lines)

    def append(self, envelope: Envelope) -> None:
        """Add one envelope at the end; only after this returned may anybody act on it.

        Raises:
            StorageError: it can't be written; the log is as it was.
        """
        self._lines.extend([envelope])

    def extend(self, envelopes: Iterable[Envelope]) -> None:
        """Add envelopes at the end, in order, for the price of one; only after this returned may anybody act on them.

        Raises:
            StorageError: they can't be written; the log is as it was.
        """
        self._lines.extend(envelopes)

    def close(self) -> None:
        """Let go of the file. Nothing can be added afterwards."""
        self._lines.close()


def read_log(path: Path) -> Iterator[tuple[bytes, Envelope]]:
    """The entries of a log, one at a time, without holding or changing it.

    Args:
        path: of the log.

    Yields:
        An entry's bytes, which are the leaf of the Merkle tree, and the envelope they are the canonical form of.

    Raises:
        TornLineError: after all whole lines, where the last one has no end.
        StorageError: the file can't be read, or a line is not the canonical form of an envelope.
    """
    return read_lines(path, _FORM)
