"""What differential privacy costs in perplexity, and what it hides, on a real model: a table over epsilon.

    python -m benchmarks.privacy out/privacy
    python -m benchmarks.privacy out/privacy --method wanda --seed 0      (a part of it)

A unit is one method, one kind of sum and one seed, and takes all epsilons; how it is measured is in
`benchmarks.private_federation`. Finished units are kept in the folder and are not measured again, so the table can be
made in several goes, or by several processes side by side. A record is a short window of joined text: the demo has too
few documents for one each.

"public" is the model that public text alone gives, which costs no privacy. Perplexity is of held-out text of the
institutions' kinds; the area under the ROC curve is that of telling the first institution's windows from others by what
is published (docs/privacy.md).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Optional

import torch
import typer
from rich.console import Console

from benchmarks.privacy_table import draw, table
from benchmarks.private_federation import Aggregate, Averaged, Pooled, Setting, Unit, config_of
from fedspallm_secure.cli.cache import CACHE
from fedspallm_secure.cli.progress import TerminalSteps
from fedspallm_secure.errors import NumericalError
from fedspallm_secure.evaluation import auc_bound
from fedspallm_secure.privacy import multiplier_for
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.membership import Seen, attack
from fedspallm_secure.runtime.sections import OFF

_EPSILONS: Final = (OFF, "16", "8", "4", "2", "1")


def measure(unit: Unit, config: RunConfig, steps: TerminalSteps) -> dict[str, Any]:
    """Perplexities and areas of all epsilons."""
    s = Setting(unit, config, steps)
    perplexity = {"dense": s.perplexity("dense")}
    expected = s.expected()
    s.prune(s.public, "prune from public text")
    perplexity["public"] = s.perplexity("from public text")
    s.restore()
    federation = Averaged(s) if unit.aggregate == "weights" else Pooled(s)
    failed: dict[str, str] = {}
    releases: dict[str, tuple[Seen, Seen]] = {}
    for epsilon in _EPSILONS:
        try:
            releases[epsilon] = federation.federate(epsilon), expected
            perplexity[epsilon] = s.perplexity(f"epsilon {epsilon}")
        except NumericalError as error:
            failed[epsilon] = str(error)
    s.restore()
    with steps.step("candidates"):
        areas = attack(
            s.model,
            next(iter(s.candidates.values())),
            releases,
            s.settings,
            errors=not s.diagonal and unit.aggregate == "weights",
        )
    windows = config.pruning.windows, config.pruning.window
    return {
        "unit": asdict(unit),
        "windows": windows,
        "perplexity": perplexity,
        "failed": failed,
        "auc": {epsilon: {name: asdict(area) for name, area in found.items()} for epsilon, found in areas.items()},
        "bound": {epsilon: _bound(epsilon, s) for epsilon in _EPSILONS if epsilon != OFF},
    }


def _bound(epsilon: str, setting: Setting) -> float:
    releases = 4 * len(setting.layers)
    return auc_bound(sqrt(releases) / multiplier_for(float(epsilon), float(setting.config.privacy.delta), releases))


def main(
    out: Annotated[Path, typer.Argument(help="Folder of finished units.")],
    method: Annotated[
        Optional[Literal["wanda", "sparsegpt"]],  # noqa: UP045
        typer.Option(help="Of pruning.", show_default="both"),
    ] = None,
    aggregate: Annotated[
        Optional[Aggregate],  # noqa: UP045
        typer.Option(help="What is summed.", show_default="both"),
    ] = None,
    seed: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(help="Of windows; again for more.", show_default="0, 1, 2"),
    ] = None,
    setting: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the demo's configuration."),
    ] = None,
    plot: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Where a plot of all that is in the folder goes (svg, png)."),
    ] = None,
    cache: Annotated[Path, typer.Option(envvar="FEDSPALLM_CACHE", help="Folder of fetched files.")] = CACHE,
) -> None:
    """Measure what is not in the folder yet; print a table of all that is. One core takes a day for everything."""
    torch.set_num_threads(1)
    steps = TerminalSteps(Console(stderr=True))
    out.mkdir(parents=True, exist_ok=True)
    methods: list[Literal["wanda", "sparsegpt"]] = ["wanda", "sparsegpt"] if method is None else [method]
    sums: list[Aggregate] = ["weights", "statistics"] if aggregate is None else [aggregate]
    for unit in (Unit(*one) for one in product(methods, sums, seed or [0, 1, 2])):
        path = out / unit.name
        if not path.exists():
            found = measure(unit, config_of(unit, cache, setting or [], steps), steps)
            path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    units = [json.loads(path.read_bytes()) for path in sorted(out.glob("*.json"))]
    if plot is not None:
        draw(units, _EPSILONS, plot)
    typer.echo(table(units, _EPSILONS))


if __name__ == "__main__":
    typer.run(main)
