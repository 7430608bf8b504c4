"""FedSpaLLM in plain sight: one tensor's round from all institutions' masks and weights, straight from the formulas.

    c_j = sum_i M_ij                                  votes to keep position j
    A_j = sum_i M_ij W_ij / c_j, 0 where c_j = 0      the l0-normalised average
    rank positions by votes to prune (most first), then |W_j| / mean of its row (least first), then j (least first)
    the first floor(s d) of the ranking become zero; for N:M the first M - N of every group, ranked by |W_j|
    a kept position with c_j below the bar takes the base weight W_j

An institution's change W_ij - W_j counts up to `clip` root mean squares of the base weight's row. Of one that voted and
vanished before its changes came it counts as 0: its vote stays in c_j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pruned", "fedspallm", "largest_change", "root_mean_square"]


@dataclass(frozen=True)
class Pruned:
    """One institution's pruned copy of one tensor.

    Attributes:
        mask: bool (outputs, inputs), True where the weight stays.
        weight: (outputs, inputs).
        came: whether its changes did, as its vote did.
    """

    mask: NDArray[np.bool_]
    weight: NDArray[Any]
    came: bool = True


def fedspallm(
    W: NDArray[Any], cohort: Sequence[Pruned], pattern: str, bar: int | None, clip: float
) -> NDArray[np.float64]:
    """The tensor's new weight, before it is rounded to any dtype.

    Args:
        W: base weight, (outputs, inputs).
        cohort: every voting institution's pruned copy.
        pattern: "0.5", or "2:4" with the number of kept weights first.
        bar: fewest votes at which changes count, None where no change does.
        clip: in row root mean squares.
    """
    base = W.astype(np.float64)
    M = np.stack([one.mask for one in cohort]).astype(np.float64)
    votes = M.sum(axis=0)
    bound = clip * root_mean_square(base)
    changed = base + np.stack(
        [np.clip(one.weight.astype(np.float64) - base, -bound, bound) * one.came for one in cohort]
    )
    average = np.divide((M * changed).sum(axis=0), votes, out=np.zeros_like(base), where=votes > 0)
    pruned = _ranked_first(base, len(cohort) - votes, pattern)
    eligible = np.zeros(base.shape, np.bool_) if bar is None else votes >= bar
    return np.where(pruned, 0.0, np.where(eligible, average, base))


def root_mean_square(base: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of every row, shape (outputs, 1)."""
    root: NDArray[np.float64] = np.sqrt((base**2).mean(axis=1, keepdims=True))
    return root


def largest_change(clients: int, digits_per_word: int) -> int:
    """Q: the largest change in quantisation steps, the largest Q with (2 n Q + 1)^k <= 2^64, at most 2^23."""
    Q = min(round(2 ** (64 / digits_per_word) / (2 * clients)) + 1, 2**23)
    while (2 * clients * Q + 1) ** digits_per_word > 2**64:
        Q -= 1
    return Q


def _ranked_first(base: NDArray[np.float64], votes_to_prune: NDArray[np.float64], pattern: str) -> NDArray[np.bool_]:
    pruned = np.zeros(base.shape, np.bool_)
    if ":" in pattern:
        N, M = (int(part) for part in pattern.split(":"))
        for row in range(base.shape[0]):
            for start in range(0, base.shape[1], M):
                group = slice(start, start + M)
                order = np.lexsort((np.arange(M), np.abs(base[row, group]), -votes_to_prune[row, group]))
                pruned[row, start + order[: M - N]] = True
        return pruned
    mean = np.abs(base).mean(axis=1, keepdims=True)
    relative = np.divide(np.abs(base), mean, out=np.zeros_like(base), where=mean > 0)
    order = np.lexsort((np.arange(base.size), relative.reshape(-1), -votes_to_prune.reshape(-1)))
    whole, _, decimals = pattern.partition(".")
    zeros = int(whole + decimals) * base.size // 10 ** len(decimals)
    pruned.reshape(-1)[order[:zeros]] = True
    return pruned
