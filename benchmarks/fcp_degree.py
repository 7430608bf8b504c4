"""Degree and threshold as Google's Federated Compute Platform computes them, to compare with ours.

The rule is that of its `graph_parameter_finder` for a semi-malicious server. With c colluders and d drop-outs anywhere
on the ring it takes the smallest even k for which

1. the honest survivors hang together: a ring parts only where k/2 members in a row are bad in two places, and that
   happens with probability below 2^-41;
2. with the threshold t the smallest that has 2t > k + t_1, nobody's neighbours make two quorums: some member has more
   than t_1 colluding neighbours with probability below 2^-41;
3. enough neighbours stay: k - u >= t, where some member has more than u vanished neighbours with probability below
   2^-20.

The second rule is what makes many drop-outs dear. It does without a quorum of the whole cohort that confirms one set of
survivors; ours has one.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb

from fedspallm_secure.charter import unmasking_threshold
from fedspallm_secure.secagg.degree import CORRECTNESS, SECURITY, Degree, worst_draws

__all__ = ["fcp_degree"]


def fcp_degree(clients: int, colluders: int, dropouts: int) -> Degree | None:
    """The smallest degree that keeps the three rules, with its threshold, or None if only the complete graph does.

    Args:
        clients: n, size of the cohort.
        colluders: c, at most n.
        dropouts: d, at most n.
    """
    n, bad = clients, colluders + dropouts
    colluding = worst_draws(n, colluders, Fraction(1, n * 2 ** (SECURITY + 1)))
    vanished = worst_draws(n, dropouts, Fraction(1, n * 2**CORRECTNESS))
    for k, t_1, u in zip(range(1, n - 1), colluding, vanished, strict=False):
        t = unmasking_threshold(k, t_1)
        if k % 2 or k - u < t:
            continue
        parting = Fraction(n * (n - k - 1) * comb(bad, k), 2 * comb(n, k))
        if parting < Fraction(1, 2 ** (SECURITY + 1)):
            return Degree(k, t)
    return None
