"""The custodian decrypts the sum of a lane's contributions, once, and gives counts; every other request is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedspallm_secure.errors import CharterError, LocalProtocolError, RemoteProtocolError
from fedspallm_secure.votes import Contribution, Custodian, Encryptor, PublicContext, make_key_pair
from fedspallm_secure.votes.packing import pack_votes
from fedspallm_secure.workspace import FileJournal, Journal
from tests.votes.institutions import Institutions, contribution, key_pair, lane_of

_LENGTH = 300
_LANE = lane_of(8, _LENGTH, minimum=3)
_VOTES = np.random.default_rng(0).random((8, _LENGTH)) < 0.5


@pytest.fixture
def institutions(tmp_path: Path) -> Institutions:
    return Institutions.of(8, tmp_path)


@pytest.fixture
def sent(institutions: Institutions) -> list[Contribution]:
    return institutions.contributions(_VOTES)


class _Kept(Journal):
    """A journal whose decisions can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def _write(self, what: str, decision: str) -> None:
        self.written.append(f"{what}: {decision}")


def _refused(institutions: Institutions, sent: list[Contribution], words: str) -> None:
    """Refused by name, and nothing was decided."""
    journal = _Kept()
    custodian = institutions.custodian(journal)
    with pytest.raises(RemoteProtocolError, match=words):
        custodian.counts(_LANE, sent)
    assert not journal.written


def test_only_contributions_go_in() -> None:
    assert [name for name in vars(Custodian) if not name.startswith("_")] == ["counts"]


def test_counts_come_out_and_the_order_of_contributions_does_not_matter(
    institutions: Institutions, sent: list[Contribution]
) -> None:
    found = institutions.custodian().counts(_LANE, sent[::-1])
    assert np.array_equal(found.counts, _VOTES.sum(axis=0))
    assert found.counts.dtype == np.uint8
    assert found.sum_digest == institutions.custodian().counts(_LANE, sent).sum_digest


def test_too_few_contributors_are_refused(institutions: Institutions, sent: list[Contribution]) -> None:
    _refused(institutions, sent[:2], "2 contributed; at least 3 must")
    _refused(institutions, [], "0 contributed; at least 3 must")


def test_a_sum_of_one_is_refused(institutions: Institutions, sent: list[Contribution]) -> None:
    _refused(institutions, sent[:1], "1 contributed; at least 3 must")
    with pytest.raises(CharterError, match="decrypted with 1 contributors; at least 2 are needed"):
        replace(_LANE, minimum=1)


def test_one_ciphertext_under_many_names_is_refused(institutions: Institutions, sent: list[Contribution]) -> None:
    _refused(institutions, [replace(sent[0], client=str(n)) for n in range(8)], "'1' sent the same bytes as '0'")


def test_a_replayed_ciphertext_is_refused(institutions: Institutions, sent: list[Contribution]) -> None:
    _refused(institutions, [*sent[:7], replace(sent[2], client="7")], "'7' sent the same bytes as '2'")


def test_somebody_twice_is_refused(institutions: Institutions, sent: list[Contribution]) -> None:
    _refused(institutions, [*sent, replace(sent[2], digest="0" * 64)], "2 contributed twice")


def test_a_stranger_is_refused(institutions: Institutions, sent: list[Contribution]) -> None:
    _refused(institutions, [*sent[:7], replace(sent[7], client="mallory")], "mallory are not of its cohort")


def test_more_contributors_than_the_key_is_for_are_refused(
    institutions: Institutions, sent: list[Contribution]
) -> None:
    ninth = contribution("8", sent[0].context, list(institutions.encryptor.encrypt(_VOTES[0])))
    with pytest.raises(RemoteProtocolError, match="9 contributed; the key is for 8"):
        institutions.custodian().counts(lane_of(9, _LENGTH), [*sent, ninth])


def test_another_context_is_refused(institutions: Institutions, sent: list[Contribution]) -> None:
    _refused(institutions, [*sent[:7], replace(sent[7], context=key_pair(3).digest)], "'7' encrypted under context")


@pytest.mark.parametrize("words", ["ones", "short", "empty", "bytes"])
def test_garbage_is_refused_before_anything_is_decided(
    institutions: Institutions, sent: list[Contribution], words: str
) -> None:
    random = np.random.default_rng(0)
    garbage = {
        "ones": [np.full(8192, 2**64 - 1, np.uint64)],
        "short": [np.ones(8191, np.uint64)],
        "empty": [],
        "bytes": [random.integers(0, 2**64, 8192, np.uint64)],
    }[words]
    _refused(institutions, [*sent[:7], contribution("7", sent[0].context, garbage)], "The votes of '7' can't be added")


