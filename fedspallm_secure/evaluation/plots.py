"""The report's plots.

Perplexities are drawn as multiples of the dense model's, one line a kind of text: kinds differ far more among each
other than models do, and the question is who lies left of whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import isfinite

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from fedspallm_secure.charter import parse_pattern
from fedspallm_secure.evaluation.comparison import columns, own_kinds
from fedspallm_secure.evaluation.drawing import INK, STEPS, Plot, drawn, short
from fedspallm_secure.evaluation.results import Perplexities, Results
from fedspallm_secure.evaluation.wording import bytes_text, perplexity_text, share_text

__all__ = ["cohorts_plot", "perplexity_plot", "sparsity_plot", "traffic_plot"]


def perplexity_plot(results: Results) -> Plot:
    """Every model on every kind of text, as a multiple of the dense model's perplexity."""
    table, own = results.perplexity, own_kinds(results)
    kinds = columns(table)
    dense = table.dense

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        lines = {kind: -float(place) - (0.35 if kind == "mix" else 0.0) for place, kind in enumerate(kinds)}

        def dots(values: Perplexities, among: Iterable[str], **style: object) -> None:
            shown = [kind for kind in among if isfinite(values[kind] / dense[kind])]
            axes.plot([values[k] / dense[k] for k in shown], [lines[k] for k in shown], linestyle="none", **style)  # type: ignore[arg-type]

        everybody = [*table.alone.values(), table.federated, *([table.central] if table.central else [])]
        ratios = [row[kind] / dense[kind] for row in everybody for kind in kinds]
        _ratio_axis(axes, [ratio for ratio in ratios if isfinite(ratio)])
        axes.hlines(list(lines.values()), *axes.get_xlim(), color=INK["line"], linewidth=1, zorder=0)
        axes.axvline(1, color=INK["dense"], linewidth=2)
        for name, row in table.alone.items():
            away = [kind for kind in kinds if kind != own[name]]
            dots(row, away, marker="o", markersize=8, mfc="none", mec=INK["alone"], mew=1.6)
            dots(row, [k for k in kinds if k == own[name]], marker="o", markersize=8, color=INK["alone"], mew=1.6)
        dots(table.federated, kinds, marker="o", markersize=13, color=INK["federated"], mec=INK["paper"], mew=1.2)
        if table.central is not None:
            dots(table.central, kinds, marker="D", markersize=8, color=INK["central"], mec=INK["paper"])
        axes.set_yticks(list(lines.values()), [f"{short(kind)}  ({perplexity_text(dense[kind])})" for kind in kinds])
        axes.get_yticklabels()[-1].set_fontweight("bold")
        axes.set_ylim(min(lines.values()) - 0.6, 0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("perplexity as a multiple of the dense model's (in brackets): further left is better")
        figure.legend(handles=_models(results), loc="outside upper left", ncols=5)

    lost = sum(not isfinite(row[kind]) for row in [*table.alone.values(), table.federated] for kind in kinds)
    return Plot(
        drawn(draw, 1.5 + 0.42 * len(kinds), "perplexity"),
        f"Dot plot of the perplexity of every model on {', '.join(kinds)}, as multiples of the dense model's; on the "
        f"mix the federated model has {table.federated['mix'] / dense['mix']:.2f} times the dense perplexity."
        + (f" {lost} infinite values are not drawn." if lost else ""),
    )


def sparsity_plot(results: Results) -> Plot:
    """Share of zeros by decoder layer, beside the target."""
    target = float(parse_pattern(results.config["pruning"]["pattern"][-1]).sparsity)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.bar(range(len(results.layers)), [100 * share for share in results.layers], 0.8, color=INK["federated"])
        axes.axhline(100 * target, color=INK["alone"], linewidth=1.5, linestyle="--")
        axes.set_xlim(-0.7, len(results.layers) - 0.3)
        axes.set_ylim(0, 100)
        axes.yaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
        axes.xaxis.set_major_locator(MaxNLocator(16, integer=True))
        axes.grid(axis="y", linewidth=0.8)
        axes.tick_params(axis="y", length=0)
        axes.set_ylabel("zeros, %")
        axes.set_xlabel("decoder layer")
        line = Line2D([], [], color=INK["alone"], linestyle="--", label=f"target {share_text(target, 2)}")
        figure.legend(handles=[line], loc="outside upper left")

    least, most = min(results.layers), max(results.layers)
    return Plot(
        drawn(draw, 2.5, "sparsity"),
        f"Bar chart of the share of zeros in each of {len(results.layers)} decoder layers: from {share_text(least, 2)} "
        f"to {share_text(most, 2)}, target {share_text(target, 2)}.",
    )


def traffic_plot(results: Results) -> Plot:
    """Bytes of every institution by step of the protocol, sent and received, on one scale."""
    traffic = results.bytes_by_step
    steps = list(dict.fromkeys(step for both in traffic.values() for way in both.values() for step in way))
    places = [-place for place in range(len(traffic))]
    most = max([1, *results.bytes_up.values(), *results.bytes_down.values()])

    def draw(figure: Figure) -> None:
        panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
        for axes, way, title in zip(panels, ("up", "down"), ("sent", "received"), strict=True):
            left = [0] * len(traffic)
            for number, step in enumerate(steps):
                width = [both[way].get(step, 0) for both in traffic.values()]
                axes.barh(places, width, 0.62, left=left, color=INK[STEPS[number % len(STEPS)]], label=step)
                left = [a + b for a, b in zip(left, width, strict=True)]
            axes.set_title(title)
            axes.set_xlim(0, most * 1.04)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: bytes_text(round(value))))
            axes.grid(axis="x", linewidth=0.8)
            axes.tick_params(axis="y", length=0)
        panels[0].set_yticks(places, [short(name) for name in traffic])
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=6)

    return Plot(
        drawn(draw, 1.5 + 0.3 * len(traffic), "traffic"),
        f"Stacked bars of the bytes that each of {len(traffic)} institutions sent and received, by step "
        f"({', '.join(steps)}); the numbers are in the table below.",
    )


