"""One safetensors file a decoder layer, so that no machine ever holds a whole model and a killed run goes on.

A file holds, for each pruned linear module, the weight matrix under its parameter name and, where a mask belongs to it,
the kept positions as a bit string under `NAME:kept`. Matrices are always (outputs, inputs), row-major, whatever the
module's own layout (GPT-2 stores the transpose). A file that exists is complete: it is written aside and renamed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fedspallm_secure.errors import StorageError

__all__ = ["LayerStore"]

_KEPT = ":kept"


class LayerStore:
    """The layer files of one model, or of one institution's pruned copy, in one folder.

    Args:
        folder: made on the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, layer: int) -> Path:
        """File of decoder layer `layer`."""
        return self.folder / f"layer-{layer:05d}.safetensors"

    def has(self, layer: int) -> bool:
        """Whether the layer is stored, completely."""
        return self.path(layer).exists()

    def write(
        self, layer: int, weights: Mapping[str, NDArray[Any]], kept: Mapping[str, NDArray[np.bool_]] | None = None
    ) -> None:
        """Store one layer, all or nothing.

        Args:
            layer: index of the decoder layer.
            weights: parameter name -> matrix (outputs, inputs), float32, float16 or bfloat16. May be empty. An
                institution keeps second moments in the same way, under their lanes' names.
            kept: parameter name -> bool matrix of the same shape, True where the weight stays.

        Raises:
            StorageError: the disk refuses.
        """
        tensors = {name: _storable(matrix) for name, matrix in weights.items()}
        for name, mask in (kept or {}).items():
            tensors[name + _KEPT] = np.packbits(mask)
        metadata = {name + _KEPT: f"{matrix.shape[0]}x{matrix.shape[1]}" for name, matrix in (kept or {}).items()}
        metadata |= {name: "bfloat16" for name, matrix in weights.items() if matrix.dtype == ml_dtypes.bfloat16}
        path = self.path(layer)
        aside = path.with_suffix(".partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            aside.unlink(missing_ok=True)  # it may be a link that a killed run left, to another store's file
            save_file(tensors, aside, metadata=metadata)
            os.replace(aside, path)
        except (OSError, SafetensorError) as error:
            with suppress(OSError):
                aside.unlink()
            raise StorageError(
                f"{path} can't be written: {error}.", "Free space or choose another --out; what is stored stays usable."
            ) from error

    def adopt(self, layer: int, source: LayerStore) -> None:
        """Have the layer that `source` has, by a link to its file: neither store writes into a file that is there.

        Raises:
            StorageError: it is not there, or the disk refuses.
        """
        path = self.path(layer)
        aside = path.with_suffix(".partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            aside.unlink(missing_ok=True)
            os.link(source.path(layer), aside)
            os.replace(aside, path)
            aside.unlink(missing_ok=True)  # of two names of one file, replacing takes none away
        except OSError as error:
            raise StorageError(
                f"{path} can't be linked to {source.path(layer)}: {error}.", "Run the step that writes it again."
            ) from error

    def weights(self, layer: int, name: str) -> NDArray[Any]:
        """The stored matrix (outputs, inputs) of one parameter, in its own dtype.

        Raises:
            StorageError: the file or the parameter is not there.
        """
        stored, note = self._read(layer, name)
        return stored.view(ml_dtypes.bfloat16) if note == "bfloat16" else stored

    def kept(self, layer: int, name: str) -> NDArray[np.bool_]:
        """The stored mask of one parameter, bool (outputs, inputs), True where the weight stays.

        Raises:
            StorageError: the file or the mask is not there.
        """
        bits, note = self._read(layer, name + _KEPT)
        rows, columns = (int(side) for side in note.split("x"))
        return np.unpackbits(bits, count=rows * columns).reshape(rows, columns).view(np.bool_)

    def _read(self, layer: int, tensor: str) -> tuple[NDArray[Any], str]:
        path = self.path(layer)
        try:
            with safe_open(path, framework="numpy") as file:
                return file.get_tensor(tensor), (file.metadata() or {}).get(tensor, "")
        except (OSError, SafetensorError) as error:
            raise StorageError(
                f"{tensor} of layer {layer} was expected in {path}: {error}.", "Run the step that writes it again."
            ) from error


def _storable(matrix: NDArray[Any]) -> NDArray[Any]:
    """`matrix` contiguous, bfloat16 as the bits it has (safetensors' numpy side has no name for that dtype)."""
    contiguous = np.ascontiguousarray(matrix)
    return contiguous.view(np.uint16) if contiguous.dtype == ml_dtypes.bfloat16 else contiguous
