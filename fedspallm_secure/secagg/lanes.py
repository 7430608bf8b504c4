"""A lane: one tensor's or one input's vector inside a sum, with the clients that contribute to it."""

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
        length: digits of the votes sum: one a weight, or one an input whose second moment is summed.
        cohort: roster indices of the contributors, ascending.
        votes: packing of the votes sum.
        values: packing of the values sum.
        longest: most digits of the values sum; None for as many as the votes sum has.
        ciphertext_words: words that one client's votes take where they are encrypted; 0 where they are masked.
    """

    index: int
    name: str
    length: int
    cohort: tuple[int, ...]
    votes: Packing
    values: Packing
    longest: int | None = None
    ciphertext_words: int = 0

    @property
    def most_values(self) -> int:
        """Most digits of the values sum."""
        return self.length if self.longest is None else self.longest

    def packing(self, name: SumName) -> Packing:
        """The packing of one of the two sums."""
        return self.votes if name == "votes" else self.values
