"""Which weights of a tensor may stay: a share of them, or N of every M.

A pattern is written as text in configurations and in the charter ("0.5", "2:4"), and is exact: a sparsity is a rational
number, never a float, so that every machine zeroes the same number of weights.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from fedspallm_secure.errors import CharterError

__all__ = ["NM", "Pattern", "Unstructured", "parse_pattern"]


@dataclass(frozen=True)
class Unstructured:
    """Any `floor(sparsity * d)` of a tensor's d weights are zero (the rounding is our own choice).

    Attributes:
        sparsity: share of zeros, strictly between 0 and 1.
    """

    sparsity: Fraction

    def zeros(self, numel: int) -> int:
        """Number of zeros in a tensor of `numel` weights."""
        return floor(self.sparsity * numel)


@dataclass(frozen=True)
class NM:
    """At most `kept` weights stay in every group of `group` consecutive inputs of one output row.

    Attributes:
        kept: N, weights kept a group, at least 1.
        group: M, weights a group, more than N.
    """

    kept: int
    group: int

    @property
    def sparsity(self) -> Fraction:
        """Share of zeros."""
        return Fraction(self.group - self.kept, self.group)

    def zeros(self, numel: int) -> int:
        """Number of zeros in a tensor of `numel` weights (a multiple of `group`)."""
        return numel // self.group * (self.group - self.kept)


Pattern = Unstructured | NM

# Nothing else that Fraction and int read, such as an exponent: "1e-999999999" would take all memory.
_SHARE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,18})?|[0-9]{1,18}/[1-9][0-9]{0,17}")
_N_OF_M = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")


def parse_pattern(text: str) -> Pattern:
    """Read "0.5" (unstructured, decimal or fraction "1/3") or "2:4" (N:M, N = weights kept).

    Raises:
        CharterError: the text is neither, the sparsity is outside (0, 1), or N is not between 1 and M - 1.
    """
    todo = 'Write a sparsity between 0 and 1 such as "0.5", or N:M with 1 <= N < M such as "2:4" (N = weights kept).'
    if groups := _N_OF_M.fullmatch(text):
        pattern = NM(int(groups[1]), int(groups[2]))
        if 1 <= pattern.kept < pattern.group:
            return pattern
    elif _SHARE.fullmatch(text):
        sparsity = Fraction(text)
        if 0 < sparsity < 1:
            return Unstructured(sparsity)
    raise CharterError(f"{text!r} is not a pruning pattern.", todo)
