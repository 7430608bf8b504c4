"""Vectors of the charter: what follows from one, and every rule that one can break."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedspallm_secure.charter import load_charter
from fedspallm_secure.messages import digest
from fedspallm_secure.rounds import plan_round

__all__ = ["bad_charters", "bad_encrypted_charters", "changed", "charters", "named"]

Json = dict[str, Any]


def charters(given: Json) -> Json:
    """The digest of a charter, its rounds, and of one of them the sparsity, lanes and groups."""
    text = given["text"] if "text" in given else json.dumps(given["charter"])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "charter.json"
        path.write_text(text, encoding="utf-8")
        charter = load_charter(path)
    plan = plan_round(charter, given.get("round", 0))
    context = plan.context
    return {
        "digest": digest(charter),
        "rounds": charter.rounds,
        "sparsity": str(plan.pattern.sparsity),
        "lanes": [
            {
                "name": lane.name,
                "length": lane.length,
                "cohort": list(lane.cohort),
                "votes": [lane.votes.top, lane.votes.digits],
                "values": [lane.values.top, lane.values.digits],
            }
            for lane in context.lanes
        ],
        "groups": [
            {"cohort": list(group.cohort), "threshold": group.threshold, "quorum": group.quorum}
            for group in context.groups
        ],
    }


def bad_charters(good: Json) -> dict[str, Json]:
    """charters/NAME -> vector that must be refused; each breaks one rule of the charter `good`."""
    changed_to = partial(changed, good)

    def in_roster(index: int, **members: str) -> tuple[str, Any]:
        return f"roster/{index}", {**good["roster"][index], **members}

    text = json.dumps(good)
    first, second = good["base"]["pruned"]
    impostor = {"name": "berlin", "public_key": good["roster"][0]["public_key"]}
    parameters = "parameters/"
    vectors: dict[str, tuple[str, Json, str, str, str]] = {
        "extra": ("A member too many.", changed_to(("comment", "")), "G1", "ConfigError", "comment"),
        "twice": (
            "A member twice: two readers could see two charters.",
            {"text": text.replace("{", '{"method": "wanda", ', 1)},
            "G1",
            "ConfigError",
            "is there twice",
        ),
        "number": ("A number as text.", changed_to((parameters + "colluders", "1")), "G1", "ConfigError", "colluders"),
        "key": ("A public key that is too short.", changed_to(("server_key", "00")), "G1", "ConfigError", "server_key"),
        "name": (
            "Two institutions of one name.",
            changed_to(in_roster(1, name="aachen")),
            "G2",
            "CharterError",
            "same name",
        ),
        "server_name": (
            "An institution with the server's name.",
            changed_to(in_roster(1, name="coordinator")),
            "G2",
            "CharterError",
            "same name",
        ),
        "same_key": (
            "Two institutions of one key: one of them could speak for both.",
            changed_to(in_roster(1, public_key=good["roster"][0]["public_key"])),
            "G2",
            "CharterError",
            "same public key",
        ),
        "witness": (
            "A witness with an institution's name alone.",
            changed_to(("witness", impostor)),
            "G2",
            "CharterError",
            "same",
        ),
        "tensor": (
            "A tensor twice.",
            changed_to(("base/pruned/1", {**second, "name": first["name"]})),
            "G3",
            "CharterError",
            "names a tensor twice",
        ),
        "layer": (
            "A layer that there is not.",
            changed_to(("base/pruned/1/layer", 2)),
            "G3",
            "CharterError",
            "is in decoder",
        ),
        "empty_layer": (
            "A layer without a tensor.",
            changed_to(("base/pruned/1/layer", 0)),
            "G3",
            "CharterError",
            "hold a tensor to prune",
        ),
        "no_layer": (
            "A model without layers.",
            changed_to(("base/layers", 0), ("base/pruned", [])),
            "G3",
            "CharterError",
            "has no decoder layer",
        ),
        "contributors": (
            "What colluders subtract leaves one institution's weights.",
            changed_to((parameters + "colluders", 2)),
            "G4",
            "CharterError",
            "minimum_contributors is 3 with 2 colluders",
        ),
        "bar": (
            "A bar above the cohort.",
            changed_to((parameters + "dropout_margin", 1)),
            "G5",
            "CharterError",
            "needs 4 votes",
        ),
        "dropouts": (
            "Drop-outs that leave less than a quorum.",
            changed_to((parameters + "dropouts", 1)),
            "G6",
            "CharterError",
            "leave fewer than the",
        ),
        "roster": (
            "Too few institutions.",
            changed_to((parameters + "minimum_cohort", 5)),
            "G7",
            "CharterError",
            "fewer than",
        ),
        "no_round": ("No round.", changed_to(("schedule", [])), "G8", "CharterError", "has no round"),
        "pattern": (
            "A sparsity of 1.",
            changed_to(("schedule", ["1"])),
            "G8",
            "CharterError",
            "is not a pruning pattern",
        ),
        "exponent": (
            "A number with an exponent.",
            changed_to(("schedule", ["5e-1"])),
            "G8",
            "CharterError",
            "is not a pruning",
        ),
        "n_of_m": ("4 of 4.", changed_to(("schedule", ["4:4"])), "G8", "CharterError", "is not a pruning pattern"),
        "backwards": ("A lower sparsity.", changed_to(("schedule", ["0.5", "1/3"])), "G8", "CharterError", "goes back"),
        "group": (
            "Rows that 4 does not divide.",
            changed_to(("schedule", ["2:4"])),
            "G9",
            "CharterError",
            "not a multiple of 4",
        ),
        "clip": ("Changes clipped at 0.", changed_to((parameters + "clip", "0.0")), "G10", "CharterError", "clip is 0"),
        "idle": ("A capacity of 0.", changed_to(in_roster(3, capacity="0")), "G11", "CharterError", "has capacity 0"),
        "thin": (
            "Capacities that can't cover every layer.",
            changed_to(in_roster(0, capacity="0.4")),
            "G11",
            "CharterError",
            "The capacities give",
        ),
        "crowded": (
            "More digits a word than there is room for.",
            changed_to((parameters + "digits_per_word", 33)),
            "G12",
            "CharterError",
            "do not fit a 64-bit word",
        ),
    }
    return named(vectors)


def bad_encrypted_charters(good: Json) -> dict[str, Json]:
    """The same, of a charter `good` whose votes are encrypted."""
    changed_to, votes = partial(changed, good), good["votes"]
    first = votes["contexts"][0]
    member, server, auditor = good["roster"][0], good["server_key"], good["witness"]["public_key"]
    rounds = {"schedule": ["0.4", "0.5"]}
    same, gate = "Two participants have the same", "CharterError"
    keys = "CKKS contexts for"

    def custodian(**members: str) -> Json:
        return changed_to(("votes/custodian", {**votes["custodian"], **members}))

    vectors = {
        "backend": (
            "A way to count that there is not.",
            changed_to(("votes/backend", "bgv")),
            "G1",
            "ConfigError",
            "votes",
        ),
        "no_custodian": (
            "Encrypted votes without a custodian.",
            changed_to(("votes", {"backend": "ckks", "contexts": [first]})),
            "G1",
            "ConfigError",
            "custodian",
        ),
        "masked_custodian": (
            "A custodian of masked votes.",
            changed_to(("votes", {**votes, "backend": "masked"})),
            "G1",
            "ConfigError",
            "custodian",
        ),
        "context": (
            "A digest that is too short.",
            changed_to(("votes/contexts/0", "00")),
            "G1",
            "ConfigError",
            "contexts",
        ),
        "custodian_server_name": ("The server's name.", custodian(name=good["server"]), "G2", gate, f"{same} name"),
        "custodian_server_key": ("The server's key.", custodian(public_key=server), "G2", gate, f"{same} public key"),
        "custodian_institution": (
            "An institution is the custodian.",
            custodian(name=member["name"], public_key=member["public_key"]),
            "G2",
            gate,
            f"{same} name",
        ),
        "custodian_witness": (
            "The witness is the custodian.",
            custodian(name="auditor", public_key=auditor),
            "G2",
            gate,
            f"{same} name",
        ),
        "no_context": ("No key for the round.", changed_to(("votes/contexts", [])), "G16", gate, keys),
        "contexts": ("Two keys for one round.", changed_to(("votes/contexts", [first, "5" * 64])), "G16", gate, keys),
        "same_context": (
            "One key for two rounds: ciphertexts of the first could be sent again in the second.",
            changed_to(("votes/contexts", [first, first]), *rounds.items()),
            "G16",
            gate,
            keys,
        ),
    }
    return named(vectors)


def changed(good: Json, *changes: tuple[str, Any]) -> Json:
    """An input: a charter with other values at these places, such as `roster/0/name`."""
    charter = deepcopy(good)
    for path, value in changes:
        *way, last = path.split("/")
        at: Any = charter
        for step in way:
            at = at[int(step) if isinstance(at, list) else step]
        at[int(last) if isinstance(at, list) else last] = value
    return {"charter": charter}


def named(vectors: Mapping[str, tuple[str, Json, str, str, str]]) -> dict[str, Json]:
    """The vectors of (about, input, check, error, says), by what is wrong."""
    return {
        f"charters/charters_bad_{defect}": {
            "family": "charters",
            "about": about,
            "input": given,
            "refused": {"check": check, "error": error, "says": says},
        }
        for defect, (about, given, check, error, says) in vectors.items()
    }
