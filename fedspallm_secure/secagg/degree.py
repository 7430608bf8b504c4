"""How many neighbours each member of a large cohort masks and shares with, and how many of them open its secrets.

Among many, not every pair needs a mask: a ring on which everybody is joined to the k nearest is enough, if the members
sit on it in an order that nobody chose (Bell et al. 2020, ePrint 2020/704). With c colluders and d drop-outs anywhere
on the ring, the smallest even k is taken for which

1. the honest survivors hang together: a ring parts only where k/2 neighbours in a row are bad in two places, and that
   happens with probability below 2^-41 (else the server would learn the sum of each part);
2. with the threshold t the smallest that has 2t > k + t_1, nobody's neighbours can make two quorums: some member has
   more than t_1 colluding neighbours with probability below 2^-41;
3. enough neighbours stay: k - u >= t, where some member has more than u vanished neighbours with probability below
   2^-20.

These rules are those of Google's Federated Compute Platform (`graph_parameter_finder`, semi-malicious server). They are
computed in whole numbers, so that all machines find the same graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import comb

from fedspallm_secure.charter import unmasking_threshold

__all__ = ["CORRECTNESS", "SECURITY", "Degree", "compute_degree", "parting_bound"]

SECURITY = 40
"""A graph hides less than it should with probability at most 2^-40; rules 1 and 2 have half of that each."""

CORRECTNESS = 20
"""A sum that d drop-outs may not stop is stopped with probability below 2^-20."""


@dataclass(frozen=True)
class Degree:
    """What a sparse graph is made with.

    Attributes:
        neighbours: k, even.
        threshold: t, how many of the k open one of a member's secrets.
    """

    neighbours: int
    threshold: int


@cache
def compute_degree(clients: int, colluders: int, dropouts: int) -> Degree | None:
    """The smallest degree that keeps the three rules, with its threshold, or None if only the complete graph does.

    Args:
        clients: n, size of the cohort.
        colluders: c, at most n.
        dropouts: d, at most n.
    """
    colluding = _worst_neighbourhoods(clients, colluders, SECURITY + 1)
    vanished = _worst_neighbourhoods(clients, dropouts, CORRECTNESS)
    for k, t_1, u in zip(range(1, clients - 1), colluding, vanished, strict=False):
        t = unmasking_threshold(k, t_1)
        if (
            k % 2 == 0
            and k - u >= t
            and parting_bound(clients, k, colluders + dropouts) < Fraction(1, 2 ** (SECURITY + 1))
        ):
            return Degree(k, t)
    return None


def parting_bound(clients: int, neighbours: int, bad: int) -> Fraction:
    """How many pairs of places at which the ring parts are to be expected: at least the probability that there is one.

    There are n (n - k - 1) / 2 pairs of runs of k/2 with somebody between them on either side, and C(b, k) / C(n, k) is
    the probability that given k members are all bad.

    Args:
        clients: n.
        neighbours: k, even and below n - 1.
        bad: b, colluders and drop-outs, in places that do not depend on the order.
    """
    n, k = clients, neighbours
    return Fraction(n * (n - k - 1) * comb(bad, k), 2 * comb(n, k))


def _worst_neighbourhoods(clients: int, marked: int, bits: int) -> Iterator[int]:
    """For k = 1 ... n the smallest m with Pr[H > m] < 2^-bits / n, H marked ones among k of n (hypergeometric).

    A union bound then covers everybody. Counted are the choices of k out of n, all of them and those with more than m
    marked ones. Of the latter, another draw makes (n - k) tail + (c - m) edge, each found k + 1 times.
    """
    n, c, m = clients, marked, 0
    total, tail, edge = 1, 0, 1  # choices of k: all, with more than m marked, with exactly m
    for k in range(n):
        tail = ((n - k) * tail + (c - m) * edge) // (k + 1)
        edge = edge * (n - c - k + m) // (k + 1 - m)
        total = total * (n - k) // (k + 1)
        while n * tail << bits >= total:
            m += 1
            edge = comb(c, m) * comb(n - c, k + 1 - m)
            tail -= edge
        yield m
