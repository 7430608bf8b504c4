"""The page and tables of a sweep say what its points measured, to anybody, whatever the axes are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from math import inf, prod
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedspallm_secure.evaluation import (
    PointFigures,
    Tradeoff,
    make_tradeoff,
    settings_table,
    write_tables,
    write_tradeoff_page,
)
from tests.sample_results import HOSTILE
from tests.test_report import Page


def figures(values: Sequence[float], **changed: Any) -> PointFigures:
    """A point's figures, `values` being its perplexities on kind 0, kind 1, ..."""
    kinds = changed.pop("kinds", [f"kind {number}" for number in range(len(values))])
    perplexity = dict(zip(kinds, values, strict=True))
    plain: dict[str, Any] = {
        "perplexity": perplexity | {"mix": prod(values) ** (1 / len(values))},
        "dense": dict.fromkeys([*kinds, "mix"], 16.0),
        "alone": None,
        "central": None,
        "sparsity": 0.5,
        "bytes_up": 123_456,
        "bytes_down": 1_234_567,
        "bits_per_weight": 6.5,
        "seconds": 12.5,
        "pruned": True,
        "institutions": 5,
        "vanishing": [],
        "seed": 0,
        "model_digest": "ab" * 32,
    }
    return PointFigures(**plain | changed)


def sweep(axes: dict[str, list[Any]], points: list[tuple[dict[str, Any], PointFigures | str]]) -> Tradeoff:
    """A sweep of these points; a text is what went wrong."""
    named = [(f"point-{number}", values, found) for number, (values, found) in enumerate(points)]
    return make_tradeoff(
        axes,
        [(name, values) for name, values, _ in named],
        {name: found for name, _, found in named if isinstance(found, PointFigures)},
        {name: found for name, _, found in named if isinstance(found, str)},
        ["org/model"],
        {"torch": "2", "torch threads": "1"},
    )


def epsilons() -> Tradeoff:
    """Two methods at four budgets, three seeds each, of which one point failed."""
    values = ["1", "4", "16", "inf"]
    axes: dict[str, list[Any]] = {
        "pruning.method": ["wanda", "sparsegpt"],
        "privacy.epsilon": values,
        "seed": [0, 1, 2],
    }
    points: list[tuple[dict[str, Any], PointFigures | str]] = []
    for method, lift in (("wanda", 0.0), ("sparsegpt", 3.0)):
        for number, epsilon in enumerate(values):
            for seed in range(3):
                found = figures([40 + lift - 2 * number + seed, 30 + lift + seed], seed=seed, bits_per_weight=3 + lift)
                keys = {"pruning.method": method, "privacy.epsilon": epsilon, "seed": seed}
                points.append((keys, "It fell over." if (method, number, seed) == ("wanda", 0, 2) else found))
    return sweep(axes, points)


def page(tradeoff: Tradeoff, folder: Path) -> tuple[Page, str]:
    write_tradeoff_page(tradeoff, folder / "tradeoff.html")
    source = (folder / "tradeoff.html").read_text(encoding="utf-8")
    found = Page(source)
    assert found.open == []
    return found, source


