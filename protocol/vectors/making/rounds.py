"""Whole rounds, played by the package's own machines with random bytes that are written down."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.charter import NM, parse_pattern, tensor_digest
from fedspallm_secure.messages import Envelope
from fedspallm_secure.secagg import Entropy
from protocol.vectors.making.fixed_ckks import context_of, key_of, stream_of
from protocol.vectors.making.moments import Pooling, Shared
from protocol.vectors.making.stage import DTYPES, Stage, as_json, listed

__all__ = [
    "REST",
    "SCENES",
    "TIME",
    "Scene",
    "opinion",
    "play",
    "record",
    "setting",
    "signing_key",
    "votes_of",
    "with_keys",
]

Vector = dict[str, Any]

_NAMES = ("aachen", "berlin", "celle", "dresden", "erfurt")
TIME = 1_735_689_600
"""Of all cosignatures, in seconds since 1970."""

REST = {"embedding.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
"""The tensors that nobody prunes."""


@dataclass(frozen=True)
class Scene:
    """What happens in a round.

    Attributes:
        about: for people.
        capacities: of the first so many institutions.
        parameters: of the charter, where they are not the smallest.
        tensors: shape and dtype of the one tensor of each layer, where weights are averaged.
        vanishing: institution -> kind, sum and attempt of the message that it does not answer any more.
        method: of the charter.
        pattern: of the one round.
        witness: whether there is one.
        custodian: whether there is one, who counts encrypted votes.
        pooling: what is said of statistics, where they are pooled.
    """

    about: str
    capacities: Sequence[str]
    parameters: Mapping[str, int]
    tensors: Sequence[tuple[int, int, str]] = ()
    vanishing: Mapping[str, tuple[str, str | None, int]] = field(default_factory=dict)
    method: str = "sparsegpt"
    pattern: str = "0.5"
    witness: bool = False
    custodian: bool = False
    pooling: Pooling | None = None


_SCALES = [65536, 3, 901, 40000, 7, 65535, 12345, 1], [2, 1000, 50001, 333, 65536, 17, 4, 9]

SCENES: Mapping[str, Scene] = {
    "one_vanished": Scene(
        about="Four institutions, two layers with different cohorts; dresden vanishes after it shared its secrets.",
        tensors=((4, 6, "float32"), (3, 8, "bfloat16")),
        capacities=("1", "1.0", "1", "0.5"),
        parameters={"minimum_cohort": 3, "minimum_contributors": 3, "colluders": 1, "digits_per_word": 4},
        vanishing={"dresden": ("shares", None, 0)},
        witness=True,
    ),
    "again_and_witness": Scene(
        about="Five institutions; dresden votes and vanishes, so values are summed again; then celle vanishes before "
        "its proof, and the witness stands in.",
        tensors=((4, 8, "float16"),),
        capacities=("1", "1", "1", "1", "1"),
        parameters={"minimum_cohort": 2, "minimum_contributors": 2, "digits_per_word": 5},
        vanishing={"dresden": ("proofs", "votes", 0), "celle": ("sums", "values", 1)},
        pattern="2:4",
        witness=True,
    ),
    "unproven": Scene(
        about="Three institutions and a method that changes no weight; aachen vanishes before its proof of the counts, "
        "and nobody stands in.",
        tensors=((3, 8, "float32"),),
        capacities=("1", "1", "1"),
        parameters={"minimum_cohort": 2, "minimum_contributors": 2, "digits_per_word": 6},
        vanishing={"aachen": ("sums", "votes", 0)},
        method="wanda",
        pattern="3:4",
    ),
    "encrypted": Scene(
        about="Five institutions encrypt their votes, in two layers with different cohorts; erfurt commits to its "
        "ciphertexts and does not hand them over, so the custodian counts without it.",
        tensors=((4, 6, "float32"), (3, 8, "bfloat16")),
        capacities=("1", "1", "1", "0.5", "1"),
        parameters={"minimum_cohort": 4, "minimum_contributors": 3, "dropouts": 1, "digits_per_word": 4},
        vanishing={"erfurt": ("confirmed", "votes", 0)},
        witness=True,
        custodian=True,
    ),
    "encrypted_unproven": Scene(
        about="Three institutions encrypt their votes; aachen vanishes before its proof of the counts, and no witness "
        "may stand in.",
        tensors=((3, 8, "float32"),),
        capacities=("1", "1", "1"),
        parameters={"minimum_cohort": 2, "minimum_contributors": 2, "digits_per_word": 6},
        vanishing={"aachen": ("sums", "votes", 0)},
        witness=True,
        custodian=True,
    ),
    "pooled_diagonals": Scene(
        about="Four institutions pool diagonals of second moments, of two layers with different cohorts; dresden "
        "vanishes after it shared its secrets.",
        capacities=("1", "1.0", "1", "0.5"),
        parameters={"minimum_cohort": 3, "minimum_contributors": 3, "colluders": 1, "digits_per_word": 4},
        vanishing={"dresden": ("shares", None, 0)},
        method="wanda",
        witness=True,
        pooling=Pooling(
            "once",
            (
                Shared(0, 8, ((4, "float32"), (3, "float16")), 20),
                Shared(0, 6, ((2, "float32"),), -3),
                Shared(1, 8, ((3, "bfloat16"),), 30),
            ),
        ),
    ),
    "pooled_matrices": Scene(
        about="Three institutions pool second moments, a round a layer; celle vanishes between the diagonals and the "
        "rest, which is summed again without it, and counts with its diagonals alone.",
        capacities=("1", "1", "1"),
        parameters={"minimum_cohort": 3, "minimum_contributors": 2, "digits_per_word": 4},
        vanishing={"celle": ("proofs", "votes", 0)},
        witness=True,
        pooling=Pooling(
            "each layer",
            (
                Shared(0, 20, ((3, "float32"), (2, "bfloat16")), 20, matrix=True),
                Shared(0, 6, ((4, "float16"),), 12),
                Shared(1, 6, ((2, "float32"),), 20, matrix=True),
            ),
            damping="0.0001",
        ),
    ),
    "pooled_below_the_bar": Scene(
        about="Four institutions pool second moments of two layers with different cohorts; celle vanishes after it "
        "shared its secrets, so that too few are left in one of them: there the diagonal decides alone. All sums have "
        "noise, which hides one matrix.",
        capacities=("1", "1", "1", "0.5"),
        parameters={"minimum_cohort": 3, "minimum_contributors": 2, "dropout_margin": 1, "digits_per_word": 5},
        vanishing={"celle": ("shares", None, 0)},
        pattern="2:4",
        pooling=Pooling(
            "once",
            (
                Shared(
                    0,
                    8,
                    ((3, "float16"),),
                    -8,
                    matrix=True,
                    noise=(2**10, 64, _SCALES[0]),
                ),
                Shared(0, 8, ((3, "float32"), (2, "bfloat16")), -8, matrix=True, noise=(2**10, 10**6, _SCALES[1])),
                Shared(1, 8, ((3, "float32"),), -8, matrix=True, noise=(2**10, 100, _SCALES[1])),
            ),
        ),
    ),
}


def play(name: str) -> Vector:
    """The round vector of a scene."""
    scene = SCENES[name]
    given = setting(name, scene)
    drawn: dict[str, bytearray] = {institution: bytearray() for institution in given["institutions"]}

    def recording(institution: str) -> Entropy:
        source = Random(f"{name} {institution}")

        def draw(number: int) -> bytes:
            data = source.randbytes(number)
            drawn[institution].extend(data)
            return data

        return draw

    with TemporaryDirectory() as folder:
        stage = Stage(given, Path(folder), recording)
        events = record(stage, scene)
        output = {
            "events": events,
            "blobs": stage.stored(),
            "weights": stage.weights(),
            "model": stage.coordinator.model,
            "checkpoint": stage.checkpoint(given["time"]),
        }
    for institution, data in drawn.items():
        given["institutions"][institution]["entropy"] = data.hex()
    return {"family": "rounds", "about": scene.about, "input": given, "output": output}


def signing_key(name: str) -> bytes:
    """A participant's Ed25519 private key: in vectors alone, it follows from the name."""
    return hashlib.sha256(f"signing key of {name}".encode()).digest()


