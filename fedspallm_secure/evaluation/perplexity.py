"""Perplexity: how surprised a model is by text it has not seen, the exponential of its mean loss a token.

Every window stands alone: T tokens give T - 1 predictions, as in the evaluations of SparseGPT and Wanda. Logits are
the largest tensor of it all (vocabulary x tokens): they exist for one batch at a time, and the loss is taken in float32
over a slice of positions at a time. The model's own forward makes the logits, since some architectures scale or cap
them.

A model that pruning has ruined can give a token no probability at all: its perplexity is infinite, which is an answer.
A loss that is not a number is not one, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import geometric_mean

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from fedspallm_secure.errors import ConfigError, ModelError

__all__ = ["evaluate_kinds", "geometric_mean", "perplexity"]

_POSITIONS = 256


@torch.inference_mode()
def perplexity(
    model: PreTrainedModel,
    windows: torch.Tensor,
    *,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Perplexity of `model` on `windows`, on the model's device.

    Args:
        model: a causal language model, left in the mode (training or not) it was in.
        windows: int64 (count, T), T >= 2, token ids.
        batch: windows a forward pass. One is as fast as any on a CPU and needs the least memory.
        progress: called with (windows done, windows in all).

    Returns:
        exp of the mean negative log-likelihood over count * (T - 1) predictions; `inf` where that overflows.

    Raises:
        ModelError: the loss is not a number.
    """
    count, length = windows.shape
    training = model.training
    model.train(False)
    try:
        nll = 0.0
        for start in range(0, count, batch):
            tokens = windows[start : start + batch].to(model.device)
            logits = model(input_ids=tokens, use_cache=False).logits
            for first in range(0, length - 1, _POSITIONS):
                last = min(first + _POSITIONS, length - 1)
                predicted = logits[:, first:last].flatten(0, 1).float()
                target = tokens[:, first + 1 : last + 1].flatten()
                nll += cross_entropy(predicted, target, reduction="sum").item()
            if math.isnan(nll):
                raise ModelError(
                    f"The model's loss on windows {start} to {start + len(tokens) - 1} is not a number.",
                    "Its weights are not finite, or its dtype overflows: check the file, or choose float32.",
                )
            if progress:
                progress(start + len(tokens), count)
    finally:
        model.train(training)
    mean = nll / (count * (length - 1))
    return math.exp(mean) if mean < 700 else math.inf


def evaluate_kinds(
    model: PreTrainedModel,
    windows_by_kind: Mapping[str, torch.Tensor],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Perplexity on every kind of text, and "mix", the geometric mean over the kinds.

    The geometric mean is the exponential of the mean loss with every kind weighing the same, so no kind of text that is
    hard for the model drowns the others.

    Args:
        model: a causal language model.
        windows_by_kind: kind of text -> int64 (count, T), token ids. At least one kind, none of them named "mix".
        progress: called with (windows done, windows in all) over all kinds.

    Raises:
        ConfigError: a kind is named "mix", or there is none.
        ModelError: a loss is not a number.
    """
    if not windows_by_kind or "mix" in windows_by_kind:
        raise ConfigError(
            f'Kinds of text with any name but "mix" were expected, and {", ".join(windows_by_kind) or "none"} came.',
            'Name at least one kind, and none of them "mix": that is the name of their mean.',
        )
    total = sum(len(windows) for windows in windows_by_kind.values())
    results: dict[str, float] = {}
    before = 0
    for kind, windows in windows_by_kind.items():

        def shifted(done: int, _: int, before: int = before) -> None:
            if progress:
                progress(before + done, total)

        results[kind] = perplexity(model, windows, progress=shifted)
        before += len(windows)
    return results | {"mix": geometric_mean(results.values())}
