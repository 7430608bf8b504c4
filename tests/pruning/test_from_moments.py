"""Institutions that add up their second moments prune as one place with all their text would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from fedspallm_secure.aggregation import DiagonalQuantiser, MatrixQuantiser
from fedspallm_secure.charter import Pattern, parse_pattern
from fedspallm_secure.errors import ConfigError, DataError
from fedspallm_secure.pruning import (
    DecoderLayer,
    InputMoment,
    Method,
    PrunableLinear,
    PruneSettings,
    decoder_layers,
    layer_moments,
    prune,
    prune_layer,
)
from fedspallm_secure.pruning.capture import LayerCall
from fedspallm_secure.pruning.hessian import second_moments
from tests.pruning.tiny_models import FAMILIES, LAYERS, VOCABULARY, WINDOW, calibration_windows, tiny_model

_METHODS: tuple[Method, ...] = ("sparsegpt", "wanda")
_SETTINGS = PruneSettings(block=8, device="cpu")
_PATTERNS = [parse_pattern("0.37"), parse_pattern("2:4")]
_INSTITUTIONS = 3


def _texts() -> list[torch.Tensor]:
    """Windows of each institution; not all have equally many."""
    return [calibration_windows(3 + index, seed=10 + index) for index in range(_INSTITUTIONS)]


def _walk(
    model: PreTrainedModel, windows: torch.Tensor, method: Method
) -> Iterator[tuple[DecoderLayer, list[InputMoment]]]:
    return layer_moments(model, windows, diagonal=method == "wanda", settings=_SETTINGS)


def _pooled(parts: Sequence[list[InputMoment]]) -> list[InputMoment]:
    return [
        replace(group[0], total=sum(part.total for part in group), tokens=sum(part.tokens for part in group))
        for group in zip(*parts, strict=True)
    ]


def _prune_together(model: PreTrainedModel, texts: Sequence[torch.Tensor], method: Method, pattern: Pattern) -> None:
    """One exchange a layer: each institution's text goes through the layers that were pruned from the sum."""
    for steps in zip(*(_walk(model, text, method) for text in texts), strict=True):
        moments = _pooled([part for _, part in steps])
        prune_layer(steps[0][0], moments, method=method, pattern=pattern, settings=_SETTINGS)


def _prune_in_one_place(model: PreTrainedModel, text: torch.Tensor, method: Method, pattern: Pattern) -> None:
    prune(model, text, method=method, pattern=pattern, settings=_SETTINGS)


def _weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {linear.name: linear.matrix() for layer in decoder_layers(model) for linear in layer.linears}


def _differing_masks(left: PreTrainedModel, right: PreTrainedModel) -> float:
    """Share of the positions that one of them prunes and the other does not."""
    pairs = [(ours == 0, _weights(right)[name] == 0) for name, ours in _weights(left).items()]
    return sum(int((ours != theirs).sum()) for ours, theirs in pairs) / sum(ours.numel() for ours, _ in pairs)


def _distance(left: PreTrainedModel, right: PreTrainedModel) -> float:
    """Mean absolute difference of their weights, as a share of the mean absolute weight."""
    pairs = [(ours, _weights(right)[name]) for name, ours in _weights(left).items()]
    return float(
        sum((ours - theirs).abs().sum() for ours, theirs in pairs) / sum(ours.abs().sum() for ours, _ in pairs)
    )


