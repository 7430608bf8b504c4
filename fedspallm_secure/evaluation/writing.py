"""A page or card that exists is complete: it is written aside and renamed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from fedspallm_secure.errors import StorageError

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Write `text` as UTF-8, all or nothing, in place of what was there. The folder is made if it is missing.

    Raises:
        StorageError: the disk refuses.
    """
    aside = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8", newline="\n")
        os.replace(aside, path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        raise StorageError(
            f"{path} can't be written: {error}.", "Free space or choose another folder; the results stay as they are."
        ) from error
