"""Mask expansion: from vote counts to the one mask that everybody uses (FedSpaLLM, arXiv 2410.14852).

The zeros of the l0-normalised average are the positions that all clients pruned, which are fewer than the target asks
for. So positions are ranked by how many clients pruned them, and the most pruned ones become zero until the target is
met exactly. Many positions share a count; which of them go first is our own choice: the one with the smallest base
weight relative to its row's mean magnitude, then the first one in row-major order. docs/choices.md compares it with
others.

For N:M the ranking is done in every group of M consecutive inputs of a row, by votes, then by base weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation.rows import RowScales
from fedspallm_secure.charter import NM, Pattern

__all__ = ["expand_groups", "expand_mask", "expand_tensor"]


def expand_mask(counts: NDArray[Any], W: NDArray[Any], scales: RowScales, pattern: Pattern) -> NDArray[np.bool_]:
    """The final mask: exactly `pattern.zeros(d)` positions go, fewest votes to keep first.

    Args:
        counts: how many clients kept each position, unsigned, shape (outputs, inputs).
        W: the base weight, same shape, any floating dtype.
        scales: of `W`.
        pattern: unstructured, or N:M where inputs are a multiple of M.

    Returns:
        bool, same shape, True where the weight stays.
    """
    if isinstance(pattern, NM):
        return expand_groups(counts, W, pattern)

    def relative_magnitude(positions: NDArray[np.intp]) -> NDArray[np.float64]:
        magnitude: NDArray[np.float64] = np.abs(W.reshape(-1)[positions].astype(np.float64))
        magnitude /= np.where(scales.mean == 0, 1.0, scales.mean)[positions // W.shape[1], 0]
        return magnitude

    return expand_tensor(counts.reshape(-1), relative_magnitude, pattern.zeros(W.size)).reshape(W.shape)


def expand_tensor(
    counts: NDArray[Any], importance: Callable[[NDArray[np.intp]], NDArray[Any]], zeros: int
) -> NDArray[np.bool_]:
    """Prune `zeros` positions of a whole tensor, fewest votes first, then least important, then first.

    Args:
        counts: unsigned, shape (d,).
        importance: flat positions -> finite numbers; asked only for the positions of the one count that is split.
        zeros: how many go, 0 to d.

    Returns:
        bool, shape (d,), True where the weight stays.
    """
    if zeros == 0:
        return np.ones(counts.shape, np.bool_)
    cumulative = np.cumsum(np.bincount(counts))
    border = int(np.searchsorted(cumulative, zeros))
    kept = counts >= border
    remaining = zeros - (int(cumulative[border - 1]) if border else 0)
    tied = np.flatnonzero(counts == border)
    kept[tied[_smallest(importance(tied), remaining)]] = False
    return kept


def expand_groups(counts: NDArray[Any], W: NDArray[Any], pattern: NM) -> NDArray[np.bool_]:
    """Keep N of every M consecutive inputs: most votes first, then largest |W|, then the last one.

    Args:
        counts: unsigned, shape (outputs, inputs).
        W: the base weight, same shape.
        pattern: N:M, inputs a multiple of M.

    Returns:
        bool, same shape, True where the weight stays.
    """
    M = pattern.group
    votes = np.ascontiguousarray(counts.reshape(-1, M).T)
    magnitude = np.ascontiguousarray(np.abs(W).reshape(-1, M).T)
    rank = np.zeros(votes.shape, np.uint16)  # how many of the group go before this one
    for first in range(M):
        for second in range(first + 1, M):
            tie = votes[first] == votes[second]
            second_goes_first = (votes[second] < votes[first]) | (tie & (magnitude[second] < magnitude[first]))
            rank[first] += second_goes_first
            rank[second] += ~second_goes_first
    return np.ascontiguousarray((rank >= M - pattern.kept).T).reshape(counts.shape)


def _smallest(values: NDArray[Any], number: int) -> NDArray[np.intp]:
    """Indices of the `number` smallest values; of equals the first ones."""
    limit = np.partition(values, number - 1)[number - 1]
    below = np.flatnonzero(values < limit)
    return np.concatenate([below, np.flatnonzero(values == limit)[: number - below.size]])
