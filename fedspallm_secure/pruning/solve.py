"""Prune one decoder layer from the second moments of its inputs, whoever's text they were summed over.

This is the only place where a layer is pruned: an institution does it with its own moments, a group of them with the
sum of theirs. So what a sum gives is what one place with all the text would get from the same moments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from fedspallm_secure.charter import Pattern
from fedspallm_secure.pruning.decoder import DecoderLayer
from fedspallm_secure.pruning.hessian import InputMoment
from fedspallm_secure.pruning.magnitude import magnitude
from fedspallm_secure.pruning.settings import Method, PruneSettings
from fedspallm_secure.pruning.sparsegpt import sparsegpt
from fedspallm_secure.pruning.wanda import wanda

__all__ = ["PrunedLayer", "prune_layer"]


@dataclass(frozen=True, eq=False)
class PrunedLayer:
    """What became of one decoder layer.

    Attributes:
        kept: parameter name -> mask, bool (outputs, inputs), True where the weight stays.
        damping_raises: parameter name -> how often its Hessian's damping was raised tenfold; only of tensors whose
            Hessian was factored.
    """

    kept: dict[str, torch.Tensor]
    damping_raises: dict[str, int]


@torch.no_grad()
def prune_layer(
    layer: DecoderLayer, moments: Iterable[InputMoment], *, method: Method, pattern: Pattern, settings: PruneSettings
) -> PrunedLayer:
    """Prune the linear weights of `layer` in place.

    Args:
        layer: the layer.
        moments: of its inputs, each linear module under one of them: matrices for SparseGPT, diagonals for Wanda. They
            are used one at a time. Magnitude pruning needs none.
        method: which weights go, and whether the others make up for it.
        pattern: for every tensor on its own.
        settings: how the solver works.

    Raises:
        NumericalError: no damping makes a Hessian positive definite.
    """
    kept: dict[str, torch.Tensor] = {}
    raises: dict[str, int] = {}
    device = settings.torch_device()
    with layer.on(device):
        if method == "magnitude":
            kept = {linear.name: magnitude(linear.matrix(), pattern) for linear in layer.linears}
        else:
            for moment in moments:
                H = moment.hessian().to(device)
                matrices = [linear.matrix() for linear in moment.linears]
                if method == "wanda":
                    masks = [wanda(matrix, H, pattern) for matrix in matrices]
                    kept |= {linear.name: mask for linear, mask in zip(moment.linears, masks, strict=True)}
                    continue
                result = sparsegpt(matrices, H, pattern, damping=settings.damping, block=settings.block)
                for linear, weight, mask in zip(moment.linears, result.weights, result.kept, strict=True):
                    linear.assign(weight)
                    kept[linear.name] = mask
                    raises[linear.name] = result.damping_raises
        for linear in layer.linears:
            linear.keep(kept[linear.name])
    return PrunedLayer(kept, raises)
