"""Orders that nobody could choose: what is random and must be the same for all is drawn from the public beacon."""

from __future__ import annotations

import hashlib

__all__ = ["drawn_order"]


def drawn_order(what: str, beacon: bytes, round_index: int, number: int) -> list[int]:
    """0 ... number - 1 in the order of SHA-256(label, what, beacon, round, index).

    Args:
        what: names the use, so that two uses draw two orders.
        beacon: public randomness, 32 bytes.
        round_index: each round draws anew.
        number: how many indices.
    """
    label = f"fedspallm-secure/v1/sampling/{what}/".encode() + beacon + round_index.to_bytes(4, "big")
    return sorted(range(number), key=lambda index: hashlib.sha256(label + index.to_bytes(4, "big")).digest())
