"""Progress of a sweep on the terminal: the whole, and a line a point that is under way. Goes to standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["TerminalPoints"]

_TITLE = 30


class TerminalPoints:
    """Shows points as they go; where there is no terminal, a line when each is done.

    Args:
        console: standard error.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._left = 0
        self._lines: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._whole = self._progress.add_task("[bold]points", total=None)

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()

    def begin(self, points: int, finished: int) -> None:
        """There are so many points, of which some were finished before."""
        self._left = points - finished
        self._progress.update(self._whole, total=points, completed=finished)
        if finished:
            self._say(f"{finished} of {points} points were finished before.")

    def started(self, name: str) -> None:
        """A point is under way."""
        self._lines[name] = self._progress.add_task(escape(name), total=None)

    def stepped(self, name: str, title: str, done: int, total: int) -> None:
        """How far a point is."""
        described = escape(f"{name}: {title[:_TITLE]}")
        self._progress.update(self._lines[name], description=described, completed=done, total=total or None)

    def finished(self, name: str) -> None:
        """A point is finished."""
        self._end(name, "[green]✓[/green]")

    def failed(self, name: str, problem: str) -> None:
        """A point failed."""
        self._end(name, "[red]failed[/red]")
        self._say(f"  {problem}")

    def _end(self, name: str, mark: str) -> None:
        line = self._lines.pop(name)
        seconds = self._progress.tasks[self._progress.task_ids.index(line)].elapsed or 0.0
        self._progress.remove_task(line)
        self._progress.advance(self._whole)
        self._left -= 1
        left = f"{self._left} left" if self._left else "none left"
        self._progress.console.print(f"{mark} {escape(name)}  {seconds:.0f} s, {left}", highlight=False, soft_wrap=True)

    def _say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
