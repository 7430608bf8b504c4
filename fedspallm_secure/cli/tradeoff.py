"""The command that runs a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from fedspallm_secure.cli.cache import CACHE

__all__ = ["tradeoff"]

_SOME_FAILED = 3


def tradeoff(
    sweep: Annotated[Path, typer.Argument(help="TOML file; docs/tradeoff.md has its form.", metavar="SWEEP")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the sweep; one that is there already goes on where it is.")
    ],
    jobs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Points at a time.", show_default="cores / threads, at most 8"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each point; the last digits depend on it.")] = 1,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep every point's pruned model.")] = False,
    keep_transcripts: Annotated[
        bool, typer.Option("--keep-transcripts", help="Keep every point's transcript, for fedspallm audit.")
    ] = False,
    model: Annotated[
        Optional[str], typer.Option(help='Directory or hub name; where base = "demo".')  # noqa: UP045
    ] = None,
    cache: Annotated[
        Path,
        typer.Option(
            envvar="FEDSPALLM_CACHE",
            show_default="~/.cache/fedspallm-secure",
            help='Folder of fetched models and texts; where base = "demo".',
        ),
    ] = CACHE,
) -> None:
    """Run a sweep over settings, and see what each costs: perplexity against sparsity, bytes and every axis."""
    from fedspallm_secure.cli.progress import TerminalSteps
    from fedspallm_secure.cli.show import show_tradeoff
    from fedspallm_secure.cli.sweep_progress import TerminalPoints
    from fedspallm_secure.runtime.demo import demo_values
    from fedspallm_secure.runtime.sweep import load_sweep
    from fedspallm_secure.runtime.tradeoff import run_sweep, usual_jobs

    console = Console(stderr=True)
    loaded = load_sweep(sweep, lambda: demo_values(model, cache, TerminalSteps(console)))
    with TerminalPoints(console) as shown:
        done = run_sweep(
            loaded,
            out,
            shown,
            jobs=jobs or usual_jobs(threads),
            threads=threads,
            keep_models=keep_models,
            keep_transcripts=keep_transcripts,
        )
    show_tradeoff(done, out, Console())
    if len(done.finished) < len(done.points):
        raise typer.Exit(_SOME_FAILED)
