"""Wanda (arXiv 2306.11695): a weight matters as |W_ij| ||X_j||_2, compared within its output row. No weight changes.

Rows share the tensor's exact number of zeros by cumulative rounding, so two rows differ by at most one zero.
"""

from __future__ import annotations

import torch

from fedspallm_secure.charter import NM, Pattern
from fedspallm_secure.pruning.selection import GONE, pruned_in_groups, pruned_in_rows

__all__ = ["wanda"]


def wanda(W: torch.Tensor, moment: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """Mask of the weights to keep.

    Args:
        W: float32 (outputs, inputs).
        moment: float32 (inputs,), proportional to ||X_j||_2^2 (a common factor changes no comparison).
        pattern: over each output row when unstructured.

    Returns:
        bool (outputs, inputs), True where the weight stays.
    """
    scores = (W.abs() * moment.sqrt()).masked_fill_(W == 0, GONE)
    return ~(pruned_in_groups(scores, pattern) if isinstance(pattern, NM) else pruned_in_rows(scores, pattern))
