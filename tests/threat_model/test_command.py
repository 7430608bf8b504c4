"""`python -m threat_model` says what works where, to people and programs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from threat_model.attacks import ATTACKS, Attack, Finding, Trial

_ROOT = Path(__file__).parents[2]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "threat_model", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False
    )


def test_findings_for_programs_are_a_json_list_in_the_order_asked_for() -> None:
    done = _run("equivocation", "count_one", "--format", "json")
    assert done.returncode == 0, done.stderr
    findings = json.loads(done.stdout)
    assert [finding["name"] for finding in findings] == ["equivocation", "count_one"]
    for finding in findings:
        assert list(finding) == ["name", "claim", "succeeds_on_plain", "succeeds_here", "evidence"]
        assert (finding["succeeds_on_plain"], finding["succeeds_here"]) == (True, False)


def test_findings_for_people_are_a_table() -> None:
    done = _run("count_one")
    assert done.returncode == 0, done.stderr
    assert "count_one" in done.stdout
    assert "works" in done.stdout


def test_an_attack_that_does_not_exist_is_named_with_those_that_do() -> None:
    done = _run("counting_one")
    assert (done.returncode, done.stdout) == (2, "")
    told = " ".join(done.stderr.split())
    assert "There is no attack 'counting_one'." in told
    assert all(name in told for name in ATTACKS)


@pytest.mark.parametrize(("plain", "here"), [(False, False), (True, True), (False, True)])
def test_an_attack_that_works_here_or_not_on_plain_is_not_as_expected(plain: bool, here: bool, tmp_path: Path) -> None:
    attack = Attack("made_up", "A claim.", lambda _: Trial(plain, "this"), lambda _: Trial(here, "that"))
    finding = attack.run(tmp_path)
    assert finding == Finding("made_up", "A claim.", plain, here, "Plain: this. Here: that.")
    assert not finding.as_expected
    assert asdict(finding)["evidence"] == "Plain: this. Here: that."


def test_every_attack_has_a_module_of_its_name_that_says_who_the_adversary_is_and_what_stops_it() -> None:
    folder = _ROOT / "threat_model" / "attacks"
    for name in ATTACKS:
        text = " ".join((folder / f"{name}.py").read_text(encoding="utf-8").split('"""')[1].split())
        for part in ("Adversary: ", "What it does: ", "Why it works ", " here: ", "SPEC section"):
            assert part in text, (name, part)
