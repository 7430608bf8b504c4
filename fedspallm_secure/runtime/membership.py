"""What an adversary can tell of calibration windows: `evaluation.membership`, measured on a real model.

Candidates run through the dense model once, through its first layers only. Those say enough: their inputs depend on no
layer that was pruned before, so what an institution saw there is what the adversary computes. Members are the windows
that an institution calibrated on; the others are windows of the same source, cut in the same way, that it did not draw.
So nothing tells the two apart but what was released. The adversary's own windows are further ones of that source: it
knows the kind of text of every institution.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fedspallm_secure.charter import Pattern
from fedspallm_secure.errors import DataError
from fedspallm_secure.evaluation import Auc, auc, error_scores, kept_scores, relative_sizes
from fedspallm_secure.pruning import (
    DecoderLayer,
    InputMoment,
    Method,
    PruneSettings,
    Release,
    decoder_layers,
    layer_moments,
    prune,
)
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.sections import InstitutionConfig
from fedspallm_secure.runtime.text import document_windows, load_documents, token_windows

__all__ = ["LAYERS", "Candidates", "Seen", "adversary_windows", "attack", "pruned_by"]

LAYERS = 2
"""How many layers, from the first on, the adversary looks at."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Windows of one kind of text, each int64 (count, T).

    Attributes:
        members: that were calibrated on.
        others: that were not.
        reference: the adversary's own, none of the above.
    """

    members: torch.Tensor
    others: torch.Tensor
    reference: torch.Tensor


@dataclass(frozen=True, eq=False)
class Seen:
    """What is seen of the first layers after pruning, or what the adversary expects to be seen.

    Attributes:
        kept: parameter name -> share of the institutions that kept each weight, float32 (outputs, inputs); empty where
            it is not seen.
        weights: parameter name -> the weights after pruning, float32 (outputs, inputs); empty where they are not seen.
        moments: parameter name of the first linear module that sees an input -> the diagonal of the input's second
            moment that layers were pruned from, float64 (inputs,); empty where it is not seen.
    """

    kept: Mapping[str, torch.Tensor]
    weights: Mapping[str, torch.Tensor]
    moments: Mapping[str, NDArray[np.float64]]

    @classmethod
    def together(cls, institutions: Sequence[Seen]) -> Seen:
        """What the sums of several tell: mean votes, the mean of the kept weights before any expansion, all moments."""
        kept = {name: torch.stack([one.kept[name] for one in institutions]).mean(0) for name in institutions[0].kept}
        weights = {
            name: torch.stack([one.weights[name] for one in institutions]).mean(0) / share.clamp(min=1e-9)
            for name, share in kept.items()
        }
        moments = {
            name: np.sum([one.moments[name] for one in institutions], axis=0) for name in institutions[0].moments
        }
        return cls(kept, weights, moments)


def adversary_windows(
    member: InstitutionConfig, config: RunConfig, tokenizer: PreTrainedTokenizerBase, members: torch.Tensor
) -> Candidates:
    """Others and the adversary's own windows beside those that an institution calibrated on, as many of each.

    Args:
        member: the institution.
        config: of the run.
        tokenizer: of the model.
        members: its calibration windows, int64 (count, T).

    Raises:
        DataError: its text has fewer than three times as many windows.
    """
    count, length = members.shape
    # As `load_windows` draws them: windows of one source lie on one grid, and document windows come by their hash.
    seed = int.from_bytes(hashlib.sha256(f"{config.seed}/{member.name}/calibration".encode()).digest()[:7])
    cut = document_windows if config.privacy.on else token_windows
    documents = load_documents(member.calibration, split=member.split, field=member.field)
    drawn = cut(documents, tokenizer, count=3 * count, length=length, seed=seed)
    known = {tuple(window) for window in members.tolist()}
    fresh = [window for window in drawn.tolist() if tuple(window) not in known]
    if len(fresh) < 2 * count:
        raise DataError(
            f"The text of {member.name} repeats itself: {len(fresh)} windows are no member's, and {2 * count} are "
            "needed.",
            "Give it more varied text, or leave the membership of its windows unmeasured.",
        )
    order = torch.randperm(len(fresh), generator=torch.Generator().manual_seed(seed)).tolist()
    others, reference = (torch.tensor([fresh[at] for at in part]) for part in (order[:count], order[count : 2 * count]))
    return Candidates(members, others, reference)


def pruned_by(
    model: PreTrainedModel,
    windows: torch.Tensor,
    *,
    method: Method,
    pattern: Pattern,
    settings: PruneSettings,
    layers: int = LAYERS,
    release: Release | None = None,
) -> Seen:
    """Prune the first layers on some windows, look, and put them back as they were.

    Args:
        model: the dense model.
        windows: int64 (n, T).
        method: how weights are chosen.
        pattern: of the zeros.
        settings: of the solver.
        layers: how many.
        release: what becomes of the windows' moments first, as for `prune`.
    """
    linears = [linear for layer in decoder_layers(model)[:layers] for linear in layer.linears]
    dense = {linear.name: linear.matrix() for linear in linears}
    released: dict[str, NDArray[np.float64]] = {}

    def note(layer: DecoderLayer, each: Iterator[list[InputMoment]]) -> list[InputMoment]:
        moments = (release or _sum)(layer, each)
        released.update({moment.linears[0].name: _diagonal(moment.total) for moment in moments})
        return moments

    prune(model, windows, method=method, pattern=pattern, settings=settings, layers=range(layers), release=note)
    weights = {linear.name: linear.matrix() for linear in linears}
    for linear in linears:
        linear.assign(dense[linear.name])
    return Seen({name: (W != 0).float() for name, W in weights.items()}, weights, released)


def attack(
    model: PreTrainedModel,
    candidates: Candidates,
    releases: Mapping[str, tuple[Seen, Seen]],
    settings: PruneSettings,
    *,
    errors: bool = False,
    layers: int = LAYERS,
) -> dict[str, dict[str, Auc]]:
    """How well members are told from others.

    Args:
        model: the dense model.
        candidates: the windows.
        releases: label -> what is seen, and what the adversary expects.
        settings: the device.
        errors: whether layer-wise errors are looked at too; that takes whole moments, not only their diagonals.
        layers: how many, from the first on.

    Returns:
        Label -> "kept" and "moments" where they are seen, and "error" if asked for -> the area under the ROC curve.
    """
    windows = torch.cat([candidates.members, candidates.others, candidates.reference])
    names: dict[str, list[str]] = {}
    diagonals: dict[str, list[NDArray[np.float64]]] = {}
    found: dict[str, list[list[float]]] = {}
    outer: dict[str, list[torch.Tensor]] = {}

    def look(layer: DecoderLayer, each: Iterator[list[InputMoment]]) -> list[InputMoment]:
        moments: list[InputMoment] = []
        for moments in each:
            for moment in moments:
                key = moment.linears[0].name
                names[key] = [linear.name for linear in moment.linears]
                diagonals.setdefault(key, []).append(_diagonal(moment.total))
                for linear in moment.linears if errors else ():
                    for label, pair in releases.items():
                        place = f"{label}/{linear.name}"
                        if place not in outer:
                            outer[place] = [_outer(one.weights[linear.name] - linear.matrix()) for one in pair]
                        found.setdefault(place, []).append([float((moment.total * G).sum()) for G in outer[place]])
        return moments

    for _ in layer_moments(model, windows, diagonal=not errors, settings=settings, layers=range(layers), release=look):
        outer.clear()  # as large as the moments
    count, both = len(candidates.members), len(candidates.members) + len(candidates.others)
    stacked = {key: np.stack(rows) for key, rows in diagonals.items()}
    areas: dict[str, dict[str, Auc]] = {}
    for label, (seen, expected) in releases.items():
        own, windows_of = [rows[:both] for rows in stacked.values()], [rows[both:] for rows in stacked.values()]
        scores = {}
        if seen.kept and expected.kept:
            kept = ([_kept_of_input(side, names[key]) for key in stacked] for side in (seen, expected))
            scores["kept"] = kept_scores(own, windows_of, *kept)
        if seen.moments and expected.moments:
            logs = ([relative_sizes(side.moments[key]) for key in stacked] for side in (seen, expected))
            scores["moments"] = kept_scores(own, windows_of, *logs)
        if errors:
            pairs = np.array([found[f"{label}/{name}"] for group in names.values() for name in group])
            scores["error"] = error_scores(pairs[:, :both, 0].T, pairs[:, :both, 1].T)
        areas[label] = {name: auc(values[:count], values[count:]) for name, values in scores.items()}
    return areas


def _kept_of_input(seen: Seen, names: Sequence[str]) -> NDArray[np.float64]:
    """For each input the share of its weights that was kept, mean over the modules that see it."""
    share = torch.stack([seen.kept[name].mean(0) for name in names]).mean(0)
    return share.double().cpu().numpy()


def _sum(layer: DecoderLayer, each: Iterator[list[InputMoment]]) -> list[InputMoment]:
    """What an institution without noise prunes from."""
    moments = next(each)
    for more in each:
        for moment, part in zip(moments, more, strict=True):
            moment.total.add_(part.total)
    return moments


def _outer(change: torch.Tensor) -> torch.Tensor:
    """What a window's moment is multiplied with to give ||change X||^2."""
    return change.T @ change


def _diagonal(total: torch.Tensor) -> NDArray[np.float64]:
    diagonal = total if total.ndim == 1 else total.diagonal()
    return diagonal.double().cpu().numpy()
