"""A round's model beside the plain algorithm's, computed from those that took part."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from fedspallm_secure.charter import model_digest, tensor_digest
from fedspallm_secure.messages import ModelStatement
from fedspallm_secure.rounds import RoundPlan
from fedspallm_secure.workspace import LayerStore
from tests.rounds.reference import Pruned, fedspallm, largest_change, root_mean_square
from tests.rounds.synthetic import MANTISSA, Run

__all__ = ["Parts", "check_round"]


@dataclass(frozen=True)
class Parts:
    """What became of the institutions of a round, by name.

    Attributes:
        voted: whose votes were added up.
        moved: whose changes were; None where no change counts, since nobody could check a sum.
        given_up: voters without whom the values sum was repeated, which raises the bar of their lanes.
        stated: who stated the model at the end.
    """

    voted: Collection[str]
    moved: Collection[str] | None
    stated: Collection[str]
    given_up: Collection[str] = ()


def check_round(
    run: Run, plan: RoundPlan, current: LayerStore, pruned: Mapping[str, LayerStore], parts: Parts | None = None
) -> LayerStore:
    """Run a round; compare every tensor with the reference and every digest with what is stored.

    Args:
        run: the setting.
        plan: of the round.
        current: layers that the round starts from.
        pruned: everybody's pruned layers.
        parts: who took which part; everybody all of it if None.

    Returns:
        The new model's layers.
    """
    parts = parts or Parts(run.names, run.names, run.names)
    digest, output = run.round(plan, current, pruned)
    digests = dict(run.charter.base.rest)
    for tensor in run.charter.base.pruned:
        new = output.weights(tensor.layer, tensor.name)
        digests[tensor.name] = tensor_digest(new)
        W = current.weights(tensor.layer, tensor.name)
        members = [name for name in run.names if tensor.layer in plan.layers_of(name)]
        assert len(members) >= run.setting.minimum_cohort
        cohort = [
            Pruned(
                pruned[name].kept(tensor.layer, tensor.name),
                pruned[name].weights(tensor.layer, tensor.name),
                parts.moved is not None and name in parts.moved,
            )
            for name in members
            if name in parts.voted
        ]
        bar = None
        if parts.moved is not None:
            raised = sum(name in members for name in parts.given_up)
            bar = run.setting.minimum_contributors + run.setting.dropout_margin + raised
        clip, pattern = float(run.setting.clip), run.setting.schedule[plan.context.round]
        expected = fedspallm(W, cohort, pattern, bar, clip)

        assert new.dtype == W.dtype
        assert np.array_equal(new != 0, expected != 0)
        assert np.count_nonzero(new == 0) >= plan.pattern.zeros(W.size)  # more where a base weight is 0
        found = new.astype(np.float64)
        if run.charter.changes_weights and bar is not None:
            Q = largest_change(len(members), run.setting.digits_per_word)
            half_step = clip * root_mean_square(W.astype(np.float64)) / Q / 2
            rounding = 2.0 ** -MANTISSA[run.setting.dtype] * np.abs(found)  # to the weight's own dtype
            assert (np.abs(found - expected) <= half_step * (1 + 1e-6) + rounding).all()
        else:
            assert np.array_equal(found, expected)
    assert digest == model_digest(digests)
    statements = [message for message in run.messages(plan) if isinstance(message, ModelStatement)]
    assert sorted(statement.sender for statement in statements) == sorted(["coordinator", *parts.stated])
    assert {statement.model for statement in statements} == {digest}
    return output
