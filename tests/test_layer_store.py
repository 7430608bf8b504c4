"""A layer file gives back exactly what was stored, and is there only when it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import StorageError
from fedspallm_secure.workspace import LayerStore


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_weights_and_masks_come_back_bit_for_bit(tmp_path: Path, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    matrix: NDArray[Any] = rng.normal(size=(5, 7)).astype(dtype)
    kept = rng.random((5, 7)) < 0.5
    store = LayerStore(tmp_path)
    store.write(3, {"a.weight": matrix}, {"a.weight": kept})
    assert store.has(3)
    assert not store.has(2)
    assert store.weights(3, "a.weight").dtype == dtype
    assert store.weights(3, "a.weight").tobytes() == matrix.tobytes()
    assert np.array_equal(store.kept(3, "a.weight"), kept)


def test_a_mask_needs_no_weights_beside_it(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)
    store.write(0, {}, {"a.weight": np.eye(3, dtype=np.bool_)})
    assert np.array_equal(store.kept(0, "a.weight"), np.eye(3, dtype=np.bool_))
    with pytest.raises(StorageError, match=r"a\.weight of layer 0"):
        store.weights(0, "a.weight")


def test_a_write_that_fails_leaves_no_layer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = LayerStore(tmp_path / "file")
    with pytest.raises(StorageError, match="can't be written"):
        store.write(0, {"a": np.zeros((1, 1), np.float32)})
    assert not store.has(0)