def record(stage: Stage, scene: Scene) -> list[Vector]:
    """Everything that is sent, in order, and the deadlines that pass."""
    events: list[Vector] = []
    envelopes: list[Envelope] = []

    def record(sender: str, to: list[str], envelope: Envelope) -> None:
        events.append({"from": sender, "to": to, "envelope": as_json(envelope)})
        envelopes.append(envelope)
        stage.entries.append(envelope)

    server, coordinator = stage.charter.server, stage.coordinator
    upward = {name: institution.start() for name, institution in stage.institutions.items()}
    silent: set[str] = set()
    while True:
        downward = []
        for name in [name for name in stage.institutions if name in upward]:
            record(name, [server], upward[name])
            downward += coordinator.receive(upward[name])
        if not downward and coordinator.missing():
            events.append({"deadline": server})
            downward = coordinator.close()
        custodian = stage.charter.custodian
        if custodian is not None and coordinator.missing() == (custodian.name,):
            (receivers, envelope), *_ = listed(downward)
            record(server, receivers, envelope)
            events[-1]["evidence"] = {}
            word = stage.count(stage.entries)
            record(custodian.name, [server], word)
            downward = coordinator.receive(word)
        if coordinator.waits_for_witness:
            word = stage.attest(envelopes)
            record("auditor", [server], word)
            downward = coordinator.receive(word)
        upward = {}
        for receivers, envelope in listed(downward):
            record(server, receivers, envelope)
            silent |= {name for name in receivers if _vanishes(stage, scene, name, envelope)}
            beside = {name: stage.evidence(envelope, name) for name in receivers if name not in silent}
            events[-1]["evidence"] = {name: as_json(evidence) for name, evidence in beside.items()}
            for name, evidence in beside.items():
                answer = stage.institutions[name].receive(envelope, evidence)
                if answer is not None:
                    upward[name] = answer
        if coordinator.model is not None:
            assert stage.log.take_new() == envelopes
            return events