def test_a_refused_request_does_not_cost_the_lane(institutions: Institutions, sent: list[Contribution]) -> None:
    custodian = institutions.custodian()
    with pytest.raises(RemoteProtocolError, match="can't be added"):
        custodian.counts(_LANE, [*sent[:7], contribution("7", sent[0].context, [])])
    assert np.array_equal(custodian.counts(_LANE, sent[:7]).counts, _VOTES[:7].sum(axis=0))


def test_a_second_decryption_for_others_is_refused_also_after_a_restart(
    institutions: Institutions, sent: list[Contribution], tmp_path: Path
) -> None:
    with FileJournal(tmp_path / "journal") as journal:
        first = institutions.custodian(journal).counts(_LANE, sent)
        with pytest.raises(LocalProtocolError, match=r"lane a\.weight was decided as decrypted for"):
            institutions.custodian(journal).counts(_LANE, sent[1:])
    with FileJournal(tmp_path / "journal") as journal:
        custodian = institutions.custodian(journal)
        with pytest.raises(LocalProtocolError, match=r"lane a\.weight was decided as decrypted for"):
            custodian.counts(_LANE, sent[1:])
        again = custodian.counts(_LANE, sent)
        assert np.array_equal(again.counts, first.counts)
        other = lane_of(8, _LENGTH, name="b.weight", minimum=3)
        assert custodian.counts(other, sent[1:]).contributors == tuple("1234567")
        with pytest.raises(LocalProtocolError, match=r"CKKS key \w+ was decided as for charter c+ round 0"):
            custodian.counts(replace(_LANE, round=1), sent[1:])


def test_a_key_serves_one_charter(institutions: Institutions, sent: list[Contribution]) -> None:
    custodian = institutions.custodian()
    custodian.counts(_LANE, sent)
    with pytest.raises(LocalProtocolError, match=r"CKKS key .* was decided as for charter c"):
        custodian.counts(replace(_LANE, charter="d" * 64), sent)


def test_a_ciphertext_under_a_foreign_key_is_refused_at_the_margin_and_costs_the_lane(
    institutions: Institutions, sent: list[Contribution], tmp_path: Path
) -> None:
    keys = make_key_pair(institutions.parameters)
    elsewhere = Encryptor(PublicContext(institutions.parameters, keys.public, keys.digest), tmp_path)
    foreign = contribution("7", sent[0].context, list(elsewhere.encrypt(_VOTES[7])))
    journal = _Kept()
    with pytest.raises(RemoteProtocolError, match="further than"):
        institutions.custodian(journal).counts(_LANE, [*sent[:7], foreign])
    assert len(journal.written) == 2
    with pytest.raises(LocalProtocolError, match="was decided as decrypted for"):
        institutions.custodian(journal).counts(_LANE, sent)


@pytest.mark.parametrize("off", [0.3, -0.3, 0.5])
def test_a_violated_margin_is_refused_and_the_number_is_not_told(
    institutions: Institutions, sent: list[Contribution], off: float
) -> None:
    numbers = pack_votes(institutions.parameters, _VOTES[7])
    numbers[5] += off
    bad = contribution("7", sent[0].context, [institutions.encryptor.encrypt_numbers(numbers)])
    with pytest.raises(RemoteProtocolError, match=r"further than 0\.25 from a whole number") as caught:
        institutions.custodian().counts(_LANE, [*sent[:7], bad])
    numbers_told = re.findall(r"\d+\.?\d*", str(caught.value))
    assert numbers_told == ["0.25"]


@pytest.mark.parametrize(("number", "words"), [(-1000.0, "negative"), (9.0**12, "too large"), (2.0, "can't reach")])
def test_what_is_no_votes_is_refused_where_it_shows(
    institutions: Institutions, sent: list[Contribution], number: float, words: str
) -> None:
    everybody = institutions.contributions(np.ones((8, _LENGTH), np.bool_))
    numbers = pack_votes(institutions.parameters, np.ones(_LENGTH, np.bool_))
    numbers[3] = number
    bad = contribution("7", sent[0].context, [institutions.encryptor.encrypt_numbers(numbers)])
    with pytest.raises(RemoteProtocolError, match=f"Lane a.weight: .*{words}"):
        institutions.custodian().counts(_LANE, [*everybody[:7], bad])


def test_any_changed_bit_of_a_ciphertext_is_refused(institutions: Institutions, sent: list[Contribution]) -> None:
    """Even where its sender signed it like that: a bit that leaves a residue a residue breaks the margin."""
    random = np.random.default_rng(1)
    original = next(sent[7].read())
    for _ in range(40):
        words = original.copy()
        words[random.integers(8192)] ^= np.uint64(1 << random.integers(64).item())
        with pytest.raises(RemoteProtocolError, match=r"no residues|further than|no sum of votes"):
            institutions.custodian().counts(_LANE, [*sent[:7], contribution("7", sent[0].context, [words])])
