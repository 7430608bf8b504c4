"""What travels beside an envelope and proves itself: where it stands in the log, and that the log only grew."""

from __future__ import annotations

from fedspallm_secure.messages import Count, Frozen, Hex32

__all__ = ["Evidence", "OwnPlace", "Place"]


class Place(Frozen):
    """That an entry is in the checkpoint's tree: its index, and the proof (RFC 9162, section 2.1.3)."""

    index: Count
    proof: tuple[Hex32, ...]


class OwnPlace(Place):
    """The same of the receiver's own last entry, with its leaf hash: not all that it sent need stand there."""

    leaf: Hex32


class Evidence(Frozen):
    """What the log's keeper shows to whom it sends an envelope.

    Attributes:
        checkpoint: a note that it signed.
        place: where the envelope stands.
        own: where the receiver's last entry stands; null if it has none.
        since: that the checkpoint continues what the receiver saw last (RFC 9162, section 2.1.4); empty if that is
            nothing, or the same.
        up_to: that the checkpoint continues the log before the envelope; empty for the first entry.
    """

    checkpoint: str
    place: Place
    own: OwnPlace | None
    since: tuple[Hex32, ...]
    up_to: tuple[Hex32, ...]
