"""Which positions become zero, given scores, by the rule of local pruning.

Exact counts, ties by index; rows and blocks share a tensor's zeros by cumulative rounding; a weight that is zero
already scores `GONE`, is always selected, and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.charter import NM

__all__ = ["GONE", "pruned_in_groups", "smallest", "spread"]

GONE = -1.0


def pruned_in_groups(scores: NDArray[np.float64], pattern: NM) -> NDArray[np.bool_]:
    """Bool mask of the M - N lowest scores of every M consecutive columns of a row.

    Args:
        scores: float64 (rows, columns), columns a multiple of M.
        pattern: N:M.
    """
    groups = scores.reshape(-1, pattern.group)
    gone = np.count_nonzero(groups == GONE, axis=1)
    return smallest(groups, np.maximum(gone, pattern.group - pattern.kept)).reshape(scores.shape)


def smallest(scores: NDArray[np.float64], counts: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Bool mask of the `counts[r]` lowest scores of each row r; of equal scores those with the lower index.

    Args:
        scores: float64 (rows, columns), no NaN.
        counts: (rows,), each between 0 and columns.
    """
    last = np.maximum(counts - 1, 0)[:, None]
    # Only the value at a rank is used, which no way of sorting changes. One row: selection is linear, sorting is not.
    ordered = np.partition(scores, last[0], axis=1) if len(scores) == 1 else np.sort(scores, axis=1)
    threshold = np.take_along_axis(ordered, last, axis=1)
    below = scores < threshold
    level = scores == threshold
    room = counts - np.count_nonzero(below, axis=1)
    chosen: NDArray[np.bool_] = below | (level & (np.cumsum(level, axis=1) <= room[:, None]))
    return chosen


def spread(total: int, sizes: Sequence[int]) -> list[int]:
    """Split `total` <= sum(sizes) in proportion to `sizes`, rounding the running sum down: no part exceeds its size."""
    whole = max(1, sum(sizes))
    upto = [total * size // whole for size in accumulate(sizes, initial=0)]
    return [after - before for before, after in pairwise(upto)]
