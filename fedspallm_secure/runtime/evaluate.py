"""Perplexity of any model on any texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedspallm_secure.evaluation import Perplexities, evaluate_kinds
from fedspallm_secure.pruning import PruneSettings
from fedspallm_secure.runtime.model import load_model, load_tokenizer
from fedspallm_secure.runtime.steps import Steps
from fedspallm_secure.runtime.text import load_documents, token_windows

__all__ = ["evaluate_files"]


def evaluate_files(
    model: str,
    sources: Sequence[str],
    *,
    windows: int,
    window: int,
    seed: int,
    field: str,
    device: str,
    shown: Steps,
) -> Perplexities:
    """Perplexity of a model on each of several sources of text, and their geometric mean "mix".

    Args:
        model: directory or hub name.
        sources: files, `datasets` directories or hub names; each counts as one kind of text, named as its file.
        windows: windows drawn from each.
        window: tokens a window.
        seed: of the draw.
        field: name of the text field.
        device: "auto" or a torch device.
        shown: where progress is shown.

    Raises:
        FedspallmError: the model or a source can't be used.
    """
    with shown.step("load model and text"):
        tokenizer = load_tokenizer(model)
        drawn = {
            Path(source).name: token_windows(
                load_documents([source], split="train", field=field), tokenizer, count=windows, length=window, seed=seed
            )
            for source in sources
        }
        loaded = load_model(model, "auto", PruneSettings(device=device).torch_device())
    with shown.step("perplexity") as advance:
        return evaluate_kinds(loaded, drawn, progress=advance)
