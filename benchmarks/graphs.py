"""Degree and threshold of the mask graphs, and how likely one is to have parted: the tables of docs/graphs.md."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import comb
from typing import Annotated

import typer

from benchmarks.fcp_degree import fcp_degree
from fedspallm_secure.charter import unmasking_threshold
from fedspallm_secure.secagg.degree import Degree, compute_degree

_MANY = (66, 100, 200, 500, 1000, 2000, 4096)
_RATES = ((5, 5), (5, 10), (5, 30), (10, 5))  # per cent of colluders and drop-outs
_FEW = (3, 4, 5, 6, 8, 10, 16, 32, 65)
_COLLUDERS = (0, 1, 2, 5)


def parting_bound(clients: int, colluders: int, degree: Degree) -> Fraction:
    """At least the probability that honest survivors who passed the check can have parted, whoever chose the drop-outs.

    That takes t colluders in two stretches with somebody between them on either side; there are n (n - k - 1) / 2 such
    pairs.

    Args:
        clients: n.
        colluders: c, fixed before the order is drawn.
        degree: k and t.
    """
    n, c, k = clients, colluders, degree.neighbours
    choices = sum(comb(c, hit) * comb(n - c, k - hit) for hit in range(degree.threshold, min(c, k) + 1))
    return Fraction(n * (n - k - 1) * choices, 2 * comb(n, k))


@dataclass(frozen=True)
class Sparse:
    """A large cohort's graph.

    Attributes:
        clients: n.
        colluders: c.
        dropouts: d.
        neighbours: k.
        threshold: t.
        parts: e, where the graph of confirmed survivors has parted with probability at most 2^-e, or None for never.
        fcp_neighbours: k by Google's rule, n - 1 where that asks for the complete graph.
        fcp_threshold: t by that rule, None where it asks for the complete graph.
    """

    clients: int
    colluders: int
    dropouts: int
    neighbours: int
    threshold: int
    parts: int | None
    fcp_neighbours: int
    fcp_threshold: int | None


@dataclass(frozen=True)
class Complete:
    """A small cohort's graph.

    Attributes:
        clients: n.
        colluders: c.
        threshold: t.
        dropouts: how many may go and leave t.
    """

    clients: int
    colluders: int
    threshold: int
    dropouts: int


def sparse_graphs() -> list[Sparse]:
    """Large cohorts at several rates."""
    graphs = []
    for clients in _MANY:
        for colluding, vanishing in _RATES:
            colluders, dropouts = clients * colluding // 100, clients * vanishing // 100
            degree = compute_degree(clients, colluders, dropouts)
            if degree is not None:
                theirs = fcp_degree(clients, colluders, dropouts)
                graphs.append(
                    Sparse(
                        clients,
                        colluders,
                        dropouts,
                        degree.neighbours,
                        degree.threshold,
                        _bits(parting_bound(clients, colluders, degree)),
                        clients - 1 if theirs is None else theirs.neighbours,
                        None if theirs is None else theirs.threshold,
                    )
                )
    return graphs


def complete_graphs() -> list[Complete]:
    """Small cohorts with a few colluders; at least c + 2 members contribute to anything."""
    return [
        Complete(clients, colluders, threshold, clients - threshold)
        for clients in _FEW
        for colluders in _COLLUDERS
        if clients >= colluders + 2
        for threshold in (unmasking_threshold(clients, colluders),)
    ]


def sparse_table() -> str:
    """`sparse_graphs` in Markdown."""
    heads = ["members n", "colluders c", "drop-outs d", "neighbours k", "threshold t", "parts", "FCP's k", "FCP's t"]
    return _markdown(
        heads,
        (
            [
                *map(str, (graph.clients, graph.colluders, graph.dropouts, graph.neighbours, graph.threshold)),
                "never" if graph.parts is None else f"2^-{graph.parts}",
                str(graph.fcp_neighbours),
                "" if graph.fcp_threshold is None else str(graph.fcp_threshold),
            ]
            for graph in sparse_graphs()
        ),
    )


def complete_table() -> str:
    """`complete_graphs` in Markdown: a row a size, a column a number of colluders."""
    cells = {(graph.clients, graph.colluders): f"{graph.threshold} ({graph.dropouts})" for graph in complete_graphs()}
    return _markdown(
        ["members n", *(f"c = {colluders}" for colluders in _COLLUDERS)],
        ([str(clients), *(cells.get((clients, colluders), "") for colluders in _COLLUDERS)] for clients in _FEW),
    )


def _bits(probability: Fraction) -> int | None:
    """The largest e with probability <= 2^-e."""
    return (probability.denominator // probability.numerator).bit_length() - 1 if probability else None


def _markdown(heads: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---:"] * len(heads), *rows))


def main(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Degree and threshold of mask graphs, as the tables of docs/graphs.md."""
    if as_json:
        sparse, complete = map(asdict, sparse_graphs()), map(asdict, complete_graphs())
        typer.echo(json.dumps({"sparse": list(sparse), "complete": list(complete)}))
        return
    typer.echo(f"{sparse_table()}\n\n{complete_table()}")


if __name__ == "__main__":
    typer.run(main)
