"""What an operator wants to know of a run, summed under the same masks, so that no institution's figures are seen.

One more lane, to which everybody contributes: two numbers with the votes, two with the values, each a digit of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.secagg import Lane, Packing

__all__ = ["ClippedValues", "LocalTelemetry", "RoundTelemetry", "telemetry_lane"]

_NAME = "fedspallm-secure/telemetry"
_TOP = 2**28 - 1  # larger figures count as this
_NUMBERS = 2
_MILLION = 10**6


@dataclass(frozen=True)
class LocalTelemetry:
    """One institution's figures for one round; they leave it only inside a sum.

    Attributes:
        tokens: of calibration text that its pruning used.
        loss: of its own pruned model on calibration text, nats a token; infinite for a model that pruning ruined. Where
            statistics are pooled, of the model that the pattern starts from.
    """

    tokens: int = 0
    loss: float = 0.0

    def with_votes(self) -> NDArray[np.uint32]:
        """Digits of the votes sum: tokens, and the loss in millionths of a nat."""
        return _digits(self.tokens, self.loss * _MILLION)

    @staticmethod
    def with_values(clipped: int, entries: int) -> NDArray[np.uint32]:
        """Digits of the values sum: changes that reached the clipping bound, in millionths, and 1 if there were any."""
        return _digits(clipped * _MILLION / entries if entries else 0, entries > 0)


class ClippedValues:
    """How many of the values that an institution handed in reached their bound; a lane handed in again counts once."""

    def __init__(self) -> None:
        self._lanes: dict[str, tuple[int, int]] = {}

    def note(self, lane: Lane, clipped: int, entries: int) -> None:
        """Of a lane's `entries`, `clipped` reached the bound."""
        self._lanes[lane.name] = clipped, entries

    @property
    def total(self) -> tuple[int, int]:
        """Clipped values and all values, of all lanes."""
        return sum(clipped for clipped, _ in self._lanes.values()), sum(entries for _, entries in self._lanes.values())


@dataclass(frozen=True)
class RoundTelemetry:
    """Sums and means over the institutions of one round.

    Attributes:
        institutions: how many contributed to the votes.
        tokens: of calibration text, all together.
        mean_loss: nats a token, mean over institutions.
        mean_clipped: share of an institution's changes that reached the clipping bound, mean over those that sent any;
            None where nobody did.
    """

    institutions: int
    tokens: int
    mean_loss: float
    mean_clipped: float | None

    @classmethod
    def of(cls, institutions: int, votes: NDArray[Any], values: NDArray[Any] | None) -> RoundTelemetry:
        """From the lane's published digits."""
        clipped = None
        if values is not None and values[1]:
            clipped = int(values[0]) / int(values[1]) / _MILLION
        return cls(institutions, int(votes[0]), int(votes[1]) / institutions / _MILLION, clipped)


def telemetry_lane(index: int, clients: int) -> Lane:
    """The lane, as number `index` of the round."""
    packing = Packing(clients, _TOP, 1)
    return Lane(index, _NAME, _NUMBERS, tuple(range(clients)), packing, packing)


def _digits(*numbers: float) -> NDArray[np.uint32]:
    return np.array([round(min(max(number, 0), _TOP)) for number in numbers], np.uint32)
