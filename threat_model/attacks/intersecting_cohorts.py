"""Two rounds whose cohorts differ by one client: the difference of their sums is that client's part.

Adversary: whoever sees sums and counts of several rounds.
What it does: it subtracts the sums of a layer over a cohort and over the same cohort without one.
Why it works on plain FedSpaLLM, and under a secure sum: the server draws the cohorts, and starts a round again from the
same model with another draw.
What stands in its way here: cohorts are drawn from the beacon, so it takes what comes (SPEC section 5), and the next
round starts from another model and a sparser target, so that all others send something else as well. That is no proof:
what the difference tells is measured, with the local pruner itself, beside what one round's counts tell. Nothing stops
the same between two runs on the same texts whose rosters differ by one; a charter can't see the other run
(threat_model/THREAT_MODEL.md, N9). That is measured too.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.charter import Pattern
from fedspallm_secure.rounds import RoundPlan, plan_round
from fedspallm_secure.workspace import LayerStore
from tests.rounds.synthetic import Run, Setting
from threat_model.attacks.attack import Attack, Trial, exactly
from threat_model.attacks.naive import fixed_point, naive_sum
from threat_model.attacks.stage import Stage

__all__ = ["INTERSECTING_COHORTS"]

_OUTPUTS, _INPUTS, _TOKENS = 96, 64, 256
_VICTIM, _LAYER = "i5", 0
_GIVEN_AWAY = 0.5  # of what one round leaves open
_CAPACITIES = ("1", "1", "1", "1", "1", "0.5")


def _setting(seed: int, *, clients: int = 6) -> Setting:
    return Setting(
        clients=clients,
        layers=2,
        shapes=((_OUTPUTS, _INPUTS),),
        schedule=("0.5", "0.6"),
        capacities=_CAPACITIES[:clients],
        seed=seed,
    )


class _Institutions:
    """Clients with text of their own, the same in every round and run; SparseGPT makes of it what it does.

    Args:
        seed: of their texts.
        folder: for their pruned copies.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self._rng = np.random.default_rng(seed)
        self._folder = folder
        mixing = self._rng.normal(size=(_INPUTS, _INPUTS))  # what all texts have in common
        self._moments = {f"i{index}": self._moment(mixing) for index in range(len(_CAPACITIES))}

    def prune(self, plan: RoundPlan, current: LayerStore) -> dict[str, LayerStore]:
        """Every client's pruned copy of the layers it samples."""
        stores = {}
        for name in plan.context.roster:
            folder = self._folder / name / plan.context.digest / str(plan.context.round)
            store = stores[name] = LayerStore(folder)
            for tensor in plan.charter.base.pruned:
                if tensor.layer in plan.layers_of(name):
                    W = current.weights(tensor.layer, tensor.name)
                    new, kept = _sparsegpt(W, self._moments[name], plan.pattern)
                    store.write(tensor.layer, {tensor.name: new}, {tensor.name: kept})
        return stores

    def _moment(self, mixing: NDArray[np.float64]) -> NDArray[np.float64]:
        own = mixing + 0.5 * self._rng.normal(size=mixing.shape)
        X = own @ self._rng.normal(size=(_INPUTS, _TOKENS))
        moment: NDArray[np.float64] = 2 / _TOKENS * X @ X.T
        return moment


def _sparsegpt(W: NDArray[Any], H: NDArray[np.float64], pattern: Pattern) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    import torch  # takes seconds, and no other attack needs it

    from fedspallm_secure.pruning.sparsegpt import sparsegpt

    result = sparsegpt([torch.from_numpy(W)], torch.from_numpy(H).float(), pattern, damping=0.01, block=32)
    return result.weights[0].numpy(), result.kept[0].numpy()


def _crossing(folder: Path) -> Run:
    """A run whose beacon happens to have the victim in the layer's first cohort and not in its second."""
    for seed in count():
        run = Run(_setting(seed), folder / f"beacon-{seed}")
        first, second = (plan_round(run.charter, number).cohorts[_LAYER] for number in (0, 1))
        if set(first) - set(second) == {run.names.index(_VICTIM)}:
            return run
    raise AssertionError


def _on_plain(folder: Path) -> Trial:
    run = _crossing(folder)
    plan = run.plan()
    pruned = _Institutions(0, folder / "clients").prune(plan, run.base)
    cohort = [run.names[index] for index in plan.cohorts[_LAYER]]
    (tensor,) = run.tensors(_LAYER)
    vectors = {name: fixed_point(pruned[name].weights(_LAYER, tensor.name).reshape(-1)) for name in cohort}
    first, second = (
        naive_sum([vectors[name] for name in cohort if name != left_out], run.entropy) for left_out in ("", _VICTIM)
    )
    kept = pruned[_VICTIM].kept(_LAYER, tensor.name).reshape(-1)
    return exactly((first - second)[kept], vectors[_VICTIM][kept], f"of {_VICTIM}'s weights")


