"""A table and a plot of what `benchmarks.privacy` measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedspallm_secure.evaluation.drawing import INK, STEPS

__all__ = ["draw", "table"]

_SIZE = (10, 4)
_TITLES = {"weights": "averaged weights", "statistics": "pooled statistics"}


def table(units: Sequence[dict[str, Any]], epsilons: Sequence[str]) -> str:
    """Markdown: means over the seeds, with the least and the largest.

    Seeds draw held-out windows too, some of which are harder for any model: so perplexities are also shown over the
    dense model's of the same seed.
    """
    heads = ["method", "summed", "windows", "seeds", "epsilon", "perplexity", "over dense", "AUC", "no attacker beyond"]
    rows = [heads, ["---"] * len(heads)]
    for (method, aggregate, windows), group in _groups(units):
        for number, epsilon in enumerate(("dense", "public", *epsilons)):
            mixes, areas = _mixes(group, epsilon), _areas(group, epsilon)
            bound = "{:.2f}".format(group[0]["bound"][epsilon]) if epsilon in group[0]["bound"] else ""
            what = [method, aggregate, windows, str(len(group))] if number == 0 else [""] * 4
            rows.append([*what, epsilon, _spread(mixes), _spread(_ratios(group, epsilon)), _spread(areas), bound])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def draw(units: Sequence[dict[str, Any]], epsilons: Sequence[str], path: Path) -> None:
    """Perplexity over the dense model's, and the area under the ROC curve, against epsilon.

    Bars go from the least seed to the largest; a dotted line is the model from public text.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    left, right = figure.subplots(1, 2)
    for colour, ((method, aggregate, windows), group) in zip(STEPS[1:], _groups(units), strict=False):
        name = f"{method}, {_TITLES[aggregate]}, {windows}"
        _line(left, [_ratios(group, epsilon) for epsilon in epsilons], INK[colour], name)
        _line(right, [_areas(group, epsilon) for epsilon in epsilons], INK[colour], name)
        left.axhline(mean(_ratios(group, "public")), color=INK[colour], linewidth=0.8, linestyle=":")
    right.axhline(0.5, color=INK["muted"], linewidth=0.8)
    right.set_ylim(0.3, 1.02)
    titles = (left, "perplexity over dense; dotted: from public text alone"), (right, "AUC; 0.5 is a guess")
    for axes, title in titles:
        axes.set_xticks(range(len(epsilons)), epsilons)
        axes.set_xlabel("epsilon")
        axes.set_title(title, loc="left", fontsize=10)
        axes.grid(axis="y", linewidth=0.4)
    left.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "privacy"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _groups(units: Sequence[dict[str, Any]]) -> Iterator[tuple[tuple[str, str, str], list[dict[str, Any]]]]:
    """Units that differ in their seed alone."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in units:
        key = one["unit"]["method"], one["unit"]["aggregate"], "{} of {}".format(*one["windows"])
        found.setdefault(key, []).append(one)
    return iter(sorted(found.items(), reverse=True))


def _mixes(group: Sequence[dict[str, Any]], epsilon: str) -> list[float]:
    return [one["perplexity"][epsilon]["mix"] for one in group if epsilon in one["perplexity"]]


def _ratios(group: Sequence[dict[str, Any]], epsilon: str) -> list[float]:
    """Over the dense model's, seed by seed."""
    measured = [one["perplexity"] for one in group if epsilon in one["perplexity"]]
    return [one[epsilon]["mix"] / one["dense"]["mix"] for one in measured]


def _areas(group: Sequence[dict[str, Any]], epsilon: str) -> list[float]:
    """Of the score that tells most, over all seeds."""
    found = [one["auc"][epsilon] for one in group if epsilon in one["auc"]]
    if not found:
        return []
    best = max(found[0], key=lambda score: mean(one[score]["value"] for one in found))
    return [one[best]["value"] for one in found]


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else ""


def _line(axes: Axes, columns: Sequence[Sequence[float]], colour: str, name: str) -> None:
    places = [place for place, values in enumerate(columns) if values]
    means = [mean(columns[place]) for place in places]
    below = [mean(columns[place]) - min(columns[place]) for place in places]
    above = [max(columns[place]) - mean(columns[place]) for place in places]
    axes.errorbar(places, means, [below, above], color=colour, marker="o", markersize=4, linewidth=1.2, label=name)
