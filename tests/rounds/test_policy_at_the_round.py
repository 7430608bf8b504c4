"""An institution whose policy the charter breaks takes no part, whatever the server and the others want."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedspallm_secure.charter import Policy
from fedspallm_secure.errors import CharterError
from fedspallm_secure.rounds import InstitutionRound, LocalTelemetry, Member, PublicWeights
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.workspace import Journal
from tests.rounds.synthetic import TWO_SUFFICE, Run, Setting

_SAMPLED = Setting(clients=4, layers=3, capacities=("1", "1", "1", "0.7"))


@pytest.mark.parametrize(
    ("setting", "policy", "said"),
    [
        (Setting(), Policy(methods=("wanda",)), "methods: the charter prunes with sparsegpt; the policy allows wanda"),
        (Setting(), Policy(minimum_institutions=6), "minimum_institutions: the charter has 5 institutions"),
        (Setting(), Policy(minimum_colluders=2), "minimum_colluders: the charter reckons with 1 colluders"),
        (_SAMPLED, Policy(minimum_cohort=4), "minimum_cohort: the charter has minimum_cohort 3"),
        (Setting(), Policy(witness_required=True), "witness_required: the charter names no witness"),
        (Setting(witness="eve"), Policy(witnesses={"auditor": "ab" * 32}), "witnesses: the charter has 'eve' with key"),
        (Setting(), Policy(servers={"coordinator": "ab" * 32}), "servers: the charter has 'coordinator' with key"),
        (
            Setting(clients=2, minimum_cohort=2, minimum_contributors=2),
            Policy(),
            "allow_two_institutions: the charter lets a sum be of 2 institutions",
        ),
    ],
)
def test_a_charter_that_one_policy_does_not_allow_ends_the_round_before_any_message(
    setting: Setting, policy: Policy, said: str, tmp_path: Path
) -> None:
    run = Run(replace(setting, policy=TWO_SUFFICE), tmp_path)
    plan = run.plan()
    pruned = run.prune(plan, run.base)
    run.participants = replace(run.participants, policies={**run.participants.policies, "i1": policy})
    with pytest.raises(CharterError, match=said):
        run.round(plan, run.base, pruned)
    assert not run.transcript.folder.exists()
    run.participants = replace(run.participants, policies={**run.participants.policies, "i1": TWO_SUFFICE})
    run.round(plan, run.base, pruned)


def test_it_draws_no_key_for_such_a_round_and_writes_nothing_down(tmp_path: Path) -> None:
    run = Run(Setting(), tmp_path)

    def nothing(_: int) -> bytes:
        raise AssertionError("entropy was asked for")

    class Untouched(Journal):
        def once(self, what: str, decision: str) -> None:
            raise AssertionError(what)

    view = run.participants.view("i1", run.charter)
    member = Member(run.participants.institutions["i1"], nothing, Untouched(), view, Policy(methods=("magnitude",)))
    blobs = BlobStore(tmp_path / "blobs")
    with pytest.raises(CharterError, match="the policy allows magnitude"):
        InstitutionRound(run.plan(), member, PublicWeights(run.base), run.base, LocalTelemetry(), blobs, None)


def test_an_institution_of_which_no_policy_is_known_has_the_default_one(tmp_path: Path) -> None:
    run = Run(Setting(clients=2, minimum_cohort=2, minimum_contributors=2, policy=TWO_SUFFICE), tmp_path)
    run.participants = replace(run.participants, policies={"i0": TWO_SUFFICE})
    with pytest.raises(CharterError, match="allow_two_institutions"):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
