"""Any chain of rosters counts exactly when every rule holds, by a second statement of the rules."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspallm_secure.charter.roster import Member, Roster
from fedspallm_secure.charter.roster_chain import ROSTER_TYPE, SignedRoster, check_chain
from fedspallm_secure.errors import FedspallmError
from fedspallm_secure.messages import canonical, digest
from tests.charter.example_rosters import holder, member, revocation, with_signature

_NAMES = ("aachen", "berlin", "celle", "dresden")
_POOL = [holder(name, generation) for name in _NAMES for generation in range(3)]


@dataclass(frozen=True)
class _Step:
    """A roster, and who signs it."""

    roster: Roster
    signers: frozenset[tuple[str, str]]  # of (name, key)


def _lawful(steps: list[_Step]) -> bool:
    """The rules again, as sets."""
    before: Roster | None = None
    for number, step in enumerate(steps, 1):
        roster, signing = step.roster, {key for _, key in step.signers}
        own = {(one.name, one.public_key) for one in roster.members}
        old = {(one.name, one.public_key) for one in before.members} if before else set()
        revoked = {one.public_key for one in roster.revoked}
        agreed = [len({key for _, key in own} & signing) >= (roster.threshold if before else len(own))]
        if before:
            agreed.append(len(({key for _, key in old} - revoked) & signing) >= before.threshold)
        rules = [
            roster.number == number,
            roster.previous == (digest(before) if before else None),
            len({name for name, _ in own}) == len({key for _, key in own}) == len(roster.members),
            len(revoked) == len(roster.revoked),
            len(roster.members) / 2 < roster.threshold <= len(roster.members),
            not revoked & {key for _, key in own},
            not before or set(before.revoked) <= set(roster.revoked),
            step.signers <= own | old,
            not signing & revoked,
            *agreed,
        ]
        if not all(rules):
            return False
        before = roster
    return True


@st.composite
def _steps(draw: st.DrawFn) -> list[_Step]:
    """Rosters whose members come, leave and change keys; each may be spoilt, and signed by any of those concerned."""
    steps: list[_Step] = []
    before: Roster | None = None
    for number in range(1, draw(st.integers(1, 4)) + 1):
        revoked = before.revoked if before else ()
        gone = {one.public_key for one in revoked}
        fresh = [one for one in _POOL if one.public not in gone]
        if before and draw(st.booleans()):
            key = draw(st.sampled_from(fresh))
            revoked = (*revoked, revocation(key.name, _POOL.index(key) % 3))
            gone.add(key.public)
        keys = {one.public: one for one in fresh if one.public not in gone}
        members = {
            one.name: Member(name=one.name, public_key=one.public)
            for one in draw(st.lists(st.sampled_from(list(keys.values())), min_size=2, max_size=4))
        }
        most = len(members)
        roster = Roster(
            number=number,
            previous=digest(before) if before else None,
            members=tuple(members.values()),
            threshold=draw(st.integers(most // 2 + 1, most)),
            revoked=revoked,
        )
        roster = draw(st.sampled_from(_SPOILERS))(roster) if draw(st.integers(0, 9)) == 0 else roster
        concerned = sorted({(one.name, one.public_key) for at in (before, roster) if at for one in at.members})
        welcome = [pair for pair in concerned if pair[1] not in gone]
        some_miss = draw(st.booleans()) and bool(welcome)
        missing = draw(st.sets(st.sampled_from(welcome), max_size=2)) if some_miss else set()
        besides = draw(st.sets(st.sampled_from([(one.name, one.public) for one in _POOL]), max_size=1))
        extra = besides if draw(st.integers(0, 9)) == 0 else set()
        steps.append(_Step(roster, frozenset(set(welcome) - missing | extra)))
        before = roster
    return steps


def _changed(**changes: Any) -> Callable[[Roster], Roster]:
    return lambda roster: roster.model_copy(update=changes)


_SPOILERS: list[Callable[[Roster], Roster]] = [
    _changed(previous="0" * 64),
    _changed(previous=None),
    _changed(number=2),
    _changed(revoked=()),
    _changed(threshold=1),
    _changed(threshold=4),
    lambda roster: roster.model_copy(update={"members": (*roster.members, roster.members[0])}),
    lambda roster: roster.model_copy(update={"revoked": (*roster.revoked, *roster.revoked)}),
    lambda roster: roster.model_copy(update={"members": (*roster.members[1:], member("aachen"))}),
]

_HOLDERS = {(one.name, one.public): one for one in _POOL}


def _envelope(step: _Step) -> SignedRoster:
    bare = SignedRoster(
        payloadType=ROSTER_TYPE, payload=base64.b64encode(canonical(step.roster)).decode(), signatures=()
    )
    for name, key in sorted(step.signers):
        bare = with_signature(bare, name, _HOLDERS[name, key])
    return bare


@settings(max_examples=300)
@given(_steps())
def test_any_chain_is_accepted_exactly_when_every_rule_holds(steps: list[_Step]) -> None:
    chain = [_envelope(step) for step in steps]
    if _lawful(steps):
        assert check_chain(chain) == steps[-1].roster
    else:
        with pytest.raises(FedspallmError):
            check_chain(chain)
