"""What one participant says of the log in each of its messages: how far it saw it, and its own last entry there."""

from __future__ import annotations

from typing import TypeVar

from fedspallm_secure.messages import Envelope, Frozen, Linked, LogHead, Message, Signer, canonical, seal
from fedspallm_secure.tlog.merkle import leaf_hash

__all__ = ["Chain"]

_M = TypeVar("_M", bound=Frozen)


class Chain:
    """One participant's messages over a whole run.

    What was sent need not stand in the log: it may have come too late. So `prev` is not what was sent last, but what
    was last seen to stand there.

    Attributes:
        seen: the log that it last verified; None before.
        prev: leaf hash of its last entry within `seen`, 64 hexadecimal digits; None if there is none.
        sent: leaf hashes of all that it sent.
    """

    def __init__(self) -> None:
        self.seen: LogHead | None = None
        self.prev: str | None = None
        self.sent: set[str] = set()

    def link(self, message: _M) -> _M:
        """`message` as it is to be signed now; a kind that has no links stays as it is."""
        links = {"prev": self.prev, "seen": self.seen} if isinstance(message, Linked) else {}
        return message.model_copy(update=links)

    def seal(self, message: Message, signer: Signer) -> Envelope:
        """Link and sign `message`."""
        envelope = seal(self.link(message), signer)
        self.sent.add(leaf_hash(canonical(envelope)).hex())
        return envelope
