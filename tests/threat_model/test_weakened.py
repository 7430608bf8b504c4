"""Without the rule that stops it an attack works here too, so its failure is no accident of the attack."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations.mutation import Mutation
from threat_model.weakened import WEAKENED, Weakening, attack_weakened

_UNSIGNED = Mutation(
    "any number of signatures is a quorum",
    "secagg/quorum.py",
    (("    if lacking:\n        group = lacking[0]", "    if False:\n        group = lacking[0]"),),
    (),
)


@pytest.mark.parametrize("weakening", WEAKENED, ids=lambda weakening: weakening.attack)
def test_an_attack_works_once_the_rule_that_stops_it_is_gone(weakening: Weakening, tmp_path: Path) -> None:
    finding = attack_weakened(weakening, tmp_path / "copy")
    assert finding.succeeds_here, finding.evidence


def test_where_too_few_signatures_pass_the_number_of_shares_still_stops_equivocation(tmp_path: Path) -> None:
    finding = attack_weakened(Weakening("equivocation", (_UNSIGNED,)), tmp_path / "copy")
    assert not finding.succeeds_here
    assert "recovered 0 of 256 words" in finding.evidence
    assert "4 are needed" not in finding.evidence


def test_an_attack_that_comes_to_no_result_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing came to no result: There is no attack 'nothing'"):
        attack_weakened(Weakening("nothing", ()), tmp_path / "copy")
