"""Degree and threshold are the published ones, the smallest that keep the rules, and safe where the rules say so."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from fractions import Fraction
from itertools import combinations
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.graphs import chosen_parting_bound, complete_graphs, sparse_graphs
from fedspallm_secure.secagg.degree import CORRECTNESS, SECURITY, Degree, compute_degree, parting_bound
from fedspallm_secure.secagg.graph import harary

ROOT = Path(__file__).parent.parent.parent

# n, colluders and drop-outs in per cent, k, t: what the tests of Google's graph_parameter_finder expect of a
# semi-malicious server, but for three with degrees above 4,000, which take seconds.
_PUBLISHED = [
    (100, 30, 30, 92, 62),
    (1_000, 30, 30, 872, 584),
    (10, 5, 33, 8, 5),
    (100, 5, 33, 72, 39),
    (1_000, 5, 33, 398, 223),
    (10_000, 5, 33, 746, 420),
    (100_000, 5, 33, 882, 496),
    (1_000_000, 5, 33, 970, 545),
    (10, 33, 5, 4, 4),
    (100, 33, 5, 42, 37),
    (1_000, 33, 5, 132, 109),
    (10_000, 33, 5, 178, 146),
    (100_000, 33, 5, 196, 160),
    (1_000_000, 33, 5, 212, 173),
    (10, 5, 5, 2, 2),
    (100, 5, 5, 16, 11),
    (1_000, 5, 5, 52, 37),
    (10_000, 5, 5, 62, 44),
    (100_000, 5, 5, 68, 48),
    (1_000_000, 5, 5, 74, 52),
    (10, 33, 0, 4, 4),
    (100, 33, 0, 26, 26),
    (1_000, 33, 0, 38, 37),
    (10_000, 33, 0, 42, 41),
    (100_000, 33, 0, 46, 45),
    (1_000_000, 33, 0, 50, 49),
    (10, 0, 33, 8, 5),
    (100, 0, 33, 68, 35),
    (1_000, 0, 33, 228, 115),
    (10_000, 0, 33, 326, 164),
    (100_000, 0, 33, 372, 187),
    (1_000_000, 0, 33, 410, 206),
    (10, 0, 0, 2, 2),
    (100, 0, 0, 2, 2),
    (1_000, 0, 0, 2, 2),
    (10_000, 0, 0, 2, 2),
    (100_000, 0, 0, 2, 2),
    (1_000_000, 0, 0, 2, 2),
]


@pytest.mark.parametrize(("clients", "colluding", "vanishing", "neighbours", "threshold"), _PUBLISHED)
def test_degree_and_threshold_are_the_published_ones(
    clients: int, colluding: int, vanishing: int, neighbours: int, threshold: int
) -> None:
    degree = compute_degree(clients, clients * colluding // 100, clients * vanishing // 100)
    assert degree == Degree(neighbours, threshold)


def _more_than(clients: int, marked: int, drawn: int, most: int) -> Fraction:
    """Pr[H > most], term by term."""
    choices = sum(
        comb(marked, hit) * comb(clients - marked, drawn - hit) for hit in range(most + 1, min(marked, drawn) + 1)
    )
    return Fraction(choices, comb(clients, drawn))


def _keeps_the_rules(clients: int, colluders: int, dropouts: int, degree: Degree) -> bool:
    k, t = degree.neighbours, degree.threshold
    return (
        parting_bound(clients, k, colluders + dropouts) < Fraction(1, 2 ** (SECURITY + 1))
        # 2t - k holders are on both sides if t open one secret and t another.
        and clients * _more_than(clients, colluders, k, 2 * t - k - 1) < Fraction(1, 2 ** (SECURITY + 1))
        and clients * _more_than(clients, dropouts, k, k - t) < Fraction(1, 2**CORRECTNESS)
    )


@given(st.data())
def test_no_smaller_degree_and_no_smaller_threshold_keep_the_rules(data: st.DataObject) -> None:
    clients = data.draw(st.integers(6, 90))
    dropouts = data.draw(st.integers(0, clients // 3))
    colluders = data.draw(st.integers(0, clients - 2 * dropouts - 1))
    degree = compute_degree(clients, colluders, dropouts)
    allowed = [
        Degree(k, t)
        for k in range(2, degree.neighbours + 1 if degree else clients - 1, 2)
        for t in range(k // 2 + 1, k + 1)
        if _keeps_the_rules(clients, colluders, dropouts, Degree(k, t))
    ]
    assert allowed[:1] == ([degree] if degree else [])


def test_where_no_sparse_graph_will_do_there_is_no_degree() -> None:
    assert compute_degree(100, 33, 32) == Degree(98, 66)
    assert compute_degree(100, 33, 33) is None


def _runs(clients: int, neighbours: int, bad: set[int]) -> list[int]:
    """Where k/2 bad ones in a row begin."""
    return [
        start for start in range(clients) if all((start + step) % clients in bad for step in range(neighbours // 2))
    ]


@pytest.mark.parametrize(("clients", "neighbours", "bad"), [(8, 2, 3), (9, 4, 4), (10, 4, 5), (11, 6, 7), (12, 4, 6)])
def test_the_bound_is_the_exact_mean_number_of_pairs_of_gaps(clients: int, neighbours: int, bad: int) -> None:
    half, pairs, sets = neighbours // 2, 0, 0
    for chosen in combinations(range(clients), bad):
        starts = _runs(clients, neighbours, set(chosen))
        pairs += sum(half < later - earlier < clients - half for earlier, later in combinations(starts, 2))
        sets += 1
    assert pairs > 0
    assert parting_bound(clients, neighbours, bad) == Fraction(pairs, sets)


def _parts(joined: tuple[tuple[int, ...], ...], alive: set[int]) -> list[set[int]]:
    parts: list[set[int]] = []
    left = set(alive)
    while left:
        part: set[int] = set()
        todo = [left.pop()]
        while todo:
            member = todo.pop()
            part.add(member)
            todo += left.intersection(joined[member])
            left.difference_update(joined[member])
        parts.append(part)
    return parts


@pytest.mark.parametrize(("clients", "neighbours", "bad"), [(8, 2, 3), (9, 4, 4), (10, 4, 5), (11, 6, 6), (12, 4, 5)])
def test_a_ring_falls_apart_no_more_often_than_the_bound_says(clients: int, neighbours: int, bad: int) -> None:
    joined = harary(range(clients), neighbours)
    apart = sum(
        len(_parts(joined, set(range(clients)).difference(chosen))) > 1 for chosen in combinations(range(clients), bad)
    )
    assert 0 < Fraction(apart, comb(clients, bad)) <= parting_bound(clients, neighbours, bad)


def _can_part(joined: tuple[tuple[int, ...], ...], colluders: set[int], threshold: int) -> bool:
    """Whether some choice of drop-outs leaves a part of the survivors that is unmasked alone."""
    honest = set(range(len(joined))) - colluders
    for dropouts in range(len(honest) - 1):
        for gone in combinations(sorted(honest), dropouts):
            holders = honest.difference(gone) | colluders
            parts = _parts(joined, honest.difference(gone))
            if len(parts) > 1 and any(
                all(len(holders.intersection(joined[member])) >= threshold for member in part) for part in parts
            ):
                return True
    return False


@pytest.mark.parametrize(
    ("clients", "colluders", "degree"),
    [(9, 2, Degree(2, 2)), (10, 2, Degree(4, 3)), (10, 4, Degree(4, 4)), (11, 3, Degree(6, 4))],
)
def test_a_server_that_names_the_drop_outs_parts_a_ring_no_more_often_than_that_bound_says(
    clients: int, colluders: int, degree: Degree
) -> None:
    joined = harary(range(clients), degree.neighbours)
    parted = sum(_can_part(joined, set(chosen), degree.threshold) for chosen in combinations(range(clients), colluders))
    assert 0 < Fraction(parted, comb(clients, colluders)) <= chosen_parting_bound(clients, colluders, degree)


def test_without_enough_colluders_naming_drop_outs_parts_nothing() -> None:
    degree = Degree(4, 4)
    assert chosen_parting_bound(10, 3, degree) == 0
    joined = harary(range(10), degree.neighbours)
    assert not any(_can_part(joined, set(chosen), degree.threshold) for chosen in combinations(range(10), 3))


def test_the_page_on_graphs_shows_what_the_command_prints() -> None:
    command = [sys.executable, "-m", "benchmarks.graphs"]
    printed = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout
    page = (ROOT / "docs" / "graphs.md").read_text(encoding="utf-8")
    tables = printed.strip().split("\n\n")
    assert len(tables) == 2
    for table in tables:
        assert f"\n\n{table}\n\n" in page


def test_the_command_prints_the_same_numbers_as_json() -> None:
    command = [sys.executable, "-m", "benchmarks.graphs", "--json"]
    printed = json.loads(subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout)
    assert printed["sparse"] == [asdict(graph) for graph in sparse_graphs()]
    assert printed["complete"] == [asdict(graph) for graph in complete_graphs()]
