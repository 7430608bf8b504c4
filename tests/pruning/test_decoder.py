"""The decoder layers of any architecture are found, and what can't be pruned is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from fedspallm_secure.errors import ModelError
from fedspallm_secure.pruning import decoder_layers
from fedspallm_secure.pruning.decoder import check_finite
from tests.pruning.tiny_models import FAMILIES, LAYERS, tiny_model

_LINEARS_A_LAYER = {
    "llama": 7,
    "mistral": 7,
    "qwen2": 7,
    "qwen3": 7,
    "gemma2": 7,
    "gemma3": 7,
    "opt": 6,
    "gpt2": 4,
    "gpt_neox": 4,
    "phi": 6,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_linear_weight_of_every_layer_is_found_under_its_state_dict_name(family: str) -> None:
    model = tiny_model(family)
    state = model.state_dict()
    layers = decoder_layers(model)
    assert [layer.index for layer in layers] == list(range(LAYERS))
    for layer in layers:
        assert len(layer.linears) == _LINEARS_A_LAYER[family]
        for linear in layer.linears:
            stored = state[linear.name]
            expected = stored.T if isinstance(linear.module, Conv1D) else stored
            assert f".{layer.index}." in linear.name
            assert torch.equal(linear.matrix(), expected)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_matrix_that_is_assigned_comes_back_and_is_outputs_by_inputs(family: str) -> None:
    linear = decoder_layers(tiny_model(family, dtype=torch.bfloat16))[1].linears[-1]
    assert linear.shape == (16, 24)
    matrix = torch.randn(16, 24).bfloat16().float()
    linear.assign(matrix)
    assert torch.equal(linear.matrix(), matrix)
    assert linear.module.weight.dtype == torch.bfloat16
    x = torch.randn(3, 24)
    linear.module.float()
    torch.testing.assert_close(linear.module(x) - linear.module(torch.zeros(3, 24)), x @ matrix.T)


def test_a_model_without_decoder_layers_is_refused() -> None:
    class Flat(PreTrainedModel):  # type: ignore[no-untyped-call]
        config_class = PreTrainedConfig

        def __init__(self) -> None:
            super().__init__(PreTrainedConfig())
            self.layers = nn.ModuleList([nn.LayerNorm(4)])
            self.head = nn.Linear(4, 4)

    with pytest.raises(ModelError, match="Flat has no list of decoder layers"):
        decoder_layers(Flat())


def test_a_quantised_model_is_refused_by_the_name_of_its_tensor() -> None:
    model = tiny_model()
    linear = decoder_layers(model)[2].linears[0]
    linear.module.weight = nn.Parameter(linear.module.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match=r"model\.layers\.2\.self_attn\.q_proj\.weight .* torch\.int8"):
        decoder_layers(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"])
def test_a_weight_that_is_not_finite_is_refused_by_name(name: str, value: float) -> None:
    model = tiny_model()
    check_finite(model)
    model.get_parameter(name).data.view(-1)[3] = value
    with pytest.raises(ModelError, match=name):
        check_finite(model)
