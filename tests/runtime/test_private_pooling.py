"""Pooled statistics with noise: what is spent, whose noise it is, and that nothing but whole numbers is summed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspallm_secure.charter import Method, load_charter, unmasking_threshold
from fedspallm_secure.errors import LocalProtocolError
from fedspallm_secure.evaluation import Results
from fedspallm_secure.messages import Identity
from fedspallm_secure.privacy import Budget, Ledger, read_ledger
from fedspallm_secure.pruning import InputMoment, decoder_layers
from fedspallm_secure.rounds import RoundPlan, plan_round
from fedspallm_secure.runtime.private_pooling import PoolingInstitution
from fedspallm_secure.transcript import Transcript
from tests.pruning.tiny_models import tiny_model
from tests.rounds.pooled_runs import PooledRun, PooledSetting
from tests.runtime.conftest import Fedspallm
from tests.runtime.private_runs import private_configuration
from tests.runtime.test_bad_input import refused

_BOUND, _VARIANCE = 20_000, 160_000**2
_LAYERS, _INPUTS = 3, 4


def _entropy(seed: int) -> Callable[[int], bytes]:
    stream = iter(range(10**6))
    return lambda count: hashlib.shake_256(seed.to_bytes(4) + next(stream).to_bytes(8)).digest(count)


def _institution(folder: Path, name: str, plans: list[RoundPlan], epsilon: str = "40") -> PoolingInstitution:
    signer = Identity(name, Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)))
    ledger = Ledger(folder / f"{name}.jsonl", signer, Budget(epsilon=epsilon, delta="0.000001"))
    return PoolingInstitution(ledger, name, "text", plans, _entropy(int.from_bytes(name.encode())))


def _nothing(widths: list[int], *, matrix: bool) -> Iterator[list[InputMoment]]:
    """One window whose moments are zero, so that what is released is noise alone."""
    shapes = [(width, width) if matrix else (width,) for width in widths]
    yield [InputMoment((), torch.zeros(shape), 1) for shape in shapes]


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_the_noise_of_a_quorum_without_colluders_is_all_that_the_charter_promises(
    method: Method, tmp_path: Path
) -> None:
    setting = PooledSetting(
        clients=6, method=method, exchange="once", noise=(_BOUND, _VARIANCE), shapes=((8, 40), (4, 40), (8, 60))
    )
    run = PooledRun(setting, tmp_path / "run")
    plans = [plan_round(run.charter, 0)]
    layer = decoder_layers(tiny_model())[0]
    quorum, colluders = unmasking_threshold(6, 1), 1
    released = []
    for name in run.names:
        one = _institution(tmp_path, name, plans)
        with one.ledger:
            use = one.use(0, 0)
            assert use.institutions - use.colluders - use.dropouts == quorum - colluders
            moments = one.release(0, layer, _nothing([40, 60], matrix=method == "sparsegpt"))
        exponent = plans[0].pooled(plans[0].lanes[0]).exponent
        released.append([np.ldexp(moment.total.numpy(), exponent) for moment in moments])
    for at in range(2):
        each = np.stack([of_one[at] for of_one in released])
        assert (each == np.rint(each)).all()  # steps of the grid
        honest = each[: quorum - colluders].sum(axis=0)
        if method == "wanda":
            assert 0.4 < honest.var() / _VARIANCE < 2.2
        else:
            off = honest[np.triu_indices(len(honest), 1)]
            assert 0.8 < off.var() / (_VARIANCE / 2) < 1.25
            assert 0.4 < honest.diagonal().var() / _VARIANCE < 2.2


def test_a_budget_that_is_too_small_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    setting = PooledSetting(
        clients=3, method="wanda", exchange="once", noise=(_BOUND, _VARIANCE), shapes=((8, 4), (4, 4), (8, 6))
    )
    run = PooledRun(setting, tmp_path / "run")
    one = _institution(tmp_path, "i0", [plan_round(run.charter, 0)], epsilon="0.1")
    with one.ledger, pytest.raises(LocalProtocolError, match=r"the budget is 0\.1"):
        one.release(0, decoder_layers(tiny_model())[0], _nothing([4, 6], matrix=False))
    assert not one.ledger.account.spendings


@pytest.mark.parametrize(("method", "rounds"), [("wanda", 1), ("sparsegpt", _LAYERS)])
def test_a_run_with_noise_spends_one_line_a_layer_and_can_be_audited(
    method: str, rounds: int, tiny: Path, texts: dict[str, Path], fedspallm: Fedspallm, tmp_path: Path
) -> None:
    configuration = private_configuration(tmp_path, tiny, texts)
    options = ["--set", "protocol.aggregate=statistics", "--set", f"pruning.method={method}"]
    options += ["--set", f"privacy.ledger={tmp_path / 'ledgers'}"]
    out = tmp_path / "out"
    done = fedspallm("simulate", configuration, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    results = Results.model_validate_json((out / "results.json").read_bytes())
    assert results.privacy is not None
    charter = load_charter(Transcript(out / "transcript").charter)
    assert charter.rounds == rounds
    assert charter.pooled is not None
    assert all(one.noise is not None and one.matrix == (method == "sparsegpt") for one in charter.pooled.inputs)
    for name in texts:
        account = read_ledger(tmp_path / "ledgers" / f"{name}.jsonl", results.privacy.institutions[name].key)
        uses = [line.use for line in account.spendings]
        assert [(use.round, len(use.releases)) for use in uses] == [
            (layer if rounds > 1 else 0, _INPUTS) for layer in range(_LAYERS)
        ]
        assert {(use.run, use.institutions, use.colluders) for use in uses} == {(results.charter_digest, 3, 1)}
        assert float(account.epsilon) == pytest.approx(8, rel=1e-6)
    assert all((round.tokens, round.mean_loss) == (0, 0.0) for round in results.telemetry)
    audit = fedspallm("audit", out / "transcript", "--model", out / "model", "--base", tiny, "--depth", "full")
    assert audit.returncode == 0, audit.stdout
    again = fedspallm("simulate", configuration, "--out", tmp_path / "again", *options)
    refused(again, 7, "has not enough privacy left")
