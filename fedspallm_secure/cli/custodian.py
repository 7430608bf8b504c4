"""`fedspallm custodian`: who counts encrypted votes, on a machine of its own. docs/ckks.md tells how.

Nothing is sent anywhere: what the run and the custodian have to tell each other lies in files of the run's folder. What
is printed of those goes through `visible`: they may be forgeries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from click import Abort
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedspallm_secure.errors import FedspallmError

if TYPE_CHECKING:  # who only asks for help need not wait for cryptography and pydantic
    from fedspallm_secure.charter import Charter
    from fedspallm_secure.custodian import Offer

__all__ = ["custodian_app"]

custodian_app = typer.Typer(
    help="Hold the key of encrypted votes, and count them. Exit code 3: nothing is due, or you said no.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_NOTHING = 3

Folder = Annotated[Path, typer.Argument(help="The custodian's own folder.", metavar="FOLDER")]
Run = Annotated[Path, typer.Argument(help="The run's folder, its --out.", metavar="RUN")]


@custodian_app.command()
def keygen(
    folder: Annotated[Path, typer.Argument(help="Folder to make; refused if it is there already.", metavar="FOLDER")],
    name: Annotated[str, typer.Option(help="The custodian's name in the charter.")],
    institutions: Annotated[int, typer.Option(min=2, help="Of how many institutions votes will be counted.")],
    rounds: Annotated[int, typer.Option(min=1, help="Of how many rounds; each has its own key.")],
    key: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Your signing key, if you have one; a copy is kept in FOLDER.", metavar="KEYFILE"),
    ] = None,
) -> None:
    """Make the keys for one charter, and say what to give to whom."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedspallm_secure.charter import load_key
    from fedspallm_secure.custodian import OFFER, make_keys

    signing = Ed25519PrivateKey.generate() if key is None else load_key(key)
    offer = make_keys(folder, name, institutions, rounds, signing)
    _show_offer(offer)
    _say(f"Give {OFFER} and the files *.context of {folder} to who starts the run: protocol.custodian is the path of")
    _say(f"{OFFER}. Tell the institutions the public key over another way, for the custodians of their policies.")
    _say("All else in there is yours alone. Never put an older copy of its journal back.")


@custodian_app.command()
def sign(
    folder: Folder,
    run: Run,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Read the charter that RUN proposes and sign it. The keys in FOLDER then serve no other charter, ever."""
    from fedspallm_secure.cli.promises import show_promises
    from fedspallm_secure.custodian import Exchange, open_office
    from fedspallm_secure.rounds import plan_round

    exchange = Exchange.find(run)
    with _visibly(), open_office(folder) as office:
        charter = exchange.proposed()
        if charter is None:
            raise _nothing(f"{exchange.run} proposes no charter to sign.")
        office.check(charter)
        console = Console()
        show_promises(charter, [plan_round(charter, number) for number in range(charter.rounds)], console)
        _show_keys(charter, console)
        if not yes and not _agreed():
            raise _nothing("Nothing was signed.")
        exchange.hand_in(office.sign(charter))
    _say(f"{office.offer.name} signed. The signature is in {exchange.signature}.")


@custodian_app.command()
def count(folder: Folder, run: Run) -> None:
    """Count the votes of the round that is due in RUN. Done again, it gives the same answer."""
    from fedspallm_secure.cli.progress import TerminalSteps
    from fedspallm_secure.custodian import Exchange, open_office

    exchange = Exchange.find(run)
    with _visibly(), open_office(folder) as office:
        plan = exchange.due(office)
        if plan is None:
            raise _nothing(f"{exchange.run} waits for no counts.")
        with TerminalSteps(Console(stderr=True)).step(f"count votes, round {plan.context.round + 1}") as advance:
            answer = exchange.count(office, plan, advance)
    _say(f"{office.offer.name} counted. The answer is in {answer}, the counts in {exchange.transcript.blobs.folder}.")


def _agreed() -> bool:
    _say(
        "Your signature binds your keys to this charter. Are these the institutions, with the keys that they told you?"
    )
    try:
        return typer.confirm("Sign?", err=True)
    except Abort:  # nobody is there to answer
        return False


@contextmanager
def _visibly() -> Iterator[None]:
    """Errors here may quote what somebody else wrote."""
    from fedspallm_secure.audit.verdict import visible

    try:
        yield
    except FedspallmError as error:
        error.problem, error.todo = visible(error.problem), visible(error.todo)
        raise


def _nothing(text: str) -> typer.Exit:
    _say(text)
    return typer.Exit(_NOTHING)


def _show_offer(offer: Offer) -> None:
    from fedspallm_secure.messages import digest

    _print(
        Console(),
        [
            ("Custodian", offer.name),
            ("Public key", offer.public_key),
            ("Offer", f"digest {digest(offer)}, for {offer.institutions} institutions"),
            *((f"Context {number}", name) for number, name in enumerate(offer.contexts, 1)),
        ],
    )


def _show_keys(charter: Charter, console: Console) -> None:
    """Who is in it: a name alone is nobody. And what is signed."""
    assert charter.custodian is not None  # `check` saw to that
    witness = [] if charter.witness is None else [("Witness", charter.witness.name, charter.witness.public_key)]
    people = [
        ("Server", charter.server, charter.server_key),
        *(("Institution", member.name, member.public_key) for member in charter.roster),
        *witness,
        ("You,", charter.custodian.name, charter.custodian.public_key),
    ]
    rounds = charter.rounds
    once = "the one round" if rounds == 1 else f"each of the {rounds} rounds"
    promise = f"to count the votes of {once} once, and to give away no votes but these sums"
    _print(console, [*((f"{role} {name}", key) for role, name, key in people), ("You promise", promise)])


def _print(console: Console, rows: list[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2))
    for what, text in rows:
        table.add_row(Text(what, "bold"), Text(text, overflow="fold"))
    console.print(table)


def _say(text: str) -> None:
    typer.echo(text, err=True)
