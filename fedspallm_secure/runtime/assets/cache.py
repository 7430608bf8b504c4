"""A folder of the cache that is complete or not there.

What is derived from a fetched file (a converted model, texts) is made once and kept. It is written aside and renamed,
so that neither a crash nor a second process ever shows a half-written folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from fedspallm_secure.errors import StorageError

__all__ = ["made_once"]


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, filled by `make` unless it is there already.

    Args:
        folder: where the result belongs.
        make: writes the files into the empty folder it is given.

    Raises:
        StorageError: the cache can't be written. What `make` raises otherwise passes through.
    """
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".partial-", dir=folder.parent) as aside:
            made = Path(aside) / folder.name
            made.mkdir()
            make(made)
            try:
                os.rename(made, folder)
            except OSError:
                # Another process was faster, and made the same: keep that one.
                if not folder.exists():
                    raise
    except OSError as error:
        raise StorageError(
            f"{folder} can't be written: {error}.", "Free space or choose another cache folder."
        ) from error
    return folder
