"""What flows into the first decoder layer for every calibration window, and how the model calls each layer.

A layer needs more than the hidden state: position embeddings, a causal or sliding-window mask, different ones in
different layers of Gemma. The model itself is asked for them: it runs with every layer's forward passing the hidden
state straight through, so that only the embeddings are computed and no exception has to break out of the pass. All
windows have one length and a batch of one, so what the layers get beside the hidden state is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from fedspallm_secure.errors import DataError
from fedspallm_secure.pruning.decoder import DecoderLayer

__all__ = ["LayerCall", "capture", "check_windows"]


@dataclass(frozen=True, eq=False)
class LayerCall:
    """How the model calls one decoder layer, besides the hidden state that comes first.

    Attributes:
        args: further positional arguments.
        kwargs: keyword arguments.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def to(self, device: torch.device) -> LayerCall:
        """The same call with every tensor on `device`."""
        return LayerCall(_moved(self.args, device), _moved(self.kwargs, device))

    def __call__(self, layer: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        """The hidden state (1, T, width) after `layer`."""
        output = layer(hidden, *self.args, **self.kwargs)
        state: torch.Tensor = output[0] if isinstance(output, tuple) else output
        return state


def check_windows(model: PreTrainedModel, windows: torch.Tensor) -> None:
    """Refuse calibration windows that `model` can't read.

    Raises:
        DataError: not a non-empty int64 (n, T) tensor, a token outside the vocabulary, or windows longer than the
            model's positions.
    """
    if windows.ndim != 2 or windows.numel() == 0 or windows.dtype != torch.int64:
        raise DataError(
            f"Calibration windows should be int64 (n, T), not empty; {windows.dtype} {tuple(windows.shape)} came.",
            "Give more text, or shorter windows.",
        )
    vocabulary = model.config.get_text_config().vocab_size
    if windows.min() < 0 or windows.max() >= vocabulary:
        raise DataError(
            f"Token ids should be under {vocabulary}; {int(windows.min())} to {int(windows.max())} came.",
            "Tokenise with the model's own tokenizer.",
        )
    positions = model.config.get_text_config().max_position_embeddings
    if windows.shape[1] > positions:
        raise DataError(f"The model reads {positions} tokens, a window has {windows.shape[1]}.", "Shorten the windows.")


@torch.no_grad()
def capture(
    model: PreTrainedModel, layers: Sequence[DecoderLayer], windows: torch.Tensor
) -> tuple[list[torch.Tensor], list[LayerCall]]:
    """The inputs of the first layer and the call of each layer.

    Args:
        model: the model, in evaluation mode.
        layers: all its decoder layers.
        windows: token ids, int64 (n, T).

    Returns:
        One hidden state (1, T, width) a window, on the model's device; one call a layer.
    """
    modules = [layer.module for layer in layers]
    enter = modules[0].forward
    hidden: list[torch.Tensor] = []
    calls: dict[int, LayerCall] = {}
    in_tuple = False

    def stand_in(index: int) -> Callable[..., Any]:
        def forward(state: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            nonlocal in_tuple
            if index == 0 and not calls:
                # Layers answer with a tensor or a tuple, by version and family: only a real call tells which.
                in_tuple = isinstance(enter(state, *args, **kwargs), tuple)
            if index == 0:
                hidden.append(state)
            calls.setdefault(index, LayerCall(args, kwargs))
            return (state,) if in_tuple else state

        return forward

    with _forwards_replaced(modules, [stand_in(layer.index) for layer in layers]):
        for window in windows.to(model.device):
            model.base_model(input_ids=window[None], use_cache=False)
    return hidden, [calls[layer.index] for layer in layers]


@contextmanager
def _forwards_replaced(modules: Sequence[nn.Module], forwards: Sequence[Callable[..., Any]]) -> Iterator[None]:
    before = [vars(module).get("forward") for module in modules]
    for module, forward in zip(modules, forwards, strict=True):
        vars(module)["forward"] = forward
    try:
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            if own is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = own


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, tuple | list):
        return type(value)(_moved(item, device) for item in value)
    if isinstance(value, Mapping):
        return {name: _moved(item, device) for name, item in value.items()}
    return value