def _vanishes(stage: Stage, scene: Scene, name: str, envelope: Envelope) -> bool:
    """Whether this is the first message that an institution does not answer."""
    body = as_json(stage.plan.context.open(envelope))
    return scene.vanishing.get(name) == (body["kind"], body.get("sum"), body.get("attempt"))


def setting(name: str, scene: Scene) -> Vector:
    """The `input` of a round of that scene: everything but random bytes."""
    rng = np.random.default_rng(len(name))
    names = _NAMES[: len(scene.capacities)]
    tensors, weights = [], {}
    for tensor, layer, rows, columns, dtype in (
        _one_a_layer(scene) if scene.pooling is None else scene.pooling.tensors()
    ):
        W = (np.rint(rng.normal(size=(rows, columns)) * 64) / 32).astype(DTYPES[dtype])
        W.flat[:3] = -0.0  # one of them stays where a pattern has no room for three zeros
        tensors.append(
            {
                "name": tensor,
                "layer": layer,
                "rows": rows,
                "columns": columns,
                "dtype": dtype,
                "digest": tensor_digest(W),
            }
        )
        weights[tensor] = W
    others = [*(["custodian"] if scene.custodian else []), *(["auditor"] if scene.witness else [])]
    participants = ["coordinator", *names, *others]
    keys = {who: Ed25519PrivateKey.from_private_bytes(signing_key(who)) for who in participants}
    public = {who: key.public_key().public_bytes_raw().hex() for who, key in keys.items()}
    charter = {
        "version": "fedspallm-secure/charter/v1",
        "run": name,
        "server": "coordinator",
        "server_key": public["coordinator"],
        "roster": [
            {"name": who, "public_key": public[who], "capacity": capacity}
            for who, capacity in zip(names, scene.capacities, strict=True)
        ],
        "method": scene.method,
        "aggregate": {"kind": "weights"} if scene.pooling is None else scene.pooling.aggregate(),
        "schedule": [scene.pattern],
        "beacon": hashlib.sha256(f"beacon of {name}".encode()).hexdigest(),
        "base": {
            "layers": len({tensor["layer"] for tensor in tensors}),
            "pruned": tensors,
            "rest": {other: tensor_digest(data) for other, data in REST.items()},
        },
        "parameters": {"dropout_margin": 0, "colluders": 0, "dropouts": 0, "clip": "0.75", **scene.parameters},
        "votes": votes_of(name, public["custodian"], 1) if scene.custodian else {"backend": "masked"},
        "witness": {"name": "auditor", "public_key": public["auditor"]} if scene.witness else None,
    }
    given = {
        "charter": charter,
        "round": 0,
        "time": TIME,
        "signing": {who: signing_key(who).hex() for who in participants},
        "weights": {tensor: W.tobytes().hex() for tensor, W in weights.items()},
        "institutions": {who: opinion(scene, weights, rng) for who in names},
    }
    return with_keys(given, name) if scene.custodian else given


