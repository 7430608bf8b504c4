"""What sums mean, lane by lane: sections 14 and 22."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.vectors.second.agreement import Lane, Round
from protocol.vectors.second.averaged import Averaged
from protocol.vectors.second.model import model_digest
from protocol.vectors.second.participation import Participation
from protocol.vectors.second.pooled import Pooled
from protocol.vectors.second.published import Published
from protocol.vectors.second.secrets import Institution

__all__ = ["Outcome"]

_Sums = Mapping[str, Any]


class Outcome:
    """The meaning of one round's sums.

    Args:
        the_round: which.
        weights: tensor's name -> bytes at the start of the round.
        blobs: digest -> bytes; may still grow.
    """

    def __init__(self, the_round: Round, weights: Mapping[str, bytes], blobs: Mapping[str, bytes]) -> None:
        self._round = the_round
        self._start = weights
        self._published = Published(blobs)
        meaning = Averaged if the_round.statistics is None else Pooled
        self._meaning: Averaged | Pooled = meaning(the_round, weights, self._published)

    def digits(self, lane: Lane, which: str, blob: Mapping[str, Any], length: int) -> list[int]:
        """C29, C30: the digits of a published lane."""
        return self._published.digits(lane, which, blob, length)

    def votes(self, mine: Institution, lane: Lane) -> list[int]:
        """An institution's digits of a lane that decides weights."""
        return self._meaning.votes(mine, lane)

    def values(self, mine: Institution, lane: Lane, counts: _Sums, participation: Participation) -> list[int]:
        """The same, of the second sum."""
        return self._meaning.values(mine, lane, counts, participation)

    def lengths(self, counts: _Sums, participation: Participation) -> list[int]:
        """Digits of each lane in values."""
        self.possible(counts, None, participation)
        return [
            self._meaning.length(lane, counts, participation) if lane.tensors else lane.length
            for lane in self._round.lanes
        ]

    def possible(self, counts: _Sums, values: _Sums | None, participation: Participation) -> None:
        """C31, C32."""
        for lane in self._round.tensors:
            self._meaning.possible(lane, counts, values, participation)

    def weights(self, counts: _Sums, values: _Sums | None, participation: Participation) -> dict[str, bytes]:
        """C31, C32, C52, and the weights after the round, from `sums` of votes and of values or None."""
        new = {tensor["name"]: self._start[tensor["name"]] for tensor in self._round.charter["base"]["pruned"]}
        for lane in self._round.tensors:
            new |= self._meaning.new(lane, counts, values, participation)
        return new

    def model(self, counts: _Sums, values: _Sums | None, participation: Participation) -> str:
        """The model's digest."""
        return model_digest(self._round, self.weights(counts, values, participation))
