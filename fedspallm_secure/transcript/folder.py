"""Where the parts of a transcript lie.

charter.json             the agreement
log.jsonl                every signed message, in order
blobs/                   the payloads that messages name
checkpoints/0001.note    the log at the end of the first round, signed by its keeper and cosigned by the institutions
"""

from __future__ import annotations

from pathlib import Path

from fedspallm_secure.charter import Charter, CharterSignatures
from fedspallm_secure.messages import canonical
from fedspallm_secure.transcript.blobs import BlobStore
from fedspallm_secure.transcript.log import Log
from fedspallm_secure.workspace import write_whole

__all__ = ["Transcript"]


class Transcript:
    """One run's transcript.

    Args:
        folder: its parts are made when they are first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.charter = folder / "charter.json"
        self.signatures = folder / "charter.signatures.json"
        self.log = folder / "log.jsonl"
        self.blobs = BlobStore(folder / "blobs")

    def open_log(self) -> Log:
        """The log, to be written."""
        return Log(self.log)

    def checkpoint(self, number: int) -> Path:
        """The checkpoint at the end of round `number`, from 0."""
        return self.folder / "checkpoints" / f"{number + 1:04}.note"

    def write_charter(self, charter: Charter, signatures: CharterSignatures) -> None:
        """Store the agreement and everybody's signature under it.

        Raises:
            StorageError: the disk refuses.
        """
        _write(self.charter, canonical(charter))
        _write(self.signatures, canonical(signatures))

    def write_checkpoint(self, number: int, note: str) -> None:
        """Store the checkpoint at the end of round `number`.

        Raises:
            StorageError: the disk refuses.
        """
        _write(self.checkpoint(number), note.encode())


def _write(path: Path, data: bytes) -> None:
    write_whole(path, data, "Free space or choose another --out.")
