"""A lane: one tensor's vector inside a sum, with the clients that contribute to it."""

from __future__ import annotations

from dataclasses import dataclass

from fedspallm_secure.messages import SumName
from fedspallm_secure.secagg.packing import Packing

__all__ = ["Lane"]


@dataclass(frozen=True)
class Lane:
    """One lane of a round.

    Attributes:
        index: position in the charter; it enters every mask's key.
        name: the tensor's parameter name.
        length: number of weights.
        cohort: roster indices of the contributors, ascending.
        votes: packing of the votes sum.
        values: packing of the values sum.
        ciphertext_words: words that one client's votes take where they are encrypted; 0 where they are masked.
    """

    index: int
    name: str
    length: int
    cohort: tuple[int, ...]
    votes: Packing
    values: Packing
    ciphertext_words: int = 0

    def packing(self, name: SumName) -> Packing:
        """The packing of one of the two sums."""
        return self.votes if name == "votes" else self.values
