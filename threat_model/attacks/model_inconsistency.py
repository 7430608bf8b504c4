"""The server gives each client another model to start from, so that one client's part stands out of the sum.

Adversary: a server that hands out models (Pasquini, Francati, Ateniese 2022, "Eluding secure aggregation").
What it does: everybody but the victim gets a model of zeros. What they prune of it is zero, so the sum is the victim's.
Why it works on plain FedSpaLLM, and under a secure sum: clients prune what they are sent.
What stops it here: the charter has the base model's digests, which every institution checks; later models are computed
by each from published sums, and whoever confirms a sum confirms the model it started from (SPEC section 10, C17, C44).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedspallm_secure.charter import model_digest, tensor_digest
from fedspallm_secure.errors import StorageError
from fedspallm_secure.rounds import PublicWeights
from fedspallm_secure.workspace import LayerStore
from tests.rounds.synthetic import REST, Run, Setting
from threat_model.attacks.attack import Attack, Trial, exactly, refused
from threat_model.attacks.naive import fixed_point, naive_sum
from threat_model.attacks.plain import uploads
from threat_model.attacks.stage import Stage

__all__ = ["MODEL_INCONSISTENCY"]

_SETTING = Setting(layers=1, shapes=((96, 64),), change=0)
_VICTIM = "i0"


def _on_plain(folder: Path) -> Trial:
    run = Run(_SETTING, folder)
    pruned = _prune_what_they_are_sent(run)
    sent = uploads(run, pruned)
    summed = naive_sum([fixed_point(upload.weight) for upload in sent.values()], run.entropy)
    truth = sent[_VICTIM]
    return exactly(summed[truth.mask], fixed_point(truth.weight)[truth.mask], f"of {_VICTIM}'s weights")


def _here(folder: Path) -> Trial:
    start, later = _from_zeros(folder / "start"), _from_another_model(folder / "later")
    return Trial(start.succeeded or later.succeeded, f"{start.evidence}; {later.evidence}")


def _from_zeros(folder: Path) -> Trial:
    """All but the victim are given zeros for the base model."""
    run = Run(_SETTING, folder)
    pruned, plan = _prune_what_they_are_sent(run), run.plan()
    refusals = []
    for name in run.names[1:]:
        try:
            for tensor in run.charter.base.pruned:
                PublicWeights(LayerStore(folder / "zeros")).check(tensor)
        except StorageError as error:
            refusals.append((name, error))
    if refusals:
        return Trial(False, f"zeros for the base model are {refused(refusals)}")
    stage = Stage(run, plan, pruned, public=dict.fromkeys(run.names[1:], LayerStore(folder / "zeros")))
    stage.play()
    (lane,) = plan.lanes
    counts = stage.published("votes", lane)
    assert counts is not None
    votes = lane.votes.unpack(stage.blobs.get(counts.blob), lane.length)
    return exactly(lane.votes.pack(votes), stage.packed(_VICTIM, "votes", lane), f"words of {_VICTIM}'s votes")


def _from_another_model(folder: Path) -> Trial:
    """The victim is to confirm a sum with others that are said to start from zeros."""
    run = Run(_SETTING, folder)
    stage = Stage(run)
    stage.play(until="survivors votes")
    zeros = {tensor.name: tensor_digest(np.zeros_like(run.base.weights(0, tensor.name))) for tensor in run.tensors(0)}
    start = model_digest(zeros | {name: tensor_digest(W) for name, W in REST.items()})
    stage.tell(_VICTIM, stage.say(stage.name_survivors(run.names, start=start)))
    return Trial(not stage.refusals, f"a sum that starts from them is {stage.refusal}")


def _prune_what_they_are_sent(run: Run) -> Mapping[str, LayerStore]:
    """The victim prunes the base model, the others zeros."""
    plan, (layer,) = run.plan(), range(run.charter.base.layers)
    names = [tensor.name for tensor in run.tensors(layer)]
    own, copy = run.prune(plan, run.base)[_VICTIM], LayerStore(run.folder / "of the victim")
    weights, kept = ({name: read(layer, name) for name in names} for read in (own.weights, own.kept))
    copy.write(layer, weights, kept)
    zeros = LayerStore(run.folder / "zeros")
    zeros.write(layer, {name: np.zeros_like(run.base.weights(layer, name)) for name in names})
    return {**run.prune(plan, zeros), _VICTIM: copy}


MODEL_INCONSISTENCY = Attack(
    "model_inconsistency",
    "Institutions that were given different models to start from do not add up anything.",
    _on_plain,
    _here,
)
