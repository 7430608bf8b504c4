"""Large payloads, stored under their SHA-256, so that a message names them in 64 hexadecimal digits.

A blob that exists is whole: it is written aside, brought to the disk and renamed, all before `put` returns, since the
message that names it may be sent next. What is read back is checked against its name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import StorageError
from fedspallm_secure.workspace import make_folder, sync_folder

__all__ = ["BlobStore"]

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_WORD = 8  # bytes
_FETCH = "Fetch it again from its sender."


class BlobStore:
    """A folder of blobs.

    Args:
        folder: made on the first write.

    Attributes:
        bytes_read: of all blobs so far, those read twice counted twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bytes_read = 0

    def put(self, words: NDArray[np.uint64]) -> str:
        """Store words as little-endian bytes; when this returns, they are on the disk.

        A blob that is there already is written anew: to trust it would mean to read all of it, and a damaged one heals.

        Returns:
            Their SHA-256, 64 hexadecimal digits.

        Raises:
            StorageError: the disk refuses.
        """
        return self.put_bytes(words.astype("<u8", copy=False).view(np.uint8).data)

    def put_bytes(self, data: bytes | memoryview) -> str:
        """The same, of bytes that need not be words."""
        name = hashlib.sha256(data).hexdigest()
        try:
            make_folder(self.folder)
            self._write(name, data)
            sync_folder(self.folder)
        except OSError as error:
            raise StorageError(
                f"A payload of {len(data)} bytes can't be stored in {self.folder}: {error}.",
                "Free space or choose another --out.",
            ) from error
        return name

    def get(self, name: str) -> NDArray[np.uint64]:
        """The words stored under `name`.

        Raises:
            StorageError: there is no such blob, its bytes have another digest, or they are not whole words.
        """
        data = self.get_bytes(name)
        self._check_whole(name, len(data))
        return np.frombuffer(data, "<u8")

    def get_bytes(self, name: str) -> bytes:
        """The bytes stored under `name`.

        Raises:
            StorageError: there is no such blob, or its bytes have another digest.
        """
        try:
            with self._open(name) as file:
                data = file.read()
        except OSError as error:
            raise _unreadable(name, error) from error
        self.bytes_read += len(data)
        self._check_digest(name, hashlib.sha256(data).hexdigest())
        return data

    def stream(self, name: str, chunk_words: int) -> Iterator[NDArray[np.uint64]]:
        """The words stored under `name`, a few at a time, so that memory does not grow with the blob.

        The digest is known at the end only: nothing that was made of the words counts before this ended by itself.

        Args:
            name: of the blob.
            chunk_words: words in each array but the last, which may have fewer; at least 1.

        Raises:
            StorageError: there is no such blob, its bytes have another digest, or they are not whole words.
        """
        digest, length = hashlib.sha256(), 0
        try:
            with self._open(name) as file:
                while data := file.read(_WORD * chunk_words):
                    digest.update(data)
                    length += len(data)
                    self.bytes_read += len(data)
                    if len(data) >= _WORD:
                        yield np.frombuffer(data, "<u8", len(data) // _WORD)
        except OSError as error:
            raise _unreadable(name, error) from error
        self._check_digest(name, digest.hexdigest())
        self._check_whole(name, length)

    def size(self, name: str) -> int:
        """Bytes of the blob stored under `name`, as the disk says; they are not read.

        Raises:
            StorageError: there is no such blob.
        """
        try:
            with self._open(name) as file:
                return os.fstat(file.fileno()).st_size
        except OSError as error:
            raise _unreadable(name, error) from error

    def _open(self, name: str) -> BinaryIO:
        path = self.folder / name
        if path.exists() and not path.is_file():
            raise OSError("it is no file")  # a named pipe would wait for ever, a device might never end
        return path.open("rb")

    def _write(self, name: str, data: bytes | memoryview) -> None:
        # Two who store the same blob at once write a file each, and who renames last puts the same bytes there.
        aside = self.folder / f"{name}.{os.urandom(8).hex()}.partial"
        try:
            with os.fdopen(os.open(aside, _FLAGS, 0o666), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self.folder / name)
        except BaseException:
            with suppress(OSError):
                aside.unlink()
            raise

    def _check_digest(self, name: str, digest: str) -> None:
        if digest != name:
            raise StorageError(f"{self.folder / name} does not hold what its name says.", _FETCH)

    def _check_whole(self, name: str, length: int) -> None:
        if length % _WORD:
            raise StorageError(
                f"{self.folder / name} has {length} bytes, which are not whole 64-bit words.",
                "Ask its sender for the payload.",
            )


def _unreadable(name: str, error: OSError) -> StorageError:
    return StorageError(f"A message names the blob {name}, which can't be read: {error}.", _FETCH)