def _one_a_layer(scene: Scene) -> list[tuple[str, int, int, int, str]]:
    return [
        (f"layers.{layer}.weight", layer, rows, columns, dtype)
        for layer, (rows, columns, dtype) in enumerate(scene.tensors)
    ]


def votes_of(run: str, public_key: str, rounds: int) -> Vector:
    """A charter's `votes`, where they are encrypted."""
    contexts = [hashlib.sha256(context_of(run, number)).hexdigest() for number in range(rounds)]
    custodian = {"name": "custodian", "public_key": public_key}
    return {"backend": "ckks", "custodian": custodian, "contexts": contexts}


def with_keys(given: Vector, run: str) -> Vector:
    """A round's `input` with what ciphertexts are made of."""
    number = given["round"]
    institutions = {
        who: {**own, "streams": {lane: stream_of(run, number, who, lane) for lane in own["kept"]}}
        for who, own in given["institutions"].items()
    }
    return {**given, "institutions": institutions, "custodian": {"secret": key_of(run, number)}}


def opinion(scene: Scene, weights: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> Vector:
    """One institution's opinion of every layer, also of those that it turns out not to be asked for."""
    if scene.pooling is not None:
        return scene.pooling.measured(rng)
    pattern = parse_pattern(scene.pattern)
    kept, pruned = {}, {}
    for tensor, W in weights.items():
        score = np.abs(W.astype(np.float64)) * rng.lognormal(sigma=0.4, size=W.shape)
        groups = score.reshape(-1, pattern.group) if isinstance(pattern, NM) else score.reshape(1, -1)
        mask = np.ones(groups.shape, np.bool_)
        lowest = np.argsort(groups, axis=1, kind="stable")[:, : pattern.zeros(groups.shape[1])]
        np.put_along_axis(mask, lowest, False, axis=1)
        mask = mask.reshape(W.shape) & (W != 0)
        change = rng.normal(scale=0.3, size=W.shape) if scene.method == "sparsegpt" else 0.0
        new = np.where(mask, W.astype(np.float64) + change, 0.0).astype(W.dtype)
        kept[tensor] = "".join(map(str, mask.reshape(-1).astype(int)))
        pruned[tensor] = new.tobytes().hex()
    tokens, loss = rng.integers(1000, 100_000), rng.integers(2_000_000, 4_000_000)
    return {"entropy": "", "kept": kept, "pruned": pruned, "tokens": int(tokens), "loss": int(loss)}
