"""The folder of a run. It bears its name only when it is finished; until then it is `NAME.partial`.

A run that was killed goes on from what `NAME.partial` holds if it is started again with the same configuration, and is
refused with another one: nothing is overwritten.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from fedspallm_secure.errors import StorageError

__all__ = ["OutputFolder"]


class OutputFolder:
    """Where a run writes.

    Args:
        path: the finished folder's path.
        started_as: what the run depends on (configuration, versions); another one can't go on here.

    Raises:
        StorageError: the finished folder is there already, or an unfinished run that started as something else.
    """

    def __init__(self, path: Path, started_as: dict[str, Any]) -> None:
        self._path = path
        self._started_as = json.dumps(started_as, indent=2, sort_keys=True)
        self.partial = path.with_name(path.name + ".partial")
        self.work = self.partial / "work"
        self._note = self.partial / "started_as.json"
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise StorageError(f"{path} is there already.", "Choose another --out, or move it away.")
        if self._note.exists() and self._note.read_text(encoding="utf-8") != self._started_as:
            raise StorageError(
                f"{self.partial} holds an unfinished run with another configuration or other versions.",
                "Start that one again to finish it, remove the folder, or choose another --out.",
            )

    def begin(self) -> None:
        """Make the unfinished folder; until then a run that can't even start has left nothing.

        Raises:
            StorageError: the disk refuses.
        """
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            self._note.write_text(self._started_as, encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{self.partial} can't be written: {error}.", "Choose another --out.") from error

    def fresh(self, name: str) -> Path:
        """The folder `name` inside, empty: what an earlier attempt left there goes.

        Raises:
            StorageError: the disk refuses.
        """
        folder = self.partial / name
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        except OSError as error:
            raise StorageError(f"{folder} can't be written: {error}.", "Choose another --out.") from error
        return folder

    def finish(self, keep_work: bool) -> None:
        """Give the folder its name.

        Args:
            keep_work: whether the institutions' pruned layers stay (studies of the aggregation start from them).

        Raises:
            StorageError: the disk refuses.
        """
        try:
            if not keep_work:
                shutil.rmtree(self.work)
            self._note.unlink()
            os.replace(self.partial, self._path)
        except OSError as error:
            raise StorageError(f"{self.partial} can't be renamed to {self._path}: {error}.", "Rename it.") from error
