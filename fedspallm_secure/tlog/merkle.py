"""A Merkle tree that only grows, with proofs that an entry is in it and that a later tree continues an earlier one.

    leaf(d) = SHA-256(0x00 || d),    node(l, r) = SHA-256(0x01 || l || r)              (RFC 9162, section 2.1.1)

A tree of n > 1 leaves has the first k of them on its left, k being the largest power of two below n. The hash of every
complete subtree is kept, so that roots and proofs of any size cost a logarithm of steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError

__all__ = ["MerkleTree", "check_consistency", "check_inclusion", "leaf_hash"]

_EMPTY = hashlib.sha256().digest()
_TODO = "Keep both as evidence, and ask who sent them."


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry, 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


class MerkleTree:
    """The tree over a log's entries, in order."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]  # [height][i]: the complete subtree over leaves i 2^height ...

    def __len__(self) -> int:
        """Number of leaves."""
        return len(self._levels[0])

    def append(self, entry: bytes) -> int:
        """Add an entry.

        Returns:
            Its index.
        """
        self._levels[0].append(leaf_hash(entry))
        height = 0
        while len(self._levels[height]) % 2 == 0:
            left, right = self._levels[height][-2:]
            height += 1
            if height == len(self._levels):
                self._levels.append([])
            self._levels[height].append(_node(left, right))
        return len(self) - 1

    def leaf(self, index: int) -> bytes:
        """The leaf hash of entry `index`, 32 bytes.

        Raises:
            LocalProtocolError: there is no such entry.
        """
        if not 0 <= index < len(self):
            raise LocalProtocolError(f"There is no entry {index} among the first {len(self)}.", "Name one of them.")
        return self._levels[0][index]

    def truncate(self, size: int) -> None:
        """Drop all leaves after the first `size`.

        Raises:
            LocalProtocolError: there are not so many.
        """
        self._checked(size)
        for height, level in enumerate(self._levels):
            del level[size >> height :]
        while len(self._levels) > 1 and not self._levels[-1]:
            self._levels.pop()

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves, all of them if None; 32 bytes (MTH in section 2.1.1).

        Raises:
            LocalProtocolError: there are not so many leaves.
        """
        size = self._checked(len(self) if size is None else size)
        return self._subtree(0, size) if size else _EMPTY

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proof that leaf `index` is in the tree of the first `size` leaves (PATH in section 2.1.3.1).

        Raises:
            LocalProtocolError: there is no such leaf in that tree, or no such tree.
        """
        if not 0 <= index < self._checked(size):
            raise LocalProtocolError(f"There is no entry {index} among the first {size}.", "Name one of them.")
        path, start, stop = [], 0, size
        while stop - start > 1:
            middle = start + _split(stop - start)
            if index < middle:
                path.append(self._subtree(middle, stop))
                stop = middle
            else:
                path.append(self._subtree(start, middle))
                start = middle
        return path[::-1]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of `new` leaves continues the one of `old` leaves (PROOF in section 2.1.4.1).

        Raises:
            LocalProtocolError: not 0 < old <= new <= number of leaves.
        """
        if not 0 < old <= self._checked(new):
            raise LocalProtocolError(f"A tree of {new} entries can't continue one of {old}.", "Name sizes in order.")
        path, start, stop, whole = [], 0, new, True
        while stop != old:
            middle = start + _split(stop - start)
            if old <= middle:
                path.append(self._subtree(middle, stop))
                stop = middle
            else:
                path.append(self._subtree(start, middle))
                start, whole = middle, False
        return ([] if whole else [self._subtree(start, stop)]) + path[::-1]

    def _checked(self, size: int) -> int:
        if not 0 <= size <= len(self):
            raise LocalProtocolError(f"The log has {len(self)} entries, not {size}.", "Ask for a smaller tree.")
        return size

    def _subtree(self, start: int, stop: int) -> bytes:
        """The root over the leaves start ... stop - 1; start is a multiple of the largest power of two below."""
        size = stop - start
        if size & (size - 1) == 0:
            height = size.bit_length() - 1
            return self._levels[height][start >> height]
        middle = start + _split(size)
        return _node(self._subtree(start, middle), self._subtree(middle, stop))


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Refuse a proof that does not lead from a leaf to a root (section 2.1.3.2).

    Args:
        leaf: the entry's `leaf_hash`.
        index: of the entry.
        size: of the tree.
        proof: as `MerkleTree.inclusion` gives it.
        root: of the tree.

    Raises:
        RemoteProtocolError: it does not.
    """
    problem = f"The proof does not show entry {index} to be in the log of {size} entries with root {root.hex()}."
    if not 0 <= index < size:
        raise RemoteProtocolError(problem, _TODO)
    here, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise RemoteProtocolError(problem, _TODO)
        if here % 2 or here == last:
            found = _node(sibling, found)
            while here % 2 == 0 and here:
                here, last = here // 2, last // 2
        else:
            found = _node(found, sibling)
        here, last = here // 2, last // 2
    if last or found != root:
        raise RemoteProtocolError(problem, _TODO)


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Refuse a proof that does not show the larger tree to continue the smaller one (section 2.1.4.2).

    Args:
        old: size of the smaller tree, at least 1.
        old_root: its root.
        new: size of the larger one.
        new_root: its root.
        proof: as `MerkleTree.consistency` gives it.

    Raises:
        RemoteProtocolError: it does not.
    """
    problem = (
        f"The proof does not show the log of {new} entries with root {new_root.hex()} to continue the one of {old} "
        f"entries with root {old_root.hex()}."
    )
    if old == new and not proof and old_root == new_root:
        return
    if not 0 < old < new or not proof:
        raise RemoteProtocolError(problem, _TODO)
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    here, last = old - 1, new - 1
    while here % 2:
        here, last = here // 2, last // 2
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise RemoteProtocolError(problem, _TODO)
        if here % 2 or here == last:
            before, after = _node(sibling, before), _node(sibling, after)
            while here % 2 == 0 and here:
                here, last = here // 2, last // 2
        else:
            after = _node(after, sibling)
        here, last = here // 2, last // 2
    if last or (before, after) != (old_root, new_root):
        raise RemoteProtocolError(problem, _TODO)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)
