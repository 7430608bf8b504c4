"""How many records noise asks for: pooled statistics on a real model, as if each record were there many times.

    python -m benchmarks.more_records

With N times as many records, like these, noise has 1/N of its ratio to their sum. So the records that there are, with
1/N of the noise, stand for N times as many. What new records would add, being new, is not in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Optional

import torch
import typer
from rich.console import Console

from benchmarks.private_federation import Pooled, Setting, Unit, config_of
from fedspallm_secure.cli.cache import CACHE
from fedspallm_secure.cli.progress import TerminalSteps
from fedspallm_secure.runtime.sections import OFF

_TIMES: Final = (1, 10, 100, 1000)


_Method = Literal["wanda", "sparsegpt"]


def rows(method: _Method, epsilons: list[str], cache: Path, settings: list[str], steps: TerminalSteps) -> list[str]:
    """Lines of a Markdown table."""
    unit = Unit(method, "statistics", 0)
    config = config_of(unit, cache, settings, steps)
    s = Setting(unit, config, steps)
    dense = s.perplexity("dense")["mix"]
    s.prune(s.public, "prune from public text")
    public = s.perplexity("from public text")["mix"]
    s.restore()
    pooled = Pooled(s)
    found = [("public", "", public)]
    for epsilon in epsilons:
        for times in _TIMES:
            pooled.federate(epsilon, times)
            records = f"{times * config.pruning.windows:,}"
            found.append((epsilon, records, s.perplexity(f"epsilon {epsilon}, {records} records")["mix"]))
    pooled.federate(OFF)
    found.append((OFF, f"{config.pruning.windows:,}", s.perplexity("without noise")["mix"]))
    return [f"| {method} | {epsilon} | {records} | {mix:.2f} | {mix / dense:.2f} |" for epsilon, records, mix in found]


def main(
    method: Annotated[
        Optional[_Method],  # noqa: UP045
        typer.Option(help="Of pruning.", show_default="both"),
    ] = None,
    epsilon: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Of a whole run; again for more.", show_default="8, 1"),
    ] = None,
    setting: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the demo's configuration."),
    ] = None,
    cache: Annotated[Path, typer.Option(envvar="FEDSPALLM_CACHE", help="Folder of fetched files.")] = CACHE,
) -> None:
    """Print perplexity against the number of records. Half an hour of one core."""
    torch.set_num_threads(1)
    steps = TerminalSteps(Console(stderr=True))
    methods: list[_Method] = ["wanda", "sparsegpt"] if method is None else [method]
    lines = [line for one in methods for line in rows(one, epsilon or ["8", "1"], cache, setting or [], steps)]
    head = "| method | epsilon | records of each | perplexity | over dense |"
    typer.echo("\n".join([head, "| --- | --- | --- | --- | --- |", *lines]))


if __name__ == "__main__":
    typer.run(main)
