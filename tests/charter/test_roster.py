"""A roster that breaks a rule by itself is refused, and so is a charter with people or keys that the roster lacks."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedspallm_secure.charter import Charter, Institution, Witness
from fedspallm_secure.charter.roster import Member, Roster, check_charter_roster, check_roster
from fedspallm_secure.charter.roster_change import RosterChange, first_roster, next_roster
from fedspallm_secure.errors import CharterError, ConfigError
from fedspallm_secure.messages import canonical, digest
from tests.charter.example_charter import example_charter
from tests.charter.example_rosters import example_roster, holder, member, revocation

_THREE = example_roster().members
_RENAMED = Member(name="essen", public_key=holder("berlin").public)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"previous": "a" * 64}, "Roster 1 names a roster before it"),
        ({"number": 2}, "Roster 2 names no roster before it"),
        ({"members": (*_THREE, member("berlin", 1)), "threshold": 3}, "2 members have the name berlin"),
        ({"members": (*_THREE, _RENAMED), "threshold": 3}, f"2 members have the key {holder('berlin').public}"),
        ({"revoked": (revocation("essen"), revocation("essen"))}, "2 revocations are of the key"),
        ({"revoked": (revocation("celle"),)}, "the key of 'celle' is revoked: celle: stolen"),
        ({"threshold": 1}, "threshold 1 with 3 members; more than half"),
        ({"threshold": 4}, "threshold 4 with 3 members"),
        ({"members": _THREE[:2], "threshold": 1}, "threshold 1 with 2 members"),
        ({"members": _THREE[:1], "threshold": 0}, "threshold 0 with 1 member;"),
        ({"members": (), "threshold": 0}, "threshold 0 with 0 members"),
        ({"members": (), "threshold": 1}, "threshold 1 with 0 members"),
    ],
)
def test_a_roster_that_breaks_a_rule_by_itself_is_refused_by_that_rule(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(CharterError, match=re.escape(problem)):
        check_roster(example_roster(**changes))


@given(st.integers(1, 9), st.integers(0, 12))
def test_a_threshold_is_more_than_half_of_the_members_and_not_more_than_all(members: int, threshold: int) -> None:
    roster = example_roster(members=tuple(member(f"m{index}") for index in range(members)), threshold=threshold)
    if members < 2 * threshold <= 2 * members:
        check_roster(roster)
    else:
        with pytest.raises(CharterError, match="more than half"):
            check_roster(roster)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "fedspallm-secure/roster/v2"),
        ("number", 0),
        ("number", 2**53),
        ("number", True),
        ("threshold", -1),
        ("threshold", 2.0),
        ("previous", "AB" * 32),
        ("members", [{"name": "a b", "public_key": "ab" * 32}]),
        ("members", [{"name": "aachen", "public_key": "ab" * 31}]),
        ("members", [{"name": "aachen", "public_key": "ab" * 32, "capacity": "1"}]),
        ("revoked", [{"public_key": "ab" * 32, "reason": ""}]),
        ("revoked", [{"public_key": "ab" * 32, "reason": "two\nlines"}]),
        ("revoked", [{"public_key": "ab" * 32, "reason": "\x1b[2J"}]),
        ("revoked", [{"public_key": "ab" * 32, "reason": "x" * 201}]),
        ("expires", "never"),
    ],
)
def test_a_field_that_is_malformed_or_unknown_is_refused(field: str, value: object) -> None:
    body = json.loads(canonical(example_roster()))
    Roster.model_validate_json(json.dumps(body))
    with pytest.raises(ValidationError, match=field):
        Roster.model_validate_json(json.dumps(body | {field: value}))


def test_the_next_roster_changes_what_is_asked_for_and_names_the_one_before() -> None:
    change = RosterChange(
        removed=["aachen"],
        rotated=[member("berlin", 1)],
        added=[member("dresden"), member("essen")],
        revoked=[revocation("berlin")],
        threshold=3,
    )
    first = first_roster(_THREE, 2)
    assert first == example_roster()
    second = next_roster(first, change)
    assert second.members == (member("berlin", 1), member("celle"), member("dresden"), member("essen"))
    assert (second.number, second.previous, second.threshold) == (2, digest(first), 3)
    assert second.revoked == (revocation("berlin"),)
    third = next_roster(second, RosterChange(revoked=[revocation("aachen")]))
    assert (third.number, third.previous, third.threshold) == (3, digest(second), 3)
    assert third.revoked == (revocation("berlin"), revocation("aachen"))
    assert third.members == second.members


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (RosterChange(removed=["essen"]), "has no member 'essen'"),
        (RosterChange(removed=["celle", "celle"]), "has no member 'celle'"),
        (RosterChange(rotated=[member("essen")]), "has no member 'essen'"),
        (RosterChange(removed=["celle"], rotated=[member("celle", 1)]), "has no member 'celle'"),
        (RosterChange(rotated=[member("celle")]), "'celle' has the key"),
        (RosterChange(added=[member("celle", 1)]), "'celle' is a member"),
        (RosterChange(threshold=-1), "threshold: input should be greater"),
    ],
)
def test_a_change_that_can_not_be_made_is_refused_by_name(change: RosterChange, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        next_roster(example_roster(), change)


def test_after_the_last_number_comes_no_roster() -> None:
    with pytest.raises(ConfigError, match="number: input should be less"):
        next_roster(example_roster(number=2**53 - 1, previous="a" * 64), RosterChange())


def _charter(*institutions: Member, **changes: Any) -> Charter:
    roster = tuple(Institution(name=one.name, public_key=one.public_key, capacity="1") for one in institutions)
    return example_charter(roster=roster, **changes)


def _witness(one: Member) -> Witness:
    return Witness(name=one.name, public_key=one.public_key)


@pytest.mark.parametrize(
    "charter",
    [
        _charter(*_THREE),
        _charter(*reversed(_THREE)),
        _charter(*_THREE[1:]),
        _charter(*_THREE[1:], witness=_witness(member("aachen"))),
        _charter(*_THREE, witness=_witness(member("auditor"))),
    ],
    ids=["all", "in another order", "some", "a member as the witness", "a stranger as the witness"],
)
def test_a_charter_has_members_of_the_roster_or_some_of_them(charter: Charter) -> None:
    check_charter_roster(charter, example_roster(revoked=(revocation("essen"),)))


@pytest.mark.parametrize(
    ("charter", "problem"),
    [
        (_charter(*_THREE, member("dresden")), "institution 'dresden' is not on roster 1"),
        (_charter(*_THREE[:2], member("celle", 1)), "institution 'celle' has the key"),
        (_charter(member("berlin", 1), *_THREE), "institution 'berlin' has the key"),
        (_charter(_THREE[0], _RENAMED), "institution 'essen' is not on roster 1"),
        (_charter(*_THREE, member("essen")), "institution 'essen' has the key * revokes: essen: stolen"),
        (_charter(*_THREE, server="essen", server_key=holder("essen").public), "server 'essen' has the key * revokes"),
        (_charter(*_THREE, witness=_witness(member("essen"))), "witness 'essen' has the key * revokes"),
        (_charter(*_THREE[1:], server="aachen"), "server 'aachen' has the key * roster 1 lists"),
        (_charter(*_THREE[1:], witness=_witness(member("aachen", 1))), "witness 'aachen' has the key * lists"),
    ],
)
def test_a_charter_with_a_stranger_another_key_or_a_revoked_one_is_refused(charter: Charter, problem: str) -> None:
    with pytest.raises(CharterError, match=re.escape(problem).replace(r"\ \*\ ", ".* ")):
        check_charter_roster(charter, example_roster(revoked=(revocation("essen"),)))
