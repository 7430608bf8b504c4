"""A layer taken over from another store is a link to the same file, and neither store can change the other's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import StorageError
from fedspallm_secure.workspace import LayerStore

_W = np.arange(12, dtype=np.float32).reshape(3, 4)


def _pair(tmp_path: Path) -> tuple[LayerStore, LayerStore]:
    """A store with layer 2, and one without any."""
    source = LayerStore(tmp_path / "source")
    source.write(2, {"a": _W}, {"a": _W > 3})
    return source, LayerStore(tmp_path / "deep" / "target")


def _found(store: LayerStore) -> NDArray[np.float32]:
    return store.weights(2, "a")


def test_an_adopted_layer_is_the_sources_file_and_takes_no_room(tmp_path: Path) -> None:
    source, target = _pair(tmp_path)
    target.adopt(2, source)
    assert target.path(2).samefile(source.path(2))
    assert target.path(2).stat().st_nlink == 2
    assert np.array_equal(_found(target), _W)
    assert np.array_equal(target.kept(2, "a"), _W > 3)
    assert [path.name for path in target.folder.iterdir()] == [target.path(2).name]


@pytest.mark.parametrize("written_again", ["source", "target"])
def test_writing_one_stores_layer_again_leaves_the_others_as_it_was(written_again: str, tmp_path: Path) -> None:
    source, target = _pair(tmp_path)
    target.adopt(2, source)
    one, other = (source, target) if written_again == "source" else (target, source)
    one.write(2, {"a": -_W})
    assert np.array_equal(_found(one), -_W)
    assert np.array_equal(_found(other), _W)


def test_the_layer_outlives_its_source(tmp_path: Path) -> None:
    source, target = _pair(tmp_path)
    target.adopt(2, source)
    source.path(2).unlink()
    assert np.array_equal(_found(target), _W)


def test_a_layer_that_is_there_is_replaced(tmp_path: Path) -> None:
    source, target = _pair(tmp_path)
    target.write(2, {"a": -_W})
    target.adopt(2, source)
    assert np.array_equal(_found(target), _W)
    target.adopt(2, source)  # the same again
    assert np.array_equal(_found(target), _W)
    assert [path.name for path in target.folder.iterdir()] == [target.path(2).name]


@pytest.mark.parametrize("leftover", ["a link of its own", "half a file"])
def test_what_a_killed_run_left_beside_it_is_in_nobodys_way(leftover: str, tmp_path: Path) -> None:
    source, target = _pair(tmp_path)
    target.folder.mkdir(parents=True)
    aside = target.path(2).with_suffix(".partial")
    if leftover == "half a file":
        aside.write_bytes(b"half")
    else:
        aside.hardlink_to(source.path(2))
    assert not target.has(2)
    target.adopt(2, source)
    assert np.array_equal(_found(target), _W)
    assert np.array_equal(_found(source), _W)
    assert not aside.exists()


def test_a_file_left_as_a_link_to_the_source_is_not_written_through(tmp_path: Path) -> None:
    """Killed between its two steps, `adopt` leaves a second name of the source's own file."""
    source, target = _pair(tmp_path)
    target.folder.mkdir(parents=True)
    target.path(2).with_suffix(".partial").hardlink_to(source.path(2))
    target.write(2, {"a": -_W})
    assert np.array_equal(_found(target), -_W)
    assert np.array_equal(_found(source), _W)


def test_a_layer_that_the_source_lacks_is_missed_by_name_and_what_is_there_stays(tmp_path: Path) -> None:
    source, target = _pair(tmp_path)
    target.write(1, {"a": _W})
    with pytest.raises(StorageError, match=r"layer-00001\.safetensors can't be linked to .*source"):
        target.adopt(1, source)
    assert np.array_equal(target.weights(1, "a"), _W)
    with pytest.raises(StorageError, match="Run the step that writes it again"):
        LayerStore(tmp_path / "third").adopt(0, source)
    assert not LayerStore(tmp_path / "third").has(0)
