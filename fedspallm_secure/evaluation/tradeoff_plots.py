"""A sweep's plots: perplexity against what it is paid with.

A mark is a setting, at the mean over its seeds; the bar through it goes from the least to the largest. A line joins
settings that differ in nothing but what the axis shows. An infinite value of an axis ("inf": off) has a place of its
own at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
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


def tradeoff_plots(tradeoff: Tradeoff) -> list[TradeoffPlot]:
    """Perplexity against sparsity, bits a weight, and every other axis that has numbers; none if nothing finished."""
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
    return [
        TradeoffPlot(f"Perplexity against {axis.heading}", _plot(tradeoff, settings, axis, f"plot-{number}"))
        for number, axis in enumerate(axes)
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


def _plot(tradeoff: Tradeoff, settings: Sequence[Setting], axis: _Axis, name: str) -> Plot:
    places = [axis.place(setting) for setting in settings]
    shown = [
        (setting, place)
        for setting, place in zip(settings, places, strict=True)
        if isfinite(place) and isfinite(setting.mean)
    ]
    series: dict[str, list[tuple[float, Setting]]] = {}
    for setting, place in shown:
        series.setdefault(json.dumps([setting.axes.get(key) for key in axis.keys]), []).append((place, setting))
    measured = [point.common_dense for point in tradeoff.finished if point.common_dense is not None]
    dense = [value for value in measured if isfinite(value)]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        handles: list[Any] = [
            _draw_series(axes, number, sorted(marks, key=lambda mark: mark[0]), axis)
            for number, marks in enumerate(series.values())
        ]
        if dense:
            axes.axhspan(min(dense), max(dense), color=INK["dense"], alpha=0.25, linewidth=0)
            handles.append(axes.axhline(mean(dense), color=INK["dense"], linewidth=1.5, linestyle=(0, (6, 3))))
        _scale(axes, axis, [value for setting, _ in shown for value in setting.perplexities] + dense)
        axes.set_xlabel(axis.words)
        axes.set_ylabel("perplexity")
        if len(series) <= _MOST_SERIES:
            figure.legend(handles, labels, loc="outside upper left", ncols=columns)

    names = [label(marks[0][1].axes, axis.keys) or "federated" for marks in series.values()]
    labels = [*(", ".join(short(part) for part in name.split(", ")) for name in names), *(["dense"] if dense else [])]
    columns = max(1, min(4, _LEGEND // (max(map(len, labels), default=0) + _HANDLE)))
    rows = -(-len(labels) // columns) if len(series) <= _MOST_SERIES else 0
    return Plot(drawn(draw, 3.6 + 0.24 * rows, name), _summary(axis, len(settings), shown, len(series)))


def _draw_series(axes: Axes, number: int, marks: Sequence[tuple[float, Setting]], axis: _Axis) -> Container:
    """Returns what a legend points to."""
    colour = INK[_COLOURS[number % len(_COLOURS)]]
    means = [setting.mean for _, setting in marks]
    spread = [
        [centre - min(setting.perplexities) for centre, (_, setting) in zip(means, marks, strict=True)],
        [max(setting.perplexities) - centre for centre, (_, setting) in zip(means, marks, strict=True)],
    ]
    # A mean of equal numbers may fall a rounding beside them.
    spread = [[max(0.0, length) for length in side] for side in spread]
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


def _scale(axes: Axes, axis: _Axis, perplexities: Sequence[float]) -> None:
    axes.grid(linewidth=0.8)
    axes.tick_params(length=0)
    if axis.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    if axis.ticks:
        axes.xaxis.set_major_locator(FixedLocator([value for value, _ in axis.ticks]))
        texts = dict(axis.ticks)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: texts.get(value, f"{value:g}")))
    finite = [value for value in perplexities if isfinite(value)]
    if finite and max(finite) / min(finite) > _LOGARITHMIC:
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: perplexity_text(value)))


def _summary(axis: _Axis, settings: int, shown: Sequence[tuple[Setting, float]], lines: int) -> str:
    text = f"Perplexity against {axis.heading}: {len(shown)} settings in {lines} groups"
    if shown:
        least, at = min(shown, key=lambda mark: mark[0].mean)
        most, there = max(shown, key=lambda mark: mark[0].mean)
        text += (
            f", from {perplexity_text(least.mean)} at {at:.4g} to {perplexity_text(most.mean)} at {there:.4g}; the "
            "numbers are in the table below"
        )
    missing = settings - len(shown)
    return text + "." + (f" {missing} settings are not drawn: a value is infinite or missing." if missing else "")
