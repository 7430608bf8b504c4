"""`fedspallm roster`: who may take part in runs, as the institutions themselves agree. docs/rosters.md tells how."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedspallm_secure.errors import ConfigError

if TYPE_CHECKING:  # what reads no roster need not wait for cryptography and pydantic
    from fedspallm_secure.charter import Roster
    from fedspallm_secure.messages import Frozen

__all__ = ["roster_app"]

roster_app = typer.Typer(
    help="Agree on institutions and their keys, and replace lost and stolen ones.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Form = TypeVar("_Form", bound="Frozen")

File = Annotated[Path, typer.Argument(help="A roster, signed or not.", metavar="FILE")]
Out = Annotated[Path, typer.Option("--out", help="File to make; refused if it is there already.")]
Names = Optional[list[str]]  # noqa: UP045


@roster_app.command()
def keygen(
    name: Annotated[str, typer.Option(help="Whose key it will be.")],
    out: Out,
) -> None:
    """Make a signing key. Standard output has NAME=KEY, the public part, which the others need."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedspallm_secure.charter import Member, save_key
    from fedspallm_secure.messages import Identity

    identity = Identity(name, Ed25519PrivateKey.generate())
    member = _made(Member, f"--name {name}", name=name, public_key=identity.public)
    save_key(identity.key, out)
    typer.echo(f"{member.name}={member.public_key}")


@roster_app.command()
def new(
    member: Annotated[list[str], typer.Option(metavar="NAME=KEY", help="A member and its public key; repeat it.")],
    threshold: Annotated[int, typer.Option(help="How many must sign the next roster: more than half.")],
    out: Out,
) -> None:
    """Propose roster 1. All members must sign it."""
    from fedspallm_secure.charter import first_roster

    _propose(first_roster(_members("--member", member), threshold), out)


@roster_app.command(name="next")
def following(
    file: File,
    out: Out,
    add: Annotated[Names, typer.Option(metavar="NAME=KEY", help="A new member.")] = None,
    remove: Annotated[Names, typer.Option(metavar="NAME", help="A member that leaves.")] = None,
    rotate: Annotated[Names, typer.Option(metavar="NAME=KEY", help="A member's new key.")] = None,
    revoke: Annotated[
        Names, typer.Option(metavar="KEY=REASON", help="A key that must never be used again, and why.")
    ] = None,
    threshold: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="How many must sign the roster after this one; as before if left out."),
    ] = None,
) -> None:
    """Propose the roster that follows FILE. All changes may be repeated, and made at once."""
    from fedspallm_secure.charter import Revocation, RosterChange, load_roster, next_roster, open_roster

    change = RosterChange(
        removed=remove or (),
        rotated=_members("--rotate", rotate or ()),
        added=_members("--add", add or ()),
        revoked=[
            _made(Revocation, f"--revoke {item}", public_key=key, reason=reason)
            for item, key, reason in _pairs("--revoke", revoke or (), "KEY=REASON")
        ],
        threshold=threshold,
    )
    _propose(next_roster(open_roster(load_roster(file)), change), out)


@roster_app.command()
def show(file: File) -> None:
    """Show what a roster says, to read before signing it. No signature is checked."""
    from fedspallm_secure.charter import load_roster, open_roster

    signed = load_roster(file)
    names = ", ".join(signature.keyid for signature in signed.signatures)
    _show(open_roster(signed), [("Signatures", f"{names}; not checked" if names else "none")])


@roster_app.command()
def sign(
    file: File,
    key: Annotated[Path, typer.Option(help="Your signing key.", metavar="KEYFILE")],
    name: Annotated[str, typer.Option(help="Your name on this roster, or on the one before it.")],
) -> None:
    """Add your signature to FILE, once you have read it. Signing it again changes nothing."""
    from fedspallm_secure.charter import Member, load_key, load_roster, open_roster, save_roster, sign_roster
    from fedspallm_secure.messages import Identity

    signed, identity = load_roster(file), Identity(name, load_key(key))
    roster, signer = open_roster(signed), _made(Member, f"--name {name}", name=name, public_key=identity.public)
    save_roster(sign_roster(signed, identity), file)
    _say(f"{name} signed roster {roster.number} with the key {identity.public}.")
    if signer not in roster.members:
        _say(f"This roster does not list that key for {name}: the signature counts only if the one before it does.")


@roster_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="All rosters from 1 on, in order.", metavar="FILE...")],
) -> None:
    """Check that each roster follows from the one before it, and show the last one."""
    from fedspallm_secure.charter import check_chain, load_roster, open_roster
    from fedspallm_secure.messages import digest

    chain = [load_roster(path) for path in files]
    _show(check_chain(chain), [("Roster 1", f"digest {digest(open_roster(chain[0]))}: compare it with the others")])


def _propose(roster: Roster, out: Path) -> None:
    from fedspallm_secure.charter import save_roster, unsigned_roster

    signed = unsigned_roster(roster)
    if out.exists():
        raise ConfigError(f"There is a file {out} already.", "Choose another --out; a roster is never replaced.")
    save_roster(signed, out)
    _say(f"Roster {roster.number} is in {out}, for its members to sign.")


def _members(option: str, items: list[str] | tuple[()]) -> list[Any]:
    from fedspallm_secure.charter import Member

    pairs = _pairs(option, items, "NAME=KEY")
    return [_made(Member, f"{option} {item}", name=name, public_key=key) for item, name, key in pairs]


def _pairs(option: str, items: list[str] | tuple[()], form: str) -> list[tuple[str, str, str]]:
    """Each item, and what it has before and after its first "="."""
    found = []
    for item in items:
        left, equals, right = item.partition("=")
        if not equals:
            raise ConfigError(f"{option} {item} is not {form}.", f"Write it as {option} {form}.")
        found.append((item, left, right))
    return found


def _made(form: type[_Form], given: str, **fields: str) -> _Form:
    from pydantic import ValidationError

    from fedspallm_secure.reading import faults

    try:
        return form(**fields)
    except ValidationError as error:
        raise ConfigError(f"{given} is not right: {faults(error)}.", "protocol/SPEC.md has the forms.") from error


def _show(roster: Roster, more: list[tuple[str, str]]) -> None:
    from fedspallm_secure.messages import digest

    members = len(roster.members)
    rows = [
        ("Roster", str(roster.number)),
        ("Digest", digest(roster)),
        ("Follows", roster.previous or "none: it is the first"),
        ("Threshold", f"{roster.threshold} of {members} must sign the next one"),
        *((member.name, member.public_key) for member in roster.members),
        *(("Revoked", f"{one.public_key}: {one.reason}") for one in roster.revoked),
        *more,
    ]
    table = Table.grid(padding=(0, 2))
    for what, text in rows:
        table.add_row(Text(what, "bold"), Text(text, overflow="fold"))
    Console().print(table)


def _say(text: str) -> None:
    typer.echo(text, err=True)
