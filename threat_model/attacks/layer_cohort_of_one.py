"""Layer sampling gives a layer to one client: the sum over its cohort is what that client sent.

Adversary: the server, which only has to look; clients can prune few layers, as their machines are small.
What it does: it reads the sums of a layer that one client drew. Here, where no such layer comes about by itself, it
also names that client as the only one left of a cohort.
Why it works on plain FedSpaLLM: each client draws layers by its own resources, and a layer can be drawn once. No
secure sum hides a single term.
What stops it here: layers are dealt so that cohorts differ by one at most, a charter whose capacities leave a cohort
below its minimum is refused by everybody, and so are survivors without a quorum (SPEC sections 5, 6.1 and 10, C20).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np

from fedspallm_secure.errors import CharterError
from tests.rounds.synthetic import TWO_SUFFICE, Run, Setting
from threat_model.attacks.attack import Attack, Trial, exactly, reason
from threat_model.attacks.naive import fixed_point, naive_sum
from threat_model.attacks.plain import sample_as_they_can
from threat_model.attacks.stage import Stage

__all__ = ["LAYER_COHORT_OF_ONE"]

_EASY = Setting(
    layers=4,
    shapes=((48, 64),),
    minimum_cohort=2,
    minimum_contributors=2,
    policy=TWO_SUFFICE,
)
_SCARCE = replace(_EASY, capacities=("0.25", "0.25", "0.25", "0.5", "0.5"))  # 7 assignments for 4 layers
_VICTIM = "i0"


def _on_plain(folder: Path) -> Trial:
    setting = replace(_SCARCE, capacities=None)  # everybody's pruned copies of all layers, to draw from
    run = Run(setting, folder)
    pruned = run.prune(run.plan(), run.base)
    cohorts = sample_as_they_can([Fraction(share) for share in _SCARCE.capacities or ()], setting.layers, Random(0))
    layer, (client,) = next((layer, cohort) for layer, cohort in enumerate(cohorts) if len(cohort) == 1)
    (tensor,) = run.tensors(layer)
    truth = pruned[run.names[client]]
    summed = naive_sum([fixed_point(truth.weights(layer, tensor.name)).reshape(-1)], run.entropy)
    mask = truth.kept(layer, tensor.name).reshape(-1)
    weights = fixed_point(truth.weights(layer, tensor.name)).reshape(-1)
    return exactly(summed[mask], weights[mask], f"weights of layer {layer} of {run.names[client]}")


def _here(folder: Path) -> Trial:
    scarce, named = _with_scarce_capacities(folder / "scarce"), _as_the_last_one_left(folder / "left")
    return Trial(scarce.succeeded or named.succeeded, f"{scarce.evidence}; {named.evidence}")


def _with_scarce_capacities(folder: Path) -> Trial:
    run = Run(_SCARCE, folder)
    try:
        plan = run.plan()
    except CharterError as error:
        return Trial(False, f"the charter is refused by all: {reason(error)}")
    stage = Stage(run, plan)
    stage.play()
    found, truth = [], []
    for lane in plan.lanes:
        counts = stage.published("votes", lane)
        if len(lane.cohort) == 1 and counts is not None:
            found.append(stage.blobs.get(counts.blob))
            truth.append(stage.packed(run.names[lane.cohort[0]], "votes", lane))
    return exactly(np.concatenate(found), np.concatenate(truth), "words of votes of layers with one institution")


def _as_the_last_one_left(folder: Path) -> Trial:
    stage = Stage(Run(_EASY, folder))
    stage.play(until="survivors votes")
    stage.tell(_VICTIM, stage.say(stage.name_survivors([_VICTIM])))
    lane = stage.plan.lanes[0]
    read = exactly(
        stage.opened(_VICTIM, "votes", lane), stage.packed(_VICTIM, "votes", lane), f"words of {_VICTIM}'s votes"
    )
    return Trial(read.succeeded, f"named as the last one left, {_VICTIM}: {read.evidence}, {stage.refusal}")


LAYER_COHORT_OF_ONE = Attack(
    "layer_cohort_of_one",
    "No layer is summed over fewer institutions than the charter's minimum cohort.",
    _on_plain,
    _here,
)
