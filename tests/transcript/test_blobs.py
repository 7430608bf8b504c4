"""A payload comes back whole under the digest of its bytes, or not at all."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedspallm_secure.errors import StorageError
from fedspallm_secure.transcript.blobs import BlobStore

_WORDS = np.array([1, 2**64 - 1, 0x0123456789ABCDEF], np.uint64)
_BYTES = bytes.fromhex("0100000000000000 ffffffffffffffff efcdab8967452301")


@settings(max_examples=30, deadline=None)
@given(words=arrays(np.uint64, st.integers(0, 50)), chunk=st.integers(1, 60))
def test_words_come_back_whole_and_in_chunks(
    tmp_path_factory: pytest.TempPathFactory, words: np.ndarray[tuple[int], np.dtype[np.uint64]], chunk: int
) -> None:
    store = BlobStore(tmp_path_factory.mktemp("blobs"))
    name = store.put(words)
    assert np.array_equal(store.get(name), words)
    chunks = list(store.stream(name, chunk))
    assert [part.size for part in chunks[:-1]] == [chunk] * (len(chunks) - 1)
    assert np.array_equal(np.concatenate([*chunks, np.empty(0, np.uint64)]), words)
    assert store.size(name) == words.nbytes
    assert store.bytes_read == 2 * words.nbytes


def test_a_blob_is_named_by_the_digest_of_its_little_endian_words(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "made" / "on demand")
    name = store.put(_WORDS)
    assert name == hashlib.sha256(_BYTES).hexdigest()
    assert [path.name for path in store.folder.iterdir()] == [name]
    assert (store.folder / name).read_bytes() == _BYTES
    assert store.put(_WORDS.astype(">u8")) == name


def _whole(store: BlobStore, name: str) -> None:
    store.get(name)


def _streamed(store: BlobStore, name: str) -> None:
    for _ in store.stream(name, 2):
        pass


_READ = pytest.mark.parametrize("read", [_whole, _streamed])


@_READ
@pytest.mark.parametrize("index", range(0, 24, 5))
def test_a_flipped_byte_is_noticed(tmp_path: Path, index: int, read: Callable[[BlobStore, str], None]) -> None:
    store = BlobStore(tmp_path)
    name = store.put(_WORDS)
    data = bytearray(_BYTES)
    data[index] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(StorageError, match="does not hold what its name says"):
        read(store, name)
    assert store.put(_WORDS) == name  # which heals it
    read(store, name)


@_READ
@pytest.mark.parametrize("data", [_BYTES[:-8], _BYTES[:-3], _BYTES + bytes(8), b""])
def test_another_length_is_noticed(tmp_path: Path, data: bytes, read: Callable[[BlobStore, str], None]) -> None:
    store = BlobStore(tmp_path)
    name = store.put(_WORDS)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(StorageError, match="does not hold what its name says"):
        read(store, name)
    assert store.size(name) == len(data)


@_READ
@pytest.mark.parametrize("cut", [1, 20])
def test_bytes_that_are_not_whole_words_are_refused_though_their_digest_is_right(
    tmp_path: Path, cut: int, read: Callable[[BlobStore, str], None]
) -> None:
    name = hashlib.sha256(_BYTES[:-cut]).hexdigest()
    (tmp_path / name).write_bytes(_BYTES[:-cut])
    with pytest.raises(StorageError, match=f"has {24 - cut} bytes"):
        read(BlobStore(tmp_path), name)


@pytest.mark.parametrize("read", [_whole, _streamed, BlobStore.size])
def test_a_missing_blob_is_named_and_no_folder_is_made_for_it(
    tmp_path: Path, read: Callable[[BlobStore, str], object]
) -> None:
    with pytest.raises(StorageError, match=f"names the blob {'a' * 64}"):
        read(BlobStore(tmp_path / "blobs"), "a" * 64)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("read", [_whole, _streamed, BlobStore.size])
def test_a_pipe_or_a_device_in_a_blob_s_place_is_refused_at_once(
    tmp_path: Path, read: Callable[[BlobStore, str], object]
) -> None:
    os.mkfifo(tmp_path / ("a" * 64))
    (tmp_path / ("b" * 64)).symlink_to("/dev/zero")
    for letter in "ab":
        with pytest.raises(StorageError, match="can't be read: it is no file"):
            read(BlobStore(tmp_path), letter * 64)


def test_a_blob_larger_than_the_memory_can_be_streamed(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 29)  # zeros that take no room on the disk
    with path.open("rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()
    path.rename(tmp_path / name)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (used + (1 << 26), before[1]))
    try:
        store = BlobStore(tmp_path)
        assert sum(chunk.size for chunk in store.stream(name, 1 << 16)) == 1 << 26
        with pytest.raises(MemoryError):
            store.get(name)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
    assert store.bytes_read == 1 << 29


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


def test_a_full_disk_leaves_no_partial_blob_and_the_old_one_whole(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
import numpy as np
from fedspallm_secure.errors import StorageError
from fedspallm_secure.transcript.blobs import BlobStore
store = BlobStore(Path(sys.argv[1]))
words = np.arange(10**6, dtype=np.uint64)
name = store.put(words)
for free in (0, 1, 4096, 8 * 10**6 - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, resource.RLIM_INFINITY))
    for other in (words, words + 1):
        try:
            store.put(other)
        except StorageError as error:
            print("8000000 bytes can't be stored" in error.problem, len(list(store.folder.iterdir())))
    assert np.array_equal(store.get(name), words)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["True 1"] * 8


def test_a_blob_that_a_killed_process_announced_is_whole_and_so_are_all_that_have_a_name(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
import numpy as np
from fedspallm_secure.transcript.blobs import BlobStore
store = BlobStore(Path(sys.argv[1]))
for number in range(10**9):
    print(store.put(np.full(50_000, number % 20, np.uint64)), flush=True)
"""
    for pause in (0.0, 0.001, 0.002, 0.003):
        writers = [
            subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)
            for _ in range(2)  # of the same blobs at the same time
        ]
        said: list[str] = []
        for writer in writers:
            assert writer.stdout is not None
            said += [writer.stdout.readline() for _ in range(8)]
        time.sleep(pause)
        for writer in writers:
            assert writer.stdout is not None
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.readlines()
            writer.wait()
            writer.stdout.close()
            assert writer.returncode == -signal.SIGKILL
        store = BlobStore(tmp_path)
        names = [name for name in os.listdir(tmp_path) if not name.endswith(".partial")]
        assert {line.strip() for line in said if line.endswith("\n")} <= set(names)
        for name in names:
            store.get(name)


def test_a_blob_and_the_names_that_lead_to_it_are_on_the_disk_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, list[str]]] = []
    fsync = os.fsync

    def watched(handle: int) -> None:
        target = os.fstat(handle)
        folder = stat.S_ISDIR(target.st_mode)
        synced.append(
            (target.st_ino, os.listdir(handle) if folder else [Path(f"/proc/self/fd/{handle}").read_bytes().hex()])
        )
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    store = BlobStore(tmp_path / "made" / "blobs")
    name = store.put(_WORDS)
    assert synced == [
        (tmp_path.stat().st_ino, ["made"]),
        ((tmp_path / "made").stat().st_ino, ["blobs"]),
        ((store.folder / name).stat().st_ino, [_BYTES.hex()]),
        (store.folder.stat().st_ino, [name]),
    ]
