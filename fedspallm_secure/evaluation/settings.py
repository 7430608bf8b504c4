"""The points of a sweep that differ in their seed alone are one setting: its perplexity has a mean and a spread."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, nan
from typing import Any

from fedspallm_secure.evaluation.tradeoff import PointFigures, Tradeoff, TradeoffPoint

__all__ = [
    "SEED",
    "Setting",
    "axis_name",
    "label",
    "mean",
    "number_of",
    "numeric",
    "settings_of",
    "value_text",
    "varied",
]

SEED = "seed"
"""The axis over which there is a spread."""


@dataclass(frozen=True)
class Setting:
    """Finished points that differ in their seed alone.

    Attributes:
        axes: key -> value, without the seed.
        points: at least one.
    """

    axes: dict[str, Any]
    points: tuple[TradeoffPoint, ...]

    @property
    def figures(self) -> list[PointFigures]:
        """Of the points."""
        return [point.figures for point in self.points if point.figures is not None]

    @property
    def perplexities(self) -> list[float]:
        """Of the points, over the kinds of text that all points of the sweep have."""
        return [point.common for point in self.points if point.common is not None] or [nan]

    @property
    def mean(self) -> float:
        """Arithmetic mean of the perplexities."""
        return mean(self.perplexities)


def settings_of(tradeoff: Tradeoff) -> list[Setting]:
    """The settings that have finished points, in the order of the sweep."""
    found: dict[str, list[TradeoffPoint]] = {}
    for point in tradeoff.finished:
        found.setdefault(_key(_without_seed(point.axes)), []).append(point)
    return [Setting(_without_seed(points[0].axes), tuple(points)) for points in found.values()]


def varied(tradeoff: Tradeoff) -> list[str]:
    """The axes but for the seed that have more than one value, or that some points do not have."""
    points = tradeoff.points
    return [
        key
        for key, values in tradeoff.axes.items()
        if key != SEED and (len(values) > 1 or any(key not in point.axes for point in points))
    ]


def numeric(values: Sequence[object]) -> bool:
    """Whether these are different numbers, as TOML numbers or as decimal text; "inf" is one.

    >>> numeric([4, 6]), numeric(["0.5", "inf"]), numeric(["0.5", "2:4"]), numeric([True, False])
    (True, True, False, False)
    """
    numbers = [number_of(value) for value in values]
    return None not in numbers and len(set(numbers)) > 1


def number_of(value: object) -> float | None:
    """The number that a value of an axis stands for, or None.

    >>> [number_of(value) for value in (8, "1/4", "inf", "2:4", True)]
    [8.0, 0.25, inf, None, None]
    """
    if value == "inf":
        return inf
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(Fraction(value)) if isinstance(value, str) else float(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None


def axis_name(key: str) -> str:
    """What people call an axis: a key's last part, with words.

    >>> axis_name("protocol.digits_per_word")
    'digits per word'
    """
    return key.rpartition(".")[2].replace("_", " ")


def value_text(value: object) -> str:
    """A value for people."""
    if value is None:
        return "—"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def label(axes: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Some axes of a setting in words. A value that is a word speaks for itself.

    >>> label({"pruning.method": "wanda", "pruning.pattern": "2:4", "seed": 1}, ["pruning.method", "pruning.pattern"])
    'wanda, pattern 2:4'
    """
    return ", ".join(_labelled(key, axes.get(key)) for key in keys)


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def _labelled(key: str, value: object) -> str:
    word = isinstance(value, str) and value.isalpha() and number_of(value) is None
    return str(value) if word else f"{axis_name(key)} {value_text(value)}"


def _without_seed(axes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in axes.items() if key != SEED}


def _key(value: object) -> str:
    return json.dumps(value, sort_keys=True)
