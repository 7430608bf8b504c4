"""SparseGPT (arXiv 2301.00774, algorithm 1): prune column by column and let the columns to the right make up for it.

With `H = 2/n X X^T` damped by lambda I and U the upper Cholesky factor of its inverse (`H^-1 = U^T U`), zeroing
`W[:, j]` costs `W[:, j]^2 / U[j, j]^2`, and the error is fed back as `W[:, k] -= (W[:, j] / U[j, j]) U[j, k]`, k > j.
The mask is chosen a block of columns at a time, one threshold over all rows of the tensor (N:M: a group at a time, when
its first column is reached). Tensors that see the same input are stacked along their rows: the feedback of a row never
leaves the row, so they share H and U and keep their own thresholds. A dead input (H_jj = 0) loses its column.

W is held transposed, (inputs, outputs), so that a column of the paper is contiguous here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fedspallm_secure.charter import NM, Pattern, Unstructured
from fedspallm_secure.errors import NumericalError
from fedspallm_secure.pruning.selection import GONE, pruned_in_groups, smallest, spread

__all__ = ["SparseGPTResult", "inverse_factor", "sparsegpt"]

_MAX_RAISES = 4
# A pivot this small beside its diagonal is rounding: the factor exists in float32 and means nothing.
_PRECISION = 10 * torch.finfo(torch.float32).eps


@dataclass(frozen=True, eq=False)
class SparseGPTResult:
    """What became of tensors that share an input.

    Attributes:
        weights: per tensor float32 (outputs, inputs), exactly zero where pruned.
        kept: per tensor bool (outputs, inputs), True where the weight stays.
        damping_raises: how often lambda had to be multiplied by 10.
    """

    weights: tuple[torch.Tensor, ...]
    kept: tuple[torch.Tensor, ...]
    damping_raises: int


def sparsegpt(
    matrices: Sequence[torch.Tensor], H: torch.Tensor, pattern: Pattern, *, damping: float, block: int
) -> SparseGPTResult:
    """Prune the matrices that see the input whose Hessian is `H`.

    Args:
        matrices: each float32 (outputs, inputs).
        H: float32 (inputs, inputs), symmetric.
        pattern: for each matrix on its own.
        damping: lambda as a share of the mean of H's diagonal.
        block: columns a block; rounded down to whole groups for N:M.

    Raises:
        NumericalError: no damping makes H positive definite.
    """
    live = H.diagonal() > 0
    U, raises = inverse_factor(_without_dead_inputs(H, live), damping)
    W = torch.cat(list(matrices)).T.contiguous()
    W.masked_fill_(~live[:, None], 0)
    gone = W == 0
    pruned = torch.zeros_like(gone)

    inputs = len(W)
    rows = _row_ranges(matrices)
    if isinstance(pattern, NM):
        block = max(pattern.group, block // pattern.group * pattern.group)
    step = pattern.group if isinstance(pattern, NM) else block
    starts = range(0, inputs, block)
    quotas = [_quotas(gone[:, part], starts, pattern) for part in rows] if isinstance(pattern, Unstructured) else []
    errors = torch.empty_like(W[:block])

    with _one_thread():
        for b, start in enumerate(starts):
            end = min(start + block, inputs)
            for first in range(start, end, step):
                columns = slice(first, min(first + step, end))
                d = U.diagonal()[columns, None]
                scores = (W[columns] / d).square_().masked_fill_(gone[columns], GONE)
                if isinstance(pattern, NM):
                    pruned[columns] = pruned_in_groups(scores.T.contiguous(), pattern).T
                else:
                    for part, quota in zip(rows, quotas, strict=True):
                        pruned[columns, part] = _lowest(scores[:, part], quota[b])
                scale = pruned[columns] / d
                for j in range(first, columns.stop):
                    error = torch.mul(W[j], scale[j - first], out=errors[j - start])
                    W[j + 1 : end].addr_(U[j, j + 1 : end], error, alpha=-1)
            W[start:end].masked_fill_(pruned[start:end], 0)
            W[end:].addmm_(U[start:end, end:].T, errors[: end - start], alpha=-1)

    return SparseGPTResult(
        weights=tuple(W[:, part].T.contiguous() for part in rows),
        kept=tuple(~pruned[:, part].T.contiguous() for part in rows),
        damping_raises=raises,
    )


def inverse_factor(H: torch.Tensor, damping: float) -> tuple[torch.Tensor, int]:
    """U, upper triangular, with `(H + lambda I)^-1 = U^T U`, and how often lambda had to be multiplied by 10.

    H is factored as `V V^T` with V upper (the Cholesky factor of the matrix read backwards), so that `U = V^-1` and the
    inverse is never formed.

    Raises:
        NumericalError: H is not positive definite, to float32's precision, even with the largest lambda.
    """
    mean = H.diagonal().mean()
    identity = torch.eye(len(H), dtype=H.dtype, device=H.device)
    for raises in range(_MAX_RAISES + 1):
        damped = H + (damping * 10**raises * mean) * identity
        L, info = torch.linalg.cholesky_ex(damped.flip(0, 1))
        pivots = L.diagonal().square()
        if info == 0 and (pivots > _PRECISION * damped.diagonal().flip(0)).all():
            return torch.linalg.solve_triangular(L, identity, upper=False).flip(0, 1).contiguous(), raises
    raise NumericalError(
        f"The Hessian is not positive definite with damping {damping * 10**_MAX_RAISES:g}, after {_MAX_RAISES} raises.",
        "Calibrate on more and more varied text, or with a larger damping.",
    )


def _without_dead_inputs(H: torch.Tensor, live: torch.Tensor) -> torch.Tensor:
    """H with a dead input's zero on the diagonal replaced by the mean of the others, so that it can be factored."""
    filler = H.diagonal()[live].mean() if live.any() else H.new_ones(())
    return H + torch.diag(torch.where(live, 0, filler))


def _row_ranges(matrices: Sequence[torch.Tensor]) -> list[slice]:
    ends = torch.tensor([len(matrix) for matrix in matrices]).cumsum(0).tolist()
    return [slice(end - len(matrix), end) for matrix, end in zip(matrices, ends, strict=True)]


def _quotas(gone: torch.Tensor, starts: range, pattern: Unstructured) -> list[int]:
    """Zeros each block of one tensor must have, so that they add up to the pattern's exact number."""
    blocks = [gone[start : start + starts.step] for start in starts]
    there = [int(part.sum()) for part in blocks]
    free = [part.numel() - zeros for part, zeros in zip(blocks, there, strict=True)]
    new = spread(max(0, pattern.zeros(gone.numel()) - sum(there)), free)
    return [zeros + more for zeros, more in zip(there, new, strict=True)]


@contextmanager
def _one_thread() -> Iterator[None]:
    """One CPU thread: a column is too little work to share, and on a busy machine the time goes into waiting."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _lowest(scores: torch.Tensor, count: int) -> torch.Tensor:
    return smallest(scores.reshape(1, -1), torch.tensor([count], device=scores.device)).view(scores.shape)
