"""SEAL's ciphertext files, our own only: the words out of one that SEAL wrote, and one that SEAL reads around words.

TenSEAL hands out a ciphertext's words through a file and in no other way. SEAL 4 writes a header of 16 bytes (magic
number, version, how it is compressed, length), then, compressed with zstd, some fields that are the same for all
ciphertexts of a context, then the words. We keep the fields of the first file as they came, and ask of each later one
that it has the same: what they mean is SEAL's matter. No file of somebody else is ever read here.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import ConfigError, StorageError
from fedspallm_secure.votes.library import REFUSALS, sealapi
from fedspallm_secure.votes.parameters import CkksParameters

__all__ = ["SealFile"]

_HEADER = struct.Struct("<HBBBBHQ")  # magic, header's length, version (2), compression, reserved, length of all
_MAGIC = 0xA15E
_NOT_COMPRESSED, _ZSTD = 0, 2


class SealFile:
    """A file by which ciphertexts go out of SEAL and into it, one after the other.

    Args:
        parameters: of the ciphertexts.
        path: is overwritten again and again, and removed by nobody; in a folder that exists.
    """

    def __init__(self, parameters: CkksParameters, path: Path) -> None:
        self._parameters = parameters
        self._path = path
        self._fields: bytes | None = None
        self._version = (0, 0)

    def words(self, ciphertext: Any) -> NDArray[np.uint64]:
        """The words of SEAL's ciphertext.

        Returns:
            uint64, shape (2 N,).

        Raises:
            StorageError: the file can't be written or read.
            ConfigError: this SEAL writes files in another form.
        """
        try:
            ciphertext.save(str(self._path))
            raw = self._path.read_bytes()
        except (OSError, *REFUSALS) as error:
            raise self._trouble(error) from error
        return np.frombuffer(self._opened(raw), "<u8")

    def ciphertext(self, seal: Any, words: NDArray[np.uint64]) -> Any:
        """SEAL's ciphertext of these words; `words` was called at least once before.

        Args:
            seal: context.
            words: uint64, shape (2 N,), below q.

        Raises:
            StorageError: the file can't be written or read.
        """
        assert self._fields is not None
        body = self._fields + words.astype("<u8", copy=False).tobytes()
        header = _HEADER.pack(_MAGIC, _HEADER.size, *self._version, _NOT_COMPRESSED, 0, _HEADER.size + len(body))
        ciphertext = sealapi().Ciphertext()
        try:
            self._path.write_bytes(header + body)
            ciphertext.load(seal, str(self._path))
        except (OSError, *REFUSALS) as error:
            raise self._trouble(error) from error
        return ciphertext

    def _opened(self, raw: bytes) -> bytes:
        import zstandard

        try:
            magic, header, *version, compression, _, length = _HEADER.unpack_from(raw)
            if (magic, header, compression, length) != (_MAGIC, _HEADER.size, _ZSTD, len(raw)):
                raise _unknown(f"its header is {raw[: _HEADER.size].hex()}")
            body = zstandard.ZstdDecompressor().decompress(raw[_HEADER.size :])
        except (struct.error, zstandard.ZstdError) as error:
            raise _unknown(str(error)) from error
        size = 8 * self._parameters.words
        fields, data = body[:-size], body[-size:]
        if self._fields is None:
            self._fields, self._version = fields, (version[0], version[1])
        elif fields != self._fields:
            raise _unknown("two ciphertexts of one context differ in more than their words")
        return data

    def _trouble(self, error: Exception) -> StorageError:
        return StorageError(
            f"A ciphertext can't pass through {self._path}: {error}.", "Free space or choose another folder."
        )


def _unknown(what: str) -> ConfigError:
    return ConfigError(
        f"This TenSEAL writes ciphertexts in a form that is not known here: {what}.",
        "Install the version of TenSEAL in constraints.txt.",
    )
