"""SPEC.md section 14: lanes of votes and of changes, one a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.vectors.second.agreement import Lane, Round
from protocol.vectors.second.model import Matrix
from protocol.vectors.second.participation import Participation
from protocol.vectors.second.published import Published
from protocol.vectors.second.refusal import require
from protocol.vectors.second.secrets import Institution

__all__ = ["Averaged"]

_Sums = Mapping[str, Any]


class Averaged:
    """What such lanes mean.

    Args:
        the_round: which.
        weights: tensor's name -> bytes at the start of the round.
        published: reads sums.
    """

    def __init__(self, the_round: Round, weights: Mapping[str, bytes], published: Published) -> None:
        self._round = the_round
        self._published = published
        self._matrices = [
            Matrix(the_round, the_round.tensor(lane.name), weights[lane.name], lane.packing["values"].q // 2)
            for lane in the_round.tensors
        ]

    def votes(self, mine: Institution, lane: Lane) -> list[int]:
        """An institution's digits."""
        return [int(stays) for stays in mine.kept[lane.name]]

    def values(self, mine: Institution, lane: Lane, counts: _Sums, participation: Participation) -> list[int]:
        """The same, of the second sum."""
        positions = self._positions(lane, counts, participation)
        return self._matrices[lane.index].changes(mine.pruned[lane.name], mine.kept[lane.name], positions)

    def length(self, lane: Lane, counts: _Sums, participation: Participation) -> int:
        """Digits of the second sum."""
        return len(self._positions(lane, counts, participation))

    def possible(self, lane: Lane, counts: _Sums, values: _Sums | None, participation: Participation) -> None:
        """C31, C32."""
        self.new(lane, counts, values, participation)

    def new(self, lane: Lane, counts: _Sums, values: _Sums | None, participation: Participation) -> dict[str, bytes]:
        """C31, C32, and the new weights."""
        matrix = self._matrices[lane.index]
        votes, bar = self._counts(lane, counts, participation), participation.bar(self._round.group_of(lane))
        sums, n = None, 0
        if values is not None:
            positions, n = matrix.eligible(votes, bar), participation.number(lane, "values")
            sums = self._published.digits(lane, "values", values["lanes"][lane.index], len(positions))
            require("C32", matrix.fits(sums, votes, positions, n), lane.name)
        return {lane.name: matrix.new(votes, bar, sums, n)}

    def _counts(self, lane: Lane, sums: _Sums, participation: Participation) -> list[int]:
        counts = self._published.digits(lane, "votes", sums["lanes"][lane.index], lane.length)
        require("C31", all(count <= participation.number(lane, "votes") for count in counts), lane.name)
        return counts

    def _positions(self, lane: Lane, sums: _Sums, participation: Participation) -> list[int]:
        counts = self._counts(lane, sums, participation)
        return self._matrices[lane.index].eligible(counts, participation.bar(self._round.group_of(lane)))
