"""Pooled statistics from end to end: a whole run, its audit, what is refused, and a run that was killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fedspallm_secure.charter import Charter, PooledStatistics
from fedspallm_secure.evaluation import Results
from fedspallm_secure.runtime import Advance
from fedspallm_secure.runtime.config import load_config
from fedspallm_secure.runtime.simulate import simulate
from fedspallm_secure.secagg import Lane, diagonals_packing, values_packing
from fedspallm_secure.workspace import LayerStore
from tests.runtime.conftest import Fedspallm
from tests.runtime.test_bad_input import refused

_QUICK = (
    "evaluation.alone=false",
    "evaluation.central=false",
    "pruning.windows=2",
    "pruning.window=32",
    "evaluation.windows=1",
)
_POOLED = (*_QUICK, "protocol.aggregate=statistics")


def _options(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def _charter(out: Path) -> tuple[Charter, PooledStatistics]:
    charter = Charter.model_validate_json((out / "transcript" / "charter.json").read_bytes())
    assert charter.pooled is not None
    return charter, charter.pooled


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def _only_what_is_pruned_differs_from_the_base(out: Path, tiny: Path, method: str) -> None:
    base, model = _weights(tiny), _weights(out / "model")
    pruned = {tensor.name for tensor in _charter(out)[0].base.pruned}
    for name, W in model.items():
        if name in pruned:
            assert int((W == 0).sum()) == W.numel() // 2, name
            assert method == "sparsegpt" or torch.equal(W[W != 0], base[name][W != 0]), name
        else:
            assert torch.equal(W, base[name]), name


@pytest.mark.parametrize(
    ("method", "exchange"),
    [("wanda", "auto"), ("sparsegpt", "once"), ("sparsegpt", "auto")],
)
def test_a_run_gives_a_model_that_an_audit_at_full_depth_verifies_and_results_that_say_how(
    fedspallm: Fedspallm, configuration: Path, tiny: Path, tmp_path: Path, method: str, exchange: str
) -> None:
    out = tmp_path / "out"
    settings = (f"pruning.method={method}", f"protocol.exchange={exchange}")
    done = fedspallm("simulate", configuration, "--out", out, *_options(*_POOLED, *settings))
    assert done.returncode == 0, done.stderr
    done = fedspallm("audit", out / "transcript", "--depth", "full", "--base", tiny, "--model", out / "model")
    assert done.returncode == 0, done.stdout + done.stderr
    _only_what_is_pruned_differs_from_the_base(out, tiny, method)

    charter, pooled = _charter(out)
    rounds = 3 if (method, exchange) == ("sparsegpt", "auto") else 1
    assert (pooled.exchange, charter.rounds) == ("once" if rounds == 1 else "each layer", rounds)
    sees = [[name.rsplit(".", 2)[1] for name in one.tensors] for one in pooled.inputs]
    assert sees == [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]] * 3
    # The first input depends on single tokens alone.
    assert [one.matrix for one in pooled.inputs] == [method == "sparsegpt" and at > 0 for at in range(12)]

    results = Results.model_validate_json((out / "results.json").read_bytes())
    everybody = ["letters", "ledger", "poems"]
    assert results.cohorts == [[everybody] * 3]
    assert set(results.sparsity.values()) == {0.5}
    assert [figures.institutions for figures in results.telemetry] == [3] * rounds
    assert [figures.tokens for figures in results.telemetry] == [3 * 2 * 32] * rounds
    assert all(figures.mean_loss == results.telemetry[0].mean_loss for figures in results.telemetry)
    assert all((figures.mean_clipped is None) is (method == "wanda") for figures in results.telemetry)
    _uplink_is_what_the_lanes_take(results, charter, pooled)


def _uplink_is_what_the_lanes_take(results: Results, charter: Charter, pooled: PooledStatistics) -> None:
    """Payloads are a word a diagonal entry, and packed words for the rest; messages come on top."""
    columns = {tensor.name: tensor.columns for tensor in charter.base.pruned}
    diagonals, matrices = 0, 0
    for one in pooled.inputs:
        n = columns[one.tensors[0]]
        packing = values_packing(3, charter.parameters.digits_per_word)
        lane = Lane(0, "", n, (0, 1, 2), diagonals_packing(3), packing, n * (n - 1) // 2 if one.matrix else 0)
        diagonals += 8 * lane.votes.words(lane.length)
        matrices += 8 * lane.values.words(lane.most_values)
    weights = sum(tensor.rows * tensor.columns for tensor in charter.base.pruned)
    sent = list(results.bytes_up.values())
    assert results.uplink_bits_per_parameter == pytest.approx(8 * sum(sent) / 3 / weights)
    for steps in results.bytes_by_step.values():
        assert diagonals < steps["up"]["diagonals"]
        assert matrices < steps["up"]["matrices"] if matrices else "matrices" not in steps["up"]


@pytest.mark.parametrize(
    ("settings", "code", "part"),
    [
        ([*_POOLED, "pruning.method=magnitude"], 2, "Magnitude pruning reads no text: there are no statistics to pool"),
        ([*_POOLED, "protocol.votes=ckks"], 2, "A custodian counts votes; second moments are none"),
        (["protocol.exchange=once"], 2, 'protocol.exchange is "once", but no statistics are summed'),
        (["protocol.exchange=each layer"], 2, "no statistics are summed"),
        ([*_POOLED, "protocol.exchange=twice"], 2, "protocol.exchange"),
        (["protocol.aggregate=averages"], 2, "protocol.aggregate"),
    ],
)
def test_what_can_not_be_pooled_is_refused_before_anything_is_loaded(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path, settings: list[str], code: int, part: str
) -> None:
    refused(fedspallm("simulate", configuration, "--out", tmp_path / "out", *_options(*settings)), code, part)
    assert not list(tmp_path.iterdir())


def test_an_institution_whose_policy_knows_weights_alone_takes_no_part(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('aggregates = ["weights"]', encoding="utf-8")
    options = _options(*_POOLED, "pruning.method=wanda", f"institution.1.policy={policy}")
    done = fedspallm("simulate", configuration, "--out", tmp_path / "out", *options)
    refused(done, 6, "ledger does not take part. aggregates: the charter sums statistics; the policy allows weights")
    assert [path.name for path in tmp_path.iterdir()] == ["policy.toml"]


# A run that was killed.


class _Killed:
    """Shows nothing, and kills the run when a step begins for the given time."""

    def __init__(self, at: str = "", time: int = 1) -> None:
        self._at = at
        self._left = time

    @contextmanager
    def step(self, title: str) -> Iterator[Advance]:
        """One step."""
        self._left -= title == self._at
        if not self._left:
            raise KeyboardInterrupt
        yield lambda done, total: None

    def say(self, text: str) -> None:
        """Nobody waits in these runs."""
        raise AssertionError(text)


def test_a_run_that_was_killed_between_rounds_goes_on_to_the_model_that_follows_from_its_own_sums(
    fedspallm: Fedspallm, configuration: Path, tiny: Path, tmp_path: Path
) -> None:
    """It measures and sums everything again: what an earlier attempt left of a round is of that attempt's sums.

    These may have been others, as where a processor adds up in another order; so here they are.
    """
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    config = load_config(configuration, [*_POOLED, "pruning.method=wanda", "protocol.exchange=each layer"])
    with pytest.raises(KeyboardInterrupt):
        simulate(config, out, _Killed("measure at ledger", 3))
    assert not out.exists()
    names = [tensor.name for tensor in _charter(partial)[0].base.pruned if tensor.layer == 0]
    for number in (1, 2):
        left = LayerStore(partial / "work" / f"global-{number}")
        left.write(0, {name: np.ones_like(left.weights(0, name)) for name in names})
    results = simulate(config, out, _Killed())
    assert [figures.mean_clipped for figures in results.telemetry] == [None] * 3
    _only_what_is_pruned_differs_from_the_base(out, tiny, "wanda")
    done = fedspallm("audit", out / "transcript", "--depth", "full", "--base", tiny, "--model", out / "model")
    assert done.returncode == 0, done.stdout
