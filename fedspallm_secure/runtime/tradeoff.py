"""A whole sweep: run every point that is not finished yet, then write tables and page of all."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from fedspallm_secure.errors import StorageError
from fedspallm_secure.evaluation import (
    Auc,
    PointFigures,
    Results,
    Tradeoff,
    figures_of,
    make_tradeoff,
    write_tables,
    write_tradeoff_page,
)
from fedspallm_secure.runtime.first_round import first_round_of
from fedspallm_secure.runtime.sweep import Sweep, SweepPoint
from fedspallm_secure.runtime.sweep_crew import ShownPoints, run_tasks
from fedspallm_secure.runtime.sweep_folder import SweepFolder
from fedspallm_secure.runtime.sweep_worker import Task
from fedspallm_secure.runtime.versions import versions_of

__all__ = ["run_sweep", "usual_jobs"]

_MOST_USUAL_JOBS = 8


def usual_jobs(threads: int) -> int:
    """Points at a time where nobody says how many: cores over threads, at most eight for memory's sake."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // threads, _MOST_USUAL_JOBS))


def run_sweep(
    sweep: Sweep,
    out: Path,
    shown: ShownPoints,
    *,
    jobs: int,
    threads: int,
    keep_models: bool = False,
    keep_transcripts: bool = False,
) -> Tradeoff:
    """Run what is not finished in `out`, and write tradeoff.json, tradeoff.csv and tradeoff.html there.

    Args:
        sweep: its points.
        out: folder to make, or that of the same sweep with these or other points.
        shown: where progress is shown.
        jobs: points at a time; results do not depend on it.
        threads: of each; results depend on it in the last digits.
        keep_models: whether a point's folder keeps its model.
        keep_transcripts: whether it keeps its transcript.

    Returns:
        What tradeoff.json holds. Points that failed are told there.

    Raises:
        StorageError: `out` can't be used or written.
    """
    versions = versions_of(threads)
    folder = SweepFolder(out, versions)
    try:
        removed = (*(() if keep_models else ("model",)), *(() if keep_transcripts else ("transcript",)))
        unfinished = {point.name: point for point in sweep.points if not folder.has(point.name)}
        groups = {name: first_round_of(point.config) for name, point in unfinished.items()}
        sizes = Counter(groups.values())

        def task(point: SweepPoint) -> Task:
            group = groups[point.name]
            alone = group is None or (sizes[group] == 1 and not folder.shared(group).exists())
            shared = None if alone or group is None else folder.shared(group)
            return Task(
                name=point.name,
                config=point.config,
                vanishing=point.vanishing,
                running=folder.running,
                points=folder.points,
                shared=shared,
                removed=removed,
                membership=sweep.membership,
            )

        shown.begin(len(sweep.points), len(sweep.points) - len(unfinished))
        for name in unfinished:
            (folder.failed / f"{name}.txt").unlink(missing_ok=True)
        tasks = [task(point) for point in unfinished.values()]
        failed = run_tasks(tasks, jobs, threads, folder.running / "log.txt", shown, folder.forget)
        for name, failure in failed.items():
            (folder.failed / f"{name}.txt").write_text(failure.whole, encoding="utf-8")
        figures, models = {}, []
        for point in sweep.points:
            if point.name not in failed:
                figures[point.name], model = _read(folder.points / point.name)
                models.append(model)
        problems = {name: failure.problem for name, failure in failed.items()}
        points = [(point.name, point.axes) for point in sweep.points]
        tradeoff = make_tradeoff(sweep.axes, points, figures, problems, models, versions)
        write_tables(tradeoff, out)
        write_tradeoff_page(tradeoff, out / "tradeoff.html")
    except OSError as error:
        raise StorageError(f"{out} can't be written: {error}.", "Free space; then start again.") from error
    finally:
        folder.close()
    return tradeoff


def _read(point: Path) -> tuple[PointFigures, str]:
    """Figures and base model of a finished point."""
    try:
        results = Results.model_validate_json((point / "results.json").read_bytes())
        note = json.loads((point / "point.json").read_bytes())
        found = note.get("membership")
        area = None if found is None else Auc(**found)
        return figures_of(results, note["vanishing"], note["pruned"], area), results.base_model
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{point} is damaged: {error}.", "Remove that folder; the point is then run again."
        ) from error
