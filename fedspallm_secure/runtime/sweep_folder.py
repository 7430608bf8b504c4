"""The folder of a sweep. A point's folder is there when the point is finished, and then it is never touched again.

points/NAME/       a finished point
running/           what a killed sweep goes on from
sweep.json         versions and threads; numbers that depend on them are not put side by side
"""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

from fedspallm_secure.errors import StorageError

__all__ = ["SweepFolder"]

_NOTE = "sweep.json"


class SweepFolder:
    """Where a sweep writes. One process at a time has it.

    Args:
        path: made if it is missing.
        versions: package -> version, and threads.

    Raises:
        StorageError: it holds something else, a sweep with other versions, or another process works in it.
    """

    def __init__(self, path: Path, versions: dict[str, str]) -> None:
        self.path = path
        self.points = path / "points"
        self.running = path / "running"
        self.failed = path / "failed"
        note = path / _NOTE
        text = json.dumps(versions, indent=2, sort_keys=True)
        if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not note.exists())):
            raise StorageError(f"{path} is there already, and is no sweep.", "Choose another --out, or move it away.")
        if note.exists() and note.read_text(encoding="utf-8") != text:
            raise StorageError(
                f"{path} holds a sweep with other versions or another number of threads (see {_NOTE} there).",
                "Use those, or choose another --out.",
            )
        try:
            for folder in (self.points, self.running, self.failed):
                folder.mkdir(parents=True, exist_ok=True)
            if not note.exists():
                note.write_text(text, encoding="utf-8")
            self._lock = (self.running / "lock").open("wb")
        except OSError as error:
            raise StorageError(f"{path} can't be written: {error}.", "Choose another --out.") from error
        try:
            fcntl.flock(self._lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StorageError(f"Another process runs a sweep in {path}.", "Let that one end.") from error

    def has(self, name: str) -> bool:
        """Whether a point is finished."""
        return (self.points / name).exists()

    def shared(self, group: str) -> Path:
        """Where points of a group find what the first of them pruned."""
        return self.running / f"shared-{group}"

    def forget(self, shared: Path) -> None:
        """Remove what the points of a group shared."""
        shutil.rmtree(shared, ignore_errors=True)

    def close(self) -> None:
        """Let another process have it."""
        self._lock.close()
