"""Large payloads, stored under their SHA-256, so that a message names them in 64 hexadecimal digits.

A blob that exists is whole: it is written aside and renamed. What is read back is checked against its name.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import StorageError

__all__ = ["BlobStore"]


class BlobStore:
    """A folder of blobs.

    Args:
        folder: made on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, words: NDArray[np.uint64]) -> str:
        """Store words as little-endian bytes.

        Returns:
            Their SHA-256, 64 hexadecimal digits.

        Raises:
            StorageError: the disk refuses.
        """
        data = words.astype("<u8", copy=False).view(np.uint8).data
        name = hashlib.sha256(data).hexdigest()
        aside = self.folder / f"{name}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(data)
            os.replace(aside, self.folder / name)
        except OSError as error:
            with suppress(OSError):
                aside.unlink()
            raise StorageError(
                f"A payload of {data.nbytes} bytes can't be stored in {self.folder}: {error}.",
                "Free space or choose another --out.",
            ) from error
        return name

    def get(self, name: str) -> NDArray[np.uint64]:
        """The words stored under `name`.

        Raises:
            StorageError: there is no such blob, its bytes have another digest, or they are not whole words.
        """
        path = self.folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StorageError(
                f"A message names the blob {name}, which can't be read: {error}.", "Fetch it again from its sender."
            ) from error
        if hashlib.sha256(data).hexdigest() != name:
            raise StorageError(f"{path} does not hold what its name says.", "Fetch it again from its sender.")
        if len(data) % 8:
            raise StorageError(
                f"{path} has {len(data)} bytes, which are not whole 64-bit words.", "Ask its sender for the payload."
            )
        return np.frombuffer(data, "<u8")
