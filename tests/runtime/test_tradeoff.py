"""A sweep runs every point once, whatever happens in between, and its tables say what the runs measured."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedspallm_secure.charter import Charter
from fedspallm_secure.evaluation import Results, Tradeoff
from fedspallm_secure.messages import open_envelope
from fedspallm_secure.runtime import Advance
from fedspallm_secure.runtime.config import load_config
from fedspallm_secure.runtime.simulate import simulate
from fedspallm_secure.runtime.sweep_crew import run_tasks
from fedspallm_secure.transcript import read_log
from tests.runtime.conftest import COMMAND, ENVIRONMENT, Fedspallm
from tests.runtime.test_bad_input import refused

QUICK = "[set]\nevaluation.alone = false\nevaluation.central = false\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, configuration: Path, texts: dict[str, Path]) -> Path:
    """A configuration of five institutions: one may vanish."""
    lines = [configuration.read_text(encoding="utf-8")]
    for name, kind in (("more", "letters"), ("most", "ledger")):
        lines += ["[[institution]]", f'name = "{name}"', f'kind = "{kind}"', f'calibration = "{texts[kind]}"']
    path = tmp_path_factory.mktemp("base") / "base.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write(folder: Path, base: Path, axes: str) -> Path:
    """A sweep file."""
    path = folder / "sweep.toml"
    path.write_text(f'base = "{base}"\n{QUICK}[axes]\n{axes}\n', encoding="utf-8")
    return path


def read(out: Path) -> Tradeoff:
    return Tradeoff.model_validate_json((out / "tradeoff.json").read_bytes())


def ran(out: Path) -> dict[str, int]:
    """Finished point -> when its results were written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("points/*/results.json")}


class Silent:
    """Shows nothing."""

    @contextmanager
    def step(self, title: str) -> Iterator[Advance]:
        yield lambda done, total: None

    def say(self, text: str) -> None:
        raise AssertionError(text)


def alone(base: Path, axes: dict[str, Any], out: Path, vanishing: Sequence[str] = ()) -> Results:
    """The results of a point that is run by itself, in this process."""
    settings = [f"{key}={value}" for key, value in axes.items()]
    config = load_config(base, [*settings, "evaluation.alone=false", "evaluation.central=false"])
    return simulate(config, out, Silent(), vanishing=vanishing)


@contextmanager
def running(sweep: Path, out: Path, jobs: int) -> Iterator[subprocess.Popen[str]]:
    command = [COMMAND, "tradeoff", str(sweep), "--out", str(out), "--jobs", str(jobs)]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(pattern: str, folder: Path) -> None:
    deadline = time.monotonic() + 200
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline, pattern
        time.sleep(0.02)


