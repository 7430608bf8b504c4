"""SPEC.md sections 22.3, 22.4 and 22.7: weights pruned from a pooled diagonal, or moment; rows of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from math import floor

from protocol.vectors.second.substitution import FEW, take_product

__all__ = ["prune_from_diagonal", "prune_from_factor"]

Rows = list[list[float]]


def _spread(total: int, sizes: Sequence[int]) -> list[int]:
    ends = [total * size // max(1, sum(sizes)) for size in accumulate(sizes, initial=0)]
    return [after - before for before, after in pairwise(ends)]


def _quotas(gone: Sequence[int], sizes: Sequence[int], zeros: int) -> list[int]:
    """Zeros of each part: those that are there, and its share of those that are missing."""
    free = [size - there for size, there in zip(sizes, gone, strict=True)]
    new = _spread(max(0, zeros - sum(gone)), free)
    return [there + more for there, more in zip(gone, new, strict=True)]


def _lowest(
    places: Iterable[tuple[int, int]], score: dict[tuple[int, int], float], number: int
) -> set[tuple[int, int]]:
    """The first so many by score; of equal ones in the order given."""
    return set(sorted(places, key=lambda place: score[place])[:number])


def prune_from_diagonal(W: Rows, D: Sequence[float], sparsity: Fraction, group: int) -> Rows:
    """Wanda; `group` is M of N:M, or 1."""
    columns = range(len(D))
    score = {(i, j): w * w * D[j] if w != 0 else -1.0 for i, row in enumerate(W) for j, w in enumerate(row)}
    zeros = floor(sparsity * len(W) * len(D))
    quotas = _quotas([row.count(0.0) for row in W], [len(D)] * len(W), zeros)
    pruned = set[tuple[int, int]]()
    for i in range(len(W)):
        if group > 1:
            pruned |= _of_groups([(i, j) for j in columns], score, sparsity, group)
        else:
            pruned |= _lowest([(i, j) for j in columns], score, quotas[i])
    return [[0.0 if (i, j) in pruned else w for j, w in enumerate(row)] for i, row in enumerate(W)]


def _of_groups(
    row: Sequence[tuple[int, int]], score: dict[tuple[int, int], float], sparsity: Fraction, group: int
) -> set[tuple[int, int]]:
    pruned = set[tuple[int, int]]()
    for start in range(0, len(row), group):
        places = row[start : start + group]
        there = sum(score[place] == -1.0 for place in places)
        pruned |= _lowest(places, score, max(there, int(sparsity * group)))
    return pruned


def prune_from_factor(W: Rows, U: Rows, dead: Sequence[bool], sparsity: Fraction, group: int, block: int) -> Rows:
    """SparseGPT; `dead` inputs lose their weights."""
    sweep = _Sweep([[0.0 if gone else w for w, gone in zip(row, dead, strict=True)] for row in W], U, sparsity, group)
    sweep.step = group if group > 1 else block
    sweep.begin()
    sweep.columns(0, len(U))
    return [
        [0.0 if (i, j) in sweep.pruned else w for j, w in enumerate(row)] for i, row in enumerate(sweep.transposed())
    ]


class _Sweep:
    """One pass over the columns of one matrix; `V` is its transpose."""

    def __init__(self, W: Rows, U: Rows, sparsity: Fraction, group: int) -> None:
        self.V = [list(column) for column in zip(*W, strict=True)]
        self.U, self.sparsity, self.group, self.step = U, sparsity, group, 1
        self.gone = {(i, j) for i, row in enumerate(W) for j, w in enumerate(row) if w == 0}
        self.pruned = set[tuple[int, int]]()
        self.rows = range(len(W))
        self.quotas: list[int] = []

    def transposed(self) -> Rows:
        return [list(row) for row in zip(*self.V, strict=True)]

    def begin(self) -> None:
        """Zeros of every block."""
        d = len(self.U)
        blocks = [range(start, min(start + self.step, d)) for start in range(0, d, self.step)]
        gone = [sum(j in block for _, j in self.gone) for block in blocks]
        sizes = [len(block) * len(self.rows) for block in blocks]
        self.quotas = _quotas(gone, sizes, floor(self.sparsity * d * len(self.rows)))

    def columns(self, first: int, last: int) -> None:
        if last - first > FEW:
            unit = self.step if last - first > self.step else 1
            middle = first + unit * max(1, (last - first) // (2 * unit))
            self.columns(first, middle)
            errors = [self._errors(j) for j in range(first, middle)]
            parts = [[self.U[j][k] for j in range(first, middle)] for k in range(middle, last)]
            take_product(self.V, range(middle, last), range(len(self.rows)), parts, errors)
            self.columns(middle, last)
            return
        for j in range(first, last):
            if j % self.step == 0:
                self._choose(j)
            errors = [self._errors(j)]
            for k in range(j + 1, last):
                for i in self.rows:
                    self.V[k][i] -= self.U[j][k] * errors[0][i]

    def _errors(self, j: int) -> list[float]:
        return [self.V[j][i] / self.U[j][j] if (i, j) in self.pruned else 0.0 for i in self.rows]

    def _choose(self, start: int) -> None:
        chosen = range(start, min(start + self.step, len(self.U)))
        score = {}
        for j in chosen:
            for i in self.rows:
                ratio = self.V[j][i] / self.U[j][j]
                score[i, j] = -1.0 if (i, j) in self.gone else ratio * ratio
        if self.group > 1:
            for i in self.rows:
                self.pruned |= _of_groups([(i, j) for j in chosen], score, self.sparsity, self.group)
        else:
            self.pruned |= _lowest(((i, j) for j in chosen for i in self.rows), score, self.quotas[start // self.step])
