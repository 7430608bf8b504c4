"""Long work is told in steps: each has a title, says how far it is, and is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Protocol

__all__ = ["Advance", "Steps", "Timed"]

Advance = Callable[[int, int], None]
"""Called with (parts done, parts in all)."""


class Steps(Protocol):
    """Where progress is shown."""

    def step(self, title: str) -> AbstractContextManager[Advance]:
        """Begin a step; it ends with the block."""

    def say(self, text: str) -> None:
        """Show a text that has to be read now; a step may be under way."""


class Timed:
    """Steps that also keep how long each took.

    Args:
        shown: where progress goes.
    """

    def __init__(self, shown: Steps) -> None:
        self._shown = shown
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, title: str) -> Iterator[Advance]:
        """Begin a step; its seconds are added to those of earlier steps with this title."""
        start = perf_counter()
        with self._shown.step(title) as advance:
            yield advance
        self.seconds[title] = self.seconds.get(title, 0.0) + perf_counter() - start

    def say(self, text: str) -> None:
        """Show a text."""
        self._shown.say(text)
