"""SPEC.md sections 4 to 6: the charter and what follows from it for one round."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import floor
from typing import Any

from protocol.vectors.second.ckks import Parameters, choose
from protocol.vectors.second.encoding import (
    count,
    decimal,
    digest,
    hex32,
    lane_name,
    listed,
    mapping,
    members,
    name,
    nullable,
    one_of,
    open_envelope,
    parse,
)
from protocol.vectors.second.graph import drawn_order, make_graph, quorum
from protocol.vectors.second.packing import Packing, values_packing, votes_packing
from protocol.vectors.second.refusal import CheckError, require

__all__ = ["Group", "Lane", "Round", "assign_layers", "check_charter", "read_charter"]

_TELEMETRY = "fedspallm-secure/telemetry"
_SPARSITY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,18})?|[0-9]{1,18}/[1-9][0-9]{0,17}")
_N_OF_M = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")

_masked = members(backend=one_of("masked"))
_encrypted = members(backend=one_of("ckks"), custodian=members(name=name, public_key=hex32), contexts=listed(hex32))

_charter = members(
    version=one_of("fedspallm-secure/charter/v1"),
    run=name,
    server=name,
    server_key=hex32,
    roster=listed(members(name=name, public_key=hex32, capacity=decimal)),
    method=one_of("sparsegpt", "wanda", "magnitude"),
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


def check_charter(charter: Mapping[str, Any], round_index: int = 0) -> None:
    """G1 to G12, and G16."""
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
    require("G3", len({tensor["layer"] for tensor in base["pruned"]}) == base["layers"])
    require("G3", all(tensor["layer"] < base["layers"] for tensor in base["pruned"]))
    c, smallest = numbers["colluders"], numbers["minimum_cohort"]
    require("G4", numbers["minimum_contributors"] >= c + 2)
    require("G5", smallest >= numbers["minimum_contributors"] + numbers["dropout_margin"])
    require("G6", smallest - numbers["dropouts"] >= quorum(smallest, c))
    require("G7", len(clients) >= smallest)
    patterns = [_pattern(text) for text in charter["schedule"]]
    require("G8", len(patterns) > 0 and all(pattern is not None for pattern in patterns))
    sparsities = [pattern[0] for pattern in patterns if pattern is not None]
    require("G8", all(earlier <= later for earlier, later in pairwise(sparsities)))
    if votes["backend"] == "ckks":
        require("G16", len(votes["contexts"]) == len(set(votes["contexts"])) == len(patterns))
    groups = [pattern[1] for pattern in patterns if pattern is not None and pattern[1] > 1]
    require("G9", not any(tensor["columns"] % group for group in groups for tensor in base["pruned"]))
    require("G10", charter["method"] != "sparsegpt" or Fraction(numbers["clip"]) > 0)
    the_round = Round(dict(charter), round_index)
    require("G12", all(lane.packing[which].exists() for lane in the_round.lanes for which in ("votes", "values")))


def _pattern(text: str) -> tuple[Fraction, int] | None:
    """Sparsity, and M of N:M or 1."""
    if found := _N_OF_M.fullmatch(text):
        n, m = int(found[1]), int(found[2])
        return (Fraction(m - n, m), m) if 1 <= n < m else None
    sparsity = Fraction(text) if _SPARSITY.fullmatch(text) else Fraction(0)
    return (sparsity, 1) if 0 < sparsity < 1 else None


def assign_layers(
    capacities: Sequence[str], layers: int, minimum_cohort: int, beacon: str, round_index: int
) -> list[tuple[int, ...]]:
    """G11, section 5: each layer's cohort."""
    shares = [Fraction(capacity) for capacity in capacities]
    require("G11", all(0 < share <= 1 for share in shares))
    quotas = [floor(share * layers) for share in shares]
    require("G11", sum(quotas) >= minimum_cohort * layers)
    ring = drawn_order("layers", beacon, round_index, layers)
    cohorts: list[list[int]] = [[] for _ in range(layers)]
    p = 0
    for client in drawn_order("clients", beacon, round_index, len(shares)):
        for j in range(quotas[client]):
            cohorts[ring[(p + j) % layers]].append(client)
        p += quotas[client]
    return [tuple(sorted(cohort)) for cohort in cohorts]


@dataclass(frozen=True)
class Lane:
    """One lane; `packing` by sum."""

    index: int
    name: str
    length: int
    cohort: tuple[int, ...]
    packing: Mapping[str, Packing]


@dataclass(frozen=True)
class Group:
    """Lanes of one cohort; all numbers are roster indices."""

    index: int
    cohort: tuple[int, ...]
    lanes: tuple[Lane, ...]
    neighbours: Mapping[int, tuple[int, ...]]
    holders: Mapping[int, tuple[int, ...]]
    threshold: int
    quorum: int