def _here(folder: Path) -> Trial:
    run = _crossing(folder)
    clients = _Institutions(0, folder / "clients")
    first = Stage(run, pruned=clients.prune(run.plan(), run.base))
    first.play()
    plan = plan_round(run.charter, 1, first.coordinator.model)
    second = Stage(run, plan, clients.prune(plan, first.output), before=first)
    second.play()
    before, after = _counts(first), _counts(second)
    truth = first.votes(_VICTIM, first.plan.lanes[_LAYER])
    alone, both = _best_rule(truth, before), _best_rule(truth, before, after)
    explained = _explained(first, second, before, after)
    again = _second_run(run, clients, before, truth, folder)
    return Trial(
        max((both - alone) / (1 - alone), explained) >= _GIVEN_AWAY,
        f"no rule that sees a position's counts of two such rounds is right in more than {both:.1%} of {_VICTIM}'s "
        f"votes, none that sees those of the first alone in more than {alone:.1%}; the difference of the sums explains "
        f"{explained:.1%} of how its weights differ from the average; {again}",
    )


def _counts(stage: Stage) -> NDArray[np.int64]:
    lane = stage.plan.lanes[_LAYER]
    published = stage.published("votes", lane)
    assert published is not None
    counts: NDArray[np.int64] = stage.outcome.digits(lane, "votes", published, lane.length).astype(np.int64)
    return counts


def _best_rule(truth: NDArray[np.bool_], *counts: NDArray[np.int64]) -> float:
    """How often the best of all functions of these counts is right: no adversary that sees nothing else does better."""
    _, cells = np.unique(np.stack(counts), axis=1, return_inverse=True)
    kept, there = np.bincount(cells.reshape(-1), weights=truth), np.bincount(cells.reshape(-1))
    return float(np.maximum(kept, there - kept).sum() / truth.size)


def _explained(first: Stage, second: Stage, before: NDArray[np.int64], after: NDArray[np.int64]) -> float:
    """How much of the victim's deviation from the average the sums' difference tells, where all kept a position."""
    sums, starts = zip(*(_sums(stage) for stage in (first, second)), strict=True)
    there = (before == before.max()) & (after == after.max()) & np.isfinite(sums[0]) & np.isfinite(sums[1])
    guess = (before * starts[0] + sums[0]) - (after * starts[1] + sums[1])
    own = first.pruned[_VICTIM].weights(_LAYER, first.plan.lanes[_LAYER].name).reshape(-1)
    return float(np.corrcoef((guess - starts[1])[there], (own - starts[1])[there])[0, 1] ** 2)


def _sums(stage: Stage) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The published sums of changes, not a number where there is none, and the weights that they are changes of."""
    lane = stage.plan.lanes[_LAYER]
    published = stage.published("values", lane)
    assert published is not None
    eligible, quantiser = stage.eligible(lane), stage.outcome.averaged.quantiser(lane)
    digits = stage.outcome.digits(lane, "values", published, int(np.count_nonzero(eligible))).astype(np.int64)
    steps = np.full(eligible.shape, np.nan)
    steps[eligible] = digits - stage.coordinator.participation.number(lane, "values") * quantiser.Q
    start = stage.base.weights(_LAYER, lane.name).astype(np.float64)
    return (steps * quantiser.step).reshape(-1), start.reshape(-1)


def _second_run(
    run: Run, clients: _Institutions, before: NDArray[np.int64], truth: NDArray[np.bool_], folder: Path
) -> str:
    """The same texts and base model once more, under a charter without the victim."""
    other = Run(_setting(run.setting.seed, clients=len(run.names) - 1), folder / "second run")
    stage = Stage(other, pruned=clients.prune(other.plan(), other.base))
    stage.play()
    pack, difference = stage.plan.lanes[_LAYER].votes.pack, before - _counts(stage)
    read = exactly(pack(difference.astype(np.uint64)), pack(truth), f"words of {_VICTIM}'s votes")
    return f"what is not stopped, a second run on the same texts without {_VICTIM}: {read.evidence}"


INTERSECTING_COHORTS = Attack(
    "intersecting_cohorts",
    "Two rounds of a run whose cohorts differ by one institution do not give its votes or changes away.",
    _on_plain,
    _here,
)
