"""The log of a run: every envelope that was sent, in order, one line of canonical JSON each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import Envelope, canonical

__all__ = ["Log"]


class Log:
    """An append-only file of envelopes.

    Args:
        path: made on the first append.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, envelope: Envelope) -> None:
        """Write one envelope at the end.

        Raises:
            StorageError: the disk refuses.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(canonical(envelope) + b"\n")
        except OSError as error:
            raise StorageError(
                f"The log {self.path} can't be written: {error}.", "Free space or choose another --out."
            ) from error

    def __iter__(self) -> Iterator[Envelope]:
        """The envelopes, first one first.

        Raises:
            StorageError: the file can't be read, or a line is no envelope.
        """
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    try:
                        yield Envelope.model_validate_json(line)
                    except ValidationError as error:
                        raise StorageError(
                            f"Line {number} of {self.path} is no envelope: {error}.",
                            "Take the log again.",
                        ) from error
        except OSError as error:
            raise StorageError(f"The log {self.path} can't be read: {error}.", "Give the folder of a run.") from error
