"""The price of Gaussian noise by numerical integration, and entropy that is always the same: for the tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import inf, pi, sqrt

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_PANELS = 200


def delta_by_integration(epsilon: float, mu: float) -> float:
    """Integral of max(0, p - e^epsilon q), p the density of N(mu, 1) and q that of N(0, 1).

    From the point on where the two are equal, the integrand is p (1 - e^(-mu y)), y the distance to it: never negative,
    and no large numbers cancel.
    """
    c = epsilon / mu - mu / 2
    end = min(60 / c if c > 0 else inf, 11 + max(0.0, -c))
    edges = np.linspace(0, end, _PANELS + 1)
    y = ((edges[1:] + edges[:-1])[:, None] + np.diff(edges)[:, None] * _NODES) / 2
    values = np.exp(-((y + c) ** 2) / 2) / sqrt(2 * pi) * -np.expm1(-mu * y)
    return float((values @ _WEIGHTS) @ np.diff(edges) / 2)


def epsilon_by_integration(delta: float, mu: float) -> float:
    """Where that is `delta`, by bisection."""
    if delta_by_integration(0, mu) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_by_integration(high, mu) > delta:
        low, high = high, 2 * high
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (low, middle) if delta_by_integration(middle, mu) <= delta else (middle, high)
    return high


def entropy_of(seed: int) -> Callable[[int], bytes]:
    """Bytes that depend on the seed and on how often they were asked for."""
    asked = 0

    def entropy(count: int) -> bytes:
        nonlocal asked
        asked += 1
        return hashlib.shake_256(f"{seed} {asked}".encode()).digest(count)

    return entropy
