"""`python -m threat_model [NAME ...]`: try the attacks on plain FedSpaLLM and on this system, and say which work.

Exit code 0: each works on plain FedSpaLLM and none here. 1: one works here, or one that should work on plain does not,
so that its failure here says nothing. 2: no such attack. It runs in a checkout, since it plays on the tests' stage.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from fedspallm_secure.errors import ConfigError, FedspallmError
from threat_model.attacks import ATTACKS, Attack, Finding

__all__ = ["main"]


class Format(StrEnum):
    """How findings are printed."""

    TABLE = "table"
    JSON = "json"


def main(
    names: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[NAME]...", help=f"Which: {', '.join(ATTACKS)}. All if none is named."),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="A table for people, or a JSON list.")] = Format.TABLE,
) -> None:
    """Try the attacks of the threat model on plain FedSpaLLM and on this system."""
    console = Console(stderr=True)
    try:
        findings = [_run(attack, console) for attack in _chosen(names or list(ATTACKS))]
    except FedspallmError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(error.exit_code) from error
    if output is Format.JSON:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        Console().print(_table(findings))
    raise typer.Exit(0 if all(finding.as_expected for finding in findings) else 1)


def _chosen(names: list[str]) -> list[Attack]:
    for name in names:
        if name not in ATTACKS:
            raise ConfigError(f"There is no attack {name!r}.", f"Choose from {', '.join(ATTACKS)}.")
    return [ATTACKS[name] for name in names]


def _run(attack: Attack, console: Console) -> Finding:
    with TemporaryDirectory(prefix="threat-model-") as folder, console.status(f"{attack.name} ..."):
        return attack.run(Path(folder))


def _table(findings: list[Finding]) -> Table:
    table = Table(show_lines=True)
    for column in ("attack", "plain", "here", "claim, and evidence"):
        table.add_column(column)
    for finding in findings:
        plain = "[green]works" if finding.succeeds_on_plain else "[red]FAILS"
        here = "[red]WORKS" if finding.succeeds_here else "[green]fails"
        evidence = finding.evidence.replace("[", "\\[").replace(". Here: ", ".\nHere: ")
        table.add_row(finding.name, plain, here, f"[bold]{finding.claim}[/bold]\n{evidence}")
    return table


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.command()(main)
    app(prog_name="python -m threat_model")
