"""Whole runs, played by the package's own machines, as the transcripts that they leave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rfc8785
from numpy.typing import NDArray

from fedspallm_secure.charter import Charter, sign_charter
from fedspallm_secure.messages import canonical
from fedspallm_secure.secagg import Entropy
from protocol.vectors.making.editor import identity
from protocol.vectors.making.fixed_ckks import context_of
from protocol.vectors.making.moments import Pooling, Shared
from protocol.vectors.making.rounds import TIME, Scene, opinion, record, setting, votes_of, with_keys
from protocol.vectors.making.stage import DTYPES, Stage

__all__ = ["RUNS", "Played", "play_run"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Played:
    """A run that is over.

    Attributes:
        about: for people.
        charter: as parsed JSON.
        envelopes: the log, in order.
        stated: by round, the names of those who stated the model.
        given: the transcript as a vector has it: `files`, `blobs`, `base` and `model`.
    """

    about: str
    charter: Json
    envelopes: list[Json]
    stated: list[list[str]]
    given: Json


@dataclass(frozen=True)
class _Run:
    """What happens; the scene is of the first round, and nobody vanishes in later ones."""

    scene: Scene
    schedule: tuple[str, ...]


_SMALL = {"minimum_cohort": 2, "minimum_contributors": 2, "digits_per_word": 6}

RUNS: Mapping[str, _Run] = {
    "masks": _Run(
        Scene(
            about="Three institutions and a method that changes no weight, in two rounds; celle vanishes from the "
            "first before it sees that its shares came, and is back in the second.",
            tensors=((3, 8, "bfloat16"),),
            capacities=("1", "1", "1"),
            parameters=_SMALL,
            vanishing={"celle": ("shares", None, 0)},
            method="wanda",
        ),
        ("0.25", "2:4"),
    ),
    "values": _Run(
        Scene(
            about="Three institutions change weights; celle vanishes before its proof of the changes, and the witness "
            "stands in.",
            tensors=((3, 8, "float32"),),
            capacities=("1", "1", "1"),
            parameters=_SMALL,
            vanishing={"celle": ("sums", "values", 0)},
            witness=True,
        ),
        ("0.5",),
    ),
    "encrypted": _Run(
        Scene(
            about="Four institutions encrypt their votes, in two rounds; celle commits to its ciphertexts in the first "
            "and does not hand them over, and is back in the second.",
            tensors=((3, 8, "float32"),),
            capacities=("1", "1", "1", "1"),
            parameters={**_SMALL, "minimum_cohort": 4, "dropouts": 1},
            vanishing={"celle": ("confirmed", "votes", 0)},
            method="wanda",
            custodian=True,
        ),
        ("0.25", "2:4"),
    ),
    "pooled": _Run(
        Scene(
            about="Three institutions pool second moments, a round a layer; celle vanishes from the first between the "
            "diagonals and the rest, and is back in the second.",
            capacities=("1", "1", "1"),
            parameters={"minimum_cohort": 3, "minimum_contributors": 2, "dropout_margin": 1, "digits_per_word": 6},
            vanishing={"celle": ("proofs", "votes", 0)},
            pooling=Pooling(
                "each layer",
                (
                    Shared(0, 6, ((3, "float32"),), 20),
                    Shared(0, 18, ((2, "bfloat16"),), 20, matrix=True),
                    Shared(1, 6, ((2, "float16"), (3, "float32")), 20, matrix=True),
                ),
            ),
        ),
        ("0.5",),
    ),
}


def play_run(name: str) -> Played:
    """A run, from its charter to its last checkpoint."""
    run = RUNS[name]
    given = setting(name, run.scene)
    charter = {**given["charter"], "schedule": list(run.schedule)}
    if run.scene.custodian:
        public = charter["votes"]["custodian"]["public_key"]
        charter["votes"] = votes_of(name, public, len(run.schedule))
    rounds = Charter.model_validate_json(json.dumps(charter)).rounds
    weights, institutions = given["weights"], given["institutions"]
    files, blobs, envelopes, stated = {}, dict[str, Any](), list[Json](), list[list[str]]()
    before: Stage | None = None
    with TemporaryDirectory() as folder:
        for number in range(rounds):
            pattern = run.schedule[number * len(run.schedule) // rounds]
            scene = replace(run.scene, pattern=pattern, vanishing={} if number else run.scene.vanishing)
            if number:
                rng = np.random.default_rng(number)
                institutions = {who: opinion(scene, _matrices(charter, weights), rng) for who in institutions}
            of_round = {**given, "charter": charter, "round": number, "weights": weights, "institutions": institutions}
            if run.scene.custodian:
                of_round = with_keys(of_round, name)
                context = context_of(name, number)
                blobs[hashlib.sha256(context).hexdigest()] = context.hex()
            stage = Stage(of_round, Path(folder) / str(number), partial(_source, name, number), before)
            envelopes += [event["envelope"] for event in record(stage, scene) if "envelope" in event]
            files[f"checkpoints/{number + 1:04}.note"] = stage.checkpoint(TIME)
            stated.append(list(stage.coordinator.agreed))
            blobs |= stage.stored()
            weights, before = stage.weights(), stage
    assert before is not None
    others = [charter["votes"].get("custodian"), charter["witness"]]
    names = [charter["server"], *given["institutions"], *(other["name"] for other in others if other)]
    signed = sign_charter(before.charter, [identity(who) for who in names])
    files |= {
        "charter.json": rfc8785.dumps(charter).decode(),
        "charter.signatures.json": canonical(signed).decode(),
        "log.jsonl": "".join(rfc8785.dumps(envelope).decode() + "\n" for envelope in envelopes),
    }
    transcript = {"files": dict(sorted(files.items())), "blobs": blobs, "base": given["weights"], "model": weights}
    return Played(run.scene.about, charter, envelopes, stated, transcript)


def _source(run: str, number: int, who: str) -> Entropy:
    return Random(f"{run} {number} {who}").randbytes


def _matrices(charter: Json, weights: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    return {
        tensor["name"]: np.frombuffer(bytes.fromhex(weights[tensor["name"]]), DTYPES[tensor["dtype"]]).reshape(
            tensor["rows"], tensor["columns"]
        )
        for tensor in charter["base"]["pruned"]
    }
