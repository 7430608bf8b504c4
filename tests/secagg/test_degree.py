"""Degree and threshold are the smallest that keep the rules, and safe whoever is called vanished."""

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

from benchmarks.graphs import complete_graphs, parting_bound, sparse_graphs
from fedspallm_secure.secagg.degree import CORRECTNESS, SECURITY, Degree, compute_degree
from fedspallm_secure.secagg.graph import harary
from fedspallm_secure.secagg.stretches import thinnest

ROOT = Path(__file__).parent.parent.parent


def _more_than(clients: int, marked: int, drawn: int, most: int) -> Fraction:
    """Pr[H > most], term by term."""
    choices = sum(
        comb(marked, hit) * comb(clients - marked, drawn - hit) for hit in range(most + 1, min(marked, drawn) + 1)
    )
    return Fraction(choices, comb(clients, drawn))


def _keeps_the_rules(clients: int, colluders: int, dropouts: int, degree: Degree) -> bool:
    k, t = degree.neighbours, degree.threshold
    pairs = Fraction(clients**2, 2)
    return pairs * _more_than(clients, colluders, k, t - 1) < Fraction(1, 2 ** (SECURITY + 1)) and pairs * _more_than(
        clients, dropouts, k, k - t
    ) < Fraction(1, 2**CORRECTNESS)


@given(st.data())
def test_no_smaller_degree_and_no_smaller_threshold_keep_the_rules(data: st.DataObject) -> None:
    clients = data.draw(st.integers(6, 90))
    dropouts = data.draw(st.integers(0, clients // 2))
    colluders = data.draw(st.integers(0, clients - dropouts))
    degree = compute_degree(clients, colluders, dropouts)
    allowed = [
        Degree(k, t)
        for k in range(2, degree.neighbours + 1 if degree else clients - 1, 2)
        for t in range(2, k + 1)
        if _keeps_the_rules(clients, colluders, dropouts, Degree(k, t))
    ]
    assert allowed[:1] == ([degree] if degree else [])


@pytest.mark.parametrize(
    ("clients", "colluders", "dropouts", "degree"),
    [
        (66, 0, 0, Degree(2, 2)),
        (100, 5, 5, Degree(12, 6)),
        (1000, 50, 50, Degree(36, 20)),
        (1000, 50, 300, Degree(80, 27)),
        (4096, 204, 204, Degree(40, 23)),
    ],
)
def test_degrees_stay_what_they_were(clients: int, colluders: int, dropouts: int, degree: Degree) -> None:
    assert compute_degree(clients, colluders, dropouts) == degree


def test_where_no_sparse_graph_will_do_there_is_no_degree() -> None:
    assert compute_degree(66, 48, 0) == Degree(48, 48)
    assert compute_degree(66, 65, 0) is None


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


def _can_part(joined: tuple[tuple[int, ...], ...], colluders: set[int], degree: Degree) -> bool:
    """Whether some survivors who pass the check are honest ones in two parts, and colluders."""
    n = len(joined)
    honest = set(range(n)) - colluders
    for left in range(2, len(honest) + 1):
        for alive in combinations(sorted(honest), left):
            survivors = colluders.union(alive)
            passes = thinnest(range(n), degree.neighbours, survivors) >= degree.threshold
            if passes and len(_parts(joined, set(alive))) > 1:
                return True
    return False


@pytest.mark.parametrize(
    ("clients", "colluders", "degree"),
    [(9, 2, Degree(2, 2)), (9, 3, Degree(4, 2)), (10, 4, Degree(4, 3)), (10, 4, Degree(4, 4)), (10, 3, Degree(6, 3))],
)
def test_a_server_that_names_the_drop_outs_parts_a_ring_no_more_often_than_the_bound_says(
    clients: int, colluders: int, degree: Degree
) -> None:
    joined = harary(range(clients), degree.neighbours)
    parted = sum(_can_part(joined, set(chosen), degree) for chosen in combinations(range(clients), colluders))
    assert 0 < Fraction(parted, comb(clients, colluders)) <= parting_bound(clients, colluders, degree)


def test_with_fewer_colluders_than_the_threshold_naming_drop_outs_parts_nothing() -> None:
    degree = Degree(4, 4)
    assert parting_bound(10, 3, degree) == 0
    joined = harary(range(10), degree.neighbours)
    assert not any(_can_part(joined, set(chosen), degree) for chosen in combinations(range(10), 3))


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
