"""Prune a model in place, one decoder layer after the other, each on inputs that went through the pruned layers before.

A layer takes two forward passes over the calibration windows: one to collect the second moments of its inputs, one to
carry the windows on through its pruned weights. Layers that are not pruned take one; nothing runs past the last layer
that has to be solved; magnitude pruning runs nothing at all. Only the layer at work and its moments are on the device
beside the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import PreTrainedModel

from fedspallm_secure.charter import NM, Pattern
from fedspallm_secure.errors import CharterError, ConfigError
from fedspallm_secure.pruning.capture import LayerCall, capture, check_windows
from fedspallm_secure.pruning.decoder import DecoderLayer, check_finite, decoder_layers
from fedspallm_secure.pruning.hessian import second_moments
from fedspallm_secure.pruning.layer_files import read_masks, read_weights, write_pruned
from fedspallm_secure.pruning.magnitude import magnitude
from fedspallm_secure.pruning.sparsegpt import sparsegpt
from fedspallm_secure.pruning.wanda import wanda
from fedspallm_secure.workspace import LayerStore

__all__ = ["Method", "PruneSettings", "PruningReport", "TensorReport", "prune"]

Method = Literal["sparsegpt", "wanda", "magnitude"]


@dataclass(frozen=True)
class PruneSettings:
    """How the solver works.

    Attributes:
        damping: SparseGPT's lambda as a share of the mean of the Hessian's diagonal, above 0.
        block: columns SparseGPT prunes under one threshold, at least 1.
        device: where layers are worked on, as torch names it; "auto" is CUDA where there is one.
    """

    damping: float = 0.01
    block: int = 128
    device: str = "auto"

    def __post_init__(self) -> None:
        if not (self.damping > 0 and self.block >= 1):
            raise ConfigError(
                f"Damping should be above 0 and a block at least 1 column; {self.damping} and {self.block} came.",
                "The usual values are 0.01 and 128.",
            )

    def torch_device(self) -> torch.device:
        """The device to work on.

        Raises:
            ConfigError: torch can't use it.
        """
        cuda = torch.cuda.is_available()
        name = self.device if self.device != "auto" else "cuda" if cuda else "cpu"
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"torch can't work on device {name!r}.", 'Choose "auto" or "cpu".') from error


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


@torch.no_grad()
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

    Raises:
        ModelError: the model has no such decoder layers, or weights that are not finite.
        CharterError: a tensor's inputs are not a multiple of M.
        DataError: the model can't read the windows.
        ConfigError: the device is not there.
        NumericalError: activations overflow, or no damping makes a Hessian positive definite.
        StorageError: the store can't be written or read.
    """
    every = decoder_layers(model)
    chosen = _chosen(every, layers)
    check_finite(model)
    check_windows(model, windows)
    _check_groups(chosen, pattern)
    device = settings.torch_device()
    model.eval()  # type: ignore[no-untyped-call]

    resumed = {layer.index for layer in chosen if store is not None and store.has(layer.index)}
    unsolved = {layer.index for layer in chosen} - resumed
    last = max(unsolved, default=-1) if method != "magnitude" else -1
    hidden, calls = capture(model, every, windows) if last >= 0 else ([], [])

    reports: list[TensorReport] = []
    done = 0
    for layer in every:
        call = calls[layer.index].to(device) if layer.index <= last else None
        if call is None and layer not in chosen:
            continue
        with _at_work(layer, device):
            if layer in chosen:
                if store is not None and layer.index in resumed:
                    pruned = _resume(layer, method, store)
                else:
                    states = (state.to(device) for state in hidden)
                    pruned = _solve(layer, call, states, method, pattern, settings)
                    if store is not None:
                        write_pruned(layer, pruned.kept, store, weights=method == "sparsegpt")
                reports += pruned.reports(layer)
                done += 1
                if progress is not None:
                    progress(done, len(chosen))
            if call is not None and layer.index < last:
                hidden = [call(layer.module, state.to(device)).to(state.device) for state in hidden]
    return PruningReport(tuple(reports), tuple(sorted(resumed)))


@dataclass(frozen=True, eq=False)
class _PrunedLayer:
    """The masks of a layer's tensors, bool (outputs, inputs), and their damping raises, by parameter name."""

    kept: dict[str, torch.Tensor]
    raises: dict[str, int]

    def reports(self, layer: DecoderLayer) -> list[TensorReport]:
        names = [linear.name for linear in layer.linears]
        masks = [self.kept[name] for name in names]
        return [
            TensorReport(name, int((~mask).sum()), mask.numel(), self.raises.get(name, 0))
            for name, mask in zip(names, masks, strict=True)
        ]


def _solve(
    layer: DecoderLayer,
    call: LayerCall | None,
    states: Iterable[torch.Tensor],
    method: Method,
    pattern: Pattern,
    settings: PruneSettings,
) -> _PrunedLayer:
    """Prune `layer` in place. `call` and `states` (its inputs) are not needed for magnitude pruning."""
    kept: dict[str, torch.Tensor] = {}
    raises: dict[str, int] = {}
    if call is None:
        kept = {linear.name: magnitude(linear.matrix(), pattern) for linear in layer.linears}
    else:
        moments = second_moments(layer, call, states, diagonal=method == "wanda")
        for linears, moment in moments:
            if method == "wanda":
                kept |= {linear.name: wanda(linear.matrix(), moment, pattern) for linear in linears}
                continue
            matrices = [linear.matrix() for linear in linears]
            result = sparsegpt(matrices, moment, pattern, damping=settings.damping, block=settings.block)
            for linear, weight, mask in zip(linears, result.weights, result.kept, strict=True):
                linear.assign(weight)
                kept[linear.name] = mask
                raises[linear.name] = result.damping_raises
    for linear in layer.linears:
        linear.keep(kept[linear.name])
    return _PrunedLayer(kept, raises)


def _resume(layer: DecoderLayer, method: Method, store: LayerStore) -> _PrunedLayer:
    if method == "sparsegpt":
        read_weights(layer, store)
    return _PrunedLayer(read_masks(layer, store), {})


@contextmanager
def _at_work(layer: DecoderLayer, device: torch.device) -> Iterator[None]:
    home = layer.linears[0].weight.device
    layer.module.to(device)
    try:
        yield
    finally:
        layer.module.to(home)


def _chosen(every: Sequence[DecoderLayer], layers: Iterable[int] | None) -> list[DecoderLayer]:
    indices = set(range(len(every)) if layers is None else layers)
    if not indices or not indices <= set(range(len(every))):
        raise ConfigError(
            f"Layers to prune should be some of 0 to {len(every) - 1}; {sorted(indices)} came.",
            "Choose layers that the model has.",
        )
    return [layer for layer in every if layer.index in indices]


def _check_groups(chosen: Sequence[DecoderLayer], pattern: Pattern) -> None:
    for linear in (linear for layer in chosen for linear in layer.linears):
        if isinstance(pattern, NM) and linear.shape[1] % pattern.group:
            raise CharterError(
                f"{linear.name} has {linear.shape[1]} inputs, not a multiple of {pattern.group}.",
                "Choose an N:M pattern whose M divides them, or an unstructured sparsity.",
            )
