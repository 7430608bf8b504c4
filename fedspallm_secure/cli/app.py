"""The commands. Each reads its arguments, calls one function of the runtime, and shows what came out."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

import fedspallm_secure
from fedspallm_secure.cli.audit import audit_app
from fedspallm_secure.cli.cache import CACHE
from fedspallm_secure.cli.custodian import custodian_app
from fedspallm_secure.cli.roster import roster_app
from fedspallm_secure.cli.tradeoff import tradeoff

__all__ = ["app"]

app = typer.Typer(
    help="Secure, audited, federated pruning of large language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

charter_app = typer.Typer(help="Look at the agreement before signing it.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(charter_app, name="charter")
app.add_typer(roster_app, name="roster")
app.add_typer(custodian_app, name="custodian")
app.add_typer(audit_app, name="audit")

Out = Annotated[Path, typer.Option("--out", help="Folder to make; refused if it is there already.")]
Settings = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key, as in --set pruning.windows=32."),
]


class Votes(StrEnum):
    """How votes are counted."""

    MASKED = "masked"
    CKKS = "ckks"


KeepWork = Annotated[bool, typer.Option("--keep-work", help="Keep every institution's pruned layers in DIR/work.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(fedspallm_secure.__version__)
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it and exit.")
    ] = False,
) -> None:
    """Secure, audited, federated pruning of large language models."""


@app.command()
def demo(
    out: Out,
    model: Annotated[
        Optional[str], typer.Option(help="Directory or hub name of another base model.")  # noqa: UP045
    ] = None,
    cache: Annotated[
        Path,
        typer.Option(
            envvar="FEDSPALLM_CACHE",
            show_default="~/.cache/fedspallm-secure",
            help="Folder of fetched models and texts.",
        ),
    ] = CACHE,
    votes: Annotated[
        Optional[Votes],  # noqa: UP045
        typer.Option(help="How votes are counted: summed under masks, or encrypted under CKKS.", show_default="masked"),
    ] = None,
    settings: Settings = None,
    keep_work: KeepWork = False,
) -> None:
    """Prune SmolLM2-135M at five institutions with very different text, and see what federation gains."""
    from fedspallm_secure.cli.progress import TerminalSteps
    from fedspallm_secure.cli.show import show_results
    from fedspallm_secure.runtime.demo import demo_config
    from fedspallm_secure.runtime.simulate import simulate as run

    steps = TerminalSteps(Console(stderr=True))
    changes = [*(settings or ()), *([] if votes is None else [f"protocol.votes={votes.value}"])]
    results = run(demo_config(model, cache, changes, steps), out, steps, keep_work=keep_work)
    show_results(results, out, Console())


@app.command()
def simulate(
    config: Annotated[Path, typer.Argument(help="TOML file; docs/configuration.md has its keys.", metavar="CONFIG")],
    out: Out,
    settings: Settings = None,
    keep_work: KeepWork = False,
) -> None:
    """Run federated pruning with your own model, texts and settings, all institutions on this machine."""
    from fedspallm_secure.cli.progress import TerminalSteps
    from fedspallm_secure.cli.show import show_results
    from fedspallm_secure.runtime.config import load_config
    from fedspallm_secure.runtime.simulate import simulate as run

    results = run(load_config(config, settings or ()), out, TerminalSteps(Console(stderr=True)), keep_work=keep_work)
    show_results(results, out, Console())


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Directory or hub name.", metavar="MODEL")],
    data: Annotated[
        list[str], typer.Option("--data", help="txt, jsonl, json, parquet, or a datasets directory.", metavar="FILE")
    ],
    more: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Further files after --data.", metavar="FILE...", show_default=False),
    ] = None,
    windows: Annotated[int, typer.Option(min=1, help="Windows a file.")] = 8,
    window: Annotated[int, typer.Option(min=2, help="Tokens a window.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of windows.")] = 0,
    field: Annotated[str, typer.Option(help="Name of the text field.")] = "text",
    device: Annotated[str, typer.Option(help="Where to compute; auto is cuda when there.")] = "auto",
) -> None:
    """Perplexity of a model on texts: JSON on standard output, a table on standard error."""
    from fedspallm_secure.cli.progress import TerminalSteps
    from fedspallm_secure.evaluation import evaluation_table
    from fedspallm_secure.runtime.evaluate import evaluate_files

    console = Console(stderr=True)
    perplexities = evaluate_files(
        model,
        data + (more or []),
        windows=windows,
        window=window,
        seed=seed,
        field=field,
        device=device,
        shown=TerminalSteps(console),
    )
    console.print(evaluation_table(perplexities))
    typer.echo(json.dumps(perplexities))


app.command()(tradeoff)


@charter_app.command()
def check(
    charter: Annotated[Path, typer.Argument(help="JSON file, canonical or laid out for people.", metavar="CHARTER")],
    policy: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="TOML file of what you insist on; docs/policy.md has its keys and their defaults."),
    ] = None,
) -> None:
    """Check a charter against the rules of the protocol and your own policy, and say what it promises."""
    from fedspallm_secure.charter import Policy, check_charter, check_policy, load_charter, load_policy
    from fedspallm_secure.cli.promises import show_promises
    from fedspallm_secure.rounds import plan_round

    agreed, insisted = load_charter(charter), Policy() if policy is None else load_policy(policy)
    check_charter(agreed)
    plans = [plan_round(agreed, index) for index in range(len(agreed.schedule))]
    check_policy(agreed, insisted)
    show_promises(agreed, plans, Console())
