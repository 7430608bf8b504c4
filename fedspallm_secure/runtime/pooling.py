"""Pooled statistics in a run: what the charter says of inputs, and what each institution measures of its text.

The range of the sums comes from public text through the base model, with room to spare: nobody's private text decides
what a digit means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import floor, log2
from typing import Final

import numpy as np
import torch
from transformers import PreTrainedModel

from fedspallm_secure.charter import PooledInput, PooledNoise, PooledStatistics
from fedspallm_secure.errors import DataError
from fedspallm_secure.privacy import WHOLE, multiplier_for, variance_for, whole_scale
from fedspallm_secure.pruning import DecoderLayer, InputMoment, PruneSettings, Release, layer_moments, to_numpy
from fedspallm_secure.rounds import RoundPlan
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.private_pruning import PrivatePruning
from fedspallm_secure.runtime.public_text import public_inputs
from fedspallm_secure.runtime.steps import Advance
from fedspallm_secure.secagg import Lane, diagonals_packing
from fedspallm_secure.workspace import LayerStore

__all__ = ["Measuring", "pooled_statistics"]

_WINDOWS: Final = 4  # of public text, to see how large entries are; with room, few are enough
_ROOM: Final = 2**8  # times the largest diagonal entry that public text gives, before an institution's is clamped


def pooled_statistics(
    config: RunConfig,
    model: PreTrainedModel,
    windows: torch.Tensor,
    settings: PruneSettings,
    advance: Advance = lambda done, total: None,
) -> PooledStatistics:
    """What the charter of a run says of pooled statistics.

    What the first decoder layer's first input looks like depends on one token alone, so that its second moment is a
    linear function of how often each token occurs: without noise, only its diagonal is summed.

    Args:
        config: of the run.
        model: the base model.
        windows: of public text, int64 (n, T).
        settings: the device to work on.
        advance: called with (layers done, layers).

    Raises:
        DataError: the public text gives an input that is zero throughout.
    """
    found = (_protected if config.privacy.on else _bare)(config, model, windows, settings, advance)
    return PooledStatistics(
        exchange="each layer" if config.protocol.exchange == "each layer" else "once",
        inputs=tuple(found),
        damping=f"{config.pruning.damping:.9f}",
        block=config.pruning.block,
    )


def _bare(
    config: RunConfig, model: PreTrainedModel, windows: torch.Tensor, settings: PruneSettings, advance: Advance
) -> list[PooledInput]:
    """The inputs of sums without noise."""
    Q = diagonals_packing(len(config.institution)).top // 2
    tokens = config.pruning.windows * config.pruning.window
    matrix = config.pruning.method == "sparsegpt"
    found: list[PooledInput] = []
    layers = model.config.get_text_config().num_hidden_layers
    for layer, moments in layer_moments(model, windows[:_WINDOWS], diagonal=True, settings=settings):
        for moment in moments:
            largest = float(moment.total.max()) / moment.tokens * tokens
            if largest == 0:
                raise DataError(
                    f"The input of {moment.linears[0].name} is zero on all public text.",
                    "Name other public text: privacy.public.",
                )
            found.append(
                PooledInput(
                    tensors=tuple(linear.name for linear in moment.linears),
                    exponent=max(-64, min(64, floor(log2(Q / (largest * _ROOM))))),
                    matrix=matrix and bool(found),
                )
            )
        advance(layer.index + 1, layers)
    return found


def _protected(
    config: RunConfig, model: PreTrainedModel, windows: torch.Tensor, settings: PruneSettings, advance: Advance
) -> list[PooledInput]:
    """The inputs of sums with noise, whitened, on the grids of their bounds."""
    privacy, patterns = config.privacy, len(config.pruning.pattern)
    matrix = config.pruning.method == "sparsegpt"
    inputs = public_inputs(
        model,
        windows,
        diagonal=not matrix,
        quantile=Fraction(privacy.clip),
        settings=settings,
        scale=whole_scale,
        advance=advance,
    )
    releases = sum(len(of_layer) for of_layer in inputs.values()) * patterns
    multiplier = multiplier_for(float(Fraction(privacy.epsilon)), float(Fraction(privacy.whole.delta)), releases)
    return [
        PooledInput(
            tensors=one.tensors,
            exponent=-one.clipping.exponent,
            matrix=matrix,
            noise=PooledNoise(
                bound=one.clipping.bound,
                variance=variance_for(multiplier, one.clipping.bound),
                scale=tuple(np.rint(np.sqrt(one.scale) * WHOLE).astype(int).tolist()),
            ),
        )
        for of_layer in inputs.values()
        for one in of_layer
    ]


class Measuring:
    """The second moments of every institution's text, as rounds ask for them.

    Each institution's text goes through the model layer by layer, side by side with the others'. So what is measured of
    a layer went through the layers before it as they are in the model by then.

    Args:
        model: shared by the institutions of this process; it has to be as each round starts from.
        windows: institution -> calibration token ids, int64 (n, T).
        plans: of all rounds.
        settings: the device to work on.
        private: the institutions' ledgers, where there is noise.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        windows: Mapping[str, torch.Tensor],
        plans: Sequence[RoundPlan],
        settings: PruneSettings,
        private: PrivatePruning | None = None,
    ) -> None:
        self._private = private
        self._model = model
        self._windows = windows
        self._plans = plans
        self._settings = settings
        self._walks: dict[str, Iterator[tuple[DecoderLayer, list[InputMoment]]]] = {}

    def measure(
        self, name: str, plan: RoundPlan, store: LayerStore, advance: Advance = lambda done, total: None
    ) -> None:
        """Store the moments of the layers that an institution works on in a round; rounds come in order.

        Args:
            name: the institution.
            plan: of the round.
            store: gets a file a layer, with a moment a lane.
            advance: called with (layers done, layers).
        """
        due = plan.layers_of(name)
        if plan.charter.layers_of(plan.context.round)[0] == 0:
            self._begin(name, plan)
        lanes = {lane.name: lane for lane in plan.lanes}
        for done, layer in enumerate(due):
            found, moments = next(self._walks[name])
            assert found.index == layer
            totals = {moment.linears[0].name: moment.total for moment in moments}
            store.write(layer, {of: to_numpy(_due(lanes[of], total)) for of, total in totals.items()})
            moments.clear()
            advance(done + 1, len(due))

    def _begin(self, name: str, plan: RoundPlan) -> None:
        """The first of the rounds that prune all layers once."""
        charter, first = plan.charter, plan.context.round
        rounds = self._plans[first : first + charter.rounds // len(charter.schedule)]
        layers = [layer for one in rounds for layer in one.layers_of(name)]
        if layers:  # an institution may be too small for even one
            self._walks[name] = layer_moments(
                self._model,
                self._windows[name],
                diagonal=not charter.changes_weights,
                settings=self._settings,
                layers=layers,
                release=None if self._private is None else self._release(self._private, name, rounds),
            )

    def _release(self, private: PrivatePruning, name: str, rounds: Sequence[RoundPlan]) -> Release:
        """With each layer's noise spent in the round that the layer is measured for."""
        number = {layer: one.context.round for one in rounds for layer in one.layers_of(name)}
        return lambda layer, windows: private.of(name, number[layer.index])(layer, windows)


def _due(lane: Lane, total: torch.Tensor) -> torch.Tensor:
    """The moment, or its diagonal where no more is summed."""
    return total.diagonal() if total.ndim == 2 and lane.most_values == 0 else total
