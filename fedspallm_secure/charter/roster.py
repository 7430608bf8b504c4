"""Who may take part in runs, over the years: the institutions, their keys, and the keys that nobody may use again.

A charter lives for one run; a roster outlives it. A roster never changes: the next one takes its place, and
`roster_chain` says who must have signed that. Here stands what a roster says, and what holds for one by itself.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field

from fedspallm_secure.charter.charter import Charter
from fedspallm_secure.errors import CharterError
from fedspallm_secure.messages import Count, Frozen, Hex32, Name

__all__ = ["Member", "Revocation", "Roster", "check_charter_roster", "check_roster"]

Number = Annotated[int, Field(ge=1, lt=2**53)]
"""Of a roster in its chain, from 1."""

Reason = Annotated[str, Field(pattern=r"^[ -~]{1,200}$")]
"""A line of printable ASCII, which every terminal shows as it is."""


class Member(Frozen):
    """One institution: its name and its Ed25519 public key."""

    name: Name
    public_key: Hex32


class Revocation(Frozen):
    """An Ed25519 public key that must never be used again, whoever held it, and why."""

    public_key: Hex32
    reason: Reason


class Roster(Frozen):
    """The institutions, as of one moment.

    Attributes:
        version: of this form.
        number: 1 for the first roster, one more for each that follows.
        previous: digest of the roster before it, null for the first.
        members: the institutions.
        threshold: how many members must sign the next roster, more than half of them.
        revoked: keys that must never be used again; a later roster only adds to them.
    """

    version: Literal["fedspallm-secure/roster/v1"] = "fedspallm-secure/roster/v1"
    number: Number
    previous: Hex32 | None
    members: tuple[Member, ...]
    threshold: Count
    revoked: tuple[Revocation, ...]

    @property
    def keys(self) -> dict[str, str]:
        """Every member's name -> Ed25519 public key."""
        return {member.name: member.public_key for member in self.members}

    @property
    def reasons(self) -> dict[str, str]:
        """Every revoked key -> why."""
        return {revocation.public_key: revocation.reason for revocation in self.revoked}


def check_roster(roster: Roster) -> None:
    """Refuse a roster that could follow no other one, nor be the first.

    More than half must sign, so two rosters that follow the same one have a signer in common: a chain that splits shows
    who signed both.

    Raises:
        CharterError: says which rule is broken, by whom, and what to change.
    """
    what = f"Roster {roster.number}"
    if (roster.previous is None) != (roster.number == 1):
        raise CharterError(
            f"{what} {'names no' if roster.previous is None else 'names a'} roster before it.",
            "Only roster 1 has none before it: number the rosters from 1.",
        )
    for kind, values, todo in (
        ("members have the name", [member.name for member in roster.members], "Give each its own."),
        ("members have the key", [member.public_key for member in roster.members], "Give each its own."),
        ("revocations are of the key", [one.public_key for one in roster.revoked], "Revoke it once."),
    ):
        for value, times in Counter(values).items():
            if times > 1:
                raise CharterError(f"{what}: {times} {kind} {value}.", todo)
    members = len(roster.members)
    if not members // 2 < roster.threshold <= members:
        raise CharterError(
            f"{what} has threshold {roster.threshold} with {_counted(members)}; more than half must sign the next one, "
            "and no more than there are.",
            f"Set it to {members // 2 + 1} or more." if members else "List the members.",
        )
    reasons = roster.reasons
    for member in roster.members:
        if member.public_key in reasons:
            raise CharterError(
                f"{what}: the key of {member.name!r} is revoked: {reasons[member.public_key]}.",
                "Give that member a new key, or leave it out.",
            )


def check_charter_roster(charter: Charter, roster: Roster) -> None:
    """Refuse a charter whose institutions are not members of the roster, or that somebody enters with a wrong key.

    Not every member need take part. Server, custodian and witness need not be members; if one has a member's name, it
    must have that member's key, as nobody could tell them apart otherwise.

    Args:
        charter: the agreement for a run.
        roster: the last one, from `check_chain`.

    Raises:
        CharterError: names who it is, the key in the charter, and what the roster says.
    """
    keys, reasons = roster.keys, roster.reasons
    institutions = [("institution", member.name, member.public_key) for member in charter.roster]
    others = [("server", charter.server, charter.server_key)]
    if charter.custodian is not None:
        others.append(("custodian", charter.custodian.name, charter.custodian.public_key))
    if charter.witness is not None:
        others.append(("witness", charter.witness.name, charter.witness.public_key))
    for role, name, key in institutions + others:
        todo = f"Do not sign; ask {name!r} which key is right, over another channel than the charter came."
        if key in reasons:
            raise CharterError(
                f"The charter's {role} {name!r} has the key {key}, which roster {roster.number} revokes: "
                f"{reasons[key]}.",
                todo,
            )
        listed = keys.get(name)
        if listed is None and role == "institution":
            raise CharterError(
                f"The charter's {role} {name!r} is not on roster {roster.number}.",
                "Do not sign; let the members agree on a roster with it first, or leave it out.",
            )
        if listed not in (None, key):
            raise CharterError(
                f"The charter's {role} {name!r} has the key {key}; roster {roster.number} lists {listed}.", todo
            )


def _counted(members: int) -> str:
    return f"{members} member" + "s" * (members != 1)
