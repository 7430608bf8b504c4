"""Where one client alone kept a position, the sum is its weight (arXiv 2508.04285).

Adversary: whoever sees sums and counts: the server, or any institution.
What it does: it reads the sum at every position with a count of one.
Why it works on plain FedSpaLLM: masks and weights are summed in one shot, so a sum is there wherever a count is.
What stops it here: votes are summed first, and a position takes part in the sum of changes only if at least
`minimum_contributors` kept it; all others get the public base weight (SPEC sections 9.5, 14 and 20.2).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.workspace import LayerStore
from tests.rounds.synthetic import Run, Setting
from threat_model.attacks.alone import changes_of_one
from threat_model.attacks.attack import Attack, Trial, exactly
from threat_model.attacks.naive import fixed_point, naive_sum
from threat_model.attacks.plain import uploads
from threat_model.attacks.stage import Stage

__all__ = ["COUNT_ONE", "nearly_agreed", "read_where_one_kept"]

_OF_ITS_OWN = 40  # positions

_SETTING = Setting(layers=1, shapes=((48, 64),), schedule=("0.5",))


def nearly_agreed(run: Run) -> dict[str, LayerStore]:
    """Institutions that keep the same positions but for a few of their own, so that some of these stay in the end."""
    plan, stores = run.plan(), {}
    (tensor,) = run.charter.base.pruned
    W = run.base.weights(tensor.layer, tensor.name)
    kept = W.size - plan.pattern.zeros(W.size)
    order = np.argsort(-np.abs(W), axis=None)
    for name in run.names:
        mask = np.zeros(W.size, np.bool_)
        mask[order[: kept - _OF_ITS_OWN]] = True
        mask[run.rng.choice(order[kept - _OF_ITS_OWN :], _OF_ITS_OWN, replace=False)] = True
        changed = W + run.rng.normal(scale=run.setting.change, size=W.shape)
        mask = mask.reshape(W.shape) & (W != 0)
        stores[name] = LayerStore(run.folder / "nearly agreed" / name)
        weights = np.where(mask, changed, 0).astype(W.dtype)
        stores[name].write(tensor.layer, {tensor.name: weights}, {tensor.name: mask})
    return stores


def read_where_one_kept(
    run: Run, publish: Callable[[NDArray[np.uint64]], NDArray[np.uint64]] = lambda counts: counts, least: int = 0
) -> Trial:
    """The naive sum of what such institutions have, read where the true count is one.

    Args:
        run: whose institutions.
        publish: true counts -> those that the clients are told.
        least: clients leave out positions with a smaller count than this, as they were told.
    """
    sent = list(uploads(run, nearly_agreed(run)).values())
    counts = naive_sum([upload.mask.astype(np.uint64) for upload in sent], run.entropy)
    there = publish(counts) >= least
    sums = naive_sum([fixed_point(np.where(there, upload.weight, 0)) for upload in sent], run.entropy)
    alone = counts == 1
    owner = np.argmax([upload.mask for upload in sent], axis=0)
    truth = np.choose(owner, [fixed_point(upload.weight) for upload in sent])
    return exactly(sums[alone], truth[alone], "weights at positions that one client alone kept")


def _on_plain(folder: Path) -> Trial:
    return read_where_one_kept(Run(_SETTING, folder))


def _here(folder: Path) -> Trial:
    run = Run(_SETTING, folder)
    stage = Stage(run, pruned=nearly_agreed(run))
    stage.play()
    (lane,) = stage.plan.lanes
    counts = np.sum([stage.votes(name, lane) for name in run.names], axis=0)
    read = changes_of_one(stage, lane, counts)
    new = stage.output.weights(0, lane.name).reshape(-1)
    alone = (counts == 1) & (new != 0)
    public = np.count_nonzero(new[alone] == run.base.weights(0, lane.name).reshape(-1)[alone])
    return Trial(
        read.succeeded,
        f"{read.evidence}; {np.count_nonzero(alone):,} of them stay in the model, {public:,} with the public weight",
    )


COUNT_ONE = Attack(
    "count_one",
    "Where one institution alone kept a position, nobody learns its weight.",
    _on_plain,
    _here,
)
