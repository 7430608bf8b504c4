"""A release decides what the pruner sees of the text: windows' moments go in one by one, and nothing else comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from fedspallm_secure.charter import parse_pattern
from fedspallm_secure.pruning import (
    DecoderLayer,
    InputMoment,
    Method,
    PruneSettings,
    Release,
    decoder_layers,
    layer_moments,
    prune,
)
from fedspallm_secure.workspace import LayerStore
from tests.pruning.tiny_models import FAMILIES, LAYERS, calibration_windows, tiny_model

_SETTINGS = PruneSettings(block=8, device="cpu")
_METHODS: tuple[Method, ...] = ("sparsegpt", "wanda")


def _added_up(_: DecoderLayer, windows: Iterator[list[InputMoment]]) -> list[InputMoment]:
    """What happens without a release: plain sums."""
    sums = next(windows)
    for moments in windows:
        sums = [
            replace(one, total=one.total + other.total, tokens=one.tokens + other.tokens)
            for one, other in zip(sums, moments, strict=True)
        ]
    return sums


def _constant(_: DecoderLayer, windows: Iterator[list[InputMoment]]) -> list[InputMoment]:
    """Nothing of the text: all inputs weigh the same."""
    moments = list(windows)[-1]
    same = [torch.ones_like(m.total) if m.total.ndim == 1 else torch.eye(len(m.total)) for m in moments]
    return [replace(moment, total=total, tokens=1) for moment, total in zip(moments, same, strict=True)]


def _pruned(
    method: Method, release: Release | None, windows: torch.Tensor, family: str = "llama", **more: Any
) -> PreTrainedModel:
    model = tiny_model(family)
    prune(model, windows, method=method, pattern=parse_pattern("0.5"), settings=_SETTINGS, release=release, **more)
    return model


def _weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {linear.name: linear.matrix() for layer in decoder_layers(model) for linear in layer.linears}


@pytest.mark.parametrize("family", FAMILIES)
def test_windows_moments_add_up_to_the_moments_of_all_windows(family: str) -> None:
    for diagonal in (True, False):
        options: dict[str, Any] = {"diagonal": diagonal, "settings": _SETTINGS}
        plain = list(layer_moments(tiny_model(family), calibration_windows(), **options))
        added = list(layer_moments(tiny_model(family), calibration_windows(), release=_added_up, **options))
        for (_, left), (_, right) in zip(plain, added, strict=True):
            for one, other in zip(left, right, strict=True):
                assert [linear.name for linear in one.linears] == [linear.name for linear in other.linears]
                assert one.tokens == other.tokens
                if diagonal:
                    assert torch.equal(one.total, other.total)
                else:
                    torch.testing.assert_close(one.total, other.total)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_release_that_adds_up_diagonals_prunes_to_the_bits_of_none(family: str) -> None:
    plain = _weights(_pruned("wanda", None, calibration_windows(), family))
    released = _weights(_pruned("wanda", _added_up, calibration_windows(), family))
    assert all(torch.equal(weight, released[name]) for name, weight in plain.items())


def test_a_release_that_adds_up_matrices_prunes_as_none_does_but_for_rounding() -> None:
    plain = _weights(_pruned("sparsegpt", None, calibration_windows()))
    released = _weights(_pruned("sparsegpt", _added_up, calibration_windows()))
    for name, weight in plain.items():
        torch.testing.assert_close(weight, released[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch", [2, 3, 100])
@pytest.mark.parametrize("family", FAMILIES)
def test_windows_that_run_through_a_layer_together_have_the_moments_that_they_have_alone(
    family: str, batch: int
) -> None:
    windows, seen = calibration_windows(), {1: list[list[InputMoment]](), batch: list[list[InputMoment]]()}
    for size, found in seen.items():

        def note(
            layer: DecoderLayer, each: Iterator[list[InputMoment]], found: list[list[InputMoment]] = found
        ) -> list[InputMoment]:
            moments = list(each)
            found.extend(moments)
            return _added_up(layer, iter(moments))

        settings = replace(_SETTINGS, batch=size)
        for _ in layer_moments(tiny_model(family), windows, diagonal=False, settings=settings, release=note):
            pass
    assert len(seen[1]) == len(seen[batch]) == LAYERS * len(windows)
    for alone, together in zip(seen[1], seen[batch], strict=True):
        assert [moment.tokens for moment in alone] == [moment.tokens for moment in together]
        for one, other in zip(alone, together, strict=True):
            assert torch.allclose(one.total, other.total, rtol=1e-3, atol=1e-5 * float(one.total.max()))


@pytest.mark.parametrize("method", _METHODS)
def test_the_pruner_sees_nothing_of_the_text_but_what_is_released(method: Method) -> None:
    one = _weights(_pruned(method, _constant, calibration_windows(3, seed=1)))
    other = _weights(_pruned(method, _constant, calibration_windows(5, seed=2)))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    plain = _weights(_pruned(method, None, calibration_windows(3, seed=1)))
    assert any(not torch.equal(weight, plain[name]) for name, weight in one.items())


@pytest.mark.parametrize("diagonal", [True, False])
def test_a_windows_moments_depend_on_no_other_window(diagonal: bool) -> None:
    def seen(windows: torch.Tensor) -> list[list[torch.Tensor]]:
        found: list[list[torch.Tensor]] = []

        def keep(_: DecoderLayer, each: Iterator[list[InputMoment]]) -> list[InputMoment]:
            moments: list[InputMoment] = []
            for moments in each:
                found.append([moment.total.clone() for moment in moments])
            return moments

        list(layer_moments(tiny_model(), windows, diagonal=diagonal, settings=_SETTINGS, release=keep))
        return found

    windows = calibration_windows(3)
    together = seen(windows)
    for index in range(3):
        alone = seen(windows[index : index + 1])
        assert len(alone) == LAYERS
        for layer in range(LAYERS):
            for one, other in zip(alone[layer], together[3 * layer + index], strict=True):
                assert torch.equal(one, other)


@pytest.mark.parametrize("method", _METHODS)
def test_a_layer_out_of_the_store_is_not_released_again(tmp_path: Path, method: Method) -> None:
    asked: list[int] = []

    def counted(layer: DecoderLayer, windows: Iterator[list[InputMoment]]) -> list[InputMoment]:
        asked.append(layer.index)
        return _added_up(layer, windows)

    store = LayerStore(tmp_path)
    _pruned(method, counted, calibration_windows(), layers=[0], store=store)
    assert asked == [0]
    _pruned(method, counted, calibration_windows(), store=store)
    assert asked == [0, 1, 2]
