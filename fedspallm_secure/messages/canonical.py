"""One byte string for every message: RFC 8785 canonical JSON, and SHA-256 of it.

Two machines that agree on a message agree on its bytes, so a digest or a signature means the same everywhere. Bodies
hold no floats: RFC 8785 would print them the ECMAScript way, which few languages get right.
"""

from __future__ import annotations

import hashlib

import rfc8785
from pydantic import BaseModel, ConfigDict

__all__ = ["Frozen", "canonical", "digest"]


class Frozen(BaseModel):
    """Base of everything that is signed or hashed: immutable, strictly typed, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def canonical(body: Frozen) -> bytes:
    """RFC 8785 bytes of `body`."""
    return rfc8785.dumps(body.model_dump(mode="json"))


def digest(body: Frozen) -> str:
    """SHA-256 of the canonical bytes, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(body)).hexdigest()
