"""What a run published is read from its layers or its log, and a sweep measures what that tells of members."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fedspallm_secure.cli.progress import TerminalSteps
from fedspallm_secure.evaluation import Auc
from fedspallm_secure.runtime.config import RunConfig, load_config
from fedspallm_secure.runtime.membership import LAYERS
from fedspallm_secure.runtime.published_membership import membership_of_run, published_diagonals
from fedspallm_secure.runtime.simulate import simulate
from fedspallm_secure.workspace import LayerStore
from tests.runtime.conftest import Fedspallm
from tests.runtime.private_runs import private_configuration

_QUICK = ("evaluation.alone=false", "evaluation.central=false", "evaluation.windows=1", "protocol.aggregate=statistics")


def _run(configuration: Path, out: Path, *settings: str) -> RunConfig:
    config = load_config(configuration, [*_QUICK, *settings])
    simulate(config, out, TerminalSteps(Console(quiet=True)), keep_work=True)
    return config


def test_the_log_has_the_sum_of_what_institutions_measured(configuration: Path, tmp_path: Path) -> None:
    config = _run(configuration, tmp_path / "out", "pruning.method=wanda", "protocol.exchange=once")
    found = published_diagonals(tmp_path / "out" / "transcript")
    stores = [LayerStore(tmp_path / "out" / "work" / f"moments-{member.name}") for member in config.institution]
    assert len(found) == 4 * LAYERS
    for name, diagonal in found.items():
        layer = int(name.split(".")[2])
        assert diagonal == pytest.approx(np.sum([store.weights(layer, name) for store in stores], axis=0), rel=1e-6)


@pytest.mark.parametrize("epsilon", ["inf", "2"])
def test_the_area_is_that_of_the_first_layers_also_where_each_has_a_round_of_its_own_and_sums_have_noise(
    tiny: Path, texts: dict[str, Path], tmp_path: Path, epsilon: str
) -> None:
    configuration = private_configuration(tmp_path, tiny, texts, epsilon=epsilon)
    config = _run(configuration, tmp_path / "out", "protocol.exchange=each layer", "pruning.method=sparsegpt")
    found = published_diagonals(tmp_path / "out" / "transcript")
    assert {name.split(".")[2] for name in found} == {str(layer) for layer in range(LAYERS)}
    assert all((diagonal > 0).all() for diagonal in found.values())
    area = membership_of_run(config, tmp_path / "out")
    assert area is not None
    assert 0 <= area.low <= area.value <= area.high <= 1


def test_where_nobody_worked_on_the_first_layers_there_is_nothing_to_look_at(
    configuration: Path, tmp_path: Path
) -> None:
    config = load_config(configuration, ["pruning.method=wanda"])
    assert membership_of_run(config, tmp_path) is None


@pytest.mark.parametrize(
    ("aggregate", "names"), [("weights", ["plain", "asked"]), ("statistics", ["asked"])], ids=["weights", "statistics"]
)
def test_a_sweep_measures_membership_when_it_is_asked_to_and_only_then(
    process: Fedspallm, configuration: Path, tmp_path: Path, aggregate: str, names: list[str]
) -> None:
    lines = f'base = "{configuration}"\n[set]\nevaluation.alone = false\nevaluation.central = false\n'
    lines += f'pruning.method = "wanda"\nprotocol.aggregate = "{aggregate}"\n[axes]\nseed = [0]\n'
    (tmp_path / "plain.toml").write_text(lines, encoding="utf-8")
    (tmp_path / "asked.toml").write_text("membership = true\n" + lines, encoding="utf-8")
    for name in names:
        done = process("tradeoff", tmp_path / f"{name}.toml", "--out", tmp_path / "out", "--jobs", 1)
        assert done.returncode == 0, done.stderr
        (point,) = json.loads((tmp_path / "out" / "tradeoff.json").read_bytes())["points"]
        figures = point["figures"]
        values = [figures[key] for key in ("membership_auc", "membership_low", "membership_high")]
        page = (tmp_path / "out" / "tradeoff.html").read_text(encoding="utf-8")
        folder = tmp_path / "out" / "points" / point["name"]
        assert {path.name for path in folder.iterdir()} == {"point.json", "report.html", "results.json"}
        if name == "plain":
            assert values == [None] * 3
            assert "membership" not in page.lower()
        else:
            area = Auc(*values)
            assert 0 <= area.low <= area.value <= area.high <= 1
            assert json.loads((folder / "point.json").read_bytes())["membership"] == asdict(area)
            assert str(area) in page
    assert len(list((tmp_path / "out" / "points").iterdir())) == len(names)
