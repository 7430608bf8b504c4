"""What the operator of a run is told while it runs, and of the institutions' own pruning afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import log
from pathlib import Path

import pytest
import torch

from fedspallm_secure.charter import Charter
from fedspallm_secure.evaluation import Results, perplexity
from fedspallm_secure.pruning import load_weights
from fedspallm_secure.runtime import Advance
from fedspallm_secure.runtime.config import load_config
from fedspallm_secure.runtime.model import load_model, load_tokenizer
from fedspallm_secure.runtime.simulate import simulate
from fedspallm_secure.runtime.windows import load_windows
from fedspallm_secure.workspace import LayerStore
from tests.runtime.conftest import Fedspallm
from tests.runtime.test_bad_input import refused

_QUICK = ("evaluation.alone=false", "evaluation.central=false")


class _Told:
    """Keeps what every step said of how far it is."""

    def __init__(self) -> None:
        self.progress: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def step(self, title: str) -> Iterator[Advance]:
        told = self.progress.setdefault(title, [])
        yield lambda done, total: told.append((done, total))

    def say(self, text: str) -> None:
        """Nobody waits in these runs."""
        raise AssertionError(text)


def _run(configuration: Path, out: Path, *settings: str, keep_work: bool = False) -> tuple[Results, _Told]:
    told = _Told()
    return simulate(load_config(configuration, [*_QUICK, *settings]), out, told, keep_work=keep_work), told


@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
def test_the_progress_of_the_secure_sums_ends_where_it_said(configuration: Path, tmp_path: Path, method: str) -> None:
    _, told = _run(configuration, tmp_path / "out", f"pruning.method={method}")
    steps = told.progress["secure sums"]
    assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
    assert {total for _, total in steps} == {len(steps)}


def test_the_loss_is_the_mean_of_the_institutions_own_pruned_models_on_their_first_two_windows(
    configuration: Path, tmp_path: Path
) -> None:
    results, _ = _run(configuration, tmp_path / "out", keep_work=True)
    config = load_config(configuration)
    windows = load_windows(config, load_tokenizer(config.model), lambda done, total: None).calibration
    model = load_model(config.model, "auto", torch.device("cpu"))
    losses = []
    for name, mine in windows.items():
        load_weights(model, LayerStore(tmp_path / "out" / "work" / "round-0" / name))
        losses.append(log(perplexity(model, mine[:2])))
    (telemetry,) = results.telemetry
    assert telemetry.institutions == 3
    assert telemetry.tokens == 3 * 4 * 64
    assert telemetry.mean_loss == pytest.approx(sum(losses) / 3, abs=2e-6)
    assert telemetry.mean_clipped is not None
    assert 0 <= telemetry.mean_clipped < 1


def test_every_round_has_its_own_figures_and_they_stand_in_the_report(configuration: Path, tmp_path: Path) -> None:
    results, _ = _run(configuration, tmp_path / "out", 'pruning.pattern=["0.25", "0.75"]', "pruning.method=wanda")
    first, second = results.telemetry
    assert first.tokens == second.tokens == 3 * 4 * 64
    assert first.mean_loss != second.mean_loss
    assert first.mean_clipped is second.mean_clipped is None
    assert Results.model_validate_json((tmp_path / "out" / "results.json").read_bytes()).telemetry == results.telemetry
    assert f"<td>{second.mean_loss:.3f}</td>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_pruner_that_reads_no_text_and_an_institution_without_a_layer_use_no_tokens(
    configuration: Path, texts: dict[str, Path], tmp_path: Path
) -> None:
    results, _ = _run(configuration, tmp_path / "magnitude", "pruning.method=magnitude")
    assert results.telemetry[0].tokens == 0
    four = tmp_path / "four.toml"
    lines = ["[[institution]]", 'name = "small"', f'calibration = "{texts["poems"]}"', 'capacity = "0.1"']
    four.write_text("\n".join([configuration.read_text(encoding="utf-8"), *lines]), encoding="utf-8")
    results, _ = _run(four, tmp_path / "out")
    assert results.telemetry[0].institutions == 4
    assert results.telemetry[0].tokens == 3 * 4 * 64
    weights = sum(tensor.rows * tensor.columns for tensor in _charter(tmp_path / "out").base.pruned)
    sent = [results.bytes_up[name] for name in texts]
    assert results.uplink_bits_per_parameter == pytest.approx(8 * sum(sent) / len(sent) / weights)


def _charter(out: Path) -> Charter:
    return Charter.model_validate_json((out / "transcript" / "charter.json").read_bytes())


def test_an_auditor_with_a_key_of_its_own_or_an_institution_can_be_the_witness_that_a_policy_asks_for(
    configuration: Path, fedspallm: Fedspallm, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("witness_required = true", encoding="utf-8")
    asked = ("pruning.method=wanda", f"institution.0.policy={policy}")
    options = [word for setting in asked for word in ("--set", setting)]
    done = fedspallm("simulate", configuration, "--out", tmp_path / "out", *options)
    refused(done, 6, "letters does not take part. witness_required: the charter names no witness")

    for name in ("auditor", "poems"):
        _run(configuration, tmp_path / name, *asked, f"protocol.witness={name}")
        charter = _charter(tmp_path / name)
        assert charter.witness is not None
        assert charter.witness.name == name
        keys = {member.name: member.public_key for member in charter.roster}
        assert keys.get(name, charter.witness.public_key) == charter.witness.public_key
        assert (charter.witness.public_key in keys.values()) is (name == "poems")


def test_the_server_can_not_be_its_own_witness(configuration: Path, fedspallm: Fedspallm, tmp_path: Path) -> None:
    done = fedspallm("simulate", configuration, "--out", tmp_path / "out", "--set", "protocol.witness=coordinator")
    refused(done, 6, "Two participants have the same name")
