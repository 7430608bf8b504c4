"""A charter is held against the rosters that the auditor has: who took part was a member, with its own key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fedspallm_secure.audit import Finding, audit
from fedspallm_secure.charter import Member, Revocation, Roster, SignedRoster, save_roster, sign_roster, unsigned_roster
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.messages import Identity, digest
from tests.audit.honest_transcript import TINY, Honest, record
from tests.charter.example_rosters import holder


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    """A finished run."""
    return record(TINY, tmp_path_factory.mktemp("honest"))


def _signed(roster: Roster, signers: Sequence[Identity]) -> SignedRoster:
    signed = unsigned_roster(roster)
    for signer in signers:
        signed = sign_roster(signed, signer)
    return signed


def _first(honest: Honest) -> tuple[Roster, list[Identity]]:
    """Roster 1 of those who took part."""
    signers = list(honest.run.participants.institutions.values())
    members = tuple(Member(name=one.name, public_key=one.public) for one in signers)
    roster = Roster(number=1, previous=None, members=members, threshold=len(members) // 2 + 1, revoked=())
    return roster, signers


def _finding(honest: Honest, folder: Path, *rosters: SignedRoster) -> Finding:
    paths = [folder / f"{number}.json" for number in range(1, len(rosters) + 1)]
    for path, roster in zip(paths, rosters, strict=True):
        save_roster(roster, path)
    return {finding.number: finding for finding in audit(honest.folder, rosters=paths).findings}["A22"]


def test_institutions_that_are_on_the_roster_pass_by_its_digest(honest: Honest, tmp_path: Path) -> None:
    roster, signers = _first(honest)
    finding = _finding(honest, tmp_path, _signed(roster, signers))
    assert finding.status == "ok"
    assert digest(roster) in finding.evidence


def test_an_institution_whose_key_the_last_roster_revokes_is_named(honest: Honest, tmp_path: Path) -> None:
    roster, signers = _first(honest)
    thief, renewed = signers[0], holder(signers[0].name, 7)
    new = (Member(name=thief.name, public_key=renewed.public), *roster.members[1:])
    stolen = (Revocation(public_key=thief.public, reason="stolen"),)
    changes = {"number": 2, "previous": digest(roster), "members": new, "revoked": stolen}
    second = roster.model_copy(update=changes)
    finding = _finding(honest, tmp_path, _signed(roster, signers), _signed(second, [renewed, *signers[1:]]))
    assert finding.status == "failed"
    assert f"{thief.name!r} has the key {thief.public}, which roster 2 revokes: stolen" in finding.evidence


def test_a_roster_that_not_all_of_its_first_members_signed_vouches_for_nobody(honest: Honest, tmp_path: Path) -> None:
    roster, signers = _first(honest)
    assert _finding(honest, tmp_path, _signed(roster, signers[1:])).status == "failed"


def test_without_rosters_nothing_is_said_of_them(honest: Honest) -> None:
    assert "A22" not in {finding.number for finding in audit(honest.folder).findings}


def test_a_file_that_is_no_roster_is_the_callers_mistake(honest: Honest, tmp_path: Path) -> None:
    (tmp_path / "roster.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no signed roster"):
        audit(honest.folder, rosters=[tmp_path / "roster.json"])
