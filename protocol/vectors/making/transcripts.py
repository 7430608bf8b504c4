"""Whole transcripts, as the package's auditor finds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from fedspallm_secure.audit import Verdict, audit
from protocol.vectors.making.fixed_ckks import payload
from protocol.vectors.making.forger import Forger
from protocol.vectors.making.rounds import REST
from protocol.vectors.making.stage import DTYPES

__all__ = ["audited", "incomplete", "transcripts"]

Json = dict[str, Any]


def transcripts(given: Json, good: Mapping[str, Json]) -> Json:
    """What came of a transcript: the verdict, the log's head, and the model that follows.

    Args:
        given: a vector's `input`.
        good: by name, the whole transcripts that it may be a change of.
    """
    verdict = audited(given, good)
    follows = any(one.number == "A17" and one.status == "ok" for one in verdict.findings)
    head = {"size": verdict.log_size, "root": verdict.log_root}
    return {"outcome": verdict.status, "log": head, "model": verdict.model if follows else None}


def audited(given: Json, good: Mapping[str, Json]) -> Verdict:
    """The same, with all that was found."""
    origin = good[given["of"]] if "of" in given else given
    whole = _changed(origin, given)
    tensors = json.loads(origin["files"]["charter.json"])["base"]["pruned"]
    with TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in whole["files"].items():
            _write(folder / "transcript" / path, text.encode())
        for blob, data in whole["blobs"].items():
            _write(folder / "transcript" / "blobs" / blob, payload(data))
        base, model = (_folder(folder / which, tensors, whole[which]) for which in ("base", "model"))
        return audit(folder / "transcript", depth=given["depth"], base=base, model=model)


def incomplete(good: Mapping[str, Forger]) -> list[Json]:
    """Transcripts in which nothing is wrong, and not everything there."""
    masks = good["masks"]
    last, entries = masks.last_note, masks.played.envelopes
    cut = {str(index): None for index in range(len(entries) - 6, len(entries))}
    few = masks.note(entries, cosigners=["aachen", "berlin"])
    notes: Json = {path: None for path in masks.played.given["files"] if path.startswith("checkpoints/")}
    return [
        {"of": "masks", "depth": "full", "files": {"log.jsonl": "", **notes}},
        {"of": "masks", "depth": "full", "base": None},
        {"of": "masks", "depth": "full", "files": {last: None}},
        {"of": "masks", "depth": "public", "files": {last: None}, "lines": cut},
        {"of": "masks", "depth": "public", "files": {last: few}},
    ]


def _changed(origin: Json, given: Json) -> Json:
    files = {**origin["files"], **given.get("files", {})}
    if "lines" in given:
        lines = dict(enumerate(origin["files"]["log.jsonl"].split("\n")[:-1]))
        lines |= {int(index): text for index, text in given["lines"].items()}
        files["log.jsonl"] = "".join(f"{text}\n" for _, text in sorted(lines.items()) if text is not None)
    blobs = {**origin["blobs"], **given.get("blobs", {})}
    return {
        "files": {path: text for path, text in files.items() if text is not None},
        "blobs": {name: data for name, data in blobs.items() if data is not None},
        **{which: given.get(which, origin[which]) for which in ("base", "model")},
    }


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _folder(folder: Path, tensors: list[Json], weights: Mapping[str, str] | None) -> Path | None:
    """A model folder, if there is a model."""
    if weights is None:
        return None
    pruned = {
        tensor["name"]: np.frombuffer(bytes.fromhex(weights[tensor["name"]]), DTYPES[tensor["dtype"]]).reshape(
            tensor["rows"], tensor["columns"]
        )
        for tensor in tensors
    }
    folder.mkdir()
    save_file({**pruned, **REST}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder
