"""The report page and the terminal's tables say what was measured, to anybody, whatever the names are."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from io import StringIO
from math import inf
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from fedspallm_secure.errors import StorageError
from fedspallm_secure.evaluation import (
    PerplexityTable,
    Results,
    evaluation_table,
    perplexity_table,
    seconds_table,
    traffic_table,
    write_report,
)
from tests.sample_results import HOSTILE, hostile, sampled

_VOID = {"meta", "br", "hr", "img", "link", "input", "col"}
_BOTH = pytest.mark.parametrize("make", [hostile, sampled])


class Page(HTMLParser):
    """Tags in balance, their attributes, the cells of tables and the visible text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data


def _page(results: Results, folder: Path) -> Page:
    write_report(results, folder / "report.html")
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    return page


@_BOTH
def test_the_page_needs_nothing_but_itself(make: Callable[[], Results], tmp_path: Path) -> None:
    page = _page(make(), tmp_path)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|url\((?!#)", source)
    tags = {tag for tag, _ in page.tags}
    assert tags & {"script", "link", "img", "iframe", "object", "embed"} == set()
    references = [attrs.get(key) for _, attrs in page.tags for key in ("href", "src", "xlink:href") if key in attrs]
    named = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert references
    assert all(reference and reference[0] == "#" and reference[1:] in named for reference in references)


@_BOTH
def test_identifiers_on_the_page_are_unique(make: Callable[[], Results], tmp_path: Path) -> None:
    identifiers = [attrs["id"] for _, attrs in _page(make(), tmp_path).tags if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))


@_BOTH
def test_every_perplexity_is_in_the_table(make: Callable[[], Results], tmp_path: Path) -> None:
    results = make()
    rows = {row[0]: row[1:] for row in _page(results, tmp_path).rows if row}
    models = {"dense": results.perplexity.dense, "federated": results.perplexity.federated}
    models |= {f"{name} alone": values for name, values in results.perplexity.alone.items()}
    models |= {"central": results.perplexity.central} if results.perplexity.central else {}
    for label, values in models.items():
        assert [cell.removesuffix(" (best)") for cell in rows[label]] == [f"{value:.2f}" for value in values.values()]
    assert ("central" in rows) == (results.perplexity.central is not None)


def test_the_best_without_pooling_is_marked_and_central_never(tmp_path: Path) -> None:
    rows = {row[0]: row[1:] for row in _page(hostile(), tmp_path).rows if row}
    assert rows["news alone"][1] == "21.50 (best)"
    assert [cell.endswith("(best)") for cell in rows["federated"]] == [False] * 5 + [True]
    assert not any("best" in cell for cell in rows["central"] + rows["dense"] + rows["mean of those alone"])


def test_the_verdict_and_the_traffic_are_told_in_numbers(tmp_path: Path) -> None:
    results = hostile()
    page = _page(results, tmp_path)
    gap = results.perplexity.gap_closed
    assert gap is not None
    assert f"federation closes {100 * gap:.0f} % of that gap" in page.text
    assert "it beats all 5 of them" in page.text
    assert "8.43 bits for each weight it pruned, where dense fp16 weights take 16" in page.text
    rows = {row[0]: row[1:] for row in page.rows if row}
    sent = ["900 B", "42.1 MB", "71.3 MB", "700 B", "113 MB"]
    assert rows["mallory"] == [*sent, "6.10 kB", "42.5 MB", "50.9 MB", "900 B", "93.4 MB"]
    assert results.model_digest in page.text
    assert results.charter_digest in page.text
    assert "model.layers.1.mlp.down_proj.weight" in page.text


def test_what_the_institutions_figures_sum_up_to_is_told_round_by_round(tmp_path: Path) -> None:
    page = _page(sampled(), tmp_path)
    rows = {row[0]: row[1:] for row in page.rows if row}
    assert rows["1"] == ["8", "40960", "3.219", "0.12 %"]
    assert rows["2"] == ["8", "40961", "3.219", "none sent"]
    assert "nobody saw a single one's figures" in page.text


def test_how_votes_were_hidden_is_told_as_it_was(tmp_path: Path) -> None:
    masked = sampled()
    protocol = masked.config["protocol"] | {"votes": "ckks"}
    encrypted = masked.model_copy(update={"config": masked.config | {"protocol": protocol}, "telemetry": []})
    for results, told, other in (
        (encrypted, "Votes are encrypted for a custodian, who counts them", "Both are hidden under random masks"),
        (masked, "Both are hidden under random masks", "encrypted for a custodian"),
    ):
        write_report(results, tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert told in page
        assert other not in page


def test_a_name_is_text_and_never_markup(tmp_path: Path) -> None:
    page = _page(hostile(), tmp_path)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in source
    assert "<b>Small" not in source
    assert [row for row in page.rows if HOSTILE in row]
    drawn = [attrs.get("aria-label") or "" for _, attrs in page.tags]
    assert any(HOSTILE in label for label in drawn)


def test_layer_sampling_is_drawn_where_it_was_used_and_only_there(tmp_path: Path) -> None:
    assert "Layers were sampled" in _page(sampled(), tmp_path).text
    text = _page(hostile(), tmp_path).text
    assert "Layers were sampled" not in text
    assert "each sum is over all 5" in text


def test_plots_are_described_and_tables_have_captions_and_scopes(tmp_path: Path) -> None:
    page = _page(sampled(), tmp_path)
    drawings = [attrs for tag, attrs in page.tags if attrs.get("role") == "img"]
    assert len(drawings) == sum(tag == "svg" for tag, _ in page.tags) == 4
    assert all(len(attrs["aria-label"] or "") > 40 for attrs in drawings)
    assert sum(tag == "table" for tag, _ in page.tags) == sum(tag == "caption" for tag, _ in page.tags)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")


def test_every_colour_of_a_drawing_is_the_pages_own(tmp_path: Path) -> None:
    source = (_page(sampled(), tmp_path), (tmp_path / "report.html").read_text(encoding="utf-8"))[1]
    drawings = re.findall(r"<svg.*?</svg>", source, re.DOTALL)
    assert drawings
    assert not any(re.search(r"#[0-9a-f]{6}\b", re.sub(r"#m[0-9a-f]+", "", drawing)) for drawing in drawings)
    defined = set(re.findall(r"(--[\w-]+):", source))
    assert {f"--{name}" for name in re.findall(r"var\(--([\w-]+)\)", source)} <= defined


@_BOTH
def test_equal_results_give_equal_bytes(make: Callable[[], Results], tmp_path: Path) -> None:
    write_report(make(), tmp_path / "first.html")
    write_report(make(), tmp_path / "second.html")
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.html", "second.html"]


def test_a_ruined_model_and_institutions_not_evaluated_still_have_a_page(tmp_path: Path) -> None:
    whole = hostile()
    dense = whole.perplexity.dense
    ruined = dict.fromkeys(dense, inf)
    table = PerplexityTable(dense=dense, federated=ruined, central=whole.perplexity.central, alone={})
    page = _page(whole.model_copy(update={"perplexity": table}), tmp_path)
    rows = {row[0]: row[1:] for row in page.rows if row}
    assert [cell.removesuffix(" (best)") for cell in rows["federated"]] == ["inf"] * len(dense)
    assert "nan" not in page.text
    assert "of that gap" not in page.text


@pytest.mark.parametrize(("federated", "alone", "central"), [(60.0, 50.0, 50.0), (60.0, 50.0, 55.0), (inf, inf, 55.0)])
def test_where_there_is_no_gap_no_share_of_it_is_closed(federated: float, alone: float, central: float) -> None:
    table = PerplexityTable(
        dense={"mix": 20.0}, federated={"mix": federated}, central={"mix": central}, alone={"a": {"mix": alone}}
    )
    assert table.gap_closed is None


def test_a_disk_that_refuses_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match=r"report\.html can't be written"):
        write_report(sampled(), tmp_path / "file" / "report.html")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StorageError, match=r"report\.html can't be written"):
        write_report(sampled(), tmp_path / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "report.html"]


