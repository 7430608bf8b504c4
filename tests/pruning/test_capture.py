"""Going layer by layer computes what the model itself computes, in every architecture family."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from fedspallm_secure.charter import parse_pattern
from fedspallm_secure.errors import DataError
from fedspallm_secure.pruning import PruneSettings, decoder_layers, prune
from fedspallm_secure.pruning.capture import capture, check_windows
from tests.pruning.tiny_models import FAMILIES, VOCABULARY, WINDOW, calibration_windows, tiny_model


@torch.no_grad()
def _last_layer_in_the_model(model: PreTrainedModel, windows: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(input, output) of the last decoder layer, one window after the other, in the model's own forward pass."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def watch(_: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.append((args[0], output))

    handle = decoder_layers(model)[-1].module.register_forward_hook(watch)
    for window in windows:
        model(input_ids=window[None], use_cache=False)
    handle.remove()
    return seen


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_layer_by_layer_equals_the_models_own_forward_pass(family: str) -> None:
    model, windows = tiny_model(family), calibration_windows()
    layers = decoder_layers(model)
    hidden, calls = capture(model, layers, windows)
    for layer, call in zip(layers, calls, strict=True):
        hidden = [call(layer.module, state) for state in hidden]
    for ours, (_, theirs) in zip(hidden, _last_layer_in_the_model(model, windows), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3"])
@torch.no_grad()
def test_a_sliding_window_shorter_than_the_text_matters_in_these_models(family: str) -> None:
    wide = tiny_model(family)
    narrow = tiny_model(family)
    wide.config.sliding_window = WINDOW
    window = calibration_windows(1)
    assert not torch.equal(wide(window).logits, narrow(window).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_is_calibrated_on_what_the_pruned_layers_before_it_give(family: str) -> None:
    model, windows = tiny_model(family), calibration_windows()
    seen: list[torch.Tensor] = []
    last = decoder_layers(model)[-1].module
    handle = last.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    prune(model, windows, method="sparsegpt", pattern=parse_pattern("0.5"), settings=PruneSettings())
    handle.remove()
    for ours, (theirs, _) in zip(seen[-len(windows) :], _last_layer_in_the_model(model, windows), strict=True):
        assert torch.equal(ours, theirs)


def test_the_model_has_its_own_forward_back_after_a_failure() -> None:
    model = tiny_model()
    before = model(calibration_windows(1)).logits
    with pytest.raises(IndexError):
        capture(model, decoder_layers(model), torch.full((1, 4), VOCABULARY))
    assert torch.equal(model(calibration_windows(1)).logits, before)


@pytest.mark.parametrize(
    ("windows", "complaint"),
    [
        (torch.zeros(0, 4, dtype=torch.int64), "not empty"),
        (torch.zeros(4, dtype=torch.int64), "int64"),
        (torch.zeros(2, 4), "float32"),
        (torch.full((1, 4), VOCABULARY), "under 64"),
        (torch.full((1, 4), -1), "under 64"),
        (torch.zeros(1, 33, dtype=torch.int64), "reads 32 tokens, a window has 33"),
    ],
)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_windows_that_the_model_cannot_read_are_refused(family: str, windows: torch.Tensor, complaint: str) -> None:
    model = tiny_model(family)
    check_windows(model, calibration_windows())
    with pytest.raises(DataError, match=complaint):
        check_windows(model, windows)
