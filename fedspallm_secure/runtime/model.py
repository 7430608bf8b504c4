"""The base model: loaded by transformers, told tensor by tensor for the charter, saved as a plain dense model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import ModelCard
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging
from transformers.utils.hub import cached_file

from fedspallm_secure.charter import Base, Tensor, tensor_digest
from fedspallm_secure.errors import ModelError, StorageError
from fedspallm_secure.pruning import decoder_layers, to_numpy
from fedspallm_secure.runtime.hub import reach_hub

__all__ = ["Origin", "describe", "load_model", "load_tokenizer", "origin_of", "save_model"]

_IF_THERE = {
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
    "_raise_exceptions_for_gated_repo": False,
}
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")

logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # ours is shown instead


def load_model(name: str, dtype: str, device: torch.device) -> PreTrainedModel:
    """The causal language model at a directory or hub name.

    Args:
        name: directory or hub name.
        dtype: "auto" for the checkpoint's own, or a torch dtype's name.
        device: where it goes.

    Raises:
        ModelError: there is none, or its files are broken.
    """
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    except (OSError, ValueError, SafetensorError) as error:
        raise _no_model(name, error) from error
    torch.nn.Module.to(model, device)
    return model


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer at a directory or hub name.

    Raises:
        ModelError: there is no model at all, or its tokenizer can't be loaded.
    """
    if not Path(name).is_dir() and not _HUB_NAME.fullmatch(name):
        raise ModelError(f"There is no directory {name!r}.", "Give the directory that save_pretrained wrote.")
    try:
        if cached_file(name, "config.json", local_files_only=True, **_IF_THERE) is None and not Path(name).is_dir():
            reach_hub()
        AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise _no_model(name, error) from error
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{name!r} has no tokenizer that transformers can load: {_first_line(error)}",
            "Put the tokenizer's files beside the model's.",
        ) from error
    return tokenizer


def describe(model: PreTrainedModel) -> Base:
    """What the charter says of a base model: every tensor's digest, and which ones are pruned.

    A tensor that several names share (a tied output head) is listed under its first name.

    Raises:
        ModelError: the model has no decoder layers, or its linear weights are of a dtype that can't be exchanged.
    """
    layers = decoder_layers(model)
    pruned = []
    for layer in layers:
        for linear in layer.linears:
            W = to_numpy(linear.weight)
            if W.dtype.name not in ("float32", "float16", "bfloat16"):
                raise ModelError(f"{linear.name} is {W.dtype.name}.", "Load the model as float32, float16 or bfloat16.")
            described = {"name": linear.name, "layer": layer.index, "rows": W.shape[0], "columns": W.shape[1]}
            pruned.append(Tensor.model_validate(described | {"dtype": W.dtype.name, "digest": tensor_digest(W)}))
    seen = {tensor.name for tensor in pruned}
    storages: set[int] = set()
    rest = {}
    for name, tensor in model.state_dict().items():
        if name not in seen and tensor.data_ptr() not in storages:
            storages.add(tensor.data_ptr())
            rest[name] = tensor_digest(to_numpy(tensor))
    return Base(layers=len(layers), pruned=tuple(pruned), rest=rest)


@dataclass(frozen=True)
class Origin:
    """Where a base model comes from.

    Attributes:
        name: hub name, or the directory it was loaded from if its model card names no other.
        licence: as its model card states, or "unknown".
    """

    name: str
    licence: str


def origin_of(name: str) -> Origin:
    """What the model card at a directory or hub name says of its origin. A directory's `base_model` is its name."""
    path = cached_file(name, "README.md", **_IF_THERE)
    card = ModelCard.load(path).data if path else None
    stated = card.get("base_model") if card and Path(name).is_dir() else None
    return Origin(stated if isinstance(stated, str) else name, str((card and card.get("license")) or "unknown"))


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a plain dense model and its tokenizer, for `from_pretrained`.

    Raises:
        StorageError: the disk refuses.
    """
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"The model can't be written to {folder}: {error}.", "Free space; then run again."
        ) from error


def _no_model(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"{name!r} is no causal language model that transformers can load: {_first_line(error)}",
        "Give the directory that save_pretrained wrote, or a hub name (with access to the hub).",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
