"""Magnitude pruning: the smallest |W| of a tensor, or of each N:M group, go. It sees no data and changes no weight."""

from __future__ import annotations

import torch

from fedspallm_secure.charter import NM, Pattern
from fedspallm_secure.pruning.selection import GONE, pruned_in_groups, pruned_in_tensor

__all__ = ["magnitude"]


def magnitude(W: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """Mask of the weights to keep.

    Args:
        W: float32 (outputs, inputs).
        pattern: over the whole tensor when unstructured.

    Returns:
        bool (outputs, inputs), True where the weight stays.
    """
    scores = W.abs().masked_fill_(W == 0, GONE)
    return ~(pruned_in_groups(scores, pattern) if isinstance(pattern, NM) else pruned_in_tensor(scores, pattern))
