"""Rounds in which second moments are pooled: what their charters say of inputs, and what institutions measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Pooling", "Shared"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Shared:
    """One input, and the tensors that see it.

    Attributes:
        layer: its decoder layer.
        columns: how many numbers it has.
        tensors: rows and dtype of each.
        exponent: of the charter.
        matrix: whether more than its diagonal is summed.
        noise: bound, variance and scale, where there is noise.
    """

    layer: int
    columns: int
    tensors: Sequence[tuple[int, str]]
    exponent: int
    matrix: bool = False
    noise: tuple[int, int, list[int]] | None = None

    def noted(self) -> Json | None:
        """The charter's `noise`."""
        return None if self.noise is None else dict(zip(("bound", "variance", "scale"), self.noise, strict=True))


@dataclass(frozen=True)
class Pooling:
    """What a charter says of statistics.

    Attributes:
        exchange: of the charter.
        inputs: in order.
        damping: of the charter.
        block: of the charter.
    """

    exchange: str
    inputs: Sequence[Shared]
    damping: str = "0.01"
    block: int = 8

    def tensors(self) -> list[tuple[str, int, int, int, str]]:
        """Name, layer, rows, columns and dtype of each, in order."""
        return [
            (name, one.layer, rows, one.columns, dtype)
            for at, one in enumerate(self.inputs)
            for name, (rows, dtype) in zip(self._names(at), one.tensors, strict=True)
        ]

    def aggregate(self) -> Json:
        """The charter's member."""
        inputs = [
            {"tensors": self._names(at), "exponent": one.exponent, "matrix": one.matrix, "noise": one.noted()}
            for at, one in enumerate(self.inputs)
        ]
        return {
            "kind": "statistics",
            "exchange": self.exchange,
            "inputs": inputs,
            "damping": self.damping,
            "block": self.block,
        }

    def measured(self, rng: np.random.Generator) -> Json:
        """One institution's figures and second moments of every input.

        Of inputs whose diagonals alone are summed, one entry is larger than a digit can say, and one is negative, as
        noise can make it.
        """
        moments = {}
        for at, one in enumerate(self.inputs):
            X = np.rint(rng.normal(size=(2 * one.columns, one.columns)) * 16) / 8
            X *= np.exp2(np.arange(one.columns) % 5)
            X[:, 3] = X[:, 2] + X[:, 4]  # nothing new
            X[:, 1] = 0.0  # dead
            moment = X.T @ X
            if not one.matrix:
                moment[0, 0] *= 2.0 ** (40 - one.exponent)
                moment[5, 5] = -1.0
                moment = moment.diagonal()
            moments[self._names(at)[0]] = moment.astype("<f8").tobytes().hex()
        tokens, loss = rng.integers(1000, 100_000), rng.integers(2_000_000, 4_000_000)
        return {"entropy": "", "moments": moments, "tokens": int(tokens), "loss": int(loss)}

    def _names(self, at: int) -> list[str]:
        one = self.inputs[at]
        number = sum(other.layer == one.layer for other in self.inputs[:at])
        return [f"layers.{one.layer}.{number}.{letter}" for letter, _ in zip("abc", one.tensors, strict=False)]