@torch.no_grad()
def _seen_in_the_models_own_pass(model: PreTrainedModel, windows: torch.Tensor) -> Mapping[str, torch.Tensor]:
    """`sum_t x_t x_t^T` of every linear module's input, in float64, in the model's own forward pass."""
    moments: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Any:
        def add(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            x = args[0].flatten(0, -2).double()
            moments[name] = moments.get(name, torch.zeros(())) + x.T @ x

        return add

    linears = [linear for layer in decoder_layers(model) for linear in layer.linears]
    handles = [linear.module.register_forward_pre_hook(watch(linear.name)) for linear in linears]
    for window in windows:
        model(input_ids=window[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return moments


def _check_against_the_models_own_pass(
    found: Sequence[InputMoment], seen: Mapping[str, torch.Tensor], windows: torch.Tensor
) -> None:
    for moment in found:
        assert moment.tokens == windows.numel()
        for linear in moment.linears:
            truth = seen[linear.name]
            scale = truth.diagonal().outer(truth.diagonal()).sqrt()
            assert ((moment.total - truth).abs() <= 1e-5 * scale + 1e-12).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_moments_of_a_model_left_alone_are_those_of_the_dense_model(family: str) -> None:
    model, windows = tiny_model(family), calibration_windows()
    seen = _seen_in_the_models_own_pass(model, windows)
    found = [moment for _, moments in _walk(model, windows, "sparsegpt") for moment in moments]
    assert {linear.name for moment in found for linear in moment.linears} == set(seen)
    _check_against_the_models_own_pass(found, seen, windows)


@pytest.mark.parametrize("family", FAMILIES)
def test_moments_of_a_model_pruned_on_the_way_are_those_of_the_pruned_layers_before(family: str) -> None:
    model, windows = tiny_model(family), calibration_windows()
    for layer, moments in _walk(model, windows, "sparsegpt"):
        _check_against_the_models_own_pass(moments, _seen_in_the_models_own_pass(model, windows), windows)
        prune_layer(layer, moments, method="sparsegpt", pattern=parse_pattern("0.5"), settings=_SETTINGS)


def test_a_diagonal_is_the_matrixs_diagonal() -> None:
    model, windows = tiny_model(), calibration_windows()
    for (_, matrices), (_, diagonals) in zip(
        _walk(model, windows, "sparsegpt"), _walk(model, windows, "wanda"), strict=True
    ):
        for matrix, diagonal in zip(matrices, diagonals, strict=True):
            assert [linear.name for linear in matrix.linears] == [linear.name for linear in diagonal.linears]
            torch.testing.assert_close(matrix.total.diagonal(), diagonal.total)


class _Integers(nn.Module):
    """A layer whose linear inputs are the hidden states themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        self.linear(state)
        return state


@pytest.mark.parametrize("diagonal", [True, False])
@torch.no_grad()
def test_sums_of_parts_are_the_sum_of_the_whole_exactly_where_float32_is_exact(diagonal: bool) -> None:
    # Small integers: no order of additions rounds, so only a wrong sum or a wrong factor can make a difference.
    module = _Integers()
    layer = DecoderLayer(0, module, (PrunableLinear("linear.weight", module.linear),))
    states = list(torch.randint(-9, 10, (9, 1, 5, 6), generator=torch.Generator().manual_seed(0)).float())

    def moment(part: list[torch.Tensor]) -> InputMoment:
        return second_moments(layer, LayerCall((), {}), part, diagonal=diagonal)[0]

    parts, whole = [moment(states[:2]), moment(states[2:3]), moment(states[3:])], moment(states)
    x = torch.cat(states).flatten(0, -2)
    truth = x.square().sum(dim=0) if diagonal else x.T @ x
    assert torch.equal(whole.total, truth)
    torch.testing.assert_close(whole.hessian(), 2 / len(x) * truth)
    pooled = _pooled([[part] for part in parts])[0]
    assert torch.equal(pooled.total, whole.total)
    assert pooled.tokens == whole.tokens == 45
    assert torch.equal(pooled.hessian(), whole.hessian())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_institution_with_all_the_text_prunes_to_the_bits_of_prune(
    family: str, method: Method, dtype: torch.dtype
) -> None:
    central, together = tiny_model(family, dtype=dtype), tiny_model(family, dtype=dtype)
    _prune_in_one_place(central, calibration_windows(), method, parse_pattern("0.5"))
    _prune_together(together, [calibration_windows()], method, parse_pattern("0.5"))
    for name, weight in _weights(central).items():
        assert torch.equal(weight, _weights(together)[name])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("pattern", _PATTERNS, ids=["0.37", "2:4"])
def test_moments_added_up_layer_by_layer_prune_as_all_the_text_in_one_place(
    family: str, method: Method, pattern: Pattern
) -> None:
    central, together = tiny_model(family), tiny_model(family)
    _prune_in_one_place(central, torch.cat(_texts()), method, pattern)
    _prune_together(together, _texts(), method, pattern)
    # The two add the same numbers in another order: a near tie may fall the other way, and nothing else.
    assert _differing_masks(central, together) <= 0.001
    assert _distance(central, together) <= 0.001


def _summed_as_integers(
    quantiser: DiagonalQuantiser | MatrixQuantiser, moments: Sequence[NDArray[Any]]
) -> NDArray[Any]:
    sums = np.stack([quantiser.encode(moment) for moment in moments]).astype(np.uint64).sum(axis=0)
    return quantiser.decode(sums, len(moments))


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_sums_of_integers_prune_as_all_the_text_in_one_place(family: str, method: Method) -> None:
    # The diagonals on one fixed grid; then the matrices, on the scale that the diagonals' sum gives.
    central, together = tiny_model(family), tiny_model(family)
    _prune_in_one_place(central, torch.cat(_texts()), method, _PATTERNS[0])
    for steps in zip(*(_walk(together, text, method) for text in _texts()), strict=True):
        pooled = []
        for parts in zip(*(moments for _, moments in steps), strict=True):
            totals = [part.total.numpy() for part in parts]
            diagonals = totals if method == "wanda" else [np.diagonal(total) for total in totals]
            total = _summed_as_integers(DiagonalQuantiser(2**51, 22), diagonals)
            if method == "sparsegpt":
                total = _summed_as_integers(MatrixQuantiser(2**20, total), totals)
            summed = torch.from_numpy(total).float()
            pooled.append(replace(parts[0], total=summed, tokens=sum(part.tokens for part in parts)))
        prune_layer(steps[0][0], pooled, method=method, pattern=_PATTERNS[0], settings=_SETTINGS)
    assert _differing_masks(central, together) <= 0.002
    assert _distance(central, together) <= 0.002


@pytest.mark.parametrize("method", _METHODS)
def test_an_institutions_own_moments_do_not_prune_as_all_the_text(method: Method) -> None:
    central, alone = tiny_model(), tiny_model()
    _prune_in_one_place(central, torch.cat(_texts()), method, _PATTERNS[0])
    _prune_in_one_place(alone, _texts()[0], method, _PATTERNS[0])
    assert _differing_masks(central, alone) > 0.03


def test_moments_of_chosen_layers_only_are_handed_out() -> None:
    model, windows = tiny_model(), calibration_windows()
    every = [moments for _, moments in _walk(model, windows, "wanda")]
    assert len(every) == LAYERS
    chosen = list(layer_moments(model, windows, diagonal=True, settings=_SETTINGS, layers=[2, 0]))
    assert [layer.index for layer, _ in chosen] == [0, 2]
    for layer, moments in chosen:
        for one, other in zip(moments, every[layer.index], strict=True):
            assert torch.equal(one.total, other.total)


def test_what_can_not_be_walked_is_refused_before_the_first_layer() -> None:
    model = tiny_model()
    with pytest.raises(DataError, match="under 64"):
        _walk(model, torch.full((1, WINDOW), VOCABULARY), "wanda")
    with pytest.raises(ConfigError, match="some of 0 to 2"):
        layer_moments(model, calibration_windows(), diagonal=True, settings=_SETTINGS, layers=[3])
