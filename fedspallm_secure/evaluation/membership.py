"""Can somebody who sees a pruned model tell which windows of text it was calibrated on?

The adversary has a candidate window, the public base model, windows of its own of the same kind of text, and what was
released: for each position how many institutions kept it, and the weights where they changed. It gives every candidate
a score. How well scores tell members from others is the area under the ROC curve: the share of pairs of a member and
another window in which the member's score is higher, 1/2 for a guess.

Two scores. A mask keeps an input's weights the more often the larger the input is on the calibration text; so the
inputs that more rows kept than the adversary expects point towards the members (`kept_scores`). SparseGPT changes the
weights so that a layer's output on the calibration text stays what it was; so its error is smaller on members than the
adversary expects (`error_scores`). What it expects it gets by pruning the base model with windows of its own (a shadow
model: Shokri et al. 2017, arXiv 1610.05820). The first is the inner product that finds members of a mean (Homer et al.
2008; Sankararaman et al. 2009), on the logarithms of inputs' sizes, scaled by how much they vary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import DataError

__all__ = ["Auc", "auc", "auc_bound", "error_scores", "kept_scores", "relative_sizes"]

_Floats = NDArray[np.float64]

_NORMAL = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""

_HALVINGS = 60
_LEAST = 1e-12
_SMALLEST = 1e-300


@dataclass(frozen=True)
class Auc:
    """Area under a ROC curve, with a 95 % interval.

    Attributes:
        value: 0 to 1.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For people."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def auc(members: _Floats, others: _Floats) -> Auc:
    """How well scores tell members from others; a tie counts half.

    The interval is that of Newcombe (2006, Statistics in Medicine 25, 559, method 5): the areas from which the one that
    was found is no further than 1.96 standard errors, with the variance of Hanley and McNeil (1982, Radiology 143, 29)
    for exponential scores at that area. Unlike DeLong's it does not shrink to a point at 0 and 1. It takes scores for
    independent; those of one release are not quite, since they share it.

    Args:
        members: scores, at least one.
        others: scores, at least one.

    Raises:
        DataError: there are none of a kind, or one is not a number.
    """
    if not members.size or not others.size or np.isnan(members).any() or np.isnan(others).any():
        raise DataError(
            f"Scores of members and of others should be numbers, at least one each; {members.size} and {others.size} "
            "came.",
            "Give more candidates, and text that the model can read.",
        )
    # Ranks instead of all pairs: a million candidates are no trouble.
    ordered = np.sort(others)
    below, upto = (np.searchsorted(ordered, members, side) for side in ("left", "right"))
    found = float((below + upto).sum() / 2 / members.size / others.size)
    low, high = (_farthest(found, end, members.size, others.size) for end in (0.0, 1.0))
    return Auc(found, low, high)


def auc_bound(mu: float) -> float:
    """The largest area that any adversary reaches against Gaussian noise: Phi(mu / sqrt 2).

    A pair of candidates, one of which is in the data and the other not, is two data sets that differ by an exchange.
    Moments have non-negative inner products with each other, so an exchange moves a sum by sqrt 2 times what one record
    may add at most; and the likelier of two Gaussians a distance d apart is right with probability Phi(d / 2 sigma).

    Args:
        mu: what one record may add over the noise's standard deviation, for all releases together (the square root of
            their number, over the noise multiplier); infinite for no noise.
    """
    return (1 + erf(mu / 2)) / 2


def kept_scores(
    candidates: Sequence[_Floats], reference: Sequence[_Floats], kept: Sequence[_Floats], expected: Sequence[_Floats]
) -> _Floats:
    """How much each candidate looks like the inputs of which more weights were kept than expected.

    Args:
        candidates: for each input of a layer every candidate's second moments (diagonals), shape (candidates, inputs).
        reference: the adversary's own windows' likewise, shape (windows, inputs), at least two.
        kept: for each input of a layer the share of its weights that was kept, shape (inputs,). Whatever else grows
            with the calibration text's moments can stand here, such as `relative_sizes` of a released diagonal.
        expected: the same of the adversary's shadow model.

    Returns:
        The cosine between a candidate and what was found, shape (candidates,); 0 where there is nothing to go by.
    """
    standard, excess = [], []
    for own, others, found, usual in zip(candidates, reference, kept, expected, strict=True):
        sizes, spread = relative_sizes(own), relative_sizes(others)
        deviation = spread.std(axis=0)
        varies = deviation > _LEAST
        standard.append(((sizes - spread.mean(axis=0)) / np.where(varies, deviation, 1))[:, varies])
        excess.append((found - usual)[varies])
    x, r = np.concatenate(standard, axis=1), np.concatenate(excess)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(r)
    scores: _Floats = np.divide(x @ r, lengths, out=np.zeros(len(x)), where=lengths > 0)
    return scores


def relative_sizes(moments: _Floats) -> _Floats:
    """Logarithms of second moments beside their geometric mean, which few huge inputs move less than the sum.

    Args:
        moments: shape (..., inputs); what noise made negative counts as nearly nothing.
    """
    # An input that a text never uses is far below all others, not infinitely far.
    least = np.maximum(_LEAST * moments.max(axis=-1, keepdims=True), _SMALLEST)
    logs = np.log(np.maximum(moments, least))
    sizes: _Floats = logs - logs.mean(axis=-1, keepdims=True)
    return sizes


def error_scores(errors: _Floats, expected: _Floats) -> _Floats:
    """How much smaller a candidate's layer-wise squared errors are than expected.

    Args:
        errors: ||(W' - W) X||^2 of the released weights, shape (candidates, tensors).
        expected: the same of the adversary's shadow model.

    Returns:
        Mean logarithm of expected over found, shape (candidates,).
    """
    scores: _Floats = np.log((expected + _LEAST) / (errors + _LEAST)).mean(axis=1)
    return scores


def _farthest(found: float, end: float, members: int, others: int) -> float:
    """The area towards `end` that is 1.96 of its standard errors away from the one that was found."""
    inside, outside = found, end
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if abs(middle - found) <= _NORMAL * sqrt(_variance(middle, members, others)):
            inside = middle
        else:
            outside = middle
    return inside


def _variance(area: float, members: int, others: int) -> float:
    more = (members + others) / 2 - 1
    spread = 1 + more * (1 - area) / (2 - area) + more * area / (1 + area)
    return area * (1 - area) * spread / (members * others)
