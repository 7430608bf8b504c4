"""Prune a model in place, one decoder layer after the other, each on inputs that went through the pruned layers before.

A layer takes two forward passes over the calibration windows: one to collect the second moments of its inputs, one to
carry the windows on through its pruned weights. Layers that are not pruned take one; nothing runs past the last layer
that has to be solved; magnitude pruning runs nothing at all. Only the layer at work and its moments are on the device
beside the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from fedspallm_secure.charter import NM, Pattern
from fedspallm_secure.errors import CharterError
from fedspallm_secure.pruning.capture import check_windows
from fedspallm_secure.pruning.decoder import DecoderLayer, check_finite, decoder_layers
from fedspallm_secure.pruning.hessian import InputMoment, Release
from fedspallm_secure.pruning.layer_files import read_masks, read_weights, write_pruned
from fedspallm_secure.pruning.settings import Method, PruneSettings
from fedspallm_secure.pruning.solve import PrunedLayer, prune_layer
from fedspallm_secure.pruning.walk import chosen_layers, walk
from fedspallm_secure.workspace import LayerStore

__all__ = ["PruningReport", "TensorReport", "prune"]


@dataclass(frozen=True)
class TensorReport:
    """What became of one weight tensor.

    Attributes:
        name: parameter name.
        zeros: weights pruned.
        numel: weights in all.
        damping_raises: how often its Hessian's damping was raised tenfold; 0 where none was factored, as in a layer
            that came from the store.
    """

    name: str
    zeros: int
    numel: int
    damping_raises: int

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zeros / self.numel


@dataclass(frozen=True)
class PruningReport:
    """What `prune` did.

    Attributes:
        tensors: one entry a pruned tensor, in the model's order.
        resumed: indices of the layers that came from the store instead of being solved.
    """

    tensors: tuple[TensorReport, ...]
    resumed: tuple[int, ...]


def prune(
    model: PreTrainedModel,
    windows: torch.Tensor,
    *,
    method: Method,
    pattern: Pattern,
    settings: PruneSettings,
    layers: Iterable[int] | None = None,
    store: LayerStore | None = None,
    progress: Callable[[int, int], None] | None = None,
    release: Release | None = None,
) -> PruningReport:
    """Prune the linear weights of decoder layers in place. The model is left in evaluation mode.

    Args:
        model: a decoder-only causal language model.
        windows: calibration token ids, int64 (n, T).
        method: which weights go, and whether the others make up for it.
        pattern: for every tensor on its own.
        settings: how the solver works.
        layers: indices of the layers to prune, None for all; the others stay as they are and only pass the windows on.
        store: takes each pruned layer as soon as it is done. A layer that it has already is loaded instead of solved.
        progress: called with (layers pruned, layers to prune) after each.
        release: what becomes of the windows' moments before a layer is pruned from them, None for their plain sums; not
            asked for layers that come from the store.

    Raises:
        ModelError: the model has no such decoder layers, or weights that are not finite.
        CharterError: a tensor's inputs are not a multiple of M.
        DataError: the model can't read the windows.
        ConfigError: the device is not there.
        NumericalError: activations overflow, or no damping makes a Hessian positive definite.
        StorageError: the store can't be written or read.
    """
    every = decoder_layers(model)
    chosen = chosen_layers(every, layers)
    check_finite(model)
    check_windows(model, windows)
    _check_groups(chosen, pattern)
    settings.torch_device()  # refused before anything is read
    model.eval()  # type: ignore[no-untyped-call]

    reports: dict[int, list[TensorReport]] = {}

    def report(layer: DecoderLayer, pruned: PrunedLayer) -> None:
        reports[layer.index] = _reports(layer, pruned)
        if progress is not None:
            progress(len(reports), len(chosen))

    for layer in chosen:
        if store is not None and store.has(layer.index):
            report(layer, _resume(layer, method, store))
    resumed = tuple(reports)
    unsolved = [layer for layer in chosen if layer.index not in reports]
    work: Iterable[tuple[DecoderLayer, list[InputMoment]]] = [(layer, []) for layer in unsolved]
    if unsolved and method != "magnitude":
        work = walk(model, windows, every, unsolved, method == "wanda", settings, release)
    for layer, moments in work:
        pruned = prune_layer(layer, moments, method=method, pattern=pattern, settings=settings)
        moments.clear()  # they are large, and the next layer's come before this loop lets go of these
        if store is not None:
            write_pruned(layer, pruned.kept, store, weights=method == "sparsegpt")
        report(layer, pruned)
    return PruningReport(tuple(tensor for index in sorted(reports) for tensor in reports[index]), resumed)


def _reports(layer: DecoderLayer, pruned: PrunedLayer) -> list[TensorReport]:
    masks = {linear.name: pruned.kept[linear.name] for linear in layer.linears}
    return [
        TensorReport(name, int((~mask).sum()), mask.numel(), pruned.damping_raises.get(name, 0))
        for name, mask in masks.items()
    ]


def _resume(layer: DecoderLayer, method: Method, store: LayerStore) -> PrunedLayer:
    if method == "sparsegpt":
        read_weights(layer, store)
    return PrunedLayer(read_masks(layer, store), {})


def _check_groups(chosen: Sequence[DecoderLayer], pattern: Pattern) -> None:
    for linear in (linear for layer in chosen for linear in layer.linears):
        if isinstance(pattern, NM) and linear.shape[1] % pattern.group:
            raise CharterError(
                f"{linear.name} has {linear.shape[1]} inputs, not a multiple of {pattern.group}.",
                "Choose an N:M pattern whose M divides them, or an unstructured sparsity.",
            )
