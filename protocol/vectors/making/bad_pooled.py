"""Rounds of pooled statistics, and charters of them, that somebody must refuse."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from fedspallm_secure.messages import SumName
from protocol.vectors.making.charters import changed, named
from protocol.vectors.making.editor import Collector, Editor, Json, message_digest, sign, with_first
from protocol.vectors.making.rounds import votes_of

__all__ = ["bad_pooled", "bad_pooled_charters"]


def bad_pooled(good: Mapping[str, Json], vectors: dict[str, Json]) -> None:
    """Collect rounds, from two whose charters name a witness."""
    diagonals, matrices = (Editor(name, good[name]) for name in ("pooled_diagonals", "pooled_matrices"))
    bad = Collector(diagonals, vectors)
    sums, masked = diagonals.find("sums", sum="votes"), diagonals.find("masked", sender="berlin")
    words: Any = lambda body: body["lanes"][0].update(words=7)  # noqa: E731
    bad.change("lane_cut", "A diagonal with an entry too few.", sums, "C28", "words for lane", words)
    bad.change("masked_words", "berlin sends an entry too few.", masked, "S10", "words for lane", words)
    _attested(diagonals, bad, "votes", 0, "diagonal", "C31", "institutions can give", _beyond)
    bad = Collector(matrices, vectors)
    masked = matrices.find("masked", sender="berlin", sum="values")
    words = lambda body: body["lanes"][1].update(words=4)  # noqa: E731
    about = "berlin sends a matrix of which only the diagonal is due."
    bad.change("masked_matrix", about, masked, "S10", "words for lane", words)
    _attested(matrices, bad, "values", 0, "entry", "C32", "institutions can give", _beyond)
    _attested(matrices, bad, "values", 0, "indefinite", "C52", "is not positive definite", _all_equal)


_ABOUT: Mapping[str, str] = {
    "diagonal": "A diagonal larger than that of so many institutions, called true.",
    "entry": "An entry larger than that of so many institutions, called true.",
    "indefinite": "A sum that is no second moment, called true.",
}


def _beyond(digits: Any, most: int) -> Any:
    return with_first(digits, most + 1)


def _all_equal(digits: Any, most: int) -> Any:
    digits[: 20 * 19 // 2] = most
    return digits


def _attested(
    one: Editor, bad: Collector, which: SumName, lane: int, defect: str, check: str, says: str, change: Any
) -> None:
    """The witness vouches for a false sum."""
    survivors = one.body(one.find("survivors", sum=which))["survivors"]
    most = len(survivors) * one.plan.context.lanes[lane].packing(which).top
    false, blobs = one.false_sums(which, lane, lambda digits: change(digits, most))
    body = json.loads(base64.b64decode(false["payload"]))
    head = {name: body[name] for name in ("charter", "round", "sum", "attempt")}
    word = {"kind": "attest", "sender": "auditor", "sums": message_digest(false), "prev": None, "seen": None}
    attested = {"kind": "attested", "sender": body["sender"], "attestation": sign({**head, **word})}
    error = {"error": "NumericalError"} if check == "C52" else {}
    deliver = [false, sign({**head, **attested})]
    after = one.find("sums", sum=which)
    bad.add(defect, _ABOUT[defect], after, "aachen", check, says, blobs=blobs, deliver=deliver, **error)


def bad_pooled_charters(diagonals: Json, matrices: Json) -> dict[str, Json]:
    """charters/NAME -> vector that must be refused, from charters of diagonals alone, and of matrices."""
    gate, wanda, inputs = "CharterError", diagonals["aggregate"]["inputs"], matrices["aggregate"]["inputs"]
    first, second, third = inputs
    at = "aggregate/inputs"
    custodian = votes_of("pooled", "5" * 64, 2)
    order, name = "not in the order of the base model", "do not name every tensor"

    def given(*change: tuple[str, Any]) -> Json:
        return changed(matrices, *change)

    def with_inputs(*some: Json) -> Json:
        return given((at, list(some)))

    def seen_by(one: Json, *tensors: str) -> Json:
        return {**one, "tensors": list(tensors)}

    one, other = first["tensors"]
    (alone,) = second["tensors"]
    (last,) = third["tensors"]
    scale = [1] * matrices["base"]["pruned"][0]["columns"]
    noise = {"bound": 1, "variance": 1, "scale": scale}
    vectors: dict[str, tuple[str, Json, str, str, str]] = {
        "aggregate": (
            "Something to sum that there is not.",
            given(("aggregate/kind", "means")),
            "G1",
            "ConfigError",
            "aggregate",
        ),
        "weights_damping": (
            "Damping, where weights are averaged.",
            given(("aggregate", {"kind": "weights", "damping": "0.01"})),
            "G1",
            "ConfigError",
            "damping",
        ),
        "places": (
            "More binary places than there may be.",
            given((f"{at}/0/exponent", 65)),
            "G1",
            "ConfigError",
            "exponent",
        ),
        "magnitude": (
            "A method that reads no text.",
            changed(diagonals, ("method", "magnitude")),
            "G17",
            gate,
            "needs no statistics",
        ),
        "moments_of_custodian": (
            "A custodian who would count second moments.",
            given(("votes", custodian)),
            "G17",
            gate,
            "counts votes",
        ),
        "damping": ("No damping.", given(("aggregate/damping", "0.000")), "G18", gate, "neither may be 0"),
        "block": ("Blocks of no column.", given(("aggregate/block", 0)), "G18", gate, "neither may be 0"),
        "matrix": (
            "A matrix that nothing is done with.",
            changed(diagonals, (f"{at}/0", {**wanda[0], "matrix": True})),
            "G19",
            gate,
            "wanda needs no matrix",
        ),
        "no_matrix": (
            "A method that needs matrices, without one.",
            with_inputs(*({**one, "matrix": False} for one in inputs)),
            "G19",
            gate,
            "sparsegpt needs the matrix",
        ),
        "noise": (
            "Noise on some inputs alone.",
            given((f"{at}/0/noise", noise)),
            "G20",
            gate,
            "and others have none",
        ),
        "variance": (
            "Noise without variance.",
            given((f"{at}/0/noise", {**noise, "variance": 0})),
            "G1",
            "ConfigError",
            "variance",
        ),
        "zero_scale": (
            "A divisor of 0.",
            with_inputs(*({**one, "noise": {**noise, "scale": [0, *scale[1:]]}} for one in inputs)),
            "G1",
            "ConfigError",
            "scale",
        ),
        "scale": (
            "A scale that lacks an entry.",
            with_inputs(*({**one, "noise": {**noise, "scale": [1]}} for one in inputs)),
            "G23",
            gate,
            "has 1 entries",
        ),
        "unseen": ("A tensor that sees no input.", with_inputs(first, third), "G21", gate, name),
        "seen_twice": (
            "A tensor that sees two inputs.",
            with_inputs(first, seen_by(second, one, alone), third),
            "G21",
            gate,
            name,
        ),
        "empty_input": ("An input without a tensor.", with_inputs(*inputs, seen_by(third)), "G21", gate, name),
        "inputs_order": ("Inputs out of order.", with_inputs(second, first, third), "G21", gate, order),
        "tensors_order": (
            "An input's tensors out of order.",
            with_inputs(seen_by(first, other, one), second, third),
            "G21",
            gate,
            order,
        ),
        "other_columns": (
            "One input of two lengths.",
            with_inputs(seen_by(first, one, other, alone), third),
            "G22",
            gate,
            "differ in layer or columns",
        ),
        "other_layer": (
            "One input of two layers.",
            with_inputs(first, seen_by(second, alone, last)),
            "G22",
            gate,
            "differ in layer or columns",
        ),
    }
    return named(vectors)
