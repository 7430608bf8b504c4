"""The second moments of one institution's text, decoder layer after decoder layer, through the model as it is by then.

What is handed out for a layer is measured before the text is carried on through that layer. So a caller who prunes each
layer when its moments come sees, from the next layer on, inputs that went through pruned layers, as SparseGPT and
Wanda do it; one who leaves the model alone sees the dense model's inputs. Several walks over one model can go side by
side, one an institution: a layer returns to the model's device whenever a walk waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from transformers import PreTrainedModel

from fedspallm_secure.errors import ConfigError
from fedspallm_secure.pruning.capture import capture, check_windows
from fedspallm_secure.pruning.decoder import DecoderLayer, check_finite, decoder_layers
from fedspallm_secure.pruning.hessian import InputMoment, Release, second_moments, window_moments
from fedspallm_secure.pruning.settings import PruneSettings

__all__ = ["chosen_layers", "layer_moments", "walk"]


def layer_moments(
    model: PreTrainedModel,
    windows: torch.Tensor,
    *,
    diagonal: bool,
    settings: PruneSettings,
    layers: Iterable[int] | None = None,
    release: Release | None = None,
) -> Iterator[tuple[DecoderLayer, list[InputMoment]]]:
    """The moments of each layer's distinct inputs, first layer to last. The model is left in evaluation mode.

    The walk keeps the list that it hands out until it goes on; a caller who is done with large moments clears it.

    Args:
        model: a decoder-only causal language model.
        windows: calibration token ids, int64 (n, T).
        diagonal: only the diagonals (Wanda).
        settings: the device to work on; the moments stay there.
        layers: indices of the layers whose moments are wanted, None for all.
        release: what becomes of the windows' moments, None for their plain sums.

    Raises:
        ModelError: the model has no decoder layers, weights that are not finite, or a linear module that is not used.
        DataError: the model can't read the windows.
        ConfigError: the device is not there, or a layer.
        NumericalError: activations overflow.
    """
    every = decoder_layers(model)
    wanted = chosen_layers(every, layers)
    check_finite(model)
    check_windows(model, windows)
    model.eval()  # type: ignore[no-untyped-call]
    return walk(model, windows, every, wanted, diagonal, settings, release)


@torch.no_grad()
def walk(
    model: PreTrainedModel,
    windows: torch.Tensor,
    every: Sequence[DecoderLayer],
    wanted: Sequence[DecoderLayer],
    diagonal: bool,
    settings: PruneSettings,
    release: Release | None = None,
) -> Iterator[tuple[DecoderLayer, list[InputMoment]]]:
    """`layer_moments` of a model and windows that were checked; nothing runs past the last wanted layer.

    Args:
        model: in evaluation mode.
        windows: int64 (n, T).
        every: the model's decoder layers.
        wanted: those whose moments are handed out, at least one.
        diagonal: only the diagonals.
        settings: where layers run, and on how many windows at a time.
        release: what becomes of the windows' moments, None for their plain sums.
    """
    last, device = max(layer.index for layer in wanted), settings.torch_device()
    each, calls = capture(model, every, windows)
    # What a layer gets beside the state is that of one window, and broadcasts over several.
    hidden = [torch.cat(each[start : start + settings.batch]) for start in range(0, len(each), settings.batch)]
    del each
    for layer, call in zip(every[: last + 1], calls, strict=False):
        call = call.to(device)
        if layer in wanted:
            with layer.on(device):
                states = (state.to(device) for state in hidden)
                if release is None:
                    moments = second_moments(layer, call, states, diagonal=diagonal)
                else:
                    moments = release(layer, window_moments(layer, call, states, diagonal=diagonal))
            yield layer, moments
        if layer.index < last:
            with layer.on(device):
                hidden = [call(layer.module, state.to(device)).to(state.device) for state in hidden]


def chosen_layers(every: Sequence[DecoderLayer], indices: Iterable[int] | None) -> list[DecoderLayer]:
    """Those of `every` with the given indices, None for all.

    Raises:
        ConfigError: there are none, or the model lacks one.
    """
    chosen = set(range(len(every)) if indices is None else indices)
    if not chosen or not chosen <= set(range(len(every))):
        raise ConfigError(
            f"Layers to prune should be some of 0 to {len(every) - 1}; {sorted(chosen)} came.",
            "Choose layers that the model has.",
        )
    return [layer for layer in every if layer.index in chosen]
