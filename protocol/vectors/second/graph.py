"""SPEC.md sections 5 and 6.3 to 6.5: drawn orders, groups, graphs, thresholds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import comb

__all__ = ["Graph", "degree", "drawn_order", "make_graph", "quorum", "spread", "thinnest"]


def drawn_order(what: str, beacon: str, round_index: int, number: int) -> list[int]:
    """0 ... number - 1 as the beacon orders them."""
    prefix = b"fedspallm-secure/v1/sampling/" + what.encode() + b"/" + bytes.fromhex(beacon)
    prefix += round_index.to_bytes(4, "big")
    return sorted(range(number), key=lambda i: hashlib.sha256(prefix + i.to_bytes(4, "big")).digest())


def quorum(n: int, c: int) -> int:
    """The smallest q with 2 q > n + c."""
    return next(q for q in range(n + c + 2) if 2 * q > n + c)


def _tail(n: int, marked: int, k: int, m: int) -> Fraction:
    """Pr[more than m marked among k of n]."""
    ways = sum(comb(marked, h) * comb(n - marked, k - h) for h in range(m + 1, min(marked, k) + 1))
    return Fraction(ways, comb(n, k))


def _worst(n: int, marked: int, k: int, bound: Fraction) -> int:
    return next(m for m in range(k + 1) if _tail(n, marked, k, m) < bound)


@cache
def degree(n: int, c: int, d: int) -> tuple[int, int] | None:
    """Neighbours k and threshold t of a sparse graph, or None if no k will do."""
    for k in range(2, n - 1, 2):
        t = max(2, 1 + _worst(n, c, k, Fraction(2, n**2 * 2**41)))
        u = _worst(n, d, k, Fraction(2, n**2 * 2**20))
        if k - u >= t:
            return k, t
    return None


def thinnest(around: Sequence[int], k: int, present: Collection[int]) -> int:
    """How many of `present` the two stretches hold that hold the fewest."""
    n, half = len(around), k // 2
    held = [sum(around[(p + j) % n] in present for j in range(half)) for p in range(n)]
    return min(held[p] + held[(p + apart) % n] for p in range(n) for apart in range(half + 1, n - half))


def spread(graph: Graph, present: Collection[int]) -> bool:
    """Whether every two stretches of a sparse graph hold enough."""
    return graph.complete or thinnest(graph.around, len(graph.neighbours[0]), present) >= graph.threshold


@dataclass(frozen=True)
class Graph:
    """By member's number: its neighbours and its holders; the threshold of shares; the ring, if it is sparse."""

    neighbours: tuple[tuple[int, ...], ...]
    holders: tuple[tuple[int, ...], ...]
    threshold: int
    complete: bool
    around: tuple[int, ...]


def make_graph(n: int, c: int, d: int, around: Sequence[int]) -> Graph:
    """Complete up to 65 members, else a Harary graph on the ring `around` if there is a degree for it."""
    sparse = degree(n, c, d) if n > 65 else None
    everybody = range(n)
    if sparse is None:
        others = tuple(tuple(other for other in everybody if other != one) for one in everybody)
        return Graph(others, tuple(tuple(everybody) for _ in everybody), quorum(n, c), True, ())
    k, t = sparse
    place = {member: p for p, member in enumerate(around)}
    joined = tuple(
        tuple(sorted({around[(place[one] + sign * j) % n] for j in range(1, k // 2 + 1) for sign in (1, -1)}))
        for one in everybody
    )
    return Graph(joined, joined, t, False, tuple(around))
