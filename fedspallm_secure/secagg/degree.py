"""How many neighbours each member of a large cohort masks and shares with, and how many of them open its secrets.

Among many, not every pair needs a mask: a ring on which everybody is joined to the k nearest is enough, if the members
sit on it in an order that nobody chose (Bell et al. 2020, ePrint 2020/704). It parts where two *stretches*, runs of k/2
members, hold no honest survivor; then the server learns the sum of each part. So whoever confirms survivors refuses
them unless every two stretches together hold t survivors (`stretches`), and t is such that no two stretches hold as
many colluders. That binds a server that knows the ring and chooses whom it calls vanished.

With c colluders and d drop-outs anywhere on the ring, k is the smallest even number for which some t keeps both rules:

1. of two given stretches, t or more members collude with probability below 2^-41 / (n^2 / 2), as there are fewer than
   n^2 / 2 pairs of stretches;
2. of two given stretches, fewer than t members stay with probability below 2^-20 / (n^2 / 2).

A member's neighbours are two stretches, too. So t of them open its secrets: they don't all collude, and t stay.
Probabilities are fractions of whole numbers, so that all machines find the same graph. docs/adr/0009 says why this is
not the rule of Google's Federated Compute Platform.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import comb

__all__ = ["CORRECTNESS", "SECURITY", "Degree", "compute_degree", "worst_draws"]

SECURITY = 40
"""A sparse graph and the sample of its quorum hide less than they should with probability at most 2^-40: half each."""

CORRECTNESS = 20
"""A sum that d drop-outs may not stop is stopped with probability below 2^-20."""

_FEWEST = 2  # holders that open a secret: nobody does alone


@dataclass(frozen=True)
class Degree:
    """What a sparse graph is made with.

    Attributes:
        neighbours: k, even.
        threshold: t, how many of the k open one of a member's secrets, and of two stretches must survive.
    """

    neighbours: int
    threshold: int


@cache
def compute_degree(clients: int, colluders: int, dropouts: int) -> Degree | None:
    """The smallest degree that keeps both rules, with the smallest threshold, or None if only the complete graph does.

    Args:
        clients: n, size of the cohort.
        colluders: c, at most n.
        dropouts: d, at most n.
    """
    pairs = Fraction(clients**2, 2)
    colluding = worst_draws(clients, colluders, 1 / (pairs * 2 ** (SECURITY + 1)))
    vanished = worst_draws(clients, dropouts, 1 / (pairs * 2**CORRECTNESS))
    for k, most_colluding, most_vanished in zip(range(1, clients - 1), colluding, vanished, strict=False):
        t = max(most_colluding + 1, _FEWEST)
        if k % 2 == 0 and k - most_vanished >= t:
            return Degree(k, t)
    return None


def worst_draws(clients: int, marked: int, bound: Fraction) -> Iterator[int]:
    """For k = 1 ... n the smallest m with Pr[H > m] < bound, H marked ones among k of n (hypergeometric).

    Counted are the choices of k out of n, all of them and those with more than m marked ones. Of the latter, another
    draw makes (n - k) tail + (c - m) edge, each found k + 1 times.

    Args:
        clients: n.
        marked: c, at most n.
        bound: above 0.
    """
    n, c, m = clients, marked, 0
    total, tail, edge = 1, 0, 1  # choices of k: all, with more than m marked, with exactly m
    for k in range(n):
        tail = ((n - k) * tail + (c - m) * edge) // (k + 1)
        edge = edge * (n - c - k + m) // (k + 1 - m)
        total = total * (n - k) // (k + 1)
        while tail * bound.denominator >= total * bound.numerator:
            m += 1
            edge = comb(c, m) * comb(n - c, k + 1 - m)
            tail -= edge
        yield m