def _printed(table: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


@_BOTH
@pytest.mark.parametrize("width", [80, 120])
def test_the_terminals_tables_keep_every_number_whole(make: Callable[[], Results], width: int) -> None:
    results = make()
    lines = _printed(perplexity_table(results), width)
    assert max(map(len, lines)) <= width
    found = [line.split() for line in lines]
    table = results.perplexity
    for values in (table.dense, table.federated, *table.alone.values(), *([table.central] if table.central else [])):
        numbers = [f"{value:.2f}" for value in values.values()]
        assert any(words[-len(numbers) :] == numbers for words in found)
    traffic = _printed(traffic_table(results), width)
    assert sum(line.rstrip().endswith("113 MB   93.4 MB") for line in traffic) == len(results.bytes_up)
    assert "8.43 bits" in "\n".join(traffic)
    seconds = [line.rstrip() for line in _printed(seconds_table(results), width)]
    assert any(line.endswith("12 min 02 s") for line in seconds)
    assert any(line.startswith(" together") or line.startswith("together") for line in seconds)
    mix = [line.split() for line in _printed(evaluation_table(table.dense), width)]
    assert ["mix", f"{table.dense['mix']:.2f}"] in mix


def test_a_name_is_no_markup_of_the_terminal() -> None:
    lines = _printed(evaluation_table({"[bold]law[/bold]": 20.0, "mix": 20.0}), 80)
    assert any("[bold]law[/bold]" in line for line in lines)
