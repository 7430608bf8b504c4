"""What the first sums that a run published tell of the windows that its first institution calibrated on.

Where weights are averaged those are the counts of votes. Where statistics are pooled they are the diagonals of the
second moments, as they stand in the run's log, with noise if there is any.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from fedspallm_secure.aggregation import DiagonalQuantiser
from fedspallm_secure.charter import PooledInput, load_charter, parse_pattern
from fedspallm_secure.evaluation import Auc
from fedspallm_secure.messages import Sums, Survivors, open_envelope
from fedspallm_secure.privacy import WHOLE
from fedspallm_secure.pruning import PruneSettings, decoder_layers
from fedspallm_secure.rounds import PublishedSums, RoundPlan, plan_round
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.membership import LAYERS, Seen, adversary_windows, attack, pruned_by
from fedspallm_secure.runtime.model import load_model, load_tokenizer
from fedspallm_secure.runtime.sections import STATISTICS
from fedspallm_secure.runtime.windows import load_windows
from fedspallm_secure.secagg import Lane
from fedspallm_secure.transcript import Transcript, read_log
from fedspallm_secure.workspace import LayerStore

__all__ = ["membership_of_run", "published_diagonals"]


def membership_of_run(config: RunConfig, out: Path) -> Auc | None:
    """How well the calibration windows of the first institution that worked on the first layers are told from others.

    Args:
        config: of the run.
        out: of the run; where weights are averaged with the layers that institutions pruned, in work.

    Returns:
        None where no institution worked on all of the first layers.

    Raises:
        FedspallmError: the text is too short, or model, layers or log can't be read.
    """
    settings = PruneSettings(**config.pruning.solver)
    pools = config.protocol.aggregate == STATISTICS
    stores = {member.name: LayerStore(out / "work" / "round-0" / member.name) for member in config.institution}
    voters = {name: store for name, store in stores.items() if all(store.has(layer) for layer in range(LAYERS))}
    names = _poolers(out / "transcript") if pools else list(voters)
    if not names:
        return None
    tokenizer = load_tokenizer(config.model)
    model = load_model(config.model, config.pruning.dtype, settings.torch_device())
    calibration = load_windows(config, tokenizer, lambda done, total: None).calibration
    drawn = {
        member.name: adversary_windows(member, config, tokenizer, calibration[member.name])
        for member in config.institution
        if member.name in names
    }
    pattern = parse_pattern(config.pruning.pattern[0])
    expected = Seen.together(
        [
            pruned_by(model, own.reference, method=config.pruning.method, pattern=pattern, settings=settings)
            for own in drawn.values()
        ]
    )
    first = next(iter(drawn.values()))
    if pools:
        seen, usual = Seen({}, {}, published_diagonals(out / "transcript")), Seen({}, {}, expected.moments)
        return attack(model, first, {"sums": (seen, usual)}, settings)["sums"]["moments"]
    seen, usual = Seen(_votes(model, voters.values()), {}, {}), Seen(expected.kept, {}, {})
    return attack(model, first, {"sums": (seen, usual)}, settings)["sums"]["kept"]


def published_diagonals(transcript: Path) -> dict[str, NDArray[np.float64]]:
    """The pooled diagonals of the first layers, as the log has them: parameter name -> float64 (inputs,), above 0.

    What noise made less than its deviation, or a sum than a step, is raised to that.

    Args:
        transcript: of a run that pooled statistics.

    Raises:
        FedspallmError: charter, log or payloads can't be read.
    """
    folder = Transcript(transcript)
    sums = PublishedSums(folder.blobs)
    diagonals: dict[str, NDArray[np.float64]] = {}
    for plan in _first_plans(transcript):
        survivors, published = _votes_sum(folder, plan)
        for lane, of_lane in zip(plan.lanes, published.lanes, strict=False):  # more lanes than carry weights
            if plan.tensors(lane)[0].layer < LAYERS:
                digits = sums.digits(lane, "votes", of_lane, lane.length)
                n = sum(plan.context.roster[index] in survivors for index in lane.cohort)
                diagonals[lane.name] = _diagonal(plan.pooled(lane), lane, digits, n)
    return diagonals


def _votes_sum(folder: Transcript, plan: RoundPlan) -> tuple[tuple[str, ...], Sums]:
    """Whose votes a round's first sum adds up, and the sum."""
    found: dict[str, Survivors | Sums] = {}
    for _, envelope in read_log(folder.log):
        message = open_envelope(envelope, plan.context.keys)
        if isinstance(message, Survivors | Sums) and (message.round, message.sum) == (plan.context.round, "votes"):
            found[message.kind] = message
    survivors, published = found["survivors"], found["sums"]
    assert isinstance(survivors, Survivors)
    assert isinstance(published, Sums)
    return survivors.survivors, published


def _diagonal(one: PooledInput, lane: Lane, digits: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Of the inputs themselves."""
    diagonal = DiagonalQuantiser(lane.votes.top // 2, one.exponent).decode(digits, n)
    if one.noise is None:
        return np.maximum(diagonal, np.ldexp(1.0, -one.exponent))
    raised = np.maximum(diagonal, np.ldexp(np.sqrt(one.noise.variance), -one.exponent))
    scaled: NDArray[np.float64] = raised * (np.array(one.noise.scale) / WHOLE) ** 2
    return scaled


def _first_plans(transcript: Path) -> list[RoundPlan]:
    """Of the rounds in which the first layers are worked on for the first time."""
    charter = load_charter(Transcript(transcript).charter)
    each = charter.pooled is not None and charter.pooled.exchange == "each layer"
    return [plan_round(charter, number) for number in range(LAYERS if each else 1)]


def _poolers(transcript: Path) -> list[str]:
    """Who was to measure all of the first layers."""
    plans = _first_plans(transcript)
    return [
        name
        for name in plans[0].context.roster
        if set(range(LAYERS)) <= {layer for plan in plans for layer in plan.layers_of(name)}
    ]


def _votes(model: PreTrainedModel, stores: Iterable[LayerStore]) -> dict[str, torch.Tensor]:
    """The share of institutions that kept each weight: the published counts over their number."""
    kept = list(stores)
    return {
        linear.name: torch.from_numpy(
            np.mean([store.kept(layer.index, linear.name) for store in kept], axis=0, dtype=np.float32)
        )
        for layer in decoder_layers(model)[:LAYERS]
        for linear in layer.linears
    }
