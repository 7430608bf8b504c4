"""What published sums mean, lane by lane: section 6.2's digits, section 14's lengths and model."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from protocol.vectors.second.agreement import Lane, Round
from protocol.vectors.second.model import Matrix, model_digest
from protocol.vectors.second.participation import Participation
from protocol.vectors.second.refusal import require

__all__ = ["Outcome", "blob_of", "words_of"]


def blob_of(words: Sequence[int]) -> bytes:
    """Words as bytes."""
    return struct.pack(f"<{len(words)}Q", *words)


def words_of(check: str, blob: Mapping[str, Any], blobs: Mapping[str, bytes]) -> list[int]:
    """C29 or S11: the words of a lane that a message names."""
    data = blobs.get(blob["blob"], b"")
    require(check, hashlib.sha256(data).hexdigest() == blob["blob"] and len(data) == 8 * blob["words"])
    return list(struct.unpack(f"<{blob['words']}Q", data))


class Outcome:
    """The meaning of one round's sums.

    Args:
        the_round: which.
        weights: tensor's name -> bytes at the start of the round.
        blobs: digest -> bytes; may still grow.
    """

    def __init__(self, the_round: Round, weights: Mapping[str, bytes], blobs: Mapping[str, bytes]) -> None:
        self._round = the_round
        self._blobs = blobs
        self.matrices = [
            Matrix(the_round, tensor, weights[tensor["name"]], lane.packing["values"].q // 2)
            for lane, tensor in zip(the_round.lanes, the_round.charter["base"]["pruned"], strict=False)
        ]

    def digits(self, lane: Lane, which: str, blob: Mapping[str, Any], length: int) -> list[int]:
        """C29, C30: the digits of a published lane."""
        found = lane.packing[which].unpack(words_of("C29", blob, self._blobs), length)
        require("C30", found is not None, lane.name)
        return found or []

    def counts(self, lane: Lane, sums: Mapping[str, Any], participation: Participation) -> list[int]:
        """C31: the votes of one tensor's lane."""
        counts = self.digits(lane, "votes", sums["lanes"][lane.index], lane.length)
        require("C31", all(count <= participation.number(lane, "votes") for count in counts), lane.name)
        return counts

    def positions(self, lane: Lane, sums: Mapping[str, Any], participation: Participation) -> list[int]:
        """The eligible positions of one tensor's lane."""
        counts = self.counts(lane, sums, participation)
        return self.matrices[lane.index].eligible(counts, participation.bar(self._round.group_of(lane)))

    def lengths(self, sums: Mapping[str, Any], participation: Participation) -> list[int]:
        """Digits of each lane in values."""
        tensors = self._round.tensors
        lengths = [len(self.positions(lane, sums, participation)) for lane in tensors]
        return [*lengths, *(lane.length for lane in self._round.lanes[len(tensors) :])]

    def weights(
        self, counts: Mapping[str, Any], values: Mapping[str, Any] | None, participation: Participation
    ) -> dict[str, bytes]:
        """C32, and the new weights, from `sums` of votes and of values or None."""
        new = {}
        for lane, matrix in zip(self._round.lanes, self.matrices, strict=False):
            votes, bar = self.counts(lane, counts, participation), participation.bar(self._round.group_of(lane))
            sums, n = None, 0
            if values is not None:
                positions = matrix.eligible(votes, bar)
                sums, n = (
                    self.digits(lane, "values", values["lanes"][lane.index], len(positions)),
                    participation.number(lane, "values"),
                )
                require("C32", matrix.fits(sums, votes, positions, n), lane.name)
            new[lane.name] = matrix.new(votes, bar, sums, n)
        return new

    def model(self, counts: Mapping[str, Any], values: Mapping[str, Any] | None, participation: Participation) -> str:
        """The model's digest."""
        return model_digest(self._round, self.weights(counts, values, participation))
