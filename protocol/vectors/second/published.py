"""SPEC.md section 6.2: published lanes as digits."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from protocol.vectors.second.agreement import Lane
from protocol.vectors.second.refusal import require

__all__ = ["Published", "blob_of", "words_of"]


def blob_of(words: Sequence[int]) -> bytes:
    """Words as bytes."""
    return struct.pack(f"<{len(words)}Q", *words)


def words_of(check: str, blob: Mapping[str, Any], blobs: Mapping[str, bytes]) -> list[int]:
    """C29 or S11: the words of a lane that a message names."""
    data = blobs.get(blob["blob"], b"")
    require(check, hashlib.sha256(data).hexdigest() == blob["blob"] and len(data) == 8 * blob["words"])
    return list(struct.unpack(f"<{blob['words']}Q", data))


class Published:
    """Reads them.

    Args:
        blobs: digest -> bytes; may still grow.
    """

    def __init__(self, blobs: Mapping[str, bytes]) -> None:
        self._blobs = blobs

    def digits(self, lane: Lane, which: str, blob: Mapping[str, Any], length: int) -> list[int]:
        """C29, C30: the digits of a published lane."""
        found = lane.packing[which].unpack(words_of("C29", blob, self._blobs), length)
        require("C30", found is not None, lane.name)
        return found or []
