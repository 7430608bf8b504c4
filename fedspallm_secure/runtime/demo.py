"""The demo: a real model, real text of clearly different kinds, one institution a kind.

Everything is at its default but the number of held-out windows, which is halved: evaluation takes as long as pruning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedspallm_secure.runtime.assets import smollm2_directory, text_files
from fedspallm_secure.runtime.config import RunConfig, build_config
from fedspallm_secure.runtime.steps import Steps

__all__ = ["demo_config", "demo_values"]


def demo_config(model: str | None, cache: Path, settings: Sequence[str], shown: Steps) -> RunConfig:
    """The demo's configuration, with everything it needs fetched.

    Args:
        model: directory or hub name; None fetches SmolLM2-135M.
        cache: folder of fetched and derived files.
        settings: changes of single keys, each "KEY=VALUE".
        shown: where progress is shown.

    Raises:
        ConfigError: a setting is not right.
        FetchError: something can't be had.
        StorageError: the cache can't be written.
    """
    return build_config(demo_values(model, cache, shown), Path(), settings)


def demo_values(model: str | None, cache: Path, shown: Steps) -> dict[str, Any]:
    """The demo's configuration as plain values, with everything it needs fetched.

    Args:
        model: as for `demo_config`.
        cache: as for `demo_config`.
        shown: as for `demo_config`.

    Raises:
        FetchError: something can't be had.
        StorageError: the cache can't be written.
    """
    with shown.step("fetch text") as advance:
        texts = text_files(cache, advance)
    if model is None:
        with shown.step("fetch model") as advance:
            model = str(smollm2_directory(cache, advance))
    institutions: list[dict[str, Any]] = [
        {"name": kind, "calibration": str(files.calibration), "heldout": str(files.heldout)}
        for kind, files in texts.items()
    ]
    return {"model": model, "institution": institutions, "evaluation": {"windows": 4}}
