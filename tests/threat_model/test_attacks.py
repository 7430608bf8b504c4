"""Every attack of the threat model works on plain FedSpaLLM, and fails here."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import pytest

from threat_model.attacks import ATTACKS, Finding

Findings = Callable[[str], Finding]


@pytest.fixture(scope="module")
def finding(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """An attack's name -> its result; each is tried once."""
    return cache(lambda name: ATTACKS[name].run(tmp_path_factory.mktemp(name)))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_works_on_plain_fedspallm(name: str, finding: Findings) -> None:
    assert finding(name).succeeds_on_plain, finding(name).evidence


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_fails_here(name: str, finding: Findings) -> None:
    assert not finding(name).succeeds_here, finding(name).evidence


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("reading_weights", "recovered 0 of 768 words .* these do open the sum of all five, 768 of 768 words"),
        ("count_one", r"recovered 0 of (\d+) changes .*; (\d\d+) of them stay in the model, \2 with the public weight"),
        ("false_counts", r"refused by i0: 'i0' found that the published votes are not .*'coordinator' is not the"),
        ("dropout_difference", "without its changes; counting the votes of the others alone was refused by i0"),
        ("equivocation", r"recovered 0 of 256 words .* refused by i2: 3 members .* 4 are needed \(and by 3 more\)"),
        ("replay", "speaks of round 0, not 1; 'i0' speaks of round 0, not 1; 'coordinator' speaks of charter"),
        ("model_inconsistency", r"refused by i1: .* has digest \w+; the charter says .*said to start from model"),
        ("layer_cohort_of_one", "capacities give 7 layer assignments; .* refused by i0: 1 of the 5 institutions"),
        ("roster_sybils", "refused by i0: institutions: the charter has 'i1' with key .*signature of 'i1' does not"),
        ("malleable_votes", "confirmed in another log than this one; .*i0 had shown a digest and no ciphertext"),
        ("token_counts", r"32 equations for 256 tokens"),
        ("membership_aggregate", r"counts of a run with an epsilon of 2, under which nobody gets beyond 0\.62"),
    ],
)
def test_what_stops_an_attack_here_is_the_rule_that_its_module_names(
    name: str, evidence: str, finding: Findings
) -> None:
    _, here = finding(name).evidence.split("Here: ")
    assert re.search(evidence, here), here


def test_what_the_threat_model_calls_not_stopped_works(finding: Findings) -> None:
    assert "whose policy lists nobody: recovered 256 of 256 words" in finding("roster_sybils").evidence
    assert "a second run on the same texts without i5: recovered 256 of 256" in finding("intersecting_cohorts").evidence
    plain, _ = finding("membership_aggregate").evidence.split("Here: ")
    assert re.search(r"0\.[89]\d \(.*from counts without noise, which are the same here where no epsilon is set", plain)
