"""A verdict says what its checks say, to programs and on any terminal, whoever wrote what it quotes."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import fedspallm_secure
from fedspallm_secure.audit import Event, Finding, Participant, Status, Verdict, show_verdict, to_json
from fedspallm_secure.audit.verdict import listed, summary, visible
from tests.audit.example_verdict import HOSTILE, failed, hostile, incomplete, verified

_ALL = pytest.mark.parametrize("make", [verified, failed, incomplete, hostile])
_STATUSES: list[Status] = ["ok", "failed", "skipped"]
_ADDED = {"status", "exit_code", "at_fault", "format", "tool_version"}


def _of(statuses: list[Status]) -> Verdict:
    findings = tuple(
        Finding(f"A{number}", "It holds.", status, "Seen.", at_fault=(f"by-{number % 2}",))
        for number, status in enumerate(statuses)
    )
    return replace(verified(), findings=findings)


@given(st.lists(st.sampled_from(_STATUSES)))
def test_one_failed_check_decides_and_only_all_ok_is_verified(statuses: list[Status]) -> None:
    verdict = _of(statuses)
    if "failed" in statuses:
        assert (verdict.status, verdict.exit_code) == ("failed", 1)
    elif not statuses or "skipped" in statuses:
        assert (verdict.status, verdict.exit_code) == ("incomplete", 3)
    else:
        assert (verdict.status, verdict.exit_code) == ("verified", 0)
    assert len(verdict.failed) == statuses.count("failed")
    assert len(verdict.skipped) == statuses.count("skipped")


def test_at_fault_are_those_whom_failed_checks_name_in_order_and_once() -> None:
    verdict = _of(["ok", "failed", "skipped", "failed", "failed"])
    assert verdict.at_fault == ("by-1", "by-0")
    assert _of(["ok", "skipped"]).at_fault == ()


def test_the_sentence_of_a_verdict_counts_and_names() -> None:
    assert summary(verified()) == "12 of 12 checks hold."
    assert summary(incomplete()) == "no check failed, but 2 of 12 could not be made."
    assert summary(failed()) == "3 of 12 checks failed, 1 could not be made; at fault: st-anne and coordinator."
    nobody = replace(verified(), findings=(Finding("A1", "It holds.", "failed", "It does not."),))
    assert summary(nobody) == "1 of 1 checks failed; the evidence names nobody as at fault."
    assert summary(replace(verified(), findings=())) == "nothing was checked."


@pytest.mark.parametrize("number", [0, 1, 2, 6, 7, 1000])
def test_a_list_of_names_names_six_and_counts_the_others(number: int) -> None:
    names = tuple(f"n{place}" for place in range(number))
    said = listed(names)
    assert all((name in said.replace(",", "").split()) == (place < 6) for place, name in enumerate(names))
    assert (f"and {number - 6} more" in said) == (number > 6)


@_ALL
def test_the_json_gives_the_verdict_back(make: Callable[[], Verdict]) -> None:
    verdict = make()
    written = json.loads(to_json(verdict))
    added = {name: written.pop(name) for name in _ADDED}
    assert set(written) == {field.name for field in fields(Verdict)}
    for name, kind in {"findings": Finding, "participants": Participant, "events": Event}.items():
        written[name] = [kind(**_tuples(one)) for one in written[name]]
    assert Verdict(**_tuples(written)) == verdict
    assert added == {
        "status": verdict.status,
        "exit_code": verdict.exit_code,
        "at_fault": list(verdict.at_fault),
        "format": "fedspallm-secure/audit/v1",
        "tool_version": fedspallm_secure.__version__,
    }


def _tuples(members: dict[str, Any]) -> dict[str, Any]:
    """An object's members, lists as the tuples of the dataclasses."""
    return {name: tuple(one) if isinstance(one, list) else one for name, one in members.items()}


@_ALL
def test_the_json_is_sorted_printable_ascii_and_ends_with_one_line_feed(make: Callable[[], Verdict]) -> None:
    written = to_json(make())
    assert written.endswith(b"}\n")
    assert all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in written)
    pairs: list[list[str]] = []
    json.loads(written, object_pairs_hook=lambda found: pairs.append([name for name, _ in found]))
    assert pairs
    assert all(names == sorted(names) for names in pairs)
    assert written == to_json(make())


def test_a_time_that_is_no_number_is_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(replace(verified(), seconds=float("nan")))


