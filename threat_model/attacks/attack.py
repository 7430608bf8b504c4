"""What an attack is: a claim, and the same adversary against the plain system and against this one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import FedspallmError

__all__ = ["Attack", "Finding", "Trial", "exactly", "reason", "refused", "told_apart"]


_NEARLY_ALL = 0.99


@dataclass(frozen=True)
class Trial:
    """What the adversary got out of one system.

    Attributes:
        succeeded: whether it got what it was after.
        evidence: what it got, with numbers, or what stood in its way.
    """

    succeeded: bool
    evidence: str


@dataclass(frozen=True)
class Finding:
    """An attack's result on both systems."""

    name: str
    claim: str
    succeeds_on_plain: bool
    succeeds_here: bool
    evidence: str

    @property
    def as_expected(self) -> bool:
        """Whether the attack is real, and stopped."""
        return self.succeeds_on_plain and not self.succeeds_here


@dataclass(frozen=True)
class Attack:
    """One adversary.

    Attributes:
        name: what it is called on the command line.
        claim: what it can't do here, a sentence.
        on_plain: the adversary against FedSpaLLM as it is published, or against the naive secure aggregation of it.
        here: the same adversary against this system's own machines. Both get a folder of their own.
    """

    name: str
    claim: str
    on_plain: Callable[[Path], Trial]
    here: Callable[[Path], Trial]

    def run(self, folder: Path) -> Finding:
        """Try it on both.

        Args:
            folder: an empty one, for whatever the two systems store.
        """
        plain, here = self.on_plain(folder / "plain"), self.here(folder / "here")
        evidence = f"Plain: {plain.evidence}. Here: {here.evidence}."
        return Finding(self.name, self.claim, plain.succeeded, here.succeeded, evidence)


def exactly(found: NDArray[Any], truth: NDArray[Any], what: str) -> Trial:
    """How much of what the adversary wanted it got to the last bit.

    One hit is a success, so what is compared must be hard to hit by chance: whole words, or weights that are not zero.

    Args:
        found: what the adversary believes, one entry for each thing that it wanted.
        truth: what is, same shape.
        what: they are, for people.
    """
    hits = int(np.count_nonzero(found == truth))
    return Trial(hits > 0, f"recovered {hits:,} of {truth.size:,} {what} exactly")


def told_apart(found: NDArray[np.bool_], truth: NDArray[np.bool_], what: str) -> Trial:
    """How many votes the adversary has right, where a guess is right half of the time: nearly all are a success.

    Args:
        found: what the adversary believes, one entry for each vote that it wanted.
        truth: what is, same shape.
        what: they are, for people.
    """
    right = int(np.count_nonzero(found == truth))
    return Trial(right >= _NEARLY_ALL * truth.size, f"right in {right:,} of {truth.size:,} {what}")


def refused(refusals: Iterable[tuple[str, FedspallmError]]) -> str:
    """Who refused first and why, and how many others did; the empty text where nobody did."""
    listed = list(refusals)
    if not listed:
        return ""
    name, error = listed[0]
    others = len({who for who, _ in listed} - {name})
    return f"refused by {name}: {reason(error)}" + (f" (and by {others} more)" if others else "")


def reason(error: FedspallmError) -> str:
    """An error's problem without its full stop, digests and keys cut short."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1", error.problem.removesuffix("."))
