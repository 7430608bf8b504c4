"""When two runs prune the same layers in their first round, so that the second can take those of the first.

What institutions prune in the first round follows from the base model, their text and how pruning is set. How votes and
changes are then added up does not touch it, and neither do the dense model, those of single institutions, or the
central one. A key that this file does not know counts as one that does touch it unless it has its default value.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fedspallm_secure.runtime.config import RunConfig

__all__ = ["copy_first_round", "first_round_of"]

_RUN = {"model", "seed", "pruning", "protocol", "evaluation", "institution"}
_PRUNING = {"method", "pattern", "windows", "window", "damping", "block", "device", "dtype"}
_SAMPLING = {"minimum_cohort", "custodian"}
_LATER = {
    "minimum_contributors",
    "dropout_margin",
    "colluders",
    "dropouts",
    "digits_per_word",
    "clip",
    "votes",
    "witness",
}
_FEDERATED = "federated"


def first_round_of(config: RunConfig) -> str | None:
    """A name for the layers that the first round prunes; None where nothing is known about that.

    Runs with equal names prune equal layers, given equal versions and threads.
    """
    known = (
        _as_known(config, _RUN)
        and _as_known(config.pruning, _PRUNING)
        and _as_known(config.protocol, _SAMPLING | _LATER)
    )
    if not known:
        return None
    plain = config.model_dump(mode="json")
    plain["protocol"] = {key: value for key, value in plain["protocol"].items() if key not in _LATER}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def copy_first_round(work: Path, copy: Path) -> None:
    """Copy what the first round pruned, and every perplexity that does not depend on the sums.

    Layers are never changed in place, so the copy may share their storage.

    Args:
        work: of a run, or such a copy.
        copy: folder to make.

    Raises:
        OSError: the disk refuses.
    """
    copy.mkdir(parents=True)
    if (work / "round-0").exists():
        shutil.copytree(
            work / "round-0", copy / "round-0", copy_function=_link, ignore=shutil.ignore_patterns("*.partial")
        )
    known: dict[str, Any] = json.loads((work / "perplexity.json").read_text(encoding="utf-8"))
    known.pop(_FEDERATED, None)
    (copy / "perplexity.json").write_text(json.dumps(known), encoding="utf-8")


def _as_known(section: BaseModel, known: set[str]) -> bool:
    fields = type(section).model_fields
    return all(
        name in known or getattr(section, name) == fields[name].get_default(call_default_factory=True)
        for name in fields
    )


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one that has no links
        shutil.copy2(source, target)
