"""A tiny randomly initialised model of each architecture family, built from its config class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

LAYERS = 3
VOCABULARY = 64
WINDOW = 12
# Shorter than a window, so that a layer which gets another layer's mask computes something else.
_SLIDING = 5

# Large enough weights that attention and feed-forward matter beside the residual.
_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_attention_heads": 4,
    "num_hidden_layers": LAYERS,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GATED = _COMMON | {"intermediate_size": 24, "num_key_value_heads": 2}
_GEMMA = _GATED | {
    "head_dim": 4,
    "sliding_window": _SLIDING,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}

FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_GATED),
    "mistral": lambda: MistralConfig(**_GATED, sliding_window=_SLIDING),
    "qwen2": lambda: Qwen2Config(**_GATED),
    "qwen3": lambda: Qwen3Config(**_GATED, head_dim=4),
    "gemma2": lambda: Gemma2Config(**_GEMMA, query_pre_attn_scalar=4),
    "gemma3": lambda: Gemma3TextConfig(**_GEMMA, query_pre_attn_scalar=4),
    "opt": lambda: OPTConfig(**_COMMON, ffn_dim=24, word_embed_proj_dim=8, init_std=0.3),
    "gpt2": lambda: GPT2Config(**_COMMON, n_inner=24),
    "gpt_neox": lambda: GPTNeoXConfig(**_COMMON, intermediate_size=24),
    "phi": lambda: PhiConfig(**_COMMON, intermediate_size=24),
}


def tiny_model(family: str = "llama", *, dtype: torch.dtype = torch.float32, seed: int = 0) -> PreTrainedModel:
    """The same model for the same arguments."""
    torch.manual_seed(seed)
    from_config = AutoModelForCausalLM.from_config
    model: PreTrainedModel = from_config(FAMILIES[family](), dtype=dtype)  # type: ignore[no-untyped-call]
    model.eval()  # type: ignore[no-untyped-call]
    return model


def calibration_windows(n: int = 4, *, seed: int = 1) -> torch.Tensor:
    """Token ids, int64 (n, WINDOW)."""
    return torch.randint(VOCABULARY, (n, WINDOW), generator=torch.Generator().manual_seed(seed))