class Round:
    """One round of a charter.

    Args:
        charter: which was checked.
        index: of the round.
        start: digest of the model that it starts from, where that is not the base model.
    """

    def __init__(self, charter: dict[str, Any], index: int, start: str = "") -> None:
        self.charter = charter
        self.index = index
        self.digest = digest(charter)
        self.parameters = charter["parameters"]
        self.server = charter["server"]
        self.roster = [member["name"] for member in charter["roster"]]
        self.everybody = frozenset(range(len(self.roster)))
        self.changes_weights = charter["method"] == "sparsegpt"
        pattern = _pattern(charter["schedule"][index])
        assert pattern is not None
        base = charter["base"]
        self.start = start or digest({one["name"]: one["digest"] for one in base["pruned"]} | base["rest"])
        self.sparsity, self.group_of_columns = pattern
        self.custodian: str | None = None
        if charter["votes"]["backend"] == "ckks":
            self.custodian = charter["votes"]["custodian"]["name"]

    @cached_property
    def keys(self) -> dict[str, str]:
        """Everybody's Ed25519 public key."""
        keys = {member["name"]: member["public_key"] for member in self.charter["roster"]}
        keys[self.server] = self.charter["server_key"]
        if self.custodian is not None:
            keys[self.custodian] = self.charter["votes"]["custodian"]["public_key"]
        if self.charter["witness"] is not None:
            keys[self.charter["witness"]["name"]] = self.charter["witness"]["public_key"]
        return keys

    @cached_property
    def cohorts(self) -> list[tuple[int, ...]]:
        """G11: by layer."""
        capacities = [member["capacity"] for member in self.charter["roster"]]
        layers, smallest = self.charter["base"]["layers"], self.parameters["minimum_cohort"]
        return assign_layers(capacities, layers, smallest, self.charter["beacon"], self.index)

    @cached_property
    def lanes(self) -> list[Lane]:
        """The tensors' lanes, and the telemetry's as the last one where votes are masked."""
        lanes = []
        for index, tensor in enumerate(self.charter["base"]["pruned"]):
            cohort = self.cohorts[tensor["layer"]]
            packing = {
                "votes": votes_packing(len(cohort)),
                "values": values_packing(len(cohort), self.parameters["digits_per_word"]),
            }
            lanes.append(Lane(index, tensor["name"], tensor["rows"] * tensor["columns"], cohort, packing))
        if self.custodian is not None:
            return lanes
        wide = Packing(len(self.roster), 2**28 - 1, 1)
        everybody = tuple(sorted(self.everybody))
        return [*lanes, Lane(len(lanes), _TELEMETRY, 2, everybody, {"votes": wide, "values": wide})]

    @cached_property
    def ckks(self) -> Parameters:
        """How votes are encrypted."""
        return choose(len(self.roster))

    def ciphertext_words(self, lane: Lane) -> int:
        """Words of one client's encrypted votes."""
        return self.ckks.words(lane.length)

    @property
    def tensors(self) -> list[Lane]:
        """The lanes that carry weights."""
        return self.lanes[: len(self.charter["base"]["pruned"])]

    @cached_property
    def groups(self) -> list[Group]:
        """Lanes by cohort, in the order of their first lanes."""
        c, d = self.parameters["colluders"], self.parameters["dropouts"]
        groups = []
        for index, cohort in enumerate(dict.fromkeys(lane.cohort for lane in self.lanes)):
            n = len(cohort)
            around = drawn_order(f"graph/{index}", self.charter["beacon"], self.index, n)
            graph = make_graph(n, c, d, around)
            groups.append(
                Group(
                    index,
                    cohort,
                    tuple(lane for lane in self.lanes if lane.cohort == cohort),
                    {cohort[at]: tuple(cohort[i] for i in graph.neighbours[at]) for at in range(n)},
                    {cohort[at]: tuple(cohort[i] for i in graph.holders[at]) for at in range(n)},
                    graph.threshold,
                    quorum(n, c) if graph.complete else n - d,
                )
            )
        return groups

    def groups_of(self, client: int) -> list[Group]:
        """Those that a client is in, in order: its messages list them so."""
        return [group for group in self.groups if client in group.cohort]

    def place(self, client: int, group: Group) -> int:
        """Where `group` stands in a client's messages."""
        return self.groups_of(client).index(group)

    def group_of(self, lane: Lane) -> Group:
        """The group of a lane."""
        return next(group for group in self.groups if group.cohort == lane.cohort)

    def lanes_of(self, client: int) -> list[Lane]:
        """Those that a client contributes to."""
        return [lane for lane in self.lanes if client in lane.cohort]

    def peers_of(self, client: int) -> frozenset[int]:
        """Its neighbours in any group."""
        return frozenset(peer for group in self.groups_of(client) for peer in group.neighbours[client])

    def names(self, clients: Iterable[int]) -> list[str]:
        """In roster order."""
        return [self.roster[client] for client in sorted(clients)]

    def indices(self, check: str, names: list[str], among: Collection[int]) -> frozenset[int]:
        """Names that must each be there once, in roster order, and be of `among`."""
        found = [self.roster.index(one) if one in self.roster else -1 for one in names]
        require(check, found == sorted(set(found)) and set(found) <= set(among), f"{names}")
        return frozenset(found)

    def sums_of(self, attempt: int) -> list[str]:
        """Which sums an exchange serves."""
        if attempt:
            return ["values"]
        return ["votes", "values"] if self.changes_weights else ["votes"]

    def open(self, envelope: Any) -> dict[str, Any]:
        """E1 to E9."""
        return open_envelope(envelope, self.keys, self.digest, self.index)
