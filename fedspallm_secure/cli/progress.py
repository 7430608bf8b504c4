"""Progress of long work on the terminal: one line a step with a bar and the time it took. Goes to standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fedspallm_secure.runtime import Advance

__all__ = ["TerminalSteps"]


class TerminalSteps:
    """Shows steps as they go; where there is no terminal, a line when each is done.

    Args:
        console: standard error.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, title: str) -> Iterator[Advance]:
        """Begin a step; it ends with the block."""
        columns = (
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<36}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(title, total=None)

            def advance(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            yield advance
            total = progress.tasks[0].total or 1
            progress.update(task, completed=total, total=total)

    def say(self, text: str) -> None:
        """Show a text, above the step that is under way if one is."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
