"""A whole model is pruned exactly, reproducibly and resumably, in every family and by every method."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from fedspallm_secure.charter import parse_pattern
from fedspallm_secure.errors import CharterError, ConfigError, ModelError, NumericalError, StorageError
from fedspallm_secure.pruning import (
    Method,
    PruneSettings,
    PruningReport,
    decoder_layers,
    load_masks,
    load_weights,
    prune,
    snapshot,
)
from fedspallm_secure.workspace import LayerStore
from tests.pruning.tiny_models import FAMILIES, LAYERS, calibration_windows, tiny_model

_METHODS: tuple[Method, ...] = get_args(Method)
_DTYPES = (torch.float32, torch.bfloat16)


def _prune(model: PreTrainedModel, method: Method = "sparsegpt", pattern: str = "0.5", **more: Any) -> PruningReport:
    settings = PruneSettings(block=8, device="cpu")
    return prune(model, calibration_windows(), method=method, pattern=parse_pattern(pattern), settings=settings, **more)


def _bits(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Every tensor of the model as raw bytes: unlike `==`, this tells -0.0 from 0.0."""
    return {name: tensor.clone().contiguous().view(-1).view(torch.uint8) for name, tensor in model.state_dict().items()}


def _differing(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> set[str]:
    return {name for name in left if not torch.equal(left[name], right[name])}


class _Factorisations(TorchFunctionMode):
    """Counts Cholesky factorisations."""

    count = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += func is torch.linalg.cholesky_ex
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("pattern", ["0.37", "2:4"])
def test_linear_weights_get_exact_zeros_and_nothing_else_changes(family: str, method: Method, pattern: str) -> None:
    model = tiny_model(family)
    before = _bits(model)
    report = _prune(model, method, pattern)
    linears = [linear for layer in decoder_layers(model) for linear in layer.linears]
    assert [tensor.name for tensor in report.tensors] == [linear.name for linear in linears]
    for linear, tensor in zip(linears, report.tensors, strict=True):
        zeros = linear.weight == 0
        assert int(zeros.sum()) == tensor.zeros == parse_pattern(pattern).zeros(tensor.numel)
        if pattern == "2:4":
            assert (zeros.reshape(-1, 4).sum(dim=1) == 2).all()
    assert _differing(before, _bits(model)) == {linear.name for linear in linears}
    assert model(calibration_windows(1)).logits.isfinite().all()


@pytest.mark.parametrize("method", ["wanda", "magnitude"])
@pytest.mark.parametrize("dtype", _DTYPES)
def test_wanda_and_magnitude_change_no_kept_weight(method: Method, dtype: torch.dtype) -> None:
    model, base = tiny_model(dtype=dtype), tiny_model(dtype=dtype)
    _prune(model, method)
    for ours, theirs in zip(decoder_layers(model), decoder_layers(base), strict=True):
        for pruned, dense in zip(ours.linears, theirs.linears, strict=True):
            kept = pruned.weight != 0
            assert torch.equal(pruned.weight[kept], dense.weight[kept])
            assert not pruned.weight[~kept].signbit().any()


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("dtype", _DTYPES)
def test_the_same_run_gives_the_same_bits(method: Method, dtype: torch.dtype) -> None:
    first, second = tiny_model(dtype=dtype), tiny_model(dtype=dtype)
    assert _prune(first, method) == _prune(second, method)
    assert not _differing(_bits(first), _bits(second))


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(
    tmp_path: Path, family: str, method: Method, dtype: torch.dtype
) -> None:
    whole, store = tiny_model(family, dtype=dtype), LayerStore(tmp_path)

    def kill(done: int, total: int) -> None:
        assert total == LAYERS
        if done == 2:
            raise KeyboardInterrupt

    undisturbed = _prune(whole, method)
    with pytest.raises(KeyboardInterrupt):
        _prune(tiny_model(family, dtype=dtype), method, store=store, progress=kill)
    assert [store.has(index) for index in range(LAYERS)] == [True, True, False]
    again = tiny_model(family, dtype=dtype)
    resumed = _prune(again, method, store=store)
    assert resumed.resumed == (0, 1)
    assert resumed.tensors == undisturbed.tensors
    assert not _differing(_bits(whole), _bits(again))


def test_a_layer_that_is_stored_is_not_solved_again(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)
    with _Factorisations() as all_layers:
        _prune(tiny_model(), store=store)
    store.path(1).unlink()
    with _Factorisations() as one_layer:
        _prune(tiny_model(), store=store)
    assert one_layer.count * LAYERS == all_layers.count


@pytest.mark.parametrize(("family", "inputs"), [("llama", 4), ("gpt2", 4), ("opt", 4), ("phi", 3)])
def test_tensors_that_see_one_input_share_one_factorisation(family: str, inputs: int) -> None:
    # Llama: q/k/v, o, gate/up, down. GPT-2 fuses q/k/v. Phi's attention and feed-forward read the same norm.
    with _Factorisations() as counted:
        _prune(tiny_model(family))
    assert counted.count == inputs * LAYERS


@pytest.mark.parametrize("method", _METHODS)
def test_layers_that_are_not_chosen_stay_bit_identical(tmp_path: Path, method: Method) -> None:
    model, store = tiny_model(), LayerStore(tmp_path)
    before = _bits(model)
    steps: list[tuple[int, int]] = []
    report = _prune(model, method, layers=[2, 0], store=store, progress=lambda *step: steps.append(step))
    assert steps == [(1, 2), (2, 2)]
    changed = _differing(before, _bits(model))
    assert changed == {tensor.name for tensor in report.tensors}
    assert changed == {linear.name for index in (0, 2) for linear in decoder_layers(model)[index].linears}
    assert not store.has(1)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_snapshot_gives_every_linear_weight_back(tmp_path: Path, family: str, dtype: torch.dtype) -> None:
    model, store = tiny_model(family, dtype=dtype), LayerStore(tmp_path)
    before = _bits(model)
    snapshot(model, store)
    _prune(model, "magnitude")
    assert _differing(before, _bits(model))
    load_weights(model, store)
    assert not _differing(before, _bits(model))


def test_stored_weights_and_masks_rebuild_the_pruned_model(tmp_path: Path) -> None:
    for method in _METHODS:
        model, rebuilt, store = tiny_model(), tiny_model(), LayerStore(tmp_path / method)
        _prune(model, method, store=store, layers=[1, 2])
        if method == "sparsegpt":
            load_weights(rebuilt, store, [1, 2])
        else:
            load_masks(rebuilt, store, [1, 2])
        assert not _differing(_bits(model), _bits(rebuilt))


def test_masks_are_stored_for_every_method_and_weights_only_where_they_changed(tmp_path: Path) -> None:
    for method in _METHODS:
        model, store = tiny_model(), LayerStore(tmp_path / method)
        _prune(model, method, store=store)
        linear = decoder_layers(model)[1].linears[0]
        assert (store.kept(1, linear.name) == (linear.matrix() != 0).numpy()).all()
        if method == "sparsegpt":
            assert (store.weights(1, linear.name) == linear.matrix().numpy()).all()
        else:
            with pytest.raises(StorageError):
                store.weights(1, linear.name)


def test_layer_files_of_another_model_are_refused(tmp_path: Path) -> None:
    store = LayerStore(tmp_path)
    snapshot(tiny_model("llama"), store)
    shutil.copy(store.path(0), store.path(9))
    model = tiny_model("gemma2")
    decoder_layers(model)[0].linears[0].module.weight.data = torch.zeros(4, 16)
    with pytest.raises(StorageError, match=r"q_proj\.weight is \(4, 16\) in the model and \(16, 16\)"):
        load_weights(model, store, [0])


def test_a_schedules_second_round_revives_no_weight_and_reaches_the_new_sparsity() -> None:
    for method in _METHODS:
        model = tiny_model()
        _prune(model, method, "0.3")
        gone = {name: tensor == 0 for name, tensor in model.state_dict().items()}
        report = _prune(model, method, "0.6")
        for tensor in report.tensors:
            zeros = model.state_dict()[tensor.name] == 0
            assert zeros[gone[tensor.name]].all()
            assert int(zeros.sum()) == parse_pattern("0.6").zeros(tensor.numel)


def test_a_weight_that_is_not_finite_is_refused_before_anything_changes() -> None:
    model = tiny_model()
    model.get_parameter("model.layers.2.mlp.down_proj.weight").data[3, 4] = torch.nan
    before = _bits(model)
    with pytest.raises(ModelError, match=r"model\.layers\.2\.mlp\.down_proj\.weight"):
        _prune(model)
    assert not _differing(before, _bits(model))


def test_inputs_that_m_does_not_divide_are_refused_by_name() -> None:
    with pytest.raises(CharterError, match=r"model\.layers\.0\.self_attn\.q_proj\.weight has 16 inputs"):
        _prune(tiny_model(), pattern="2:5")


def test_activations_that_overflow_are_refused() -> None:
    model = tiny_model(dtype=torch.float16)
    model.get_parameter("model.layers.0.mlp.up_proj.weight").data.fill_(6e4)
    with pytest.raises(NumericalError, match=r"down_proj\.weight are not finite"):
        _prune(model)


@pytest.mark.parametrize("layers", [[], [3], [-1]])
def test_layers_that_the_model_lacks_are_refused(layers: list[int]) -> None:
    with pytest.raises(ConfigError, match="some of 0 to 2"):
        _prune(tiny_model(), layers=layers)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="Damping should be above 0"):
        PruneSettings(damping=0)
    with pytest.raises(ConfigError, match="a block at least 1"):
        PruneSettings(block=0)
    with pytest.raises(ConfigError, match="'abacus'"):
        PruneSettings(device="abacus").torch_device()
