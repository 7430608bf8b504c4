"""The rule that ours is compared with gives the degrees and thresholds that its authors published."""

from __future__ import annotations

import pytest

from benchmarks.fcp_degree import fcp_degree
from fedspallm_secure.secagg.degree import Degree

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
    degree = fcp_degree(clients, clients * colluding // 100, clients * vanishing // 100)
    assert degree == Degree(neighbours, threshold)


def test_where_no_sparse_graph_will_do_there_is_no_degree() -> None:
    assert fcp_degree(100, 33, 32) == Degree(98, 66)
    assert fcp_degree(100, 33, 33) is None
