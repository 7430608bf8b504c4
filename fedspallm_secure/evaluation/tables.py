"""What the terminal shows of a run. Names and headings fold when the terminal is narrow; numbers never do."""

from __future__ import annotations

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from fedspallm_secure.evaluation.comparison import columns, model_rows
from fedspallm_secure.evaluation.results import Perplexities, Results
from fedspallm_secure.evaluation.settings import label, mean, settings_of, varied
from fedspallm_secure.evaluation.tradeoff import Tradeoff
from fedspallm_secure.evaluation.wording import bits_text, bytes_text, perplexity_text, seconds_text, share_text

__all__ = ["PerplexityView", "evaluation_table", "perplexity_table", "seconds_table", "settings_table", "traffic_table"]

_GAP = 2
_EDGES = 2
_NARROWEST_NAME = 10


@dataclass(frozen=True)
class PerplexityView:
    """The table of all models, laid out for the width it is printed at."""

    results: Results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich asks for the table."""
        kinds, rows = columns(self.results.perplexity), model_rows(self.results)
        numbers = [max(len(perplexity_text(row.values[kind])) for row in rows) for kind in kinds]
        floors = [_NARROWEST_NAME, *numbers]
        wishes = [max(cell_len(row.label) for row in rows), *map(max, map(cell_len, kinds), numbers)]
        gap = _GAP if sum(floors) + _GAP * len(kinds) <= options.max_width - _EDGES else 1
        name, *widths = _narrowed(wishes, floors, options.max_width - _EDGES - gap * len(kinds))
        table = _table("Perplexity on held-out text (lower is better)", gap=gap)
        table.add_column("model", overflow="fold", width=name)
        for kind, width in zip(kinds, widths, strict=True):
            table.add_column(Text(kind), justify="right", overflow="fold", width=width)
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            table.add_row(
                Text(row.label, "bold" if row.role == "federated" else ""),
                *(Text(perplexity_text(row.values[kind]), "bold" if kind in row.best else "") for kind in kinds),
                end_section=following is not None and following.role not in (row.role, "mean"),
            )
        yield table


def perplexity_table(results: Results) -> PerplexityView:
    """Models in rows, kinds of text in columns; bold is the best of the federated model and those alone."""
    return PerplexityView(results)


def traffic_table(results: Results) -> Table:
    """Bytes sent and received by each institution, and what that is a weight."""
    table = _table("Traffic", "institution", "sent", "received")
    for name, sent in results.bytes_up.items():
        table.add_row(Text(name), bytes_text(sent), bytes_text(results.bytes_down[name]))
    table.caption = f"{bits_text(results.uplink_bits_per_parameter)} bits sent a weight pruned; dense fp16 takes 16"
    return table


def seconds_table(results: Results) -> Table:
    """Time of each step, in order, and together."""
    table = _table("Time", "step", "time")
    for step, spent in results.seconds.items():
        table.add_row(Text(step), seconds_text(spent))
    table.add_section()
    table.add_row(Text("together", "bold"), Text(seconds_text(sum(results.seconds.values())), "bold"))
    return table


def evaluation_table(perplexities: Perplexities) -> Table:
    """One model's perplexity, a kind of text a row, "mix" last."""
    table = _table("Perplexity (lower is better)", "text", "perplexity")
    for kind, value in perplexities.items():
        if kind != "mix":
            table.add_row(Text(kind), perplexity_text(value))
    table.add_section()
    table.add_row(Text("mix", "bold"), Text(perplexity_text(perplexities["mix"]), "bold"))
    return table


def settings_table(tradeoff: Tradeoff) -> Table:
    """A sweep's settings: perplexity over the seeds, sparsity, bits a weight."""
    table = _table("Perplexity (lower is better)", "setting", "mean", "least", "largest", "zeros", "bits a weight")
    keys = varied(tradeoff)
    for setting in settings_of(tradeoff):
        found = setting.perplexities
        table.add_row(
            Text(label(setting.axes, keys) or "all points"),
            *(perplexity_text(value) for value in (setting.mean, min(found), max(found))),
            share_text(mean([figures.sparsity for figures in setting.figures]), 2),
            bits_text(mean([figures.bits_per_weight for figures in setting.figures])),
        )
    return table


def _table(title: str, label: str = "", *numbers: str, gap: int = _GAP) -> Table:
    """An empty table; where a label is given, of names on the left and numbers that stay whole."""
    table = Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, gap - 1, 0, 0),
    )
    if label:
        table.add_column(label, overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _narrowed(widths: list[int], floors: list[int], room: int) -> list[int]:
    """`widths`, the widest made narrower until all fit into `room`, but none below its floor."""
    widths = list(widths)
    while sum(widths) > room:
        spare = [place for place, width in enumerate(widths) if width > floors[place]]
        if not spare:
            break
        widths[max(spare, key=lambda place: widths[place])] -= 1
    return widths
