"""A payload comes back whole under the digest of its bytes, or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedspallm_secure.errors import StorageError
from fedspallm_secure.transcript import BlobStore

_WORDS = np.array([1, 2**64 - 1, 0x0123456789ABCDEF], np.uint64)
_BYTES = bytes.fromhex("0100000000000000 ffffffffffffffff efcdab8967452301")


@settings(max_examples=30, deadline=None)
@given(words=arrays(np.uint64, st.integers(0, 50)))
def test_words_come_back(
    tmp_path_factory: pytest.TempPathFactory, words: np.ndarray[tuple[int], np.dtype[np.uint64]]
) -> None:
    store = BlobStore(tmp_path_factory.mktemp("blobs"))
    assert np.array_equal(store.get(store.put(words)), words)


def test_a_blob_is_named_by_the_digest_of_its_little_endian_words(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "made" / "on demand")
    name = store.put(_WORDS)
    assert name == hashlib.sha256(_BYTES).hexdigest()
    assert [path.name for path in store.folder.iterdir()] == [name]
    assert (store.folder / name).read_bytes() == _BYTES
    assert store.put(_WORDS.astype(">u8")) == name


@pytest.mark.parametrize("index", range(0, 24, 5))
def test_a_flipped_byte_is_noticed(tmp_path: Path, index: int) -> None:
    store = BlobStore(tmp_path)
    name = store.put(_WORDS)
    data = bytearray(_BYTES)
    data[index] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(StorageError, match="does not hold what its name says"):
        store.get(name)


@pytest.mark.parametrize("data", [_BYTES[:-8], _BYTES + bytes(8), b""], ids=["cut", "longer", "empty"])
def test_another_length_is_noticed(tmp_path: Path, data: bytes) -> None:
    store = BlobStore(tmp_path)
    name = store.put(_WORDS)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(StorageError, match="does not hold what its name says"):
        store.get(name)


def test_bytes_that_are_not_whole_words_are_refused_though_their_digest_is_right(tmp_path: Path) -> None:
    name = hashlib.sha256(_BYTES[:-1]).hexdigest()
    (tmp_path / name).write_bytes(_BYTES[:-1])
    with pytest.raises(StorageError, match="has 23 bytes"):
        BlobStore(tmp_path).get(name)


def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"names the blob {'a' * 64}"):
        BlobStore(tmp_path).get("a" * 64)


def test_a_write_into_what_is_no_folder_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="24 bytes can't be stored"):
        BlobStore(tmp_path / "file").put(_WORDS)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_write_that_fails_at_the_end_leaves_no_partial_blob(tmp_path: Path) -> None:
    name = hashlib.sha256(_BYTES).hexdigest()
    (tmp_path / name).mkdir()
    with pytest.raises(StorageError, match="can't be stored"):
        BlobStore(tmp_path).put(_WORDS)
    assert os.listdir(tmp_path) == [name]
