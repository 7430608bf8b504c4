"""The processes of a sweep: each runs one point at a time, and one that dies takes only its point with it.

Points that prune the same layers in their first round form a group. The first of a group prunes; the others wait until
it is done, and take its layers.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Protocol

from fedspallm_secure.errors import FedspallmError
from fedspallm_secure.runtime.sweep_worker import Failed, Finished, Stepped, Task, work

__all__ = ["ShownPoints", "run_tasks"]


class ShownPoints(Protocol):
    """Where the progress of a sweep is shown."""

    def begin(self, points: int, finished: int) -> None:
        """There are so many points, of which some were finished before."""

    def started(self, name: str) -> None:
        """A point is under way."""

    def stepped(self, name: str, title: str, done: int, total: int) -> None:
        """How far a point is: a step's title, parts done and parts in all (0: not known)."""

    def finished(self, name: str) -> None:
        """A point is finished."""

    def failed(self, name: str, problem: str) -> None:
        """A point failed."""


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    task: Task | None = None


def run_tasks(
    tasks: Sequence[Task],
    jobs: int,
    threads: int,
    log: Path,
    shown: ShownPoints,
    no_longer_shared: Callable[[Path], None],
) -> dict[str, Failed]:
    """Run all tasks, `jobs` at a time.

    Args:
        tasks: in the order in which they begin, but that one waits for the first of its group.
        jobs: most processes.
        threads: of each.
        log: takes whatever libraries print.
        shown: where progress is shown.
        no_longer_shared: called when no task is left that could take what a group shares.

    Returns:
        Name -> how it failed, of those that did.
    """
    crew = _Crew(list(tasks), threads, log, shown, no_longer_shared)
    try:
        while crew.left():
            crew.employ(jobs)
            crew.listen()
    finally:
        crew.dismiss()
    return crew.failed


class _Crew:
    def __init__(
        self,
        pending: list[Task],
        threads: int,
        log: Path,
        shown: ShownPoints,
        no_longer_shared: Callable[[Path], None],
    ) -> None:
        self.failed: dict[str, Failed] = {}
        self._pending = pending
        self._threads = threads
        self._log = log
        self._shown = shown
        self._no_longer_shared = no_longer_shared
        self._workers: list[_Worker] = []

    def left(self) -> bool:
        """Whether something runs or is to be run."""
        return bool(self._pending) or any(worker.task for worker in self._workers)

    def employ(self, jobs: int) -> None:
        """Give every idle process a task, and make more processes while there is work for them."""
        while True:
            idle = next((worker for worker in self._workers if worker.task is None), None)
            if idle is None and len(self._workers) == jobs:
                return
            task = next((task for task in self._pending if not self._waits(task)), None)
            if task is None:
                return
            self._pending.remove(task)
            worker = idle or self._hire()
            worker.task = task
            self._shown.started(task.name)
            with suppress(OSError):  # it died while it was idle; listening tells
                worker.connection.send(task)

    def listen(self) -> None:
        """Take what the processes say."""
        busy = {worker.connection: worker for worker in self._workers if worker.task is not None}
        for connection in wait(list(busy)):
            worker = next(worker for other, worker in busy.items() if other is connection)
            try:
                said = worker.connection.recv()
            except (EOFError, OSError):
                worker.process.join()
                said = Failed(
                    f"Its process ended with {worker.process.exitcode} (-9: killed, by the system if memory ran out).",
                    FedspallmError.exit_code,
                    f"See {self._log}.",
                )
                self._workers.remove(worker)
            self._take(worker, said)

    def dismiss(self) -> None:
        """End all processes, in the midst of whatever they do."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()

    def _take(self, worker: _Worker, said: Stepped | Finished | Failed) -> None:
        task = worker.task
        assert task is not None  # it speaks only of one
        if isinstance(said, Stepped):
            self._shown.stepped(task.name, said.title, said.done, said.total)
            return
        worker.task = None
        if isinstance(said, Failed):
            self.failed[task.name] = said
            self._shown.failed(task.name, said.problem)
        else:
            self._shown.finished(task.name)
        running = [worker.task for worker in self._workers if worker.task is not None]
        if task.shared is not None and all(other.shared != task.shared for other in [*self._pending, *running]):
            self._no_longer_shared(task.shared)

    def _waits(self, task: Task) -> bool:
        """Whether the first of its group is still at work."""
        if task.shared is None or task.shared.exists():
            return False
        return any(worker.task is not None and worker.task.shared == task.shared for worker in self._workers)

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self._threads, self._log), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker
