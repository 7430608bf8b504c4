"""On a tiny real model, pooling every institution's statistics is pruning on everybody's text in one place."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from fedspallm_secure.charter import Charter, Method
from fedspallm_secure.pruning import (
    PruneSettings,
    layer_moments,
    load_weights,
    prune,
    prune_layer,
    snapshot,
    to_numpy,
)
from fedspallm_secure.pruning.decoder import decoder_layers
from fedspallm_secure.rounds import RoundPlan, plan_round
from fedspallm_secure.runtime.config import build_config
from fedspallm_secure.runtime.model import describe
from fedspallm_secure.runtime.pooling import Measuring, pooled_statistics
from fedspallm_secure.workspace import LayerStore
from tests.pruning.tiny_models import LAYERS, WINDOW, calibration_windows, tiny_model
from tests.rounds.pooled_runs import Exchange, PooledRun, PooledSetting

_SETTINGS = PruneSettings(block=8, device="cpu")
_WINDOWS = 4


class _RealRun(PooledRun):
    """The same with a tiny model, and moments of text that goes through it."""

    def measure(self, plan: RoundPlan, scale: float = 1.0) -> dict[str, LayerStore]:
        """Every institution's, of the model as the rounds before left it."""
        stores = {}
        for name in self.names:
            stores[name] = LayerStore(self.folder / name / f"moments-{plan.context.round}")
            self._measuring.measure(name, plan, stores[name])
        return stores

    def prune_all(self) -> PreTrainedModel:
        """All rounds; the model that they give."""
        current = self.base
        for number in range(self.charter.rounds):
            load_weights(self.model, current)
            plan = self.plan(number)
            _, current = self.round(plan, current, self.measure(plan))
        load_weights(self.model, current)
        return self.model

    def _charter(self) -> Charter:
        charter = super()._charter()
        self.model = tiny_model()
        self.text = {name: calibration_windows(_WINDOWS, seed=seed) for seed, name in enumerate(self.names)}
        snapshot(self.model, self.base)
        raw = {
            "model": "tiny",
            "pruning": {"method": charter.method, "windows": _WINDOWS, "window": WINDOW, "block": _SETTINGS.block},
            "protocol": {"aggregate": "statistics", "exchange": self.setting.exchange},
            "institution": [{"name": name, "calibration": "none"} for name in self.names],
        }
        public = calibration_windows(seed=100)
        pooled = pooled_statistics(build_config(raw, self.folder), self.model, public, _SETTINGS)
        if charter.method == "sparsegpt":  # as if even the first input told nothing of single tokens
            inputs = tuple(one.model_copy(update={"matrix": True}) for one in pooled.inputs)
            pooled = pooled.model_copy(update={"inputs": inputs})
        charter = charter.model_copy(update={"aggregate": pooled, "base": describe(self.model)})
        plans = [plan_round(charter, number) for number in range(charter.rounds)]
        self._measuring = Measuring(self.model, self.text, plans, _SETTINGS)
        return charter


def _central(method: Method, exchange: Exchange, run: _RealRun) -> PreTrainedModel:
    """The same model, pruned on the text of all. Where statistics are exchanged once, from the dense layers' inputs."""
    model, text = tiny_model(), torch.cat(list(run.text.values()))
    for pattern in run.charter.patterns:
        if exchange == "each layer":
            prune(model, text, method=method, pattern=pattern, settings=_SETTINGS)
            continue
        for layer, moments in list(layer_moments(model, text, diagonal=method == "wanda", settings=_SETTINGS)):
            prune_layer(layer, moments, method=method, pattern=pattern, settings=_SETTINGS)
    return model


def _matrices(model: PreTrainedModel) -> Iterable[NDArray[np.float32]]:
    return (to_numpy(linear.weight) for layer in decoder_layers(model) for linear in layer.linears)


@pytest.mark.parametrize(
    ("method", "exchange", "schedule"),
    [
        ("sparsegpt", "once", ("0.25", "0.5")),
        ("sparsegpt", "each layer", ("0.5",)),
        ("wanda", "once", ("0.5",)),
        ("wanda", "each layer", ("0.25", "0.5")),
    ],
)
def test_the_pooled_model_is_the_central_one(
    method: Method, exchange: Exchange, schedule: tuple[str, ...], tmp_path: Path
) -> None:
    setting = PooledSetting(
        clients=3,
        layers=LAYERS,
        method=method,
        exchange=exchange,
        schedule=schedule,
        digits_per_word=2,
    )
    run = _RealRun(setting, tmp_path)
    pooled = list(_matrices(run.prune_all()))
    central = list(_matrices(_central(method, exchange, run)))
    alone = tiny_model()
    prune(alone, run.text["i0"], method=method, pattern=run.charter.patterns[-1], settings=_SETTINGS)
    other = sum(np.count_nonzero((one == 0) != (W == 0)) for one, W in zip(_matrices(alone), central, strict=True))
    assert other > 100  # so that equal masks are no accident
    for mine, theirs in zip(pooled, central, strict=True):
        assert np.array_equal(mine == 0, theirs == 0)
        assert np.count_nonzero(mine == 0) == mine.size // 2
        if method == "wanda":
            assert np.array_equal(mine, theirs)
        else:
            assert np.abs(mine - theirs).max() <= 1e-4 * np.abs(theirs).max()
