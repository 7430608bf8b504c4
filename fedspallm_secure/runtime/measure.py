"""Perplexities of a run, each measured once: what is measured is stored, and a run that goes on reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from transformers import PreTrainedModel

from fedspallm_secure.errors import StorageError
from fedspallm_secure.evaluation import Perplexities, evaluate_kinds
from fedspallm_secure.runtime.steps import Timed

__all__ = ["Measured"]


class Measured:
    """Perplexities by label, in a file.

    Args:
        path: the file, made with the first measurement.
        heldout: kind of text -> windows, int64 (count, T).
        steps: where progress is shown.
    """

    def __init__(self, path: Path, heldout: Mapping[str, torch.Tensor], steps: Timed) -> None:
        self._path = path
        self._heldout = heldout
        self._steps = steps
        self._known: dict[str, Perplexities] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def __call__(self, label: str, model: Callable[[], PreTrainedModel]) -> Perplexities:
        """The perplexities of the model called `label`.

        Args:
            label: its name in this run.
            model: makes the model, if it has not been measured yet.

        Raises:
            StorageError: the disk refuses.
        """
        if label not in self._known:
            measured = model()
            with self._steps.step(f"perplexity of {label}") as advance:
                self._known[label] = evaluate_kinds(measured, self._heldout, progress=advance)
            aside = self._path.with_suffix(".partial")
            try:
                aside.write_text(json.dumps(self._known), encoding="utf-8")
                os.replace(aside, self._path)
            except OSError as error:
                raise StorageError(f"{self._path} can't be written: {error}.", "Free space; then go on.") from error
        return self._known[label]
