"""A file that is there whole or not at all: written aside, brought to the disk, and renamed."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from fedspallm_secure.errors import StorageError
from fedspallm_secure.workspace.line_file import make_folder, sync_folder

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes, todo: str, mode: int = 0o644) -> None:
    """All of `data`, on the disk when this returns, in place of what was there; or nothing.

    Args:
        path: of the file; its folder is made too.
        data: what it will hold.
        todo: what to do where the disk refuses, one sentence.
        mode: permissions of the file.

    Raises:
        StorageError: the disk refuses.
    """
    try:
        make_folder(path.parent)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as aside:
            aside.write(data)
            aside.flush()
            os.fsync(aside.fileno())
            os.chmod(aside.name, mode)
        os.replace(aside.name, path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError, NameError):
            os.unlink(aside.name)
        raise StorageError(f"{path} can't be written: {error}.", todo) from error
