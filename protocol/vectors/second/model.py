"""SPEC.md section 14: from weights to digits, and from sums to new weights."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from protocol.vectors.second.agreement import Round
from protocol.vectors.second.encoding import digest

__all__ = ["Matrix", "decode", "encode", "model_digest", "tensor_digest"]

_FORMATS = {"float64": "d", "float32": "f", "float16": "e"}


def decode(data: bytes, dtype: str) -> list[float]:
    """Weights as numbers."""
    if dtype == "bfloat16":
        halves = struct.unpack(f"<{len(data) // 2}H", data)
        return [struct.unpack("<f", struct.pack("<I", half << 16))[0] for half in halves]
    size = struct.calcsize(_FORMATS[dtype])
    return list(struct.unpack(f"<{len(data) // size}{_FORMATS[dtype]}", data))


def encode(values: Sequence[float], dtype: str) -> bytes:
    """Numbers as weights, rounded."""
    if dtype != "bfloat16":
        return struct.pack(f"<{len(values)}{_FORMATS[dtype]}", *values)
    halves = []
    for value in values:  # to binary32 first, then to the nearest bfloat16, ties to even
        bits = int.from_bytes(struct.pack("<f", value), "little")
        halves.append((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    return struct.pack(f"<{len(halves)}H", *halves)


def tensor_digest(data: bytes, dtype: str, rows: int, columns: int) -> str:
    """Of one matrix."""
    return hashlib.sha256(f"{dtype} {rows}x{columns}\n".encode() + data).hexdigest()


def model_digest(the_round: Round, weights: dict[str, bytes]) -> str:
    """Of the whole model, `weights` being the pruned tensors' bytes."""
    base = the_round.charter["base"]
    pruned = {
        tensor["name"]: tensor_digest(weights[tensor["name"]], tensor["dtype"], tensor["rows"], tensor["columns"])
        for tensor in base["pruned"]
    }
    return digest({**base["rest"], **pruned})


@dataclass
class Matrix:
    """A tensor at the start of a round, and what follows from its counts.

    Args:
        the_round: which.
        tensor: of the charter.
        data: its bytes.
        Q: largest change in steps.
    """

    the_round: Round
    tensor: dict[str, Any]
    data: bytes
    Q: int

    def __post_init__(self) -> None:
        self.W = decode(self.data, self.tensor["dtype"])
        columns = self.tensor["columns"]
        self.rows = [self.W[start : start + columns] for start in range(0, len(self.W), columns)]
        clip = Fraction(self.the_round.parameters["clip"])
        self.means, self.steps = [], []
        for row in self.rows:
            mean, rms = _scales(row)
            self.means.append(mean)
            self.steps.append(rms * (clip.numerator / clip.denominator) / self.Q)

    def kept(self, counts: Sequence[int]) -> list[bool]:
        """The final mask."""
        columns, group = self.tensor["columns"], self.the_round.group_of_columns
        everywhere = range(len(self.W))
        if group > 1:
            zeros = round(self.the_round.sparsity * group)
            blocks = [everywhere[start : start + group] for start in everywhere[::group]]
            ranked = [sorted(block, key=lambda j: (counts[j], abs(self.W[j]), j)) for block in blocks]
            gone = {j for block in ranked for j in block[:zeros]}
        else:
            zeros = math.floor(self.the_round.sparsity * len(self.W))

            def rank(j: int) -> tuple[int, float, int]:
                return counts[j], abs(self.W[j]) / (self.means[j // columns] or 1.0), j

            gone = set(sorted(everywhere, key=rank)[:zeros])
        return [j not in gone for j in everywhere]

    def eligible(self, counts: Sequence[int], bar: int) -> list[int]:
        """Positions of the values sum."""
        return [j for j, stays in enumerate(self.kept(counts)) if stays and counts[j] >= bar]

    def changes(self, new: bytes, voted: Sequence[bool], positions: Sequence[int]) -> list[int]:
        """One client's digits of values."""
        own = decode(new, self.tensor["dtype"])
        digits = []
        for j in positions:
            step = self.steps[j // self.tensor["columns"]]
            steps = (own[j] - self.W[j]) * (1 / step if step > 0 else 0.0) if voted[j] else 0.0
            digits.append(round(min(max(steps, -self.Q), self.Q)) + self.Q)
        return digits

    def fits(self, sums: Sequence[int], counts: Sequence[int], positions: Sequence[int], n: int) -> bool:
        """C32."""
        return all(abs(S - n * self.Q) <= counts[j] * self.Q for S, j in zip(sums, positions, strict=True))

    def new(self, counts: Sequence[int], bar: int, sums: Sequence[int] | None, n: int) -> bytes:
        """The new weights' bytes; `sums` None where no weight changes."""
        kept = self.kept(counts)
        if sums is None:
            return encode([w if stays else 0.0 for w, stays in zip(self.W, kept, strict=True)], self.tensor["dtype"])
        result = [w + 0.0 if stays else 0.0 for w, stays in zip(self.W, kept, strict=True)]
        for j, S in zip(self.eligible(counts, bar), sums, strict=True):
            step = self.steps[j // self.tensor["columns"]]
            result[j] = (S - n * self.Q) * step / counts[j] + self.W[j] + 0.0
        return encode(result, self.tensor["dtype"])


def _scales(row: Sequence[float]) -> tuple[float, float]:
    """Of one row: mean and rms."""
    top = max(abs(w) for w in row)
    e = math.frexp(top)[1] if top else 0
    f = [round(abs(w) * 2.0 ** (22 - e)) for w in row]
    mean = float(sum(f)) / float(len(row)) * 2.0 ** (e - 22)
    rms = math.sqrt(float(sum(x * x for x in f)) / float(len(row))) * 2.0 ** (e - 22)
    return mean, rms
