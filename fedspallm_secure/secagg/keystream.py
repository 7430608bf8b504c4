"""The pseudo-random words that hide a lane: AES-256 in counter mode, added in place.

A mask is the keystream of AES-256-CTR (NIST SP 800-38A, initial counter block all zero) read as little-endian uint64
words. A key is used for one keystream only, so the fixed counter block repeats nothing. The stream is made in pieces
that stay in the processor's cache, and added or subtracted modulo 2^64.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

__all__ = ["apply_keystream"]

_PIECE = 2**15  # words, 256 KiB: larger buffers are slow to get, and leave the second-level cache
_ZEROS = bytes(8 * _PIECE)
_SLACK = 15  # update_into wants room for one block more than it writes


def apply_keystream(words: NDArray[np.uint64], key: bytes, *, subtract: bool) -> None:
    """Add the keystream of `key` to `words` modulo 2^64, or subtract it; in place.

    Args:
        words: uint64, shape (m,), contiguous.
        key: 32 bytes, never used for another lane.
        subtract: which of the two ends of a pair this is.
    """
    encryptor = Cipher(AES(key), CTR(bytes(16))).encryptor()
    buffer = bytearray(8 * min(_PIECE, words.size) + _SLACK)
    combine = np.subtract if subtract else np.add
    for start in range(0, words.size, _PIECE):
        piece = words[start : start + _PIECE]
        encryptor.update_into(memoryview(_ZEROS)[: 8 * piece.size], buffer)
        combine(piece, np.frombuffer(buffer, "<u8", piece.size), out=piece)
