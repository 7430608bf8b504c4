"""Weights pruned from second moments, as the package prunes them: vectors of the two solvers alone."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation import prune_from_diagonal, prune_from_moment
from fedspallm_secure.charter import parse_pattern
from protocol.vectors.making.stage import DTYPES

__all__ = ["CASES", "pruning"]

Json = dict[str, Any]


def pruning(given: Json) -> Json:
    """New weights, from the second moment of tokens that are whole numbers."""
    X = np.frombuffer(bytes.fromhex(given["text"]), np.int8).reshape(-1, given["columns"]).astype(np.float64)
    M, pattern = X.T @ X, parse_pattern(given["pattern"])
    W = np.frombuffer(bytes.fromhex(given["weights"]), DTYPES[given["dtype"]]).reshape(-1, given["columns"])
    if given["operation"] == "diagonal":
        (new,) = prune_from_diagonal([W], M.diagonal(), pattern)
    else:
        (new,) = prune_from_moment([W], M, pattern, Fraction(given["damping"]), given["block"])
    return {"weights": new.tobytes().hex()}


def _case(operation: str, pattern: str, dtype: str, sides: tuple[int, int, int], **more: Any) -> Json:
    """Rows, columns and tokens; one input is dead, one is twice another, and some weights are zero."""
    rows, columns, tokens = sides
    rng = Random(f"{operation} {pattern} {dtype} {sides}")
    X = _drawn(tokens, columns, lambda: min(127, max(-127, round(rng.gauss(0, 20)))))
    X[:, 2] = 0
    X[:, 5] = X[:, 4] // 2 * 2
    X[:, 4] = X[:, 5] // 2
    W = _drawn(rows, columns, lambda: round(rng.gauss(0, 64))) / 64
    W[:, 7] = -0.0
    return {
        "operation": operation,
        "columns": columns,
        "text": X.astype(np.int8).tobytes().hex(),
        "dtype": dtype,
        "weights": W.astype(DTYPES[dtype]).tobytes().hex(),
        "pattern": pattern,
        **more,
    }


def _drawn(rows: int, columns: int, draw: Callable[[], int]) -> NDArray[np.int64]:
    return np.array([draw() for _ in range(rows * columns)]).reshape(rows, columns)


CASES = [
    _case("diagonal", "0.5", "float32", (5, 12, 9)),
    _case("diagonal", "1/3", "bfloat16", (7, 9, 30)),
    _case("diagonal", "1:4", "float16", (3, 16, 20)),
    _case("moment", "0.5", "float32", (4, 40, 90), damping="0.01", block=128),
    _case("moment", "0.7", "float32", (3, 37, 80), damping="0.01", block=12),
    _case("moment", "2:4", "bfloat16", (3, 36, 70), damping="0.01", block=128),
    _case("moment", "1/3", "float16", (2, 44, 36), damping="0.000000001", block=24),
    _case("moment", "0.9", "float32", (3, 16, 12), damping="0.000000001", block=1),
]
"""Of the last two, no factor exists before the damping was raised: there are fewer tokens than inputs."""
