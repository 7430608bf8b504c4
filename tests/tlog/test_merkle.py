"""Roots and proofs are those of RFC 9162, by an implementation written from its recursive definitions; others fail."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.tlog.merkle import MerkleTree, check_consistency, check_inclusion, leaf_hash


def _k(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def _mth(entries: list[bytes]) -> bytes:
    """MTH of section 2.1.1, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = _k(len(entries))
    return hashlib.sha256(b"\x01" + _mth(entries[:k]) + _mth(entries[k:])).digest()


def _path(m: int, entries: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(entries) == 1:
        return []
    k = _k(len(entries))
    if m < k:
        return [*_path(m, entries[:k]), _mth(entries[k:])]
    return [*_path(m - k, entries[k:]), _mth(entries[:k])]


def _subproof(m: int, entries: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1."""
    n = len(entries)
    if m == n:
        return [] if whole else [_mth(entries)]
    k = _k(n)
    if m <= k:
        return [*_subproof(m, entries[:k], whole), _mth(entries[k:])]
    return [*_subproof(m - k, entries[k:], False), _mth(entries[:k])]


def _tree(size: int, seed: int = 0) -> tuple[MerkleTree, list[bytes]]:
    source = random.Random(seed)
    entries = [source.randbytes(source.randrange(40)) for _ in range(size)]
    tree = MerkleTree()
    assert [tree.append(entry) for entry in entries] == list(range(size))
    return tree, entries


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 1000), seed=st.integers(0, 2**32), data=st.data())
def test_roots_and_proofs_are_those_of_the_recursive_definitions(size: int, seed: int, data: st.DataObject) -> None:
    tree, entries = _tree(size, seed)
    at = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, at - 1))
    old = data.draw(st.integers(1, at))
    assert tree.root(at) == _mth(entries[:at])
    assert tree.inclusion(index, at) == _path(index, entries[:at])
    assert tree.consistency(old, at) == _subproof(old, entries[:at], True)


def test_every_proof_in_every_small_tree_is_accepted() -> None:
    tree, entries = _tree(40)
    for size in range(1, 41):
        for index in range(size):
            proof = tree.inclusion(index, size)
            check_inclusion(leaf_hash(entries[index]), index, size, proof, tree.root(size))
        for old in range(1, size + 1):
            check_consistency(old, tree.root(old), size, tree.root(size), tree.consistency(old, size))


@settings(max_examples=200, deadline=None)
@given(size=st.integers(2, 70), data=st.data())
def test_a_proof_of_anything_else_is_refused(size: int, data: st.DataObject) -> None:
    tree, entries = _tree(size)
    index = data.draw(st.integers(0, size - 1))
    leaf, root, proof = leaf_hash(entries[index]), tree.root(), tree.inclusion(index, size)
    other = data.draw(st.integers(0, size - 1).filter(lambda it: it != index))
    wrong_inclusions = [
        (leaf_hash(b"never logged"), index, size, proof, root),
        (leaf, other, size, proof, root),
        (leaf, size, size, proof, root),
        (leaf, -1, size, proof, root),
        (leaf, index, size, proof[:-1], root),
        (leaf, index, size, [*proof, root], root),
        (leaf, index, size, proof, tree.root(size - 1)),
    ]
    for wrong in wrong_inclusions:
        with pytest.raises(RemoteProtocolError, match="does not show entry"):
            check_inclusion(*wrong)
    old = data.draw(st.integers(1, size - 1))
    before, between = tree.root(old), tree.consistency(old, size)
    fork, _ = _tree(size, seed=1)
    wrong_consistencies = [
        (old, fork.root(old), size, root, between),
        (old, before, size, fork.root(), between),
        (old, before, size, root, between[:-1]),
        (old, before, size, root, [*between, root]),
        (old, before, size, root, []),
        (size, root, old, before, between),
        (0, MerkleTree().root(), size, root, between),
        (size, root, size, fork.root(), []),
    ]
    for consistency in wrong_consistencies:
        with pytest.raises(RemoteProtocolError, match="to continue the one of"):
            check_consistency(*consistency)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(0, 40), st.data())
def test_a_truncated_tree_is_the_one_that_never_held_more_and_grows_like_it(
    size: int, dropped: int, data: st.DataObject
) -> None:
    tree, entries = _tree(size + dropped)
    tree.truncate(size)
    assert len(tree) == size
    assert tree.root() == _mth(entries[:size])
    assert [tree.leaf(index) for index in range(size)] == [leaf_hash(entry) for entry in entries[:size]]
    later = [b"later %d" % number for number in range(data.draw(st.integers(1, 20)))]
    assert [tree.append(entry) for entry in later] == list(range(size, size + len(later)))
    now = entries[:size] + later
    at = data.draw(st.integers(1, len(now)))
    assert tree.root(at) == _mth(now[:at])
    index, old = data.draw(st.integers(0, at - 1)), data.draw(st.integers(1, at))
    assert tree.inclusion(index, at) == _path(index, now[:at])
    assert tree.consistency(old, at) == _subproof(old, now[:at], True)


def test_an_empty_tree_has_the_hash_of_nothing_as_its_root() -> None:
    assert MerkleTree().root() == hashlib.sha256(b"").digest()
    assert len(MerkleTree()) == 0


_ASKED = ["root 4", "root -1", "inclusion 3 3", "inclusion 0 4", "consistency 0 3", "consistency 3 2"]
_ASKED += ["leaf 3", "leaf -1", "truncate 4", "truncate -1"]


@pytest.mark.parametrize("ask", _ASKED)
def test_what_the_log_does_not_hold_can_not_be_proven(ask: str) -> None:
    tree, _ = _tree(3)
    name, *numbers = ask.split()
    before = tree.root()
    with pytest.raises(LocalProtocolError):
        getattr(tree, name)(*map(int, numbers))
    assert (len(tree), tree.root()) == (3, before)
