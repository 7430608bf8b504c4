"""What a message says of the log: how much of it its sender has verified, and what of the sender's own stood there.

Whoever keeps the log could show two versions of it. Each version would have to hold the signed word of honest
participants about the other: `seen` names the log that one spoke in, `prev` chains what it said.
"""

from __future__ import annotations

from fedspallm_secure.messages.canonical import Frozen
from fedspallm_secure.messages.fields import Count, Hex32

__all__ = ["Linked", "LogHead"]


class LogHead(Frozen):
    """The log's first `size` entries, by the root of their Merkle tree (RFC 9162, section 2.1.1)."""

    size: Count
    root: Hex32


class Linked(Frozen):
    """`seen` is the log that the sender last verified, `prev` the leaf hash of its own last entry there, if any."""

    prev: Hex32 | None = None
    seen: LogHead | None = None
