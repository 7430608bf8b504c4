"""The log as its keeper holds it: the tree over all entries, and those that are not on the disk yet.

What is sent stands in the log first. So its keeper appends here, writes what `take_new` gives, and only then sends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, Linked, LogHead, Message, Signer, canonical
from fedspallm_secure.tlog.checkpoint import Checkpoint, checkpoint_text
from fedspallm_secure.tlog.evidence import Evidence, OwnPlace, Place
from fedspallm_secure.tlog.merkle import MerkleTree, leaf_hash
from fedspallm_secure.tlog.note import sign_note

__all__ = ["HeldLog"]

_TODO = "Nothing was changed; its sender was shown another log, or lost track of its own messages."


class HeldLog:
    """The log of one run, in memory by its hashes alone.

    Args:
        origin: its name, see `origin_of`.
    """

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._tree = MerkleTree()
        self._places: dict[bytes, int] = {}
        self._entries_of: defaultdict[str, list[int]] = defaultdict(list)  # signer -> its entries, ascending
        self._new: list[Envelope] = []

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._tree)

    def append(self, envelope: Envelope) -> None:
        """Add an entry. One that is there already is not added again: it was said once."""
        entry = canonical(envelope)
        leaf = leaf_hash(entry)
        if leaf not in self._places:
            self._places[leaf] = self._tree.append(entry)
            self._entries_of[envelope.signatures[0].keyid].append(self._places[leaf])
            self._new.append(envelope)

    def rollback(self, size: int) -> None:
        """Take back all entries after the first `size`, of which none was taken yet.

        Raises:
            LocalProtocolError: some were.
        """
        dropped = len(self) - size
        if dropped > len(self._new):
            raise LocalProtocolError("Entries that may have been sent can't be taken back.", "Our own fault.")
        self._tree.truncate(size)
        for leaf in [leaf for leaf, index in self._places.items() if index >= size]:
            del self._places[leaf]
        for entries in self._entries_of.values():
            del entries[bisect_left(entries, size) :]
        del self._new[len(self._new) - dropped :]

    def take_new(self) -> list[Envelope]:
        """The entries since the last call, in order: to be written, and then sent."""
        new, self._new = self._new, []
        return new

    def head(self, size: int | None = None) -> LogHead:
        """The first `size` entries, all of them if None."""
        size = len(self) if size is None else size
        return LogHead(size=size, root=self._tree.root(size).hex())

    def holds(self, envelope: Envelope) -> bool:
        """Whether an envelope stands in the log."""
        return leaf_hash(canonical(envelope)) in self._places

    def check_links(self, message: Message) -> None:
        """Refuse a message that does not link to its sender's last one, or saw another log than this.

        Raises:
            RemoteProtocolError: as said.
        """
        self.check_prev(message)
        self.check_seen(message)

    def check_prev(self, message: Message) -> None:
        """Refuse a message that does not link to its sender's last entry within the log that it saw.

        Raises:
            RemoteProtocolError: as said.
        """
        if not isinstance(message, Linked):
            return
        index = self._last_of(message.sender, 0 if message.seen is None else message.seen.size)
        last = None if index is None else self._tree.leaf(index).hex()
        if message.prev != last:
            raise RemoteProtocolError(
                f"{message.sender!r} links its {message.kind!r} to {message.prev}; its last message in the log that it "
                f"saw is {last}.",
                _TODO,
            )

    def check_seen(self, message: Message) -> None:
        """Refuse a message whose sender saw another log than the beginning of this one.

        Raises:
            RemoteProtocolError: as said.
        """
        seen = message.seen if isinstance(message, Linked) else None
        if seen is not None and (seen.size > len(self) or self.head(seen.size) != seen):
            raise RemoteProtocolError(
                f"{message.sender!r} saw a log of {seen.size} entries with root {seen.root}, which is not this one.",
                _TODO,
            )

    def checkpoint(self, signer: Signer) -> str:
        """The note that says how far the log goes now, signed by its keeper."""
        return sign_note(checkpoint_text(Checkpoint(self.origin, self.head())), self.origin, signer)

    def since(self, seen: LogHead | None) -> tuple[str, ...]:
        """Proof that the log continues what somebody saw.

        Raises:
            LocalProtocolError: it does not go so far.
        """
        return () if seen is None else _hexes(self._tree.consistency(seen.size, len(self)))

    def own(self, name: str) -> OwnPlace | None:
        """Where the last entry of a participant stands; None if it has none."""
        index = self._last_of(name, len(self))
        if index is None:
            return None
        return OwnPlace(index=index, proof=self._inclusion(index), leaf=self._tree.leaf(index).hex())

    def evidence(self, envelope: Envelope, signer: Signer, to: str, seen: LogHead | None) -> Evidence:
        """What goes beside an envelope to somebody.

        Args:
            envelope: an entry.
            signer: the log's keeper.
            to: the receiver's name.
            seen: what it saw last.

        Raises:
            LocalProtocolError: the envelope is no entry, or the receiver saw what is not in this log.
        """
        index = self._places.get(leaf_hash(canonical(envelope)))
        if index is None:
            raise LocalProtocolError("What is to be sent does not stand in the log.", "Our own fault.")
        return Evidence(
            checkpoint=self.checkpoint(signer),
            place=Place(index=index, proof=self._inclusion(index)),
            own=self.own(to),
            since=self.since(seen),
            up_to=self.since(self.head(index)) if index else (),
        )

    def _inclusion(self, index: int) -> tuple[str, ...]:
        return _hexes(self._tree.inclusion(index, len(self)))

    def _last_of(self, signer: str, size: int) -> int | None:
        """Index of the last of the first `size` entries that `signer` signed."""
        entries = self._entries_of.get(signer, [])
        place = bisect_left(entries, size)
        return entries[place - 1] if place else None


def _hexes(proof: list[bytes]) -> tuple[str, ...]:
    return tuple(part.hex() for part in proof)
