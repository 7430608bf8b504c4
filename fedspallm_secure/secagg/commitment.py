"""What a reconstructed seed is checked against, so that a wrong share is noticed and its sender found.

SHA-256 hides a seed of 32 random bytes: guessing it is the only way back.
"""

from __future__ import annotations

import hashlib

__all__ = ["commit_to_seed"]


def commit_to_seed(seed: bytes) -> str:
    """SHA-256 of a constant label and `seed` (32 bytes), 64 hexadecimal digits."""
    return hashlib.sha256(b"fedspallm-secure/v1/seed-commitment" + seed).hexdigest()