def cohorts_plot(results: Results) -> Plot:
    """Which institution pruned which layer, a panel a round."""
    names = list(results.bytes_up)
    rounds = results.cohorts

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(rounds), 1, sharex=True, squeeze=False)[:, 0]
        for number, (axes, cohorts) in enumerate(zip(panels, rounds, strict=True)):
            for place, name in enumerate(names):
                layers = [layer for layer, cohort in enumerate(cohorts) if name in cohort]
                axes.broken_barh(_spans(layers), (-place - 0.36, 0.72), facecolor=INK["federated"])
            axes.set_title(f"round {number + 1}" if len(rounds) > 1 else "")
            axes.set_yticks([-float(place) for place in range(len(names))], [short(name) for name in names])
            axes.set_xlim(-0.6, len(cohorts) - 0.4)
            axes.set_ylim(-len(names) + 0.4, 0.6)
            axes.xaxis.set_major_locator(MaxNLocator(16, integer=True))
            axes.tick_params(axis="y", length=0)
        panels[-1].set_xlabel("decoder layer")

    sizes = [len(cohort) for layers in rounds for cohort in layers]
    return Plot(
        drawn(draw, 0.6 + len(rounds) * (0.45 + 0.27 * len(names)), "cohorts"),
        f"Grid of which of {len(names)} institutions pruned which decoder layer; cohorts have {min(sizes)} to "
        f"{max(sizes)} institutions.",
    )


def _ratio_axis(axes: Axes, ratios: Sequence[float]) -> None:
    """A logarithmic axis over `ratios` and 1, with ticks people like."""
    low, high = min([1.0, *ratios]), max([1.05, *ratios])
    margin = (high / low) ** 0.04
    axes.set_xscale("log")
    axes.set_xlim(low / margin, high * margin)
    for digits in ((1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8), (1, 1.5, 2, 3, 5), (1,)):
        ticks = [digit * 10.0**power for power in range(-3, 13) for digit in digits]
        ticks = [tick for tick in ticks if low / margin <= tick <= high * margin]
        if len(ticks) <= 9:
            break
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))


def _models(results: Results) -> list[Line2D]:
    """The legend of the perplexity plot."""

    def entry(label: str, marker: str, size: float, face: str, edge: str) -> Line2D:
        return Line2D(
            [], [], linestyle="none", marker=marker, markersize=size, mfc=face, mec=edge, mew=1.4, label=label
        )

    entries = [entry("federated", "o", 12, INK["federated"], INK["paper"])]
    if results.perplexity.alone:
        entries.append(entry("an institution alone", "o", 8, "none", INK["alone"]))
        entries.append(entry("alone, on its own kind", "o", 8, INK["alone"], INK["alone"]))
    if results.perplexity.central is not None:
        entries.append(entry("central", "D", 8, INK["central"], INK["paper"]))
    return [*entries, Line2D([], [], color=INK["dense"], linewidth=2, label="dense")]


def _spans(layers: Iterable[int]) -> list[tuple[float, float]]:
    """Neighbouring layers as (start, width): drawn as one bar, whose ends lie between layers."""
    runs = [[layer for _, layer in run] for _, run in groupby(enumerate(layers), lambda pair: pair[1] - pair[0])]
    return [(run[0] - 0.45, len(run) - 0.1) for run in runs]
