"""The claims of THREAT_MODEL.md lead to rules, tests and attacks that there are.

A claim begins with a heading "M1. ..." or a table row "| M26 |". Tests and attacks are its links, rules are "SPEC 9.3"
and numbers of checks, assumptions are H and a number; "C33 to C36" means all four.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from threat_model.attacks import ATTACKS

_ROOT = Path(__file__).parents[2]
_DOCUMENT = _ROOT / "threat_model" / "THREAT_MODEL.md"
_TEXT = _DOCUMENT.read_text(encoding="utf-8")
_SPEC = (_ROOT / "protocol" / "SPEC.md").read_text(encoding="utf-8")
_SECTIONS = set(re.findall(r"^##+ (\d+(?:\.\d+)?)\.? ", _SPEC, re.MULTILINE))
_CHECKS = set(re.findall(r"^- \*\*([A-Z]\d+)\*\* ", _SPEC, re.MULTILINE))
_LETTERS = "".join(sorted({check[0] for check in _CHECKS}))

_BLOCK = re.compile(r"^### (M\d+)\. (.*?)(?=^##)|^\| (M\d+) \|([^\n]*)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#]+)[^)]*\)")
_NUMBERS = re.compile(r"\bSPEC ((?:\d+(?:\.\d+)?(?:, | and )?)+)")


@dataclass(frozen=True)
class _Claim:
    """A claim as it is written.

    Attributes:
        number: M and a number.
        text: all that belongs to it.
    """

    number: str
    text: str

    @property
    def tests(self) -> list[str]:
        """Files of tests, from the root of the repository."""
        return [target.removeprefix("../") for _, target in _LINK.findall(self.text) if target.startswith("../tests/")]

    @property
    def attacks(self) -> list[str]:
        return [Path(target).stem for _, target in _LINK.findall(self.text) if target.startswith("attacks/")]

    @property
    def sections(self) -> list[str]:
        """Of the specification."""
        return [number for numbers in _NUMBERS.findall(self.text) for number in re.findall(r"\d+(?:\.\d+)?", numbers)]

    @property
    def checks(self) -> list[str]:
        """Of the specification."""
        return list(_named(_LETTERS, self.text))

    @property
    def assumptions(self) -> list[str]:
        return list(_named("H", self.text))


def _named(letters: str, text: str) -> Iterator[str]:
    """Everything that `text` names by one of `letters` and a number; of "A1 to A3" all three."""
    for letter, first, other, last in re.findall(rf"\b([{letters}])(\d+)(?: to ([{letters}])(\d+))?\b", text):
        assert other in ("", letter), f"{letter}{first} to {other}{last}"
        assert not last or int(first) < int(last), f"{letter}{first} to {other}{last}"
        yield from (f"{letter}{number}" for number in range(int(first), int(last or first) + 1))


def _claims(text: str) -> list[_Claim]:
    return [_Claim(block[1] or block[3], block[2] or block[4]) for block in _BLOCK.finditer(text)]


_CLAIMS = _claims(_TEXT)
_each_claim = pytest.mark.parametrize("claim", _CLAIMS, ids=lambda claim: claim.number)


def _without_gaps(letter: str, numbers: list[str]) -> bool:
    return bool(numbers) and numbers == [f"{letter}{index + 1}" for index in range(len(numbers))]


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """Files of which pytest collects a test."""
    files = sorted({file for claim in _CLAIMS for file in claim.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-n", "0", "-p", "no:cacheprovider", *files]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return {line.split("::")[0] for line in done.stdout.splitlines() if "::" in line}


def test_a_claim_is_read_as_it_is_written() -> None:
    text = (
        "### M1. One\n\nIt is so.\n\n- Assumes: H1, H3 to H5.\n- Kept by: SPEC 9.3, 20.1; step 9; C33 to C35, S1.\n"
        "- Attacked by: [`a`](attacks/replay.py); [`x/test_y.py`](../tests/x/test_y.py).\n\n## Next\n\n"
        "| claim | what |\n| --- | --- |\n| M2 | two | SPEC 4; H2 | [`z`](../tests/z.py) |\nM3 is none.\n"
    )
    first, second = _claims(text)
    assert (first.number, second.number) == ("M1", "M2")
    assert (first.tests, second.tests) == (["tests/x/test_y.py"], ["tests/z.py"])
    assert (first.attacks, second.attacks) == (["replay"], [])
    assert (first.sections, second.sections) == (["9.3", "20.1"], ["4"])
    assert (first.checks, second.checks) == (["C33", "C34", "C35", "S1"], [])
    assert (first.assumptions, second.assumptions) == (["H1", "H3", "H4", "H5"], ["H2"])


def test_claims_assumptions_and_what_is_not_stopped_are_numbered_without_gaps() -> None:
    assert _without_gaps("M", [claim.number for claim in _CLAIMS])
    assert _without_gaps("H", re.findall(r"^- \*\*(H\d+)\*\* ", _TEXT, re.MULTILINE))
    assert _without_gaps("N", re.findall(r"^- \*\*(N\d+)\. ", _TEXT, re.MULTILINE))


@_each_claim
def test_a_claim_is_attacked_by_a_test_or_an_adversary(claim: _Claim) -> None:
    assert claim.tests or claim.attacks


@_each_claim
def test_every_test_that_a_claim_names_is_collected(claim: _Claim, collected: set[str]) -> None:
    assert set(claim.tests) <= collected


@_each_claim
def test_every_adversary_that_a_claim_names_is_one_of_the_attacks(claim: _Claim) -> None:
    assert set(claim.attacks) <= set(ATTACKS)


def test_every_attack_attacks_a_claim() -> None:
    assert {name for claim in _CLAIMS for name in claim.attacks} == set(ATTACKS)


@_each_claim
def test_a_claim_names_rules_that_the_specification_has(claim: _Claim) -> None:
    assert claim.sections or claim.checks
    assert set(claim.sections) <= _SECTIONS
    assert set(claim.checks) <= _CHECKS


@_each_claim
def test_a_claim_says_what_it_assumes(claim: _Claim) -> None:
    assert claim.assumptions


def test_every_assumption_is_one_that_a_claim_needs() -> None:
    stated = set(re.findall(r"^- \*\*(H\d+)\*\* ", _TEXT, re.MULTILINE))
    assert {name for claim in _CLAIMS for name in claim.assumptions} == stated


def test_what_is_referred_to_by_a_number_is_there() -> None:
    stated = {claim.number for claim in _CLAIMS} | set(re.findall(r"^- \*\*(N\d+)\. ", _TEXT, re.MULTILINE))
    assert set(_named("MN", _TEXT)) <= stated


def test_every_claim_holds_against_an_adversary_of_the_table() -> None:
    table = _TEXT.split("\n## Adversaries\n")[1].split("\n## ")[0]
    assert set(_named("M", table)) == {claim.number for claim in _CLAIMS}


def test_a_link_to_a_test_or_an_adversary_says_where_it_leads() -> None:
    for label, target in _LINK.findall(_TEXT):
        if target.startswith(("../tests/", "attacks/")):
            place = target.removeprefix("../tests/") if target.startswith("..") else Path(target).stem
            assert label == f"`{place}`"
