"""SPEC.md section 17.1: the Merkle tree of RFC 9162, as its recursive definitions have it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from protocol.vectors.second.refusal import CheckError

__all__ = ["check_consistency", "check_inclusion", "consistency", "inclusion", "leaf_hash", "root"]


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH (section 2.1.1), from leaf hashes."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = _split(len(leaves))
    return _node(root(leaves[:k]), root(leaves[k:]))


def inclusion(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH (section 2.1.3.1)."""
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if index < k:
        return [*inclusion(index, leaves[:k]), root(leaves[k:])]
    return [*inclusion(index - k, leaves[k:]), root(leaves[:k])]


def consistency(old: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PROOF (section 2.1.4.1)."""
    return _subproof(old, leaves, known=True)


def _subproof(old: int, leaves: Sequence[bytes], *, known: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if known else [root(leaves)]
    k = _split(len(leaves))
    if old <= k:
        return [*_subproof(old, leaves[:k], known=known), root(leaves[k:])]
    return [*_subproof(old - k, leaves[k:], known=False), root(leaves[:k])]


def check_inclusion(check: str, leaf: bytes, index: int, size: int, proof: Sequence[bytes], top: bytes) -> None:
    """Refuse a proof that does not lead from a leaf to a root."""
    if not 0 <= index < size or _climb(check, leaf, index, size, proof) != top:
        raise CheckError(check, f"entry {index} of {size}")


def _climb(check: str, leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root of the tree that PATH would give this proof for."""
    if (size == 1) is (len(proof) > 0):
        raise CheckError(check, "a proof of another length")
    if size == 1:
        return leaf
    k = _split(size)
    if index < k:
        return _node(_climb(check, leaf, index, k, proof[:-1]), proof[-1])
    return _node(proof[-1], _climb(check, leaf, index - k, size - k, proof[:-1]))


def check_consistency(check: str, old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Refuse a proof that does not show the larger tree to continue the smaller one."""
    if not 0 < old <= new or _both(check, old, new, proof, old_root) != (old_root, new_root):
        raise CheckError(check, f"{old} entries to {new}")


def _both(check: str, old: int, new: int, proof: Sequence[bytes], known: bytes | None) -> tuple[bytes, bytes]:
    """The roots of both trees that PROOF would give this proof for; `known` is the smaller one's."""
    if old == new:
        if len(proof) != (known is None):
            raise CheckError(check, "a proof of another length")
        found = proof[0] if known is None else known
        return found, found
    if not proof:
        raise CheckError(check, "a proof of another length")
    k = _split(new)
    if old <= k:
        before, after = _both(check, old, k, proof[:-1], known)
        return before, _node(after, proof[-1])
    before, after = _both(check, old - k, new - k, proof[:-1], None)
    return _node(proof[-1], before), _node(proof[-1], after)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    k = 1
    while 2 * k < size:
        k *= 2
    return k
