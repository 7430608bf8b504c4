"""Who masks and shares with whom in a cohort: everybody with everybody, or neighbours on a ring when there are many.

A graph belongs to one cohort. A smaller cohort's members must not take the part of a larger sparse graph that they
stand on, as that part may fall apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedspallm_secure.charter import unmasking_threshold
from fedspallm_secure.secagg.degree import compute_degree

__all__ = ["COMPLETE_UP_TO", "Graph", "harary", "make_graph"]

COMPLETE_UP_TO = 65
"""Largest cohort in which every pair shares a mask in any case."""


@dataclass(frozen=True)
class Graph:
    """The graph of one cohort, whose members are named by their positions in it, 0 ... n - 1.

    Attributes:
        neighbours: position -> ascending positions it shares masks with.
        threshold: t, how many holders open one of a member's secrets.
        ring: the positions in their order around it; empty where everybody is everybody's neighbour.
    """

    neighbours: tuple[tuple[int, ...], ...]
    threshold: int
    ring: tuple[int, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everybody is everybody's neighbour."""
        return not self.ring

    def holders(self, position: int) -> tuple[int, ...]:
        """Who holds shares of this member's secrets, ascending.

        In the complete graph that is everybody, itself too. In a sparse one it is the neighbours alone, of whom the
        threshold counts k.
        """
        return tuple(range(len(self.neighbours))) if self.complete else self.neighbours[position]


def make_graph(members: int, colluders: int, dropouts: int, order: Sequence[int]) -> Graph:
    """The graph of a cohort.

    Args:
        members: n, size of the cohort.
        colluders: c.
        dropouts: d.
        order: 0 ... n - 1 in an order that nobody could choose; colluders must be fixed before it is known.
    """
    degree = compute_degree(members, colluders, dropouts) if members > COMPLETE_UP_TO else None
    if degree is None:
        everybody = range(members)
        others = tuple(tuple(other for other in everybody if other != member) for member in everybody)
        return Graph(others, unmasking_threshold(members, colluders))
    return Graph(harary(order, degree.neighbours), degree.threshold, tuple(order))


def harary(order: Sequence[int], neighbours: int) -> tuple[tuple[int, ...], ...]:
    """The Harary graph of an even degree: each member is joined to the nearest on a ring (Harary 1962).

    It has the fewest edges with which any k - 1 members may go and the rest still hangs together.

    Args:
        order: 0 ... n - 1 in the order around the ring.
        neighbours: k, even, below n - 1: k/2 on each side.

    Returns:
        For each of 0 ... n - 1 its neighbours, ascending.
    """
    around, places = np.array(order), np.arange(len(order))[:, None]
    steps = np.arange(1, neighbours // 2 + 1)
    joined = np.empty((len(order), neighbours), np.int64)
    joined[around] = np.sort(around[(places + np.concatenate((-steps, steps))) % len(order)])
    return tuple(map(tuple, joined.tolist()))
