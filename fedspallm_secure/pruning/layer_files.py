"""Between a torch model and its layer files (`LayerStore`): numpy on that side, the model's dtype and layout on this.

A pruned layer's file always holds its masks; it holds weights only where the method changed them (SparseGPT). Wanda and
magnitude pruning leave the kept weights as they were, so their masks over the base model say everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from fedspallm_secure.errors import StorageError
from fedspallm_secure.pruning.decoder import DecoderLayer, PrunableLinear, decoder_layers
from fedspallm_secure.workspace import LayerStore

__all__ = ["load_masks", "load_weights", "read_masks", "read_weights", "snapshot", "to_numpy", "write_pruned"]


def snapshot(model: PreTrainedModel, store: LayerStore) -> None:
    """Store the linear weights of every decoder layer as they are, in the model's dtype.

    Raises:
        ModelError: the model has no decoder layers.
        StorageError: the disk refuses.
    """
    for layer in decoder_layers(model):
        store.write(layer.index, {linear.name: to_numpy(linear.weight) for linear in layer.linears})


def load_weights(model: PreTrainedModel, store: LayerStore, layers: Iterable[int] | None = None) -> None:
    """Put stored weights into the decoder layers `layers` (None: all of them) of `model`.

    Raises:
        StorageError: a layer's weights are not stored, or have another shape.
    """
    for layer in _chosen(model, layers):
        read_weights(layer, store)


def load_masks(model: PreTrainedModel, store: LayerStore, layers: Iterable[int] | None = None) -> None:
    """Zero, in the decoder layers `layers` (None: all of them) of `model`, the weights that the stored masks drop.

    Raises:
        StorageError: a layer's masks are not stored, or have another shape.
    """
    for layer in _chosen(model, layers):
        read_masks(layer, store)


def read_weights(layer: DecoderLayer, store: LayerStore) -> None:
    """`load_weights` for one layer."""
    for linear in layer.linears:
        linear.assign(_to_torch(_of_shape(linear, store.weights(layer.index, linear.name))))


def read_masks(layer: DecoderLayer, store: LayerStore) -> dict[str, torch.Tensor]:
    """`load_masks` for one layer; the masks, bool (outputs, inputs), by parameter name."""
    masks = {
        linear.name: torch.from_numpy(_of_shape(linear, store.kept(layer.index, linear.name))).to(linear.weight.device)
        for linear in layer.linears
    }
    for linear in layer.linears:
        linear.keep(masks[linear.name])
    return masks


def write_pruned(layer: DecoderLayer, kept: Mapping[str, torch.Tensor], store: LayerStore, *, weights: bool) -> None:
    """Store the masks of a pruned layer, and the weights it has now when `weights`.

    Raises:
        StorageError: the disk refuses.
    """
    matrices = {linear.name: to_numpy(linear.weight) for linear in layer.linears} if weights else {}
    store.write(layer.index, matrices, {name: mask.cpu().numpy() for name, mask in kept.items()})


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """`tensor` as a contiguous numpy array of the same dtype and bits; shares memory where it can."""
    contiguous = tensor.detach().cpu().contiguous()
    if contiguous.dtype == torch.bfloat16:
        # Neither numpy nor torch speaks of the other's bfloat16: the bits travel as uint16.
        return contiguous.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return contiguous.numpy()


def _chosen(model: PreTrainedModel, layers: Iterable[int] | None) -> Sequence[DecoderLayer]:
    found = decoder_layers(model)
    return found if layers is None else [found[index] for index in layers]


def _of_shape(linear: PrunableLinear, stored: NDArray[Any]) -> NDArray[Any]:
    if stored.shape != linear.shape:
        raise StorageError(
            f"{linear.name} is {linear.shape} in the model and {stored.shape} in the layer file.",
            "Use the layer files that were written for this model.",
        )
    return stored


def _to_torch(matrix: NDArray[Any]) -> torch.Tensor:
    if matrix.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(matrix.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(matrix)
