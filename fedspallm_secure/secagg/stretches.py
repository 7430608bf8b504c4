"""Whether the survivors of a sparse graph lie so that it can't have parted, whoever among them colludes.

A ring whose members are joined to the k/2 nearest on either side parts only where two stretches, runs of k/2 members
with somebody between them on either side, hold no honest survivor. What survives there colludes, then. No two stretches
hold t colluders (`degree`), so if every two hold t survivors, the honest ones are in one piece.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

__all__ = ["thinnest"]


def thinnest(ring: Sequence[int], neighbours: int, present: Collection[int]) -> int:
    """How many of `present` are in the two stretches that hold the fewest together.

    Args:
        ring: members in their order around it, n of them.
        neighbours: k, even, below n - 1.
        present: members; who is not on the ring does not count.
    """
    half, n = neighbours // 2, len(ring)
    there = np.fromiter((member in present for member in ring), np.int64, n)
    before = np.concatenate(([0], np.cumsum(np.concatenate((there, there[:half])))))
    held = before[half:-1] - before[:n]  # by the stretch that begins at each place
    twice = np.concatenate((held, held))
    fewest = neighbours
    for place in np.argsort(held, kind="stable"):
        if 2 * held[place] >= fewest:
            break
        others = twice[place + half + 1 : place + n - half]
        fewest = min(fewest, int(held[place] + others.min()))
    return fewest
