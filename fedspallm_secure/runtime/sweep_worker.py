"""A process that runs the points of a sweep which it is given, one after the other, and tells how far it is.

What it says goes through a pipe as `Stepped`, `Finished` or `Failed`. It ends when it is told to, and at once when the
process that started it is gone: no run is left behind to write where the next sweep goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from fedspallm_secure.errors import FedspallmError, StorageError

if TYPE_CHECKING:
    from fedspallm_secure.runtime.config import RunConfig
    from fedspallm_secure.runtime.steps import Advance

__all__ = ["Failed", "Finished", "Stepped", "Task", "work"]

_SECONDS_BETWEEN = 0.2
_MEMBERSHIP = "membership.json"


@dataclass(frozen=True)
class Task:
    """A point to run.

    Attributes:
        name: of the point.
        config: of the run.
        vanishing: institutions that fall silent once votes are counted.
        running: folder of unfinished points.
        points: folder of finished points.
        shared: where pruned layers are that the point may take, or should be put if they are not there; None for
            neither.
        removed: what of a run's folder does not stay.
        membership: whether to measure what the first published sums tell of calibration windows.
    """

    name: str
    config: RunConfig
    vanishing: tuple[str, ...]
    running: Path
    points: Path
    shared: Path | None
    removed: tuple[str, ...]
    membership: bool = False


@dataclass(frozen=True)
class Stepped:
    """How far the point is: a step's title, parts done and parts in all (0: not known)."""

    title: str
    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """The point's folder is there."""


@dataclass(frozen=True)
class Failed:
    """The point failed.

    Attributes:
        problem: one sentence or two, for people.
        code: exit code of the error.
        whole: with the traceback where it is a fault of the program's.
    """

    problem: str
    code: int
    whole: str


def work(connection: Connection, threads: int, log: Path) -> None:
    """Run what comes through `connection` until None does.

    Args:
        connection: tasks in, `Stepped`, `Finished` and `Failed` out.
        threads: of torch; results depend on it.
        log: takes whatever libraries print.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with log.open("a", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    import torch

    torch.set_num_threads(threads)
    while True:
        task: Task | None = connection.recv()
        if task is None:
            return
        connection.send(_outcome(task, connection))


def _outcome(task: Task, connection: Connection) -> Finished | Failed:
    try:
        _run(task, _Sent(connection))
    except FedspallmError as error:
        return Failed(str(error), error.exit_code, str(error))
    except OSError as error:
        return Failed(f"The system refuses: {error}.", StorageError.exit_code, traceback.format_exc())
    except Exception as error:  # the other points can go on; this one's traceback is kept
        last = traceback.format_exception_only(error)[-1].strip()
        return Failed(f"A fault of the program: {last}", FedspallmError.exit_code, traceback.format_exc())
    return Finished()


def _run(task: Task, steps: _Sent) -> None:
    """Run the point, or what is left of it, and give its folder its name."""
    from fedspallm_secure.runtime.first_round import copy_first_round
    from fedspallm_secure.runtime.simulate import simulate

    out = task.running / task.name
    partial = out.with_name(out.name + ".partial")
    taken = out.with_name(out.name + ".taken")
    with out.with_name(out.name + ".lock").open("wb") as lock:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)  # who worked on it before may still be ending
        if (task.points / task.name).exists():
            return
        leads = task.shared is not None and not task.shared.exists()
        if task.shared is not None and not leads and not partial.exists() and not out.exists():
            shutil.rmtree(taken, ignore_errors=True)
            copy_first_round(task.shared, taken / "work")
            (taken / "shared").touch()
            os.replace(taken, partial)
        if not out.exists():
            keep_work = leads or task.membership
            simulate(task.config, out, steps, keep_work=keep_work, vanishing=task.vanishing)
        if task.membership and not (out / _MEMBERSHIP).exists():
            _measure_membership(task, out, steps)
        if leads and task.shared is not None and (out / "work").exists():
            aside = task.shared.with_name(task.shared.name + ".partial")
            shutil.rmtree(aside, ignore_errors=True)
            copy_first_round(out / "work", aside)
            os.replace(aside, task.shared)
        shutil.rmtree(out / "work", ignore_errors=True)
        for name in task.removed:
            shutil.rmtree(out / name, ignore_errors=True)
        note = {"vanishing": task.vanishing, "pruned": not (out / "shared").exists()}
        if task.membership:
            note["membership"] = json.loads((out / _MEMBERSHIP).read_bytes())
        (out / "point.json").write_text(json.dumps(note, indent=2), encoding="utf-8")
        for name in ("shared", _MEMBERSHIP):
            (out / name).unlink(missing_ok=True)
        os.replace(out, task.points / task.name)
    out.with_name(out.name + ".lock").unlink()


def _measure_membership(task: Task, out: Path, steps: _Sent) -> None:
    """Measure while the layers are there; a point that is killed later does not need them again."""
    from fedspallm_secure.runtime.published_membership import membership_of_run

    with steps.step("tell calibration windows from others"):
        area = membership_of_run(task.config, out)
    aside = out / f"{_MEMBERSHIP}.partial"
    aside.write_text(json.dumps(None if area is None else asdict(area)), encoding="utf-8")
    os.replace(aside, out / _MEMBERSHIP)


class _Sent:
    """Steps that are told through a pipe, a few times a second."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def step(self, title: str) -> Iterator[Advance]:
        self._connection.send(Stepped(title, 0, 0))
        last = monotonic()

        def advance(done: int, total: int) -> None:
            nonlocal last
            if monotonic() - last >= _SECONDS_BETWEEN:
                last = monotonic()
                self._connection.send(Stepped(title, done, total))

        yield advance

    def say(self, text: str) -> None:
        self._connection.send(Stepped(text, 0, 0))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