@pytest.fixture(scope="module")
def swept(process: Fedspallm, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of eight points, two at a time, with transcripts."""
    folder = tmp_path_factory.mktemp("swept")
    axes = 'protocol.digits_per_word = [4, 8]\ndropout_rate = ["0", "0.2"]\nseed = [0, 1]'
    out = folder / "out"
    done = process("tradeoff", write(folder, base, axes), "--out", out, "--jobs", 2, "--keep-transcripts")
    assert done.returncode == 0, done.stderr
    assert "none left" in done.stderr
    return out


def test_every_point_measured_what_a_run_by_itself_measures(swept: Path, base: Path, tmp_path: Path) -> None:
    points = read(swept).points
    assert len(points) == 8
    assert sorted(point.figures.pruned for point in points if point.figures) == [False] * 6 + [True] * 2
    for point in points:
        assert point.figures is not None
        axes = {key: value for key, value in point.axes.items() if key != "dropout_rate"}
        results = alone(base, axes, tmp_path / point.name, point.figures.vanishing)
        assert point.figures.model_digest == results.model_digest
        assert point.figures.perplexity == results.perplexity.federated
        assert point.figures.bytes_up == pytest.approx(sum(results.bytes_up.values()), rel=1e-3)
        assert point.figures.sparsity == pytest.approx(0.5)
    assert len({point.figures.model_digest for point in points if point.figures}) == 8


def test_who_vanishes_voted_and_then_sent_nothing_more(swept: Path) -> None:
    for point in read(swept).points:
        assert point.figures is not None
        assert len(point.figures.vanishing) == (1 if point.axes["dropout_rate"] == "0.2" else 0)
        transcript = swept / "points" / point.name / "transcript"
        charter = Charter.model_validate_json((transcript / "charter.json").read_bytes())
        said: dict[str, list[str]] = {name: [] for name in ("letters", "ledger", "poems", "more", "most")}
        for _, envelope in read_log(transcript / "log.jsonl"):
            message = open_envelope(envelope, charter.keys)
            if getattr(message, "sender", "") in said:
                said[message.sender].append(f"{message.kind} {getattr(message, 'sum', '')}".strip())
        for name, words in said.items():
            assert "proof votes" in words, name
            assert ("masked values" in words) == (name not in point.figures.vanishing)
            assert (words[-1] == "model") == (name not in point.figures.vanishing)


def test_figures_are_those_of_the_points_own_results(swept: Path) -> None:
    for point in read(swept).points:
        raw = (swept / "points" / point.name / "results.json").read_bytes()
        results, figures = Results.model_validate_json(raw), point.figures
        assert figures is not None
        assert figures.dense == results.perplexity.dense
        assert figures.bytes_down == sum(results.bytes_down.values())
        assert figures.bits_per_weight == results.uplink_bits_per_parameter
        assert figures.seconds == sum(results.seconds.values())
        assert figures.seed == results.config["seed"] == point.axes["seed"]
        assert point.common == results.perplexity.federated["mix"]
        assert results.versions["torch threads"] == "1"


def test_the_csv_reads_back_as_the_json(swept: Path) -> None:
    with (swept / "tradeoff.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    points = read(swept).points
    assert [row["name"] for row in rows] == [point.name for point in points]
    for row, point in zip(rows, points, strict=True):
        figures = point.figures
        assert figures is not None
        assert {key: row[f"axis {key}"] for key in point.axes} == {key: str(value) for key, value in point.axes.items()}
        assert {kind: float(row[f"perplexity {kind}"]) for kind in figures.perplexity} == figures.perplexity
        assert {kind: float(row[f"dense perplexity {kind}"]) for kind in figures.dense} == figures.dense
        numbers = ("sparsity", "bytes_up", "bytes_down", "bits_per_weight", "seconds", "seed", "institutions")
        assert {name: float(row[name]) for name in numbers} == {name: getattr(figures, name) for name in numbers}
        assert json.loads(row["vanishing"]) == figures.vanishing
        assert row["model_digest"] == figures.model_digest
        assert row["failed"] == row["central"] == row["alone"] == ""


def test_a_finished_sweep_leaves_points_tables_and_a_page(swept: Path) -> None:
    names = {"failed", "points", "running", "sweep.json", "tradeoff.csv", "tradeoff.html", "tradeoff.json"}
    assert {path.name for path in swept.iterdir()} == names
    assert {path.name for path in (swept / "running").iterdir()} == {"lock", "log.txt"}
    assert list((swept / "failed").iterdir()) == []
    for point in (swept / "points").iterdir():
        assert {path.name for path in point.iterdir()} == {"results.json", "report.html", "point.json", "transcript"}


def test_a_value_added_to_an_axis_runs_the_new_points_only_and_one_taken_away_none(
    fedspallm: Fedspallm, base: Path, swept: Path, tmp_path: Path
) -> None:
    before, page = ran(swept), (swept / "tradeoff.html").read_bytes()
    axes = 'protocol.digits_per_word = [4]\ndropout_rate = ["0"]\nseed = '
    more = fedspallm("tradeoff", write(tmp_path, base, f"{axes}[0, 2]"), "--out", swept)
    assert more.returncode == 0, more.stderr
    assert "1 of 2 points were finished before." in more.stderr
    assert len(read(swept).points) == 2
    after = ran(swept)
    assert len(after) == 9
    assert {name: after[name] for name in before} == before

    axes = 'protocol.digits_per_word = [4, 8]\ndropout_rate = ["0", "0.2"]\nseed = [0, 1]'
    again = fedspallm("tradeoff", write(tmp_path, base, axes), "--out", swept)
    assert again.returncode == 0, again.stderr
    assert "8 of 8 points were finished before." in again.stderr
    assert ran(swept) == after
    assert (swept / "tradeoff.html").read_bytes() == page


def test_other_threads_and_folders_of_something_else_are_refused(
    fedspallm: Fedspallm, base: Path, swept: Path, tmp_path: Path
) -> None:
    sweep = write(tmp_path, base, "seed = [0]")
    refused(fedspallm("tradeoff", sweep, "--out", swept, "--threads", 2), 9, "another number of threads")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years of work", encoding="utf-8")
    refused(fedspallm("tradeoff", sweep, "--out", tmp_path / "thesis"), 9, "is no sweep")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.txt"]


def test_a_point_that_fails_is_told_and_the_others_go_on(fedspallm: Fedspallm, base: Path, tmp_path: Path) -> None:
    sweep, out = write(tmp_path, base, "pruning.windows = [4000, 4]"), tmp_path / "out"
    done = fedspallm("tradeoff", sweep, "--out", out)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    lost, good = read(out).points
    assert good.figures is not None
    assert good.failed is None
    assert lost.figures is None
    assert lost.common is None
    assert lost.failed is not None
    assert "tokens" in lost.failed
    for text in (done.stdout, (out / "tradeoff.html").read_text(encoding="utf-8")):
        assert lost.name in text
    assert (out / "failed" / f"{lost.name}.txt").exists()
    finished = ran(out)
    again = fedspallm("tradeoff", sweep, "--out", out)
    assert again.returncode == 3
    assert ran(out) == finished


def test_a_killed_sweep_goes_on_to_the_same_models_and_runs_no_finished_point_again(
    fedspallm: Fedspallm, base: Path, tmp_path: Path
) -> None:
    sweep, out = write(tmp_path, base, 'pruning.method = ["wanda", "sparsegpt", "magnitude"]'), tmp_path / "out"
    with running(sweep, out, 1) as first:
        wait_for("points/wanda-*", out)
        wait_for("running/sparsegpt-*.partial/work/round-0/*/layer-*.safetensors", out)
        refused(fedspallm("tradeoff", sweep, "--out", out), 9, "Another process")
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=60)
    finished = ran(out)
    assert len(finished) == 1
    done = fedspallm("tradeoff", sweep, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "1 of 3 points were finished before." in done.stderr
    assert finished.items() <= ran(out).items()
    for point in read(out).points:
        assert point.figures is not None
        undisturbed = alone(base, point.axes, tmp_path / point.name)
        assert point.figures.model_digest == undisturbed.model_digest


def test_a_process_that_dies_takes_only_its_point_and_ctrl_c_leaves_nothing_behind(
    fedspallm: Fedspallm, base: Path, tmp_path: Path
) -> None:
    sweep, out = write(tmp_path, base, 'pruning.method = ["wanda", "magnitude"]'), tmp_path / "out"
    with running(sweep, out, 1) as first:
        wait_for("running/wanda-*.partial", out)
        for worker in workers(first.pid):
            os.kill(worker, signal.SIGKILL)
        wait_for("running/magnitude-*.partial", out)
        left = workers(first.pid)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=60)
    assert first.returncode == 130, said
    assert "failed wanda" in said
    assert "-9: killed" in said
    assert "Traceback" not in said
    assert left
    assert not any(Path(f"/proc/{worker}").exists() for worker in left)
    done = fedspallm("tradeoff", sweep, "--out", out)
    assert done.returncode == 0, done.stderr
    assert len(read(out).finished) == 2


def workers(pid: int) -> list[int]:
    """The processes that a sweep started to run points."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_no_tasks_need_no_process(tmp_path: Path) -> None:
    assert run_tasks([], 2, 1, tmp_path / "log", None, lambda _: None) == {}  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
