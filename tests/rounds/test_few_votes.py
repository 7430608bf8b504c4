"""What an institution has at a position that too few others kept leaves no trace in anything it sends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedspallm_secure.workspace import LayerStore
from tests.rounds.synthetic import Run, Setting


def _sent(folder: Path, secret: float | None, votes: range) -> set[str]:
    """Names of all payloads of a round in which i0 holds `secret` wherever it and few enough others kept a position."""
    run = Run(Setting(minimum_contributors=3, schedule=("0.8",)), folder)
    plan = run.plan()
    pruned = run.prune(plan, run.base)
    if secret is not None:
        altered = LayerStore(folder / "altered")
        for layer in plan.layers_of("i0"):
            weights, kept = {}, {}
            for tensor in run.tensors(layer):
                mine = kept[tensor.name] = pruned["i0"].kept(layer, tensor.name)
                counts = sum(store.kept(layer, tensor.name).astype(int) for store in pruned.values())
                chosen = mine & np.isin(counts, votes)
                assert chosen.any()
                weights[tensor.name] = np.where(chosen, secret, pruned["i0"].weights(layer, tensor.name))
                weights[tensor.name] = weights[tensor.name].astype(np.float32)
            altered.write(layer, weights, kept)
        pruned["i0"] = altered
    run.round(plan, run.base, pruned)
    return {path.name for path in run.transcript.blobs.folder.iterdir()}


@pytest.mark.parametrize("secret", [0.25, -3.0, 1e6])
def test_weights_at_positions_with_fewer_votes_than_the_bar_change_no_payload(tmp_path: Path, secret: float) -> None:
    assert _sent(tmp_path / "a", None, range(1, 3)) == _sent(tmp_path / "b", secret, range(1, 3))


def test_weights_at_positions_with_enough_votes_do(tmp_path: Path) -> None:
    assert _sent(tmp_path / "a", None, range(3, 6)) != _sent(tmp_path / "b", 0.25, range(3, 6))
