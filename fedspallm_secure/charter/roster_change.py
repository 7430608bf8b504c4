"""The roster that somebody proposes: the first one, or the next one with members and keys changed.

A proposal binds nobody until it is signed. That its rules hold is checked where it is made ready for that
(`unsigned_roster`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fedspallm_secure.charter.roster import Member, Revocation, Roster
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.messages import digest
from fedspallm_secure.reading import faults

__all__ = ["RosterChange", "first_roster", "next_roster"]


@dataclass(frozen=True)
class RosterChange:
    """What is to be different in the next roster.

    Attributes:
        removed: names of members that leave.
        rotated: members that stay, with their new keys.
        added: members that come.
        revoked: keys that must never be used again, besides those revoked before.
        threshold: the new one, or None to keep it.
    """

    removed: Sequence[str] = ()
    rotated: Sequence[Member] = ()
    added: Sequence[Member] = ()
    revoked: Sequence[Revocation] = ()
    threshold: int | None = None


def first_roster(members: Sequence[Member], threshold: int) -> Roster:
    """Roster 1, with nothing revoked.

    Raises:
        ConfigError: the threshold is no count.
    """
    return _roster(number=1, previous=None, members=tuple(members), threshold=threshold, revoked=())


def next_roster(before: Roster, change: RosterChange) -> Roster:
    """The roster after `before`: the others keep their places, and new members come last.

    Raises:
        ConfigError: who leaves or gets a new key is no member, has that key already, or who comes is a member;
            or a number is out of range.
    """
    members = {member.name: member for member in before.members}
    for name in change.removed:
        if members.pop(name, None) is None:
            raise _unknown(name, before)
    for member in change.rotated:
        if member.name not in members:
            raise _unknown(member.name, before)
        if members[member.name] == member:
            raise ConfigError(f"{member.name!r} has the key {member.public_key} already.", "Give its new key.")
        members[member.name] = member
    for member in change.added:
        if member.name in members:
            raise ConfigError(
                f"{member.name!r} is a member of roster {before.number} already.", "Rotate its key if it has a new one."
            )
        members[member.name] = member
    return _roster(
        number=before.number + 1,
        previous=digest(before),
        members=tuple(members.values()),
        threshold=before.threshold if change.threshold is None else change.threshold,
        revoked=(*before.revoked, *change.revoked),
    )


def _roster(**fields: Any) -> Roster:
    try:
        return Roster(**fields)
    except ValidationError as error:
        raise ConfigError(f"There can be no such roster: {faults(error)}.", "Correct that number.") from error


def _unknown(name: str, before: Roster) -> ConfigError:
    return ConfigError(f"Roster {before.number} has no member {name!r} to change.", f"It has {', '.join(before.keys)}.")
