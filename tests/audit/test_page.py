"""The audit's page says the verdict to somebody without a terminal, whatever the transcript holds and however large."""

from __future__ import annotations

import re
import typing
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from fedspallm_secure.audit import Event, Finding, Verdict
from fedspallm_secure.audit.page import KINDS, to_page
from fedspallm_secure.audit.verdict import summary, visible
from fedspallm_secure.messages import Message
from tests.audit.example_verdict import HOSTILE, NAMES, failed, hostile, huge, incomplete, verified
from tests.audit.honest_transcript import ENCRYPTED, record

_VOID = {"meta", "br"}
_ALL = pytest.mark.parametrize("make", [verified, failed, incomplete, hostile, huge])
_KEYS = ["advertise", "advertised", "share", "shares"]
_SUM = ["masked", "survivors", "confirm", "confirmed", "unmask", "sums"]


class _Page(HTMLParser):
    """Tags in balance, their attributes, rows of cells, the texts of drawings and the visible text."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.source = to_page(verdict)
        self.open: list[tuple[str, str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.drawn: list[dict[str, list[str]]] = []
        self.text = ""
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        kind = dict(attrs).get("class") or tag
        if tag not in _VOID:
            self.open.append((tag, kind))
        if kind == "timeline":
            self.drawn.append({"title": [], "kind": [], "step": [], "name": []})
        if self.drawn and kind.split()[0] in self.drawn[-1]:
            self.drawn[-1][kind.split()[0]].append("")
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if not self.open:
            return
        kind = self.open[-1][1].split()[0]
        if any(opened == "timeline" for _, opened in self.open) and kind in self.drawn[-1]:
            self.drawn[-1][kind][-1] += data
        if {"th", "td"} & {tag for tag, _ in self.open}:
            self.rows[-1][-1] += data

    @property
    def cells(self) -> dict[str, list[str]]:
        """First cell of a row -> the others, of the first row that begins so."""
        return {row[0]: [cell.strip() for cell in row[1:]] for row in reversed(self.rows) if row}

    def gaps(self, drawing: int) -> list[str]:
        """What is drawn as not sent in one of the drawings."""
        return [title for title in self.drawn[drawing]["title"] if title.startswith("no ")]


@_ALL
def test_the_page_needs_nothing_but_itself_and_forbids_the_rest(make: Callable[[], Verdict]) -> None:
    page = _Page(make())
    assert not re.search(r"https?:|@import|url\(", page.source)
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form"} == set()
    (policy,) = (attrs["content"] for _, attrs in page.tags if "http-equiv" in attrs)
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    named = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(named) == len(set(named))
    references = [attrs[key] for _, attrs in page.tags for key in ("href", "src", "xlink:href") if key in attrs]
    assert references
    assert all(reference and reference[0] == "#" and reference[1:] in named for reference in references)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


@pytest.mark.parametrize("make", [verified, failed, incomplete])
def test_the_verdict_comes_first_then_what_it_rests_on_and_last_what_is_not_proven(make: Callable[[], Verdict]) -> None:
    verdict = make()
    page = _Page(verdict)
    text = page.text[page.text.index("Audit of run autumn-2025") :]
    told = summary(verdict)[:1].upper() + summary(verdict)[1:]
    order = [
        verdict.status.capitalize(),
        told,
        *["What failed"] * (verdict.status == "failed"),
        *["What could not be checked"] * bool(verdict.skipped),
        "Participants\n",
        "What happened, in order",
        "Checks\n",
        "Digests to compare",
        "What is not proven",
        *verdict.not_proven,
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert ("What failed" in text) == (verdict.status == "failed")
    assert f"{verdict.depth} depth" in text
    assert all(digest and digest in text for digest in (verdict.charter, verdict.log_root, verdict.model))
    assert all(person.key in text for person in verdict.participants)


def test_a_public_audit_does_not_say_that_sums_were_computed_again() -> None:
    public = _Page(replace(verified(), depth="public")).text
    assert "take the published sums as they are" in public
    assert "every published sum is computed again" not in public
    assert "every published sum is computed again" in _Page(verified()).text


@pytest.mark.parametrize("make", [verified, failed, incomplete])
def test_every_check_is_listed_with_its_result_and_evidence(make: Callable[[], Verdict]) -> None:
    verdict = make()
    rows = _Page(verdict).cells
    words = {"ok": "✓ ok", "failed": "✗ failed", "skipped": "– skipped"}
    for finding in verdict.findings:
        result, claim = rows[finding.number]
        assert result == words[finding.status]
        assert finding.title in claim
        assert finding.evidence in claim


def test_a_failed_check_is_told_with_place_values_and_the_key_at_fault() -> None:
    verdict = failed()
    page = _Page(verdict)
    cards = page.text[page.text.index("What failed") : page.text.index("What could not be checked")]
    for finding, following in pairwise([*verdict.failed, None]):
        assert finding is not None
        start = cards.index(f"{finding.number} failed. This does not hold: {finding.title}")
        card = cards[start : cards.index(f"{following.number} failed.") if following else len(cards)]
        assert finding.evidence in card
        assert f"entry {finding.entry} of the log" in card
        assert all(value in card for value in (finding.expected, finding.actual) if value)
        keys = {person.name: person.key[:16] for person in verdict.participants}
        assert all(f"{name} (" in card and keys[name] in card for name in finding.at_fault)
        assert ("the evidence names nobody" in card) == (not finding.at_fault)
    assert page.cells["coordinator"][-1] == page.cells["st-anne"][-1] == "yes"
    assert page.cells["mercy-hospital"][-1] == ""


def test_a_failed_check_is_marked_at_its_entry_even_if_that_is_no_message() -> None:
    verdict = failed()
    first, second = _Page(verdict).drawn
    marked = [title.split(",")[0] for title in first["title"] if title.startswith("check")]
    places = {finding.number: finding.entry for finding in verdict.failed}
    assert marked == [f"check {number} failed: entry {places[number]}" for number in ("A10", "A3", "A2")]
    assert re.findall(r'class="flag"[^>]*>([^<]*)<', to_page(verdict)) == ["A10", "A3", "A2"]
    assert first["name"][-1] == "(not known)"
    assert "(not known)" not in second["name"]
    assert not any(title.startswith("check") for title in second["title"])


def test_the_drawing_follows_the_log_and_a_step_that_comes_again_is_drawn_again() -> None:
    first, second = _Page(verified()).drawn
    assert first["kind"] == [*_KEYS, *_SUM, "proof", "proofs", *_SUM, "proof", "proofs", "model"]
    assert first["step"] == ["keys", "votes", "checks", "values", "checks", "model"]
    assert second["kind"] == [*_KEYS, *_SUM, "proof", "attest", "attested", *_SUM, "proof", "proofs", "model"]


def test_who_vanished_has_a_gap_wherever_others_sent_something_and_nobody_else_has_one() -> None:
    page = _Page(verified())
    assert page.gaps(0) == []
    expected = ["proof", "masked", "confirm", "unmask", "proof", "model"]
    assert page.gaps(1) == [f"no {kind} of volksbank" for kind in expected]
    assert "volksbank: nothing came after unmask (votes)." in page.text


def test_a_gap_between_messages_and_a_whole_round_of_silence_are_told_as_such() -> None:
    base = verified()
    kept = [event for event in base.events if (event.sender, event.kind, event.round) != ("st-anne", "confirm", 1)]
    kept = [event for event in kept if (event.sender, event.round) != ("volksbank", 2)]
    page = _Page(replace(base, events=tuple(kept)))
    assert "st-anne: missing are confirm (votes) and confirm (values)." in page.text
    assert "volksbank: nothing came in this round." in page.text


def test_a_repeated_sum_is_drawn_after_the_exchange_that_it_needs() -> None:
    told = [("masked", "values", NAMES[:3]), ("again", "keys", ["coordinator"]), ("advertise", "keys", NAMES[:2])]
    told += [("advertised", "keys", ["coordinator"]), ("masked", "values", NAMES[:2])]
    told += [("survivors", "values", ["coordinator"])]
    flat = [(kind, step, sender) for kind, step, senders in told for sender in senders]
    events = tuple(Event(entry, 1, step, sender, kind, "spoke") for entry, (kind, step, sender) in enumerate(flat))
    base = verified()
    page = _Page(replace(base, events=events, participants=base.participants[:4]))
    assert page.drawn[0]["kind"] == [kind for kind, _, _ in told]
    assert page.drawn[0]["step"] == ["values", "keys", "values"]
    assert page.gaps(0) == [f"no {kind} of {NAMES[2]}" for kind in ("advertise", "masked")]


def test_a_message_that_comes_late_within_its_step_is_no_gap() -> None:
    base = verified()
    confirm, confirmed = (
        next(place for place, event in enumerate(base.events) if event.kind == kind and event.step == "votes")
        for kind in ("confirm", "confirmed")
    )
    order = list(base.events)
    order.insert(confirmed, order.pop(confirm))
    late = tuple(replace(event, entry=entry) for entry, event in enumerate(order))
    assert late[confirmed].kind == "confirm"
    assert late[confirmed - 1].kind == "confirmed"
    page = _Page(replace(base, events=late))
    assert page.gaps(0) == []
    assert page.drawn[0]["kind"] == _Page(base).drawn[0]["kind"]


def test_several_messages_in_one_place_are_counted() -> None:
    page = _Page(verified())
    assert any(title.endswith("passed on keys (and 4 more)") for title in page.drawn[0]["title"])
    assert page.source.count('class="many"') == 4


def test_of_several_messages_in_one_place_the_one_that_failed_is_told() -> None:
    base = verified()
    third = [event.entry for event in base.events if event.kind == "advertised"][2]
    bad = Finding("A9", "It holds.", "failed", "It does not.", third)
    titles = _Page(replace(base, findings=(bad,))).drawn[0]["title"]
    assert f"check A9 failed: entry {third}, advertised: passed on keys (and 4 more)" in titles


def test_who_contributed_what_is_in_the_table_of_participants() -> None:
    page = _Page(verified())
    assert page.cells["volksbank"] == ["institution", "16", "round 1 votes, round 1 values, round 2 votes", "no", ""]
    assert page.cells["data-office"] == ["witness", "2", "", "yes", ""]
    assert "Institutions: 5. Part of every sum: 4; of some: 1; of none: 0." in page.text
    silent = tuple(replace(person, contributed=()) for person in verified().participants)
    text = _Page(replace(verified(), participants=silent)).text
    assert "Part of every sum: 0; of some: 0; of none: 5." in text
    assert text.count("no sum") == 5


def test_what_others_wrote_is_text_that_can_be_seen_and_never_markup() -> None:
    page = _Page(hostile())
    assert "<script" not in page.source
    assert "[49]" not in page.text
    assert not any(unicodedata.category(one)[0] == "C" for one in page.source if one != "\n")
    page.source.encode()
    shown = visible(HOSTILE)
    assert [row[0] for row in page.rows].count(shown) == 2
    assert page.text.count(shown) > 10
    assert page.drawn[0]["name"][-1] == "(not known)"
    assert any(title.startswith("entry 1, share: ") for title in page.drawn[0]["title"])
    assert any(title.startswith(f"check A3 failed: entry 0, {shown}: {shown}") for title in page.drawn[0]["title"])
    assert re.search(r"\[and [\d,]+ more characters\]", page.text)


@_ALL
def test_drawings_are_described_and_tables_have_captions_and_scopes(make: Callable[[], Verdict]) -> None:
    page = _Page(make())
    pictures = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert all(attrs.get("aria-hidden") or len(attrs["aria-label"] or "") > 40 for attrs in pictures)
    assert sum(tag == "table" for tag, _ in page.tags) == sum(tag == "caption" for tag, _ in page.tags)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    defined = set(re.findall(r"(--[\w-]+):", page.source))
    assert set(re.findall(r"var\((--[\w-]+)\)", page.source)) <= defined


@_ALL
def test_equal_verdicts_give_equal_pages(make: Callable[[], Verdict]) -> None:
    assert to_page(make()) == to_page(make())


def test_a_thousand_participants_leave_the_page_small_and_hide_nobody_who_matters() -> None:
    verdict = huge()
    page = _Page(verdict)
    assert len(page.source) < 400_000
    assert page.cells["clinic-0999"][-1] == "yes"
    assert "40 of 1,002 are listed" in page.text
    assert f"400 of {len(verdict.events):,} messages are listed" in page.text
    assert "Institutions: 1,000. Part of every sum: 999" in page.text
    for drawing in page.drawn:
        assert len(drawing["name"]) == 25
        assert {"coordinator", "data-office"} <= set(drawing["name"])
        assert drawing["name"][-1] == "978 more institutions"
    assert "clinic-0999" in page.drawn[1]["name"]
    assert "978 of these 978 sent masked" in page.drawn[0]["title"]
    assert [row for row in page.rows if len(row) == 6 and "A3 failed" in row[5]]


def test_institutions_that_share_a_row_are_counted_as_they_sent() -> None:
    verdict = huge()
    silent = {f"clinic-{number:04}" for number in range(500, 1000)}
    page = _Page(replace(verdict, events=tuple(event for event in verdict.events if event.sender not in silent)))
    assert "500 of these 978 sent masked" in page.drawn[0]["title"]
    assert "And 488 more institutions have gaps." in page.text


def test_too_many_rounds_and_steps_are_cut_but_never_where_a_check_failed() -> None:
    base = verified()
    rounds = tuple(Event(number, number, "keys", "coordinator", "advertised", "passed on") for number in range(50))
    bad = Finding("A9", "It holds.", "failed", "It does not.", 40)
    page = _Page(replace(base, events=rounds, findings=(bad,)))
    assert re.findall(r"Round (\d+)", page.text) == ["0", "1", "2", "3", "4", "40"]
    assert "6 of 50 rounds are drawn" in page.text
    steps = tuple(Event(one, 1, ("votes", "values")[one % 2], "coordinator", "sums", "sums") for one in range(500))
    page = _Page(replace(base, events=steps, findings=(replace(bad, entry=450),)))
    assert len(page.drawn[0]["kind"]) == 80
    assert "420 columns are left out" in page.text
    assert [title for title in page.drawn[0]["title"] if title.startswith("check A9 failed: entry 450")]


def test_an_audit_that_could_read_nothing_still_has_a_page() -> None:
    empty = replace(verified(), findings=(), participants=(), events=(), not_proven=(), model=None, log_size=0)
    page = _Page(empty)
    assert "Nothing was checked." in page.text
    assert "The log has no message that could be read." in page.text
    assert "none in the log" in page.text
    assert page.drawn == []
    unread = Finding("A2", "Every line is an envelope.", "failed", "The first line is no JSON.", 0)
    assert "entry 0 of the log" in _Page(replace(empty, findings=(unread,))).text


def test_an_institution_that_is_the_witness_too_is_drawn_once_as_the_institution() -> None:
    base = verified()
    (vanished,) = (person for person in base.participants if person.name == "volksbank")
    page = _Page(replace(base, participants=(*base.participants, replace(vanished, role="witness"))))
    assert page.drawn[1]["name"].count("volksbank") == 1
    assert page.gaps(1) == _Page(base).gaps(1) != []


def test_the_custodian_has_its_row_its_mark_and_its_part_of_the_story(tmp_path: Path) -> None:
    verdict = record(replace(ENCRYPTED, method="wanda"), tmp_path).audited()
    page = _Page(verdict)
    assert page.cells["custodian"] == ["custodian", "1", "", "", ""]
    voted = ["encrypted", "survivors", "confirm", "confirmed", "release", "collected", "counted", "sums"]
    assert page.drawn[0]["kind"] == [*_KEYS, *voted, "proof", "proofs", "model"]
    assert page.drawn[0]["step"] == ["keys", "votes", "checks", "model"]
    assert "entry 22, counted: counted the votes of i0, i1, i2: 1 lanes." in page.drawn[0]["title"]
    assert page.gaps(0) == []
    assert page.source.count('<path class="custodian"') == 2  # where it spoke, and in the legend
    assert "Votes were encrypted, and counted by custodian, who alone has the key." in page.text
    assert "Votes were encrypted" not in _Page(verified()).text


def test_every_kind_of_message_is_explained() -> None:
    union = typing.get_args(Message)[0]
    kinds = {typing.get_args(body.model_fields["kind"].annotation)[0] for body in typing.get_args(union)}
    assert kinds == set(KINDS)
    page = _Page(verified())
    used = {event.kind for event in verified().events}
    meanings = page.text[page.text.index("What the messages mean") : page.text.index("Every message")]
    assert all((KINDS[kind] in meanings) == (kind in used) for kind in KINDS)
