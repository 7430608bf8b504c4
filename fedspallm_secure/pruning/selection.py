"""Which positions become zero, given scores: exact counts, ties by index, and a zero weight is never revived.

Scores are float32 and >= 0, lower goes first; a weight that is zero already scores `GONE`, is always selected and
counts towards the quota (later rounds of a sparsity schedule start from a pruned model). A quota over several parts
(rows, blocks of columns) is rounded cumulatively, so that the parts add up to the tensor's own exact number. The
tie-break and this rounding are our own choice: the papers leave them open.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch

from fedspallm_secure.charter import NM, Unstructured

__all__ = ["GONE", "pruned_in_groups", "pruned_in_rows", "pruned_in_tensor", "smallest", "spread"]

GONE = -1.0


def pruned_in_tensor(scores: torch.Tensor, pattern: Unstructured) -> torch.Tensor:
    """Bool mask of the `pattern.zeros(numel)` lowest scores of the whole tensor."""
    gone = int((scores == GONE).sum())
    count = torch.tensor([max(gone, pattern.zeros(scores.numel()))], device=scores.device)
    return smallest(scores.reshape(1, -1), count).view_as(scores)


def pruned_in_rows(scores: torch.Tensor, pattern: Unstructured) -> torch.Tensor:
    """Bool mask of the lowest scores of every row; rows share the tensor's quota evenly over their non-zero weights."""
    gone = (scores == GONE).sum(dim=1)
    missing = max(0, pattern.zeros(scores.numel()) - int(gone.sum()))
    new = spread(missing, (scores.shape[1] - gone).tolist())
    return smallest(scores, gone + torch.tensor(new, device=scores.device))


def pruned_in_groups(scores: torch.Tensor, pattern: NM) -> torch.Tensor:
    """Bool mask of the M - N lowest scores of every M consecutive columns of a row."""
    groups = scores.reshape(-1, pattern.group)
    gone = (groups == GONE).sum(dim=1)
    return smallest(groups, gone.clamp(min=pattern.group - pattern.kept)).view_as(scores)


def spread(total: int, sizes: Sequence[int]) -> list[int]:
    """Split `total` <= sum(sizes) in proportion to `sizes`, rounding the running sum down: no part exceeds its size."""
    whole = max(1, sum(sizes))
    upto = [total * size // whole for size in accumulate(sizes, initial=0)]
    return [after - before for before, after in pairwise(upto)]


def smallest(scores: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Bool mask of the `counts[r]` lowest scores of each row r; of equal scores those with the lower index.

    Args:
        scores: float32 (rows, columns).
        counts: int64 (rows,), each between 0 and columns.
    """
    if len(scores) == 1:
        # One threshold: selection is linear in the columns, sorting is not.
        threshold = scores.kthvalue(max(1, int(counts)), dim=1, keepdim=True).values
    else:
        threshold = scores.sort(dim=1).values.gather(1, (counts - 1).clamp(min=0)[:, None])
    below = scores < threshold
    level = scores == threshold
    room = counts - below.sum(dim=1)
    return below | (level & (level.cumsum(dim=1) <= room[:, None]))
