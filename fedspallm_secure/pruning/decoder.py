"""Which weights of a model are pruned: the linear modules of its decoder layers, found rather than listed.

Every decoder-only architecture keeps its layers in one `ModuleList`, the one that holds the most linear weights; so no
architecture is named here. Matrices are handed out as (outputs, inputs) whatever the module's own layout: GPT-2's
`Conv1D` stores the transpose. Embeddings, head, norms and biases lie outside and are never touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from fedspallm_secure.errors import ModelError

__all__ = ["DecoderLayer", "PrunableLinear", "check_finite", "decoder_layers"]

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, eq=False)
class PrunableLinear:
    """One linear module of a decoder layer.

    Attributes:
        name: its weight's name in `model.state_dict()`.
        module: the `nn.Linear` or `Conv1D`.
    """

    name: str
    module: nn.Linear | Conv1D

    @property
    def weight(self) -> torch.Tensor:
        """View (outputs, inputs) of the weight where it lies, outside autograd: writing to it changes the model."""
        stored = self.module.weight.detach()
        return stored.T if isinstance(self.module, Conv1D) else stored

    @property
    def shape(self) -> tuple[int, int]:
        """(outputs, inputs)."""
        outputs, inputs = self.weight.shape
        return outputs, inputs

    def matrix(self) -> torch.Tensor:
        """A float32 copy, (outputs, inputs), contiguous, on the module's device."""
        return self.weight.to(torch.float32, copy=True, memory_format=torch.contiguous_format)

    def assign(self, matrix: torch.Tensor) -> None:
        """Write `matrix` (outputs, inputs) back in the module's own dtype and layout."""
        self.weight.copy_(matrix)

    def keep(self, kept: torch.Tensor) -> None:
        """Set the weights where `kept` (bool, outputs x inputs) is False to +0.0; change no other bit."""
        self.weight.masked_fill_(~kept, 0)


@dataclass(frozen=True, eq=False)
class DecoderLayer:
    """One decoder layer.

    Attributes:
        index: its place, from 0.
        module: the layer itself.
        linears: its linear modules, in the order in which the model registers them.
    """

    index: int
    module: nn.Module
    linears: tuple[PrunableLinear, ...]

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        """The layer is on `device` inside the block, and back where it was afterwards."""
        home = self.linears[0].weight.device
        self.module.to(device)
        try:
            yield
        finally:
            self.module.to(home)


def decoder_layers(model: PreTrainedModel) -> list[DecoderLayer]:
    """The decoder layers of `model`, first to last.

    Raises:
        ModelError: there are none, or a linear weight is not float32, float16 or bfloat16 (a quantised model).
    """
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    sizes = [sum(linear.weight.numel() for linear in _linears(name, module)) for name, module in lists]
    if not any(sizes):
        raise ModelError(
            f"{type(model).__name__} has no list of decoder layers with linear weights.",
            "Give a decoder-only causal language model.",
        )
    prefix, layers = lists[sizes.index(max(sizes))]
    found = [DecoderLayer(index, module, _linears(f"{prefix}.{index}", module)) for index, module in enumerate(layers)]
    for linear in (linear for layer in found for linear in layer.linears):
        if linear.weight.dtype not in _DTYPES:
            raise ModelError(
                f"{linear.name} should be float32, float16 or bfloat16 and is {linear.weight.dtype}.",
                "Load the model unquantised, in one of these dtypes.",
            )
    return found


def check_finite(model: PreTrainedModel) -> None:
    """Refuse a model that holds a NaN or an infinity anywhere: calibration would spread it over every layer.

    Raises:
        ModelError: names the first such tensor.
    """
    for name, parameter in model.named_parameters():
        low, high = parameter.detach().aminmax()
        if not (low.isfinite() and high.isfinite()):
            raise ModelError(f"{name} holds values that are not finite.", "Fetch the model again or repair it.")


def _linears(prefix: str, module: nn.Module) -> tuple[PrunableLinear, ...]:
    return tuple(
        PrunableLinear(f"{prefix}.{name}.weight", linear)
        for name, linear in module.named_modules()
        if isinstance(linear, nn.Linear | Conv1D)
    )