def drawings(source: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", source, re.DOTALL)


def test_the_page_has_a_plot_of_sparsity_of_bits_and_of_every_axis_with_numbers(tmp_path: Path) -> None:
    found, source = page(epsilons(), tmp_path)
    headings = re.findall(r"<h2>(Perplexity against .*?)</h2>", source)
    assert headings == [f"Perplexity against {what}" for what in ("sparsity", "bits uploaded a weight", "epsilon")]
    images = [attrs["aria-label"] or "" for _, attrs in found.tags if attrs.get("role") == "img"]
    assert len(images) == len(drawings(source)) == 3
    assert all("8 settings" in summary for summary in images)
    assert "8 settings in 2 groups" in images[2]


def test_what_an_attacker_can_tell_is_plotted_against_epsilon_where_it_was_measured(tmp_path: Path) -> None:
    areas = {"1": (0.5, 0.4, 0.6), "4": (0.55, 0.45, 0.65), "inf": (0.9, 0.8, 0.97)}
    points: list[tuple[dict[str, Any], PointFigures | str]] = [
        ({"privacy.epsilon": epsilon}, figures([40], membership_auc=area, membership_low=low, membership_high=high))
        for epsilon, (area, low, high) in areas.items()
    ]
    points.append(({"privacy.epsilon": "8"}, figures([40])))
    measured = sweep({"privacy.epsilon": [*areas, "8"]}, points)
    found, source = page(measured, tmp_path)
    assert "<h2>Membership AUC against epsilon</h2>" in source
    (summary,) = (
        attrs["aria-label"] for _, attrs in found.tags if (attrs.get("aria-label") or "").startswith("Member")
    )
    assert summary is not None
    assert "3 settings in 1 groups, from 0.50 at 1 to 0.90" in summary
    assert "1 settings are not drawn" in summary
    assert len(drawings(source)) == 4
    cells = [cell for row in found.rows for cell in row if re.fullmatch(r"0\.\d\d \(0\.\d\d to 0\.\d\d\)", cell)]
    assert cells == ["0.50 (0.40 to 0.60)", "0.55 (0.45 to 0.65)", "0.90 (0.80 to 0.97)"]
    write_tables(measured, tmp_path)
    rows = (tmp_path / "tradeoff.csv").read_text(encoding="utf-8").splitlines()
    place = rows[0].split(",").index("membership_auc")
    assert [row.split(",")[place] for row in rows[1:]] == ["0.5", "0.55", "0.9", ""]
    assert "embership" not in page(epsilons(), tmp_path)[1]


def test_an_axis_of_budgets_is_logarithmic_and_shows_infinity_at_its_end(tmp_path: Path) -> None:
    _, source = page(epsilons(), tmp_path)
    texts = re.findall(r'x="([\d.]+)" y="[\d.]+"[^>]*>(1|4|16|inf)</text>', drawings(source)[2])
    found = {text: float(place) for place, text in texts}
    assert list(found) == ["1", "4", "16", "inf"]
    assert found["4"] - found["1"] == pytest.approx(found["16"] - found["4"])
    assert found["inf"] > found["16"]


def test_a_setting_has_the_mean_the_least_and_the_largest_of_its_seeds(tmp_path: Path) -> None:
    tradeoff = epsilons()
    found, _ = page(tradeoff, tmp_path)
    rows = [row for row in found.rows if len(row) == 9 and row[1] in ("wanda", "sparsegpt")]
    assert len(rows) == 8
    for row in rows:
        mine = [
            point.common
            for point in tradeoff.points
            if point.common is not None
            and (point.axes["pruning.method"], point.axes["privacy.epsilon"]) == (row[1], row[2])
        ]
        assert row[3] == str(len(mine))
        assert row[4:7] == [f"{value:.2f}" for value in (sum(mine) / len(mine), min(mine), max(mine))]
    assert [row[3] for row in rows].count("2") == 1


def test_every_points_numbers_are_those_of_the_json(tmp_path: Path) -> None:
    tradeoff = epsilons()
    write_tables(tradeoff, tmp_path)
    read = Tradeoff.model_validate_json((tmp_path / "tradeoff.json").read_bytes())
    assert read == tradeoff
    found, _ = page(read, tmp_path)
    rows = [row for row in found.rows if len(row) == 15 and row[0].isdigit()]
    assert len(rows) == len(read.finished) == 23
    for row, point in zip(rows, read.finished, strict=True):
        assert point.figures is not None
        assert row[1:4] == [str(value) for value in point.axes.values()]
        assert row[4:7] == [f"{value:.2f}" for value in point.figures.perplexity.values()]
        bits = f"{point.figures.bits_per_weight:.2f}"
        assert row[7:] == ["16.00", "50.00 %", bits, "123 kB", "1.23 MB", "0 of 5", "12.5 s", "ab" * 6]


def test_what_failed_is_told_and_infinite_perplexities_are_not_drawn_but_counted(tmp_path: Path) -> None:
    keys: dict[str, list[Any]] = {"pruning.pattern": ["0.5", "0.9"], "seed": [0]}
    ruined = figures([inf, 20.0], sparsity=0.9)
    tradeoff = sweep(keys, [({"pruning.pattern": "0.5"}, figures([20, 20])), ({"pruning.pattern": "0.9"}, ruined)])
    found, _ = page(tradeoff, tmp_path)
    summaries = [attrs["aria-label"] or "" for _, attrs in found.tags if attrs.get("role") == "img"]
    assert all("1 settings in 1 groups" in text and "1 settings are not drawn" in text for text in summaries)
    assert "nan" not in found.text
    assert "inf" in found.text
    assert "It fell over." in page(epsilons(), tmp_path)[0].text


def test_without_a_finished_point_there_is_a_page_without_plots(tmp_path: Path) -> None:
    found, source = page(sweep({"seed": [0]}, [({"seed": 0}, "It fell over.")]), tmp_path)
    assert drawings(source) == []
    assert "No point finished" in found.text
    assert "It fell over." in found.text


def test_points_with_other_texts_are_compared_on_those_that_all_have(tmp_path: Path) -> None:
    few = figures([8.0, 2.0], kinds=["law", "news"])
    many = figures([9.0, 4.0, 100.0], kinds=["law", "news", "code"])
    tradeoff = sweep({"institutions": [2, 3]}, [({"institutions": 2}, few), ({"institutions": 3}, many)])
    assert tradeoff.kinds == ["law", "news"]
    assert [point.common for point in tradeoff.points] == [pytest.approx(4.0), pytest.approx(6.0)]
    found, source = page(tradeoff, tmp_path)
    assert "the kinds of held-out text that all points have" in found.text
    assert "Perplexity against institutions" in source
    assert any(row[:5] == ["1", "2", "8.00", "2.00", "—"] for row in found.rows)


def test_without_any_text_in_common_nothing_is_drawn_and_every_number_is_there(tmp_path: Path) -> None:
    points = [({"seed": 0}, figures([8.0], kinds=["law"])), ({"seed": 1}, figures([9.0], kinds=["news"]))]
    tradeoff = sweep({"seed": [0, 1]}, [(dict(axes), found) for axes, found in points])
    found, source = page(tradeoff, tmp_path)
    assert drawings(source) == []
    assert {"8.00", "9.00"} <= {cell for row in found.rows for cell in row}


def test_more_settings_than_there_are_marks_and_values_than_ticks_are_drawn(tmp_path: Path) -> None:
    axes: dict[str, list[Any]] = {
        "institution.0.kind": [f"text {number}" for number in range(40)],
        "pruning.windows": list(range(1, 21)),
    }
    points = [
        ({"institution.0.kind": kind, "pruning.windows": windows}, figures([20.0 + windows, 30.0]))
        for kind in axes["institution.0.kind"]
        for windows in (1, 20)
    ]
    found, source = page(sweep(axes, [(dict(keys), each) for keys, each in points]), tmp_path)
    assert len(drawings(source)) == 3
    assert "text 39" not in drawings(source)[0]
    assert "text 39" in found.text


def hostile() -> Tradeoff:
    axes = {"institution.0.kind": [HOSTILE, "plain"]}
    points = [({"institution.0.kind": kind}, figures([20.0], kinds=[HOSTILE])) for kind in axes["institution.0.kind"]]
    return sweep(axes, [(dict(keys), each) for keys, each in points])


@pytest.mark.parametrize("make", [epsilons, hostile])
def test_the_page_needs_nothing_but_itself_and_names_are_no_markup(make: Any, tmp_path: Path) -> None:
    found, source = page(make(), tmp_path)
    assert not re.search(r"https?:|@import|url\((?!#)|<script|<b>Small", source)
    assert {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object", "embed"} == set()
    identifiers = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    assert sum(tag == "table" for tag, _ in found.tags) == sum(tag == "caption" for tag, _ in found.tags)
    assert all("scope" in attrs for tag, attrs in found.tags if tag == "th")
    assert not any(re.search(r"#[0-9a-f]{6}\b", re.sub(r"#m[0-9a-f]+", "", each)) for each in drawings(source))
    write_tradeoff_page(make(), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == source


def test_the_terminals_table_keeps_every_number_whole() -> None:
    console = Console(width=80, file=StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(settings_table(epsilons()))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("50.00 %" in line for line in lines) == 8
    assert any("wanda, epsilon inf" in line for line in lines)
