"""One transcript, and the vectors of what could be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.vectors.making.editor import Change, with_first
from protocol.vectors.making.forger import Forger, line

__all__ = ["BadRun", "flipped", "other_count", "with_members"]

Json = dict[str, Any]


class BadRun:
    """Collects them.

    Args:
        of: name of the transcript.
        forger: what can be done to it.
        vectors: transcripts/NAME -> vector.
    """

    def __init__(self, of: str, forger: Forger, vectors: dict[str, Json]) -> None:
        self._of = of
        self.forger = forger
        self._vectors = vectors

    def add(self, defect: str, about: str, check: str, audit: str, given: Json, depth: str = "public") -> None:
        """One vector; `audit` is the number of the package's check."""
        self._vectors[f"transcripts/{self._of}_bad_{defect}"] = {
            "family": "transcripts",
            "about": about,
            "input": {"of": self._of, "depth": depth, **given},
            "refused": {"check": check, "audit": audit},
        }

    def resigned(self, defect: str, about: str, check: str, audit: str, index: int, change: Change) -> None:
        """One entry is another one, signed by its sender, and nobody else knows."""
        self.add(defect, about, check, audit, {"lines": {str(index): line(self.forger.resigned(index, change))}})

    def retold(
        self,
        defect: str,
        about: str,
        check: str,
        audit: str,
        changes: Mapping[int, Change],
        *,
        blobs: Mapping[str, str] | None = None,
        depth: str = "public",
    ) -> None:
        """Some entries are others, and everything after them is as if everybody had seen those."""
        _, given = self.forger.retold(changes)
        self.add(defect, about, check, audit, given | ({"blobs": dict(blobs)} if blobs else {}), depth)


def with_members(**members: Any) -> Change:
    """A body with other members."""
    return lambda body: body.update(members)


def other_count(digits: Any) -> Any:
    """One vote more, or less, where the first position has some."""
    return with_first(digits, 1 - min(1, int(digits[0])))


def flipped(data: str) -> str:
    """The same bytes but for a bit of the last one."""
    return f"{data[:-2]}{int(data[-2:], 16) ^ 1:02x}"
