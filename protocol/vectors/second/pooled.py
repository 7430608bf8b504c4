"""SPEC.md section 22: lanes of second moments, one an input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import combinations
from math import fsum, isfinite, sqrt
from typing import Any

from protocol.vectors.second.agreement import Lane, Round
from protocol.vectors.second.model import decode, encode
from protocol.vectors.second.participation import Participation
from protocol.vectors.second.published import Published
from protocol.vectors.second.refusal import CheckError, require
from protocol.vectors.second.secrets import Institution
from protocol.vectors.second.solver import prune_from_diagonal, prune_from_factor
from protocol.vectors.second.substitution import inverse_factor

__all__ = ["Pooled", "rounded"]

_Sums = Mapping[str, Any]


class Pooled:
    """What such lanes mean.

    Args:
        the_round: which.
        weights: tensor's name -> bytes at the start of the round.
        published: reads sums.
    """

    def __init__(self, the_round: Round, weights: Mapping[str, bytes], published: Published) -> None:
        assert the_round.statistics is not None
        self._round = the_round
        self._weights = weights
        self._published = published
        self._inputs = {one["tensors"][0]: one for one in the_round.statistics["inputs"]}
        self._damping = Fraction(the_round.statistics["damping"])
        self._block = the_round.statistics["block"]

    def votes(self, mine: Institution, lane: Lane) -> list[int]:
        """The digits of a diagonal."""
        Q, exponent, M = lane.packing["votes"].q // 2, self._inputs[lane.name]["exponent"], mine.moments[lane.name]
        stride = lane.length + 1 if len(M) > lane.length else 1
        return [round(min(max(m * 2.0**exponent, -Q), Q)) + Q for m in M[::stride]]

    def values(self, mine: Institution, lane: Lane, counts: _Sums, participation: Participation) -> list[int]:
        """The digits of what lies above a diagonal."""
        if self.length(lane, counts, participation) == 0:
            return []
        Q, M = lane.packing["values"].q // 2, mine.moments[lane.name]
        digits = []
        for (i, k), step in self._steps(lane, self._diagonal(lane, counts, participation)):
            steps = M[i * lane.length + k] / step if step > 0 else 0.0
            digits.append(round(min(max(steps, -Q), Q)) + Q)
        return digits

    def length(self, lane: Lane, counts: _Sums, participation: Participation) -> int:
        """Digits of the second sum."""
        del counts
        enough = participation.number(lane, "votes") >= participation.bar(self._round.group_of(lane))
        return lane.length * (lane.length - 1) // 2 if self._inputs[lane.name]["matrix"] and enough else 0

    def possible(self, lane: Lane, counts: _Sums, values: _Sums | None, participation: Participation) -> None:
        """C31, C32."""
        self._sums(lane, "votes", counts, lane.length, participation)
        if values is not None:
            self._sums(lane, "values", values, self.length(lane, counts, participation), participation)

    def new(self, lane: Lane, counts: _Sums, values: _Sums | None, participation: Participation) -> dict[str, bytes]:
        """C31, C32, C52, and the new weights."""
        self.possible(lane, counts, values, participation)
        D, d = self._diagonal(lane, counts, participation), lane.length
        length = self.length(lane, counts, participation)
        U: list[list[float]] | None = None
        if values is not None and length > 0:
            sums, n = self._sums(lane, "values", values, length, participation), participation.number(lane, "values")
            M = [[D[i] if i == k else 0.0 for k in range(d)] for i in range(d)]
            for S, ((i, k), step) in zip(sums, self._steps(lane, D), strict=True):
                M[i][k] = M[k][i] = float(S - n * (lane.packing["values"].q // 2)) * step
            drawn = self._drawn(M, self._noise(lane, n))
            if drawn is not None:
                scale = self._scale(lane)
                M = [[x * (scale[i] * scale[k]) for k, x in enumerate(row)] for i, row in enumerate(drawn)]
                with _finite(lane):
                    U = inverse_factor(M, self._damping)
                require("C52", U is not None, lane.name)
        new = {}
        for name in lane.tensors:
            tensor = self._round.tensor(name)
            numbers = decode(self._weights[name], tensor["dtype"])
            W = [numbers[start : start + d] for start in range(0, len(numbers), d)]
            pattern = self._round.sparsity, self._round.group_of_columns
            if U is None:
                unscaled = [x * (s * s) for x, s in zip(D, self._scale(lane), strict=True)]
                pruned = prune_from_diagonal(W, unscaled, *pattern)
            else:
                with _finite(lane):
                    pruned = prune_from_factor(W, U, [x <= 0 for x in D], *pattern, self._block)
            with _finite(lane):
                new[name] = rounded(tensor["dtype"], pruned)
        return new

    def _sums(self, lane: Lane, which: str, sums: _Sums, length: int, participation: Participation) -> list[int]:
        """C31, C32: digits that so many institutions can give."""
        digits = self._published.digits(lane, which, sums["lanes"][lane.index], length)
        most = participation.number(lane, which) * lane.packing[which].q
        require("C31" if which == "votes" else "C32", all(digit <= most for digit in digits), lane.name)
        return digits

    def _diagonal(self, lane: Lane, counts: _Sums, participation: Participation) -> list[float]:
        """D."""
        n, Q, d = participation.number(lane, "votes"), lane.packing["votes"].q // 2, lane.length
        sums = self._sums(lane, "votes", counts, d, participation)
        shown = [float(S - n * Q) * 2.0 ** -self._inputs[lane.name]["exponent"] for S in sums]
        v = self._noise(lane, n)
        if v is None:
            return [max(x, 0.0) for x in shown]
        sigma = sqrt(v)
        a = max(fsum(shown) / d, sigma / sqrt(d))
        t, w = fsum((x - a) * (x - a) for x in shown) / d - v, 0.0
        if t > (3 * v) * sqrt(2 / d):
            t = min(t, 4 * a * a)
            w = t / (t + v)
        return [max(a + w * (x - a), min(sigma, a)) for x in shown]

    def _drawn(self, M: list[list[float]], v: float | None) -> list[list[float]] | None:
        """The moment, towards its diagonal."""
        if v is None:
            return M
        d, h = len(M), v / 2
        pairs = d * (d - 1) // 2
        t = fsum(M[i][k] * M[i][k] for i, k in combinations(range(d), 2)) / pairs - h
        if t < h:
            return None
        w = t / (t + h)
        more = w * sqrt(v) * sqrt(2 * d)
        if more > fsum(M[i][i] for i in range(d)) / d / 2:
            return None
        return [[M[i][i] + more if i == k else w * M[i][k] for k in range(d)] for i in range(d)]

    def _noise(self, lane: Lane, n: int) -> float | None:
        """v, of what n clients added to a diagonal."""
        one, group = self._inputs[lane.name], self._round.group_of(lane)
        if not one["noise"]:
            return None
        left = group.quorum - self._round.parameters["colluders"]
        return float(one["noise"]["variance"] * n / left * 4.0 ** -one["exponent"])

    def _scale(self, lane: Lane) -> list[float]:
        """What inputs are divided by."""
        noise = self._inputs[lane.name]["noise"]
        return [s / 2**16 for s in noise["scale"]] if noise else [1.0] * lane.length

    def _steps(self, lane: Lane, D: Sequence[float]) -> list[tuple[tuple[int, int], float]]:
        """By position above the diagonal, row by row."""
        one, Q, root = self._inputs[lane.name], float(lane.packing["values"].q // 2), [sqrt(x) for x in D]
        grid = 2.0 ** -one["exponent"] if one["noise"] else None
        return [((i, k), grid or root[i] * root[k] / Q) for i, k in combinations(range(len(D)), 2)]


@contextmanager
def _finite(lane: Lane) -> Iterator[None]:
    """C52: numbers that are not finite do not become integers, and those that are too large are no weights."""
    try:
        yield
    except (OverflowError, ValueError) as error:
        raise CheckError("C52", lane.name) from error


def rounded(dtype: str, W: Sequence[Sequence[float]]) -> bytes:
    """As bytes, by way of binary32; OverflowError where that is not finite."""
    data = encode(decode(encode([w for row in W for w in row], "float32"), "float32"), dtype)
    if not all(map(isfinite, decode(data, dtype))):
        raise OverflowError(dtype)
    return data
