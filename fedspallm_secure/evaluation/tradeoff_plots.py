"""A sweep's plots: perplexity against what it is paid with, and what an adversary can tell against epsilon.

A mark is a setting, at the mean over its seeds; the bar through it goes from the least to the largest. A line joins
settings that differ in nothing but what the axis shows. An infinite value of an axis ("inf": off) has a place of its
own at the end. Where it was measured how well calibration windows are told from others, there is a plot of that too:
its bar is the 95 % interval, over all seeds from the lowest end to the highest, and its line is a guess.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from fedspallm_secure.evaluation.drawing import INK, STEPS, Plot, drawn, short
from fedspallm_secure.evaluation.settings import (
    Setting,
    axis_name,
    label,
    mean,
    number_of,
    numeric,
    settings_of,
    value_text,
    varied,
)
from fedspallm_secure.evaluation.tradeoff import Tradeoff
from fedspallm_secure.evaluation.wording import perplexity_text

__all__ = ["TradeoffPlot", "tradeoff_plots"]

PATTERN = "pruning.pattern"
EPSILON = "privacy.epsilon"
_COLOURS = [*STEPS[1:], "ink"]
_MARKERS = ("o", "s", "^", "D", "v", "P")
_LINES = ("-", "--", ":", "-.")
_MOST_SERIES = len(_COLOURS) * len(_LINES)
_MOST_TICKS = 12
_LEGEND = 120  # characters that a line of the legend has room for
_HANDLE = 8  # of them for the mark
_LOGARITHMIC = 30.0  # largest over smallest value of an axis, from which small ones would crowd


@dataclass(frozen=True)
class TradeoffPlot:
    """A drawing under a heading.

    Attributes:
        heading: for people.
        plot: the drawing.
    """

    heading: str
    plot: Plot


@dataclass(frozen=True)
class _Axis:
    """What is on the horizontal axis.

    Attributes:
        heading: after "Perplexity against".
        words: at the axis.
        place: where a setting stands.
        keys: axes of the sweep whose values tell lines apart.
        joined: whether the settings of a line are joined.
        ticks: values with their texts; empty for the usual ones.
        logarithmic: whether equal factors take equal room.
    """

    heading: str
    words: str
    place: Callable[[Setting], float]
    keys: list[str]
    joined: bool = True
    ticks: tuple[tuple[float, str], ...] = ()
    logarithmic: bool = False


@dataclass(frozen=True)
class _Measure:
    """What is on the vertical axis.

    Attributes:
        name: for people.
        values: of a setting: the mark, and both ends of its bar.
        line: what the horizontal line is called.
        lines: where it is, from point to point; empty for none.
        colour: of it.
        text: a value for people.
    """

    name: str
    values: Callable[[Setting], tuple[float, float, float]]
    line: str
    lines: list[float]
    colour: str
    text: Callable[[float], str]


def _perplexity(tradeoff: Tradeoff) -> _Measure:
    measured = [point.common_dense for point in tradeoff.finished if point.common_dense is not None]

    def values(setting: Setting) -> tuple[float, float, float]:
        return setting.mean, min(setting.perplexities), max(setting.perplexities)

    dense = [value for value in measured if isfinite(value)]
    return _Measure("Perplexity", values, "dense", dense, "dense", perplexity_text)


def _membership() -> _Measure:
    def values(setting: Setting) -> tuple[float, float, float]:
        measured = [
            (figures.membership_auc, figures.membership_low, figures.membership_high) for figures in setting.figures
        ]
        found = [(area, low, high) for area, low, high in measured if None not in (area, low, high)]
        if not found:
            return nan, nan, nan
        areas, lows, highs = zip(*found, strict=True)
        return mean(areas), min(lows), max(highs)

    return _Measure("Membership AUC", values, "a guess", [0.5], "dense", lambda value: f"{value:.2f}")


def tradeoff_plots(tradeoff: Tradeoff) -> list[TradeoffPlot]:
    """Perplexity against sparsity, bits a weight, and every other axis that has numbers; none if nothing finished.

    What an adversary can tell comes last, against epsilon, if it was measured.
    """
    settings = settings_of(tradeoff)
    if not settings or not tradeoff.kinds:
        return []
    keys = varied(tradeoff)
    numbers = [key for key in keys if key != PATTERN and numeric(tradeoff.axes[key])]
    axes = [
        _Axis(
            "sparsity",
            "share of zeros, %",
            lambda setting: 100 * mean([figures.sparsity for figures in setting.figures]),
            [key for key in keys if key != PATTERN],
        ),
        _Axis(
            "bits uploaded a weight",
            "bits an institution uploads for each weight that it prunes; dense fp16 weights take 16",
            lambda setting: mean([figures.bits_per_weight for figures in setting.figures]),
            [key for key in keys if key not in numbers],
            joined=False,
        ),
        *(_swept(tradeoff, key, keys) for key in numbers),
    ]
    perplexity, membership = _perplexity(tradeoff), _membership()
    drawings = [(perplexity, axis) for axis in axes]
    if any(isfinite(membership.values(setting)[0]) for setting in settings):
        drawings += [(membership, _swept(tradeoff, key, keys)) for key in numbers if key == EPSILON]
    return [
        TradeoffPlot(f"{measure.name} against {axis.heading}", _plot(measure, settings, axis, f"plot-{number}"))
        for number, (measure, axis) in enumerate(drawings)
    ]


def _swept(tradeoff: Tradeoff, key: str, keys: Sequence[str]) -> _Axis:
    """The axis for a key that has numbers."""
    values = {number_of(value): value_text(value) for value in tradeoff.axes[key]}
    finite = sorted(value for value in values if value is not None and isfinite(value))
    spread = finite[-1] / finite[0] if finite[0] > 0 else 1.0
    logarithmic = finite[0] > 0 and (spread >= _LOGARITHMIC or key.endswith("epsilon"))
    if logarithmic:
        beyond = finite[-1] * max(2.0, spread**0.25)
    else:
        beyond = finite[-1] + max(0.25 * (finite[-1] - finite[0]), 0.25 * abs(finite[-1]), 1e-9)

    def place(setting: Setting) -> float:
        value = number_of(setting.axes.get(key))
        return float("nan") if value is None else value if isfinite(value) else beyond

    ticks = [(value if isfinite(value) else beyond, text) for value, text in values.items() if value is not None]
    return _Axis(
        axis_name(key),
        key,
        place,
        [other for other in keys if other != key],
        ticks=tuple(sorted(ticks)) if len(ticks) <= _MOST_TICKS else (),
        logarithmic=logarithmic,
    )


def _plot(measure: _Measure, settings: Sequence[Setting], axis: _Axis, name: str) -> Plot:
    places = [axis.place(setting) for setting in settings]
    shown = [
        (setting, place)
        for setting, place in zip(settings, places, strict=True)
        if isfinite(place) and isfinite(measure.values(setting)[0])
    ]
    series: dict[str, list[tuple[float, Setting]]] = {}
    for setting, place in shown:
        series.setdefault(json.dumps([setting.axes.get(key) for key in axis.keys]), []).append((place, setting))
    level = measure.lines

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        handles: list[Any] = [
            _draw_series(axes, number, sorted(marks, key=lambda mark: mark[0]), axis, measure)
            for number, marks in enumerate(series.values())
        ]
        if level:
            colour = INK[measure.colour]
            axes.axhspan(min(level), max(level), color=colour, alpha=0.25, linewidth=0)
            handles.append(axes.axhline(mean(level), color=colour, linewidth=1.5, linestyle=(0, (6, 3))))
        _scale(axes, axis, [value for setting, _ in shown for value in measure.values(setting)] + level, measure)
        axes.set_xlabel(axis.words)
        axes.set_ylabel(measure.name[0].lower() + measure.name[1:])
        if len(series) <= _MOST_SERIES:
            figure.legend(handles, labels, loc="outside upper left", ncols=columns)

    names = [label(marks[0][1].axes, axis.keys) or "federated" for marks in series.values()]
    labels = [
        *(", ".join(short(part) for part in name.split(", ")) for name in names),
        *([measure.line] if level else []),
    ]
    columns = max(1, min(4, _LEGEND // (max(map(len, labels), default=0) + _HANDLE)))
    rows = -(-len(labels) // columns) if len(series) <= _MOST_SERIES else 0
    return Plot(drawn(draw, 3.6 + 0.24 * rows, name), _summary(measure, axis, len(settings), shown, len(series)))


def _draw_series(
    axes: Axes, number: int, marks: Sequence[tuple[float, Setting]], axis: _Axis, measure: _Measure
) -> Container:
    """Returns what a legend points to."""
    colour = INK[_COLOURS[number % len(_COLOURS)]]
    values = [measure.values(setting) for _, setting in marks]
    means = [centre for centre, _, _ in values]
    # A mean of equal numbers may fall a rounding beside them.
    spread = [
        [max(0.0, centre - low) for centre, low, _ in values],
        [max(0.0, high - centre) for centre, _, high in values],
    ]
    return axes.errorbar(
        [place for place, _ in marks],
        means,
        spread,
        color=colour,
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=7,
        mec=INK["paper"],
        capsize=4,
        linewidth=1.6,
        linestyle=_LINES[number // len(_COLOURS) % len(_LINES)] if axis.joined else "none",
    )


def _scale(axes: Axes, axis: _Axis, values: Sequence[float], measure: _Measure) -> None:
    axes.grid(linewidth=0.8)
    axes.tick_params(length=0)
    if axis.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    if axis.ticks:
        axes.xaxis.set_major_locator(FixedLocator([value for value, _ in axis.ticks]))
        texts = dict(axis.ticks)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: texts.get(value, f"{value:g}")))
    finite = [value for value in values if isfinite(value)]
    if finite and max(finite) > _LOGARITHMIC * min(finite) > 0:
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: measure.text(value)))


def _summary(measure: _Measure, axis: _Axis, settings: int, shown: Sequence[tuple[Setting, float]], lines: int) -> str:
    def height(mark: tuple[Setting, float]) -> float:
        return measure.values(mark[0])[0]

    text = f"{measure.name} against {axis.heading}: {len(shown)} settings in {lines} groups"
    if shown:
        least, most = min(shown, key=height), max(shown, key=height)
        text += (
            f", from {measure.text(height(least))} at {least[1]:.4g} to {measure.text(height(most))} at {most[1]:.4g}; "
            "the numbers are in the table below"
        )
    missing = settings - len(shown)
    return text + "." + (f" {missing} settings are not drawn: a value is infinite or missing." if missing else "")
