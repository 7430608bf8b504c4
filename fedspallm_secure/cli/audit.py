"""`fedspallm audit`: what anybody can check of a run from its transcript alone. docs/audit.md tells how.

Exit codes are the same in all four forms, since scripts act on them: 0 it holds, 1 it does not, 2 wrong arguments,
3 the evidence is incomplete. A damaged transcript is a finding, not an error. Whatever is printed of a transcript goes
through `visible`: it may be a forgery.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from click import Context
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from fedspallm_secure.errors import ConfigError, FedspallmError, ProtocolError, StorageError

if TYPE_CHECKING:  # what audits nothing need not wait for numpy and cryptography
    from fedspallm_secure.audit import Verdict
    from fedspallm_secure.audit.compare import Comparison, Entry
    from fedspallm_secure.audit.receipt import Receipt

__all__ = ["audit_app"]

_FOLDER = "DIR"
_FAILED = 1
_WIDTH = 100  # of text in a file


class _OrFolder(TyperGroup):
    """Sub-commands, or a folder."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        # The folder stands where other commands have the name of a sub-command. So the form that takes one is a
        # sub-command too, called DIR, and its name is put before whatever is not the name of another one.
        if args and args[0] != "--help" and (args[0] == _FOLDER or args[0] not in self.commands):
            args = [_FOLDER, *args]
        return super().parse_args(ctx, args)


class _Folder(TyperCommand):
    """The form that takes a folder; its name already stands for the argument in the line on its use."""

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        return [piece for piece in super().collect_usage_pieces(ctx) if piece != _FOLDER]


audit_app = typer.Typer(
    cls=_OrFolder,
    help="Check a run from its transcript alone. Exit codes: 0 all holds, 1 something does not, 2 wrong arguments, "
    "3 the evidence is incomplete.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Depth(StrEnum):
    """How much is checked."""

    public = "public"
    full = "full"


class Format(StrEnum):
    """How the verdict is written."""

    text = "text"
    json = "json"
    html = "html"


class Sum(StrEnum):
    """Which of a round's sums."""

    votes = "votes"
    values = "values"


@audit_app.command(name=_FOLDER, cls=_Folder)
def folder(
    transcript: Annotated[Path, typer.Argument(metavar=_FOLDER, help="Folder of the transcript.")],
    model: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of the model that the run is said to have given."),
    ] = None,
    base: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of the base model; without it nobody can tell which model follows."),
    ] = None,
    roster: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(metavar="FILE", help="Signed roster, from roster 1 on; the charter is held against them."),
    ] = None,
    depth: Annotated[
        Depth, typer.Option(help="public takes the sums as published, full adds them up again.")
    ] = Depth.public,
    form: Annotated[Format, typer.Option("--format", help="How the verdict is written.")] = Format.text,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="File to make of the verdict; refused if it is there already."),
    ] = None,
) -> None:
    """Audit the transcript in folder DIR: numbered checks, who is at fault, and what is not proven."""
    with _as_finding():
        for path in (transcript, model, base):
            _check_folder(path)
        _check_free(out)
        from fedspallm_secure.audit import audit
        from fedspallm_secure.cli.progress import TerminalSteps

        try:
            with TerminalSteps(Console(stderr=True)).step(f"audit, {depth.value} depth") as advance:
                verdict = audit(
                    transcript, depth=depth.value, base=base, model=model, rosters=roster or (), progress=advance
                )
        except StorageError as error:  # what is wrong with the transcript is a finding: this is another folder
            raise ConfigError(error.problem, error.todo) from error
        _give(verdict, form, out)
    raise typer.Exit(verdict.exit_code)


@audit_app.command(name="compare")
def compare_copies(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of one copy.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another.")],
) -> None:
    """Compare two copies of one run: does one log continue the other, or did its keeper sign two?"""
    from fedspallm_secure.audit.compare import compare

    with _as_finding():
        comparison = compare(first, second)
        _say_comparison(comparison)
    raise typer.Exit(comparison.exit_code)


@audit_app.command()
def prove(
    transcript: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the transcript.")],
    institution: Annotated[str, typer.Option(metavar="NAME", help="Whose contribution.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="File to make, NAME.tlog-proof by custom; refused if it is there.")
    ],
    number: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--round", min=1, help="Round, from 1; the last one with that sum if left out."),
    ] = None,
    name: Annotated[Sum, typer.Option("--sum", help="Which sum.")] = Sum.votes,
) -> None:
    """Make a receipt that an institution's contribution is in the log. It is checked alone, without the transcript."""
    from fedspallm_secure.audit.receipt import prove

    with _as_finding():
        _check_free(out)
        receipt = prove(transcript, institution, name.value, None if number is None else number - 1)
        _write(out, receipt.encode())
    typer.echo(f"The receipt is in {out}. It is checked with: fedspallm audit check-proof", err=True)


