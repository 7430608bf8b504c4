"""The second moments of the inputs of a layer's linear modules: all that SparseGPT and Wanda see of the data.

SparseGPT (arXiv 2301.00774) needs the Hessian of the layer-wise squared error, `H = 2/n sum_t x_t x_t^T` over the n
calibration tokens; Wanda (arXiv 2306.11695) only its diagonal. Moments are kept as sums over tokens beside their
number, so that those of several texts add up to those of all the text. Linear modules that are handed the same input
tensor (q, k and v; gate and up) share one moment and, later, one factorisation.

Whoever wants to bound what one window adds takes the windows' moments one by one (`window_moments`) and decides what
the pruner sees of them: a `Release`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fedspallm_secure.errors import ModelError, NumericalError
from fedspallm_secure.pruning.capture import LayerCall
from fedspallm_secure.pruning.decoder import DecoderLayer, PrunableLinear

__all__ = ["InputMoment", "Release", "second_moments", "window_moments"]


@dataclass(frozen=True, eq=False)
class InputMoment:
    """The second moment of an input, and the linear modules that see it.

    Attributes:
        linears: the modules, in the layer's order.
        total: `sum_t x_t x_t^T`, float32 (inputs, inputs), or its diagonal (inputs,).
        tokens: how many tokens were summed over, at least 1.
    """

    linears: tuple[PrunableLinear, ...]
    total: torch.Tensor
    tokens: int

    def hessian(self) -> torch.Tensor:
        """`2/n sum_t x_t x_t^T`, or its diagonal, as a new tensor."""
        return self.total * (2 / self.tokens)


Release = Callable[[DecoderLayer, Iterator[list[InputMoment]]], list[InputMoment]]
"""From a layer and its windows' moments, one list a window, to the moments that it is pruned from.

Each of the lists holds the same inputs in the same order, and so does what is returned. The windows run as the iterator
goes on, so only one window's moments exist at a time.
"""


@torch.no_grad()
def second_moments(
    layer: DecoderLayer, call: LayerCall, hidden: Iterable[torch.Tensor], *, diagonal: bool
) -> list[InputMoment]:
    """Run `layer` on every window and accumulate, in float32, the second moment of each distinct input.

    Args:
        layer: the layer, on the device to work on.
        call: how to call it, on the same device.
        hidden: the layer's inputs, (windows, T, width) a batch, on the same device, all of one length.
        diagonal: only the diagonal (Wanda).

    Raises:
        ModelError: the layer has a linear module that its forward pass does not use.
        NumericalError: an activation is not finite.
    """
    groups: list[tuple[PrunableLinear, ...]] = []
    totals: list[torch.Tensor] = []
    tokens = 0
    with _inputs_seen(layer) as seen:
        for state in hidden:
            call(layer.module, state)
            if not groups:
                groups = _by_input(layer, seen)
                totals = [_empty(seen[group[0].name], diagonal) for group in groups]
            for group, total in zip(groups, totals, strict=True):
                x = seen[group[0].name].flatten(0, -2).float()
                if diagonal:
                    total.add_(x.square().sum(dim=0))
                else:
                    total.addmm_(x.T, x)
            tokens += state.shape[:-1].numel()
            seen.clear()
    for group, total in zip(groups, totals, strict=True):
        if not total.isfinite().all():
            raise NumericalError(
                f"The calibration inputs of {group[0].name} are not finite.",
                "Load the model in bfloat16 or float32: float16 can overflow.",
            )
    return [InputMoment(group, total, tokens) for group, total in zip(groups, totals, strict=True)]


@torch.no_grad()
def window_moments(
    layer: DecoderLayer, call: LayerCall, hidden: Iterable[torch.Tensor], *, diagonal: bool
) -> Iterator[list[InputMoment]]:
    """Run `layer` on all windows: for each, the second moment of each distinct input.

    A window's moments depend on no other window, but where a layer mixes those of a batch. They may be infinite or not
    numbers: that is for the `Release`.

    Args:
        layer: the layer, on the device to work on.
        call: how to call it, on the same device.
        hidden: the layer's inputs, (windows, T, width) a batch, on the same device, all of one length.
        diagonal: only the diagonal (Wanda).

    Raises:
        ModelError: the layer has a linear module that its forward pass does not use.
    """
    groups: list[tuple[PrunableLinear, ...]] = []
    with _inputs_seen(layer) as seen:
        for state in hidden:
            call(layer.module, state)
            groups = groups or _by_input(layer, seen)
            first = [seen[group[0].name] for group in groups]
            inputs = [x.reshape(len(state), -1, x.shape[-1]).float() for x in first]
            seen.clear()
            for window in zip(*inputs, strict=True):
                totals = [x.square().sum(dim=0) if diagonal else x.T @ x for x in window]
                yield [InputMoment(group, total, state.shape[1]) for group, total in zip(groups, totals, strict=True)]


@contextmanager
def _inputs_seen(layer: DecoderLayer) -> Iterator[dict[str, torch.Tensor]]:
    """The input of each linear module in the latest forward pass, by parameter name."""
    seen: dict[str, torch.Tensor] = {}

    def watch(linear: PrunableLinear) -> torch.utils.hooks.RemovableHandle:
        return linear.module.register_forward_pre_hook(lambda _, args: seen.update({linear.name: args[0]}))

    handles = [watch(linear) for linear in layer.linears]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _by_input(layer: DecoderLayer, seen: dict[str, torch.Tensor]) -> list[tuple[PrunableLinear, ...]]:
    groups: dict[int, list[PrunableLinear]] = {}
    for linear in layer.linears:
        if linear.name not in seen:
            raise ModelError(
                f"Decoder layer {layer.index} does not use {linear.name} on the calibration text.",
                "Models that route tokens past some of their linear modules can't be pruned here.",
            )
        # Every tensor in `seen` is alive, so equal ids are the same tensor.
        groups.setdefault(id(seen[linear.name]), []).append(linear)
    return [tuple(group) for group in groups.values()]


def _empty(x: torch.Tensor, diagonal: bool) -> torch.Tensor:
    inputs = x.shape[-1]
    return torch.zeros((inputs,) if diagonal else (inputs, inputs), dtype=torch.float32, device=x.device)
