"""Lanes that share a cohort form a group: one mask graph, one set of keys and one threshold for all of them.

Lanes with different cohorts never share a graph: the part of a sparse graph that a smaller cohort cuts out of it may
fall apart, and then the server would learn the sum of each part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fedspallm_secure.charter import Charter, drawn_order, unmasking_threshold
from fedspallm_secure.secagg.graph import make_graph
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.spotcheck import spot_check
from fedspallm_secure.secagg.stretches import thinnest

__all__ = ["Group", "make_groups"]


@dataclass(frozen=True)
class Group:
    """One cohort with its lanes; all numbers are roster indices.

    Attributes:
        index: of the group in the round.
        cohort: its members, ascending.
        lanes: in the charter's order.
        neighbours: member -> with whom it shares masks, ascending.
        holders: member -> who holds shares of its secrets, ascending.
        threshold: t, shares that reconstruct a secret.
        quorum: members that must confirm the survivors before anyone hands out a share, 2 quorum > n + c: the fewest
            in the complete graph, all but the promised drop-outs in a sparse one.
        sample: of their signatures, how many each member verifies.
        ring: members in their order around it; empty where the graph is complete.
    """

    index: int
    cohort: tuple[int, ...]
    lanes: tuple[Lane, ...]
    neighbours: Mapping[int, tuple[int, ...]]
    holders: Mapping[int, tuple[int, ...]]
    threshold: int
    quorum: int
    sample: int
    ring: tuple[int, ...]

    def thin(self, present: Collection[int]) -> int | None:
        """How many of `present` two stretches of the ring hold, if some two hold fewer than the threshold."""
        if not self.ring:
            return None
        fewest = thinnest(self.ring, len(self.neighbours[self.ring[0]]), present)
        return fewest if fewest < self.threshold else None


def make_groups(charter: Charter, round_index: int, lanes: Sequence[Lane]) -> tuple[Group, ...]:
    """The groups of a round, in the order of their first lanes; graphs are drawn from the charter's beacon."""
    by_cohort: dict[tuple[int, ...], list[Lane]] = {}
    for lane in lanes:
        by_cohort.setdefault(lane.cohort, []).append(lane)
    return tuple(
        _group(charter, round_index, index, cohort, tuple(members))
        for index, (cohort, members) in enumerate(by_cohort.items())
    )


def _group(charter: Charter, round_index: int, index: int, cohort: tuple[int, ...], lanes: tuple[Lane, ...]) -> Group:
    parameters, n = charter.parameters, len(cohort)
    order = drawn_order(f"graph/{index}", bytes.fromhex(charter.beacon), round_index, n)
    graph = make_graph(n, parameters.colluders, parameters.dropouts, order)

    quorum = unmasking_threshold(n, parameters.colluders) if graph.complete else n - parameters.dropouts

    def members(positions: Sequence[int]) -> tuple[int, ...]:
        return tuple(map(cohort.__getitem__, positions))

    return Group(
        index=index,
        cohort=cohort,
        lanes=lanes,
        neighbours={member: members(graph.neighbours[at]) for at, member in enumerate(cohort)},
        holders={member: members(graph.holders(at)) for at, member in enumerate(cohort)},
        threshold=graph.threshold,
        quorum=quorum,
        sample=spot_check(n, parameters.colluders, quorum),
        ring=members(graph.ring),
    )