@audit_app.command()
def check_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt.")],
    charter: Annotated[Path, typer.Option(help="JSON file: the agreement, from somebody you trust.")],
) -> None:
    """Check a receipt, and say what it proves and what it does not."""
    from fedspallm_secure.audit.receipt import check_receipt
    from fedspallm_secure.charter import load_charter

    with _as_finding():
        agreed = load_charter(charter)
        _say_receipt(check_receipt(_read(file), agreed), agreed.server)


@contextmanager
def _as_finding() -> Iterator[None]:
    """Here, what somebody signed wrongly is the result that was asked for."""
    from fedspallm_secure.audit.verdict import visible

    try:
        yield
    except FedspallmError as error:
        typer.echo(f"error: {visible(error.problem)}\n       {visible(error.todo)}", err=True)
        sys.exit(_FAILED if isinstance(error, ProtocolError) else error.exit_code)


def _give(verdict: Verdict, form: Format, out: Path | None) -> None:
    from fedspallm_secure.audit import show_verdict, to_json
    from fedspallm_secure.audit.verdict import summary, visible

    if form is Format.text and out is None:
        show_verdict(verdict, Console())
        return
    if form is Format.text:
        console = Console(width=_WIDTH, color_system=None)
        with console.capture() as capture:
            show_verdict(verdict, console)
        data = capture.get().encode()
    elif form is Format.json:
        data = to_json(verdict)
    else:
        from fedspallm_secure.audit.page import to_page

        data = to_page(verdict).encode()
    if out is None:
        sys.stdout.write(data.decode())
    else:
        _write(out, data)
        typer.echo(f"{verdict.status.upper()}: {visible(summary(verdict))} It is in {out}.", err=True)


def _say_comparison(comparison: Comparison) -> None:
    one, other = comparison.sizes
    more = "both are as long" if one == other else f"the {'first' if one > other else 'second'} has more"
    _say(
        {
            "consistent": f"CONSISTENT: one log continues the other. They have {one} and {other} entries; {more}.",
            "fork": f"FORK: {comparison.keeper} signed two logs that contradict each other.",
            "unproven": f"UNPROVEN: something is wrong, and it is not shown that {comparison.keeper} is to blame.",
        }[comparison.status]
    )
    _say(f"Charter {comparison.charter}")
    if comparison.parted:
        _say(f"The copies have {one} and {other} entries. The first that differ:")
        for entry in comparison.parted:
            _say(f"  {_told(entry)}")
    for remark in comparison.remarks:
        _say(f"- {remark}")
    if comparison.evidence is None:
        return
    first, second = comparison.evidence
    both = [name for name in first.cosigners if name in second.cosigners]
    _say("Both of these checkpoints are signed. Keep them, and both copies:")
    for checkpoint in (first, second):
        cosigners = ", ".join(checkpoint.cosigners) or "nobody"
        _say(f"\n{checkpoint.path}: signed by {comparison.keeper}, cosigned by {cosigners}")
        for line in checkpoint.note.split("\n"):
            _say(f"    {line}")
    _say(f"Signed both: {', '.join([comparison.keeper, *both])}")


def _told(entry: Entry) -> str:
    what = f"{entry.kind} of {entry.sender}" if entry.problem is None else f"no message: {entry.problem}"
    return f"entry {entry.index} of {entry.path}: {what}; leaf hash {entry.leaf}"


def _say_receipt(receipt: Receipt, keeper: str) -> None:
    contribution, head = receipt.contribution, receipt.checkpoint.head
    cosigners = ", ".join(receipt.checkpoint.cosigners) or "nobody"
    again = f", attempt {receipt.attempt + 1}" if receipt.attempt else ""
    _say(
        f"Proven: {contribution.sender} signed a contribution to the {receipt.sum} of round "
        f"{contribution.round + 1}{again}, of the {contribution.kind} lanes below. It is entry {receipt.index} of a "
        f"log that {keeper} signed for, of {head.size} entries with root {head.root}; cosigned by {cosigners}. Neither "
        f"{contribution.sender} nor {keeper} can deny that. Not proven: that it was added up, or added up rightly, "
        "which `fedspallm audit DIR --depth full` checks on the transcript; that everybody was shown this log, beyond "
        f"those who cosigned; nor what the institution voted or changed, since its lanes are {contribution.kind}."
    )
    for lane in contribution.lanes:
        _say(f"  {lane.lane}: {lane.words} words, SHA-256 {lane.blob}")


def _say(text: str) -> None:
    from fedspallm_secure.audit.verdict import visible

    typer.echo("\n".join(visible(line) for line in text.split("\n")))


def _check_folder(path: Path | None) -> None:
    try:
        if path is not None:
            os.listdir(path)
    except OSError as error:
        raise ConfigError(f"The folder {path} can't be read: {error}.", "Give one that is there.") from error


def _check_free(out: Path | None) -> None:
    if out is not None and out.exists():
        raise ConfigError(f"There is a file {out} already.", "Choose another --out; nothing is ever replaced.")


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no file")  # a named pipe would wait for ever, a device might never end
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The receipt {path} can't be read: {error}.", "Give the path of one.") from error


def _write(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error}.", "Free space, or choose another --out.") from error
