"""Perplexity against a direct computation, on tiny random models."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fedspallm_secure.errors import ConfigError, ModelError
from fedspallm_secure.evaluation.perplexity import evaluate_kinds, geometric_mean, perplexity

VOCABULARY = 97


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config)


def windows(count: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("length", [2, 40, 257, 258, 600])
def test_perplexity_is_the_exponential_of_the_mean_cross_entropy(model: LlamaForCausalLM, length: int) -> None:
    tokens = windows(3, length)
    with torch.no_grad():
        log_p = model(input_ids=tokens).logits.double().log_softmax(-1)
    nll = -log_p[:, :-1].gather(-1, tokens[:, 1:, None]).mean()
    assert perplexity(model, tokens) == pytest.approx(math.exp(nll), rel=1e-5)


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_the_batch_does_not_matter(model: LlamaForCausalLM, batch: int) -> None:
    assert perplexity(model, windows(5, 30), batch=batch) == pytest.approx(perplexity(model, windows(5, 30)), rel=1e-6)


def test_a_model_that_knows_nothing_has_the_vocabulary_as_perplexity(model: LlamaForCausalLM) -> None:
    uniform = LlamaForCausalLM(model.config)
    torch.nn.init.zeros_(uniform.lm_head.weight)
    assert perplexity(uniform, windows(2, 50)) == pytest.approx(VOCABULARY, rel=1e-6)


def test_dropout_is_off_while_measuring_and_the_mode_is_given_back(model: LlamaForCausalLM) -> None:
    quiet = perplexity(model.train(False), windows(2, 20))
    model.config.attention_dropout = 0.5
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    assert perplexity(model.train(), windows(2, 20)) == quiet
    assert model.training


def test_a_loss_that_overflows_is_infinite_and_one_that_is_no_number_is_refused(model: LlamaForCausalLM) -> None:
    ruined = LlamaForCausalLM(model.config)
    ruined.lm_head.weight.data.mul_(1e6)
    assert perplexity(ruined, windows(2, 20)) == math.inf
    ruined.lm_head.weight.data[3, 3] = math.nan
    with pytest.raises(ModelError, match="windows 0 to 0 is not a number"):
        perplexity(ruined, windows(2, 20))


def test_mix_is_the_geometric_mean_over_kinds_whatever_their_sizes(model: LlamaForCausalLM) -> None:
    kinds = {"long": windows(6, 30), "short": windows(1, 30, seed=1)}
    seen: list[tuple[int, int]] = []
    results = evaluate_kinds(model, kinds, progress=lambda done, total: seen.append((done, total)))
    assert list(results) == ["long", "short", "mix"]
    assert results["long"] == perplexity(model, kinds["long"])
    assert results["mix"] == pytest.approx(math.sqrt(results["long"] * results["short"]))
    assert seen == [(done, 7) for done in range(1, 8)]


def test_the_geometric_mean_with_an_infinite_perplexity_is_infinite() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([2.0, math.inf]) == math.inf


@pytest.mark.parametrize("kinds", [{}, {"mix": windows(1, 8)}])
def test_no_kind_and_a_kind_named_mix_are_refused(model: LlamaForCausalLM, kinds: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ConfigError, match="mix"):
        evaluate_kinds(model, kinds)
