"""Small runs in which second moments are summed, and what everybody must get from them, straight from plain sums."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.aggregation import DiagonalQuantiser, MatrixQuantiser, prune_from_diagonal, prune_from_moment
from fedspallm_secure.charter import (
    Charter,
    PooledInput,
    PooledNoise,
    PooledStatistics,
    Tensor,
    model_digest,
    tensor_digest,
)
from fedspallm_secure.messages import ModelStatement
from fedspallm_secure.rounds import LocalTelemetry, RoundPlan
from fedspallm_secure.secagg import Lane
from fedspallm_secure.workspace import LayerStore
from tests.rounds.synthetic import Run, Setting

__all__ = ["EXPONENT", "Exchange", "PooledRun", "PooledSetting", "Summed", "check_pooled"]

Exchange = Literal["once", "each layer"]
"""How often statistics are."""

_TOKENS = 40
EXPONENT = 30
"""Of every input."""


@dataclass(frozen=True)
class PooledSetting(Setting):
    """What a run with pooled statistics is made of.

    The first two tensors of a layer see the same input, the others one of their own. Of the first `kept_back` inputs
    only the diagonals are summed. `block` is SparseGPT's, `noise` each input's bound and variance.
    """

    shapes: tuple[tuple[int, int], ...] = ((8, 12), (4, 12), (8, 16))
    digits_per_word: int = 4
    exchange: Exchange = "each layer"
    kept_back: int = 0
    block: int = 8
    noise: tuple[int, int] | None = None


class PooledRun(Run):
    """A setting in a folder, ready to run its rounds: base weights and moments are random, no model is there."""

    setting: PooledSetting

    def measure(self, plan: RoundPlan, scale: float = 1.0) -> dict[str, LayerStore]:
        """Every institution's second moments of its layers' inputs, each of text of its own, `scale` times as long."""
        stores = {}
        for name in self.names:
            store = stores[name] = LayerStore(self.folder / name / f"moments-{plan.context.round}")
            lanes = [lane for lane in plan.lanes if self.names.index(name) in lane.cohort]
            for layer, of_layer in groupby(lanes, key=lambda lane: plan.tensors(lane)[0].layer):
                store.write(layer, {lane.name: self._moment(lane, scale) for lane in of_layer})
        return stores

    def round(
        self,
        plan: RoundPlan,
        current: LayerStore,
        pruned: Mapping[str, LayerStore],
        telemetry: Mapping[str, LocalTelemetry] | None = None,
    ) -> tuple[str, LayerStore]:
        """One secure round; layers that are not its own are taken over."""
        model, output = super().round(plan, current, pruned, telemetry)
        for layer in range(self.charter.base.layers):
            if not output.has(layer):
                output.adopt(layer, current)
        return model, output

    def _moment(self, lane: Lane, scale: float) -> NDArray[np.float32]:
        """Of correlated inputs, some of them larger than others."""
        mixing = self.rng.normal(size=(lane.length, lane.length)) * self.rng.lognormal(size=lane.length)
        X = self.rng.normal(size=(_TOKENS, lane.length)) @ mixing
        moment: NDArray[np.float32] = (X.T @ X * scale).astype(np.float32)
        return moment if lane.most_values else moment.diagonal().copy()

    def _charter(self) -> Charter:
        charter = super()._charter()
        inputs = []
        for _, of_layer in groupby(charter.base.pruned, key=lambda tensor: tensor.layer):
            first, second, *others = (tensor.name for tensor in of_layer)
            inputs += [(first, second), *((name,) for name in others)]
        matrices = [self.setting.method == "sparsegpt" and at >= self.setting.kept_back for at in range(len(inputs))]
        statistics = PooledStatistics(
            exchange=self.setting.exchange,
            inputs=tuple(
                PooledInput(tensors=names, exponent=EXPONENT, matrix=matrix, noise=self._noise(names[0], charter))
                for names, matrix in zip(inputs, matrices, strict=True)
            ),
            damping="0.01",
            block=self.setting.block,
        )
        return charter.model_copy(update={"aggregate": statistics})

    def _noise(self, name: str, charter: Charter) -> PooledNoise | None:
        if self.setting.noise is None:
            return None
        bound, variance = self.setting.noise
        columns = next(tensor.columns for tensor in charter.base.pruned if tensor.name == name)
        return PooledNoise(bound=bound, variance=variance, scale=tuple(7919 * (at % 7 + 1) for at in range(columns)))


@dataclass(frozen=True)
class Summed:
    """Whose statistics a round's model must follow from, by name.

    Attributes:
        diagonals: whose diagonals were added up.
        matrices: whose matrices were; None where the diagonals decide alone.
        stated: who stated the model.
    """

    diagonals: Collection[str]
    matrices: Collection[str] | None
    stated: Collection[str]


def check_pooled(
    run: PooledRun,
    plan: RoundPlan,
    current: LayerStore,
    moments: Mapping[str, LayerStore],
    summed: Summed | None = None,
) -> LayerStore:
    """Run a round; compare every tensor, bit for bit, with what follows from the plain sums, and every digest.

    Args:
        run: the setting.
        plan: of the round.
        current: layers that the round starts from.
        moments: everybody's second moments.
        summed: whose were summed; everybody's if None.

    Returns:
        The new model's layers.
    """
    matrices = run.names if run.setting.method == "sparsegpt" else None
    summed = summed or Summed(run.names, matrices, run.names)
    digest, output = run.round(plan, current, moments)
    digests = dict(run.charter.base.rest)
    for tensor in run.charter.base.pruned:
        new, W = output.weights(tensor.layer, tensor.name), current.weights(tensor.layer, tensor.name)
        digests[tensor.name] = tensor_digest(new)
        if tensor.layer not in plan.charter.layers_of(plan.context.round):
            assert new.tobytes() == W.tobytes()
    for lane in plan.lanes:
        tensors = plan.tensors(lane)
        weights = [current.weights(tensor.layer, tensor.name) for tensor in tensors]
        expected = _expected(run, plan, lane, weights, moments, summed)
        for tensor, due, W in zip(tensors, expected, weights, strict=True):
            new = output.weights(tensor.layer, tensor.name)
            assert (new.dtype, new.tobytes()) == (W.dtype, due.tobytes()), tensor.name
            assert np.count_nonzero(new == 0) >= plan.pattern.zeros(W.size)  # more where groups had more already
    assert digest == model_digest(digests)
    statements = [message for message in run.messages(plan) if isinstance(message, ModelStatement)]
    assert sorted(statement.sender for statement in statements) == sorted(["coordinator", *summed.stated])
    assert {statement.model for statement in statements} == {digest}
    return output


def _expected(
    run: PooledRun,
    plan: RoundPlan,
    lane: Lane,
    weights: list[NDArray[Any]],
    moments: Mapping[str, LayerStore],
    summed: Summed,
) -> list[NDArray[Any]]:
    """The new weights of all tensors that see an input.

    An institution whose diagonal alone was added up counts with a moment that is zero elsewhere.
    """
    tensor: Tensor = plan.tensors(lane)[0]
    pooled = run.charter.pooled
    assert pooled is not None
    cohort = [run.names[index] for index in lane.cohort]
    assert len(cohort) >= run.setting.minimum_cohort
    own = {
        name: moments[name].weights(tensor.layer, lane.name).astype(np.float64)
        for name in cohort
        if name in summed.diagonals
    }
    least = 2.0**-EXPONENT
    of_diagonals = DiagonalQuantiser(lane.votes.top // 2, EXPONENT)
    D = np.zeros(lane.length)
    for moment in own.values():
        diagonal = moment if moment.ndim == 1 else moment.diagonal()
        assert of_diagonals.at_bound(of_diagonals.encode(diagonal)) == 0
        D += np.rint(diagonal / least) * least
    if summed.matrices is None or not plan.pooled(lane).matrix:
        return prune_from_diagonal(weights, D, plan.pattern)
    of_matrices = MatrixQuantiser(lane.values.top // 2, D)
    step = np.sqrt(D)[:, None] * np.sqrt(D) / of_matrices.Q
    came = [moment for name, moment in own.items() if name in summed.matrices]
    steps = sum((np.rint(moment / step) for moment in came), np.zeros_like(step))
    H = np.triu(steps, 1) * step
    H = H + H.T + np.diag(D)
    return prune_from_moment(weights, H, plan.pattern, Fraction(pooled.damping), pooled.block)
