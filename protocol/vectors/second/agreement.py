"""SPEC.md sections 4 to 6: the charter and what follows from it for one round."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor
from typing import Any

from protocol.vectors.second.charter import check_members, pattern, statistics
from protocol.vectors.second.ckks import Parameters, choose
from protocol.vectors.second.encoding import digest, open_envelope
from protocol.vectors.second.graph import Graph, drawn_order, make_graph, quorum, spread
from protocol.vectors.second.packing import Packing, moments_packing, values_packing, votes_packing
from protocol.vectors.second.refusal import require

__all__ = ["Group", "Lane", "Round", "assign_layers", "check_charter"]

_TELEMETRY = "fedspallm-secure/telemetry"


def check_charter(charter: Mapping[str, Any], round_index: int = 0) -> None:
    """G1 to G12, and G16 to G23."""
    check_members(charter)
    the_round = Round(dict(charter), round_index)
    require("G12", all(lane.packing[which].exists() for lane in the_round.lanes for which in ("votes", "values")))


def assign_layers(
    capacities: Sequence[str], layers: int, minimum_cohort: int, beacon: str, position: int
) -> list[tuple[int, ...]]:
    """G11, section 5: each layer's cohort."""
    shares = [Fraction(capacity) for capacity in capacities]
    require("G11", all(0 < share <= 1 for share in shares))
    quotas = [floor(share * layers) for share in shares]
    require("G11", sum(quotas) >= minimum_cohort * layers)
    ring = drawn_order("layers", beacon, position, layers)
    cohorts: list[list[int]] = [[] for _ in range(layers)]
    p = 0
    for client in drawn_order("clients", beacon, position, len(shares)):
        for j in range(quotas[client]):
            cohorts[ring[(p + j) % layers]].append(client)
        p += quotas[client]
    return [tuple(sorted(cohort)) for cohort in cohorts]


@dataclass(frozen=True)
class Lane:
    """One lane; `length` is in votes, `packing` by sum, `tensors` are those whose weights it decides."""

    index: int
    name: str
    length: int
    cohort: tuple[int, ...]
    packing: Mapping[str, Packing]
    tensors: tuple[str, ...]


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
    graph: Graph

    def spread(self, present: Collection[int]) -> bool:
        """Section 6.4."""
        return spread(self.graph, {at for at, member in enumerate(self.cohort) if member in present})


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
        base, self.statistics = charter["base"], statistics(charter)
        self.start = start or digest({one["name"]: one["digest"] for one in base["pruned"]} | base["rest"])
        self.layers, self.stage = range(base["layers"]), index
        if self.statistics is not None and self.statistics["exchange"] == "each layer":
            self.stage, layer = divmod(index, base["layers"])
            self.layers = range(layer, layer + 1)
        found = pattern(charter["schedule"][self.stage])
        assert found is not None
        self.sparsity, self.group_of_columns = found
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
        return assign_layers(capacities, layers, smallest, self.charter["beacon"], self.stage)

    @cached_property
    def lanes(self) -> list[Lane]:
        """Those that decide weights, and the telemetry's as the last one where votes are masked."""
        lanes = self._of_weights() if self.statistics is None else self._of_moments(self.statistics)
        if self.custodian is not None:
            return lanes
        wide = Packing(len(self.roster), 2**28 - 1, 1)
        everybody = tuple(sorted(self.everybody))
        return [*lanes, Lane(len(lanes), _TELEMETRY, 2, everybody, {"votes": wide, "values": wide}, ())]

    def _of_weights(self) -> list[Lane]:
        lanes = []
        for index, tensor in enumerate(self.charter["base"]["pruned"]):
            cohort = self.cohorts[tensor["layer"]]
            k = self.parameters["digits_per_word"]
            packing = {"votes": votes_packing(len(cohort)), "values": values_packing(len(cohort), k)}
            length = tensor["rows"] * tensor["columns"]
            lanes.append(Lane(index, tensor["name"], length, cohort, packing, (tensor["name"],)))
        return lanes

    def _of_moments(self, pooled: Mapping[str, Any]) -> list[Lane]:
        """Section 22.1."""
        lanes: list[Lane] = []
        for one in pooled["inputs"]:
            first = self.tensor(one["tensors"][0])
            if first["layer"] in self.layers:
                cohort = self.cohorts[first["layer"]]
                k = self.parameters["digits_per_word"]
                packing = {"votes": moments_packing(len(cohort), 1), "values": moments_packing(len(cohort), k)}
                names = tuple(one["tensors"])
                lanes.append(Lane(len(lanes), first["name"], first["columns"], cohort, packing, names))
        return lanes

    def tensor(self, name: str) -> dict[str, Any]:
        """What the charter says of a pruned tensor."""
        found: dict[str, Any] = next(one for one in self.charter["base"]["pruned"] if one["name"] == name)
        return found

    @cached_property
    def ckks(self) -> Parameters:
        """How votes are encrypted."""
        return choose(len(self.roster))

    def ciphertext_words(self, lane: Lane) -> int:
        """Words of one client's encrypted votes."""
        return self.ckks.words(lane.length)

    @property
    def tensors(self) -> list[Lane]:
        """The lanes that decide weights."""
        return [lane for lane in self.lanes if lane.tensors]

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
                    graph,
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
