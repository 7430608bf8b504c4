"""Wanda (arXiv 2306.11695) from a pooled diagonal, the same bits on every machine.

A weight matters as |W_ij| ||X_j||_2, compared within its output row; no weight changes. The scores compared are the
squares, W_ij^2 D_jj in float64: W_ij^2 is exact for weights of up to 26 significant bits, so that one rounding is left,
and a power of two in D changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation.rows import row_blocks
from fedspallm_secure.aggregation.selection import GONE, pruned_in_groups, smallest, spread
from fedspallm_secure.charter import NM, Pattern

__all__ = ["prune_from_diagonal"]


def prune_from_diagonal(
    matrices: Sequence[NDArray[Any]], diagonal: NDArray[np.float64], pattern: Pattern
) -> list[NDArray[Any]]:
    """Prune the base weights that see the input with this second moment.

    Args:
        matrices: each (outputs, inputs), any floating dtype, finite.
        diagonal: the moment's, float64 (inputs,), finite and not negative; a common factor changes no comparison.
        pattern: for each matrix on its own, over its output rows when unstructured.

    Returns:
        New arrays of the matrices' shapes and dtypes: the base weights bit for bit, exactly +0 where pruned.
    """
    return [_pruned(W, diagonal, pattern) for W in matrices]


def _pruned(W: NDArray[Any], diagonal: NDArray[np.float64], pattern: Pattern) -> NDArray[Any]:
    gone = np.count_nonzero(W == 0, axis=1)
    if isinstance(pattern, NM):
        counts = gone
    else:
        missing = max(0, pattern.zeros(W.size) - int(gone.sum()))
        counts = gone + np.array(spread(missing, (W.shape[1] - gone).tolist()), np.intp)
    new = W.copy()
    for rows in row_blocks(W.shape):
        scores = W[rows].astype(np.float64)
        there = scores != 0
        scores *= scores
        scores *= diagonal
        np.copyto(scores, GONE, where=~there)
        chosen = pruned_in_groups(scores, pattern) if isinstance(pattern, NM) else smallest(scores, counts[rows])
        new[rows][chosen] = 0
    return new
