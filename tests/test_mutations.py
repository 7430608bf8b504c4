"""The list of broken checks fits the code, a few of them are noticed here, and one that breaks nothing is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations.every_check import EVERY_CHECK, FAST
from tests.mutations.mutation import PACKAGE, ROOT, Mutation, Verdict, break_check, verdict_on

_TESTS = ("tests/secagg/test_sealing.py",)


def _changing(old: str, new: str) -> Mutation:
    return Mutation("for a test", "secagg/sealing.py", ((old, new),), _TESTS)


@pytest.mark.parametrize("mutation", EVERY_CHECK, ids=lambda mutation: mutation.broken)
def test_what_a_mutation_changes_is_there_once_and_so_are_the_tests_that_should_notice(mutation: Mutation) -> None:
    text = (ROOT / PACKAGE / mutation.file).read_text(encoding="utf-8")
    assert [text.count(old) for old, _ in mutation.edits] == [1] * len(mutation.edits)
    assert all((ROOT / test.split("::")[0]).exists() for test in mutation.tests)


@pytest.mark.parametrize("mutation", FAST, ids=lambda mutation: mutation.broken)
def test_a_broken_check_is_noticed(mutation: Mutation, tmp_path: Path) -> None:
    verdict, why = verdict_on(mutation, tmp_path / "copy")
    assert verdict is Verdict.KILLED, why


def test_a_change_that_breaks_no_check_survives(tmp_path: Path) -> None:
    same = _changing("_NONCE = bytes(12)", "_NONCE = b'' + bytes(12)")
    assert verdict_on(same, tmp_path / "copy") == (Verdict.SURVIVED, *_TESTS)


def test_a_change_after_which_nothing_can_be_imported_is_no_result(tmp_path: Path) -> None:
    verdict, why = verdict_on(_changing("_NONCE = bytes(12)", "_NONCE = ("), tmp_path / "copy")
    assert verdict is Verdict.NO_RESULT
    assert "SyntaxError" in why


@pytest.mark.parametrize(("old", "times"), [("no such text", 0), ("context", 13)])
def test_a_text_that_is_not_there_once_is_not_changed(old: str, times: int, tmp_path: Path) -> None:
    folder = tmp_path / PACKAGE / "secagg"
    folder.mkdir(parents=True)
    text = "context " * times
    (folder / "sealing.py").write_text(text)
    with pytest.raises(ValueError, match=f"secagg/sealing.py has this {times} times, not once"):
        break_check(_changing(old, "other"), tmp_path)
    assert (folder / "sealing.py").read_text() == text


def test_the_copy_is_what_is_tested(tmp_path: Path) -> None:
    gone = Mutation("all of it", "secagg/sealing.py", (("def seal_for(", "def seal_for_nobody("),), _TESTS)
    verdict, why = verdict_on(gone, tmp_path / "copy")
    assert verdict is Verdict.NO_RESULT
    assert str(tmp_path / "copy" / PACKAGE) in why