@given(st.text(st.characters(exclude_categories=())))
def test_visible_text_holds_nothing_that_moves_hides_or_turns(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(one)[0] == "C" or one in "\u2028\u2029" for one in shown)
    assert visible(shown) == shown
    shown.encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" ")))
def test_visible_text_leaves_alone_what_can_be_seen(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("one", "\n\t\x1b\x7f\x85\xad\u200b\u200f\u2028\u2029\u202e\u2066\ufeff\ud800\ue000\U000e0041")
def test_what_can_not_be_seen_is_written_as_its_number(one: str) -> None:
    assert visible(f"a{one}b") == f"a[U+{ord(one):04X}]b"


def test_visible_text_of_any_length_is_short_and_says_what_it_leaves_out() -> None:
    assert visible("x" * 1000) == "x" * 1000
    assert visible("x" * 24_001) == "x" * 1000 + " [and 23,001 more characters]"


def _printed(verdict: Verdict, width: int = 80) -> str:
    console = Console(width=width, file=StringIO(), color_system=None)
    with console.capture() as capture:
        show_verdict(verdict, console)
    return capture.get()


def _flowing(text: str) -> str:
    """As one line, so that sentences are found across line ends."""
    return " ".join(text.split())


@_ALL
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_is_told_everything_within_its_width(make: Callable[[], Verdict], width: int) -> None:
    assert max(map(len, _printed(make(), width).splitlines())) <= width


@pytest.mark.parametrize("make", [verified, failed, incomplete])
def test_the_verdict_is_the_first_line_and_every_check_has_its_word(make: Callable[[], Verdict]) -> None:
    verdict = make()
    text = _printed(verdict)
    assert text.startswith(f"{verdict.status.upper()}: ")
    assert _flowing(text).startswith(f"{verdict.status.upper()}: {summary(verdict)}")
    words = {"ok": "ok", "failed": "FAILED", "skipped": "skipped"}
    rows = [line.split()[:2] for line in text.splitlines()]
    assert all([finding.number, words[finding.status]] in rows for finding in verdict.findings)
    assert all(sentence in _flowing(text).replace(" - ", " ") for sentence in verdict.not_proven)
    assert "Read 1,113,246,208 bytes in 41.3 s." in text
    assert all(digest and digest in text for digest in (verdict.charter, verdict.log_root, verdict.model))


def test_what_failed_is_told_with_place_values_and_fault_and_what_was_skipped_with_its_reason() -> None:
    text = _printed(failed())
    told = [_flowing(part) for part in text.split("\n\n")]
    for finding in failed().failed:
        (block,) = (part for part in told if part.startswith(f"{finding.number} FAILED"))
        assert finding.title in block
        assert finding.evidence in block
        assert f"entry {finding.entry} of the log" in block
        assert ("expected" in block) == (finding.expected is not None)
        assert all(value in block for value in (finding.expected, finding.actual) if value)
        assert f"at fault {finding.at_fault[0] if finding.at_fault else 'the evidence names nobody'}" in block
    assert "skipped: The sums that it would follow from are false." in _flowing(text)


def test_a_transcript_gives_the_terminal_no_orders() -> None:
    text = _printed(hostile(), 400)
    assert not any(unicodedata.category(one)[0] == "C" for one in text if one != "\n")
    assert "[bold]x[/bold]" in text
    assert visible(HOSTILE) in text


def test_a_verdict_without_checks_model_and_limits_is_still_told() -> None:
    text = _printed(replace(verified(), findings=(), not_proven=(), model=None))
    assert text.startswith("INCOMPLETE: nothing was checked.")
    assert "none in the log" in text
    assert "The audit does not say." in text


def test_an_audit_is_told_on_the_base_install(tmp_path: Path) -> None:
    script = tmp_path / "tell.py"
    script.write_text(
        "import sys\n"
        "sys.modules |= dict.fromkeys(['torch', 'transformers', 'datasets', 'matplotlib'])\n"
        "from pydantic import TypeAdapter\n"
        "from fedspallm_secure.audit import Verdict, to_json\n"
        "from fedspallm_secure.audit.page import to_page\n"
        "verdict = TypeAdapter(Verdict).validate_json(sys.argv[1])\n"
        "print(verdict.status, len(to_page(verdict)) > 10_000, len(to_json(verdict)) > 10_000)\n"
    )
    told = subprocess.run(
        [sys.executable, script, json.dumps(asdict(failed()))], capture_output=True, text=True, check=False
    )
    assert (told.stdout, told.stderr) == ("failed True True\n", "")
