"""How many of a quorum's signatures each client verifies, so that a large cohort does not verify them all.

Let Q members have to confirm the survivors. If a server wants two sets of survivors to be opened, it needs Q
confirmations of each. An honest member signs one of the two, each of c colluders both: of one of the sets at most
(n + c) / 2 true signatures exist, and every list of Q of them holds at least F = Q - (n + c) // 2 false ones. A client
that verifies s of its list, chosen by its own randomness after the list came, accepts it with probability

    C(Q - F, s) / C(Q, s)  <  2^-41 / n

where s is the smallest for which this holds. With the smallest quorum, 2 Q > n + c, F is 1 and s is Q: all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from math import comb

from fedspallm_secure.secagg.degree import SECURITY

__all__ = ["drawn_by", "spot_check"]


@cache
def spot_check(members: int, colluders: int, quorum: int) -> int:
    """s, how many of `quorum` signatures a client verifies.

    Args:
        members: n, size of the cohort.
        colluders: c.
        quorum: Q, at least the smallest one.
    """
    true = (members + colluders) // 2  # Q - F
    for s in range(1, quorum):
        if members * comb(true, s) << (SECURITY + 1) < comb(quorum, s):
            return s
    return quorum


def drawn_by(secret: bytes, names: Iterable[str]) -> list[str]:
    """Names in an order that nobody without `secret` (32 random bytes) can foresee: that of SHA-256(secret || name)."""
    return sorted(names, key=lambda name: hashlib.sha256(secret + name.encode()).digest())
