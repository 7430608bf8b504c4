"""The l0-normalised average (FedSpaLLM, arXiv 2410.14852): mean over the clients that kept a position.

    W'_j = W_j + (sum_i d_ij) / c_j    where the final mask keeps j and enough clients voted to keep it: c_j >= bar
    W'_j = W_j                         where the final mask keeps j and fewer did: the public weight, nobody's data
    W'_j = 0                           where the final mask prunes j

With d_ij = W_ij - W_j this is sum_i M_ij W_ij / sum_i M_ij, computed from changes, whose range is small.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation.quantise import Quantiser
from fedspallm_secure.aggregation.rows import row_blocks

__all__ = ["average", "sums_fit_counts"]


def average(
    W: NDArray[Any],
    kept: NDArray[np.bool_],
    eligible: NDArray[np.bool_],
    counts: NDArray[Any],
    sums: NDArray[Any],
    quantiser: Quantiser,
    clients: int,
) -> NDArray[Any]:
    """The new weight.

    Args:
        W: the base weight, shape (outputs, inputs), any floating dtype.
        kept: final mask, bool, same shape.
        eligible: positions of the values sum, a subset of `kept`, bool, same shape.
        counts: votes, unsigned, same shape, at least 1 where eligible.
        sums: digit sums of the eligible positions in row-major order, unsigned, shape (number of eligible,).
        quantiser: of this tensor.
        clients: the cohort's size n.

    Returns:
        Same shape and dtype as `W`; pruned positions are exactly (positive) zero.
    """
    new = np.empty_like(W)
    end = 0
    for rows in row_blocks(W.shape):
        chosen = np.flatnonzero(eligible[rows])
        start, end = end, end + chosen.size
        weights = np.zeros(W[rows].shape)
        weights.reshape(-1)[chosen] = sums[start:end].astype(np.int64) - clients * quantiser.Q
        weights *= quantiser.step[rows]
        weights /= np.maximum(counts[rows], 1)
        weights += W[rows]
        weights *= kept[rows]
        weights += 0.0  # turns the negative zeros of pruned negative weights into positive ones
        new[rows] = weights
    return new


def sums_fit_counts(sums: NDArray[Any], counts: NDArray[Any], Q: int, clients: int) -> bool:
    """Whether every |sum of changes| <= votes * Q, as it must be when each voter's change is at most Q steps.

    Args:
        sums: digit sums, unsigned, shape (L,).
        counts: votes at the same positions, unsigned, shape (L,).
        Q: largest change of one client, in steps.
        clients: the cohort's size n.
    """
    steps = np.abs(sums.astype(np.int64) - clients * Q)
    return bool((steps <= counts.astype(np.int64) * Q).all())
