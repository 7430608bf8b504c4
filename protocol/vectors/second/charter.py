"""SPEC.md section 4: the form of a charter, and what it must keep to by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

from protocol.vectors.second.encoding import (
    Form,
    count,
    decimal,
    hex32,
    lane_name,
    listed,
    mapping,
    members,
    name,
    nullable,
    one_of,
    parse,
)
from protocol.vectors.second.graph import quorum
from protocol.vectors.second.refusal import CheckError, require

__all__ = ["check_members", "pattern", "read_charter", "rounds", "statistics"]

_SPARSITY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,18})?|[0-9]{1,18}/[1-9][0-9]{0,17}")
_N_OF_M = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")

_masked = members(backend=one_of("masked"))
_encrypted = members(backend=one_of("ckks"), custodian=members(name=name, public_key=hex32), contexts=listed(hex32))


def _up_to(largest: int) -> Form:
    return lambda value: type(value) is int and 1 <= value <= largest


_weights = members(kind=one_of("weights"))
_statistics = members(
    kind=one_of("statistics"),
    exchange=one_of("once", "each layer"),
    inputs=listed(
        members(
            tensors=listed(lane_name),
            exponent=lambda value: type(value) is int and -64 <= value <= 64,
            matrix=lambda value: isinstance(value, bool),
            noise=nullable(members(bound=_up_to(2**26), variance=_up_to(2**52), scale=listed(_up_to(2**16)))),
        )
    ),
    damping=decimal,
    block=count,
)

_charter = members(
    version=one_of("fedspallm-secure/charter/v1"),
    run=name,
    server=name,
    server_key=hex32,
    roster=listed(members(name=name, public_key=hex32, capacity=decimal)),
    method=one_of("sparsegpt", "wanda", "magnitude"),
    aggregate=lambda value: _weights(value) or _statistics(value),
    schedule=listed(lambda value: isinstance(value, str)),
    beacon=hex32,
    base=members(
        layers=count,
        pruned=listed(
            members(
                name=lane_name,
                layer=count,
                rows=count,
                columns=count,
                dtype=one_of("float32", "float16", "bfloat16"),
                digest=hex32,
            )
        ),
        rest=mapping(lane_name, hex32),
    ),
    parameters=members(
        minimum_cohort=count,
        minimum_contributors=count,
        dropout_margin=count,
        colluders=count,
        dropouts=count,
        digits_per_word=count,
        clip=decimal,
    ),
    votes=lambda value: _masked(value) or _encrypted(value),
    witness=nullable(members(name=name, public_key=hex32)),
)


def read_charter(text: str) -> dict[str, Any]:
    """G1: the charter in `text`."""
    try:
        charter = parse(text)
    except ValueError as error:
        raise CheckError("G1", str(error)) from error
    require("G1", _charter(charter))
    return dict(charter)


def statistics(charter: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What it says of pooled statistics, if they are."""
    aggregate: Mapping[str, Any] = charter["aggregate"]
    return aggregate if aggregate["kind"] == "statistics" else None


def rounds(charter: Mapping[str, Any]) -> int:
    """How many it has."""
    pooled = statistics(charter)
    each = pooled is not None and pooled["exchange"] == "each layer"
    return len(charter["schedule"]) * int(charter["base"]["layers"] if each else 1)


def check_members(charter: Mapping[str, Any]) -> None:
    """G1 to G10, and G16 to G23."""
    require("G1", _charter(charter))
    clients = [(member["name"], member["public_key"]) for member in charter["roster"]]
    everybody = [(charter["server"], charter["server_key"]), *clients]
    votes, witness = charter["votes"], charter["witness"]
    if votes["backend"] == "ckks":
        everybody.append((votes["custodian"]["name"], votes["custodian"]["public_key"]))
    if witness is not None and (witness["name"], witness["public_key"]) not in clients:
        everybody.append((witness["name"], witness["public_key"]))
    require("G2", all(len(set(column)) == len(everybody) for column in zip(*everybody, strict=True)))
    base, numbers = charter["base"], charter["parameters"]
    tensors = [*(tensor["name"] for tensor in base["pruned"]), *base["rest"]]
    require("G3", len(set(tensors)) == len(tensors))
    require("G3", len({tensor["layer"] for tensor in base["pruned"]}) == base["layers"] > 0)
    require("G3", all(tensor["layer"] < base["layers"] for tensor in base["pruned"]))
    c, smallest = numbers["colluders"], numbers["minimum_cohort"]
    require("G4", numbers["minimum_contributors"] >= c + 2)
    require("G5", smallest >= numbers["minimum_contributors"] + numbers["dropout_margin"])
    require("G6", smallest - numbers["dropouts"] >= quorum(smallest, c))
    require("G7", len(clients) >= smallest)
    patterns = [pattern(text) for text in charter["schedule"]]
    require("G8", len(patterns) > 0 and None not in patterns)
    sparsities = [one[0] for one in patterns if one is not None]
    require("G8", all(earlier <= later for earlier, later in pairwise(sparsities)))
    if votes["backend"] == "ckks":
        require("G16", len(votes["contexts"]) == len(set(votes["contexts"])) == rounds(charter))
    groups = [one[1] for one in patterns if one is not None and one[1] > 1]
    require("G9", not any(tensor["columns"] % group for group in groups for tensor in base["pruned"]))
    require("G10", charter["method"] != "sparsegpt" or Fraction(numbers["clip"]) > 0)
    if (pooled := statistics(charter)) is not None:
        _check_statistics(charter, pooled)


def _check_statistics(charter: Mapping[str, Any], pooled: Mapping[str, Any]) -> None:
    """G17 to G23."""
    require("G17", charter["method"] in ("wanda", "sparsegpt") and charter["votes"]["backend"] == "masked")
    require("G18", Fraction(pooled["damping"]) > 0 and pooled["block"] > 0)
    require("G19", any(one["matrix"] for one in pooled["inputs"]) is (charter["method"] == "sparsegpt"))
    require("G20", len({one["noise"] is None for one in pooled["inputs"]}) <= 1)
    tensors = charter["base"]["pruned"]
    place = {tensor["name"]: at for at, tensor in enumerate(tensors)}
    require("G21", all(one["tensors"] for one in pooled["inputs"]))
    require("G21", sorted(name for one in pooled["inputs"] for name in one["tensors"]) == sorted(place))
    places = [[place[name] for name in one["tensors"]] for one in pooled["inputs"]]
    require("G21", all(mine == sorted(mine) for mine in places))
    require("G21", sorted(places) == places)
    for mine in places:
        require("G22", len({(tensors[at]["layer"], tensors[at]["columns"]) for at in mine}) == 1)
    for one in pooled["inputs"]:
        scale = one["noise"]["scale"] if one["noise"] else None
        require("G23", scale is None or len(scale) == tensors[place[one["tensors"][0]]]["columns"])


def pattern(text: str) -> tuple[Fraction, int] | None:
    """Sparsity, and M of N:M or 1."""
    if found := _N_OF_M.fullmatch(text):
        n, m = int(found[1]), int(found[2])
        return (Fraction(m - n, m), m) if 1 <= n < m else None
    sparsity = Fraction(text) if _SPARSITY.fullmatch(text) else Fraction(0)
    return (sparsity, 1) if 0 < sparsity < 1 else None
