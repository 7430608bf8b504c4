"""Pooled statistics under differential privacy: each institution adds a share of the noise, and only the sum is seen.

The charter says how windows are whitened and clipped, and how much noise a sum has. An institution adds the share that
makes those who are honest and stay add all of it together: a sum is opened for a quorum of its cohort, of which the
colluders know their own noise. Whole numbers are summed as they are, so that what everybody sees is a function of the
ideal Gaussian mechanism's output (docs/privacy.md). What comes after, repair included, everybody computes from that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray

from fedspallm_secure.charter import PooledInput
from fedspallm_secure.privacy import WHOLE, Clipping, Ledger, Release, Use, to_diagonal, to_matrix
from fedspallm_secure.pruning import InputMoment
from fedspallm_secure.rounds import RoundPlan
from fedspallm_secure.runtime.private_pruning import NOT_COVERED, Entropy, LedgerKeeper
from fedspallm_secure.runtime.public_text import PublicInput

__all__ = ["PoolingInstitution", "pooled_inputs"]


def pooled_inputs(plans: Sequence[RoundPlan]) -> dict[int, list[PublicInput]]:
    """The inputs of every decoder layer with their bounds, as the charter has them; it has to name noise."""
    charter = plans[0].charter
    assert charter.pooled is not None
    tensors = {tensor.name: tensor for tensor in charter.base.pruned}
    found: dict[int, list[PublicInput]] = {}
    for one in charter.pooled.inputs:
        assert one.noise is not None
        first = tensors[one.tensors[0]]
        clipping = Clipping(one.noise.bound, -one.exponent)
        scale = (np.array(one.noise.scale) / WHOLE) ** 2
        found.setdefault(first.layer, []).append(
            PublicInput(one.tensors, first.columns, not one.matrix, clipping, scale)
        )
    return found


class PoolingInstitution(LedgerKeeper):
    """An institution that adds its share of the noise of a sum.

    Args:
        ledger: open.
        name: the institution.
        data: what its text is called there.
        plans: of all rounds; their charter names noise.
        entropy: where the noise comes from.
    """

    def __init__(
        self, ledger: Ledger, name: str, data: str, plans: Sequence[RoundPlan], entropy: Entropy = os.urandom
    ) -> None:
        pooled = plans[0].charter.pooled
        assert pooled is not None
        super().__init__(ledger, pooled_inputs(plans), [plan.layers_of(name) for plan in plans], entropy)
        self._named: Mapping[str, PooledInput] = {one.tensors[0]: one for one in pooled.inputs}
        self._plans = plans
        self._data = data
        noise = pooled.inputs[0].noise
        assert noise is not None
        self.multiplier = sqrt(noise.variance) / noise.bound if self.releases else None

    def use(self, number: int, layer: int) -> Use:
        """What measuring one layer in round `number` takes: a line of the ledger."""
        plan = self._plans[number]
        cohort = len(plan.cohorts[layer])
        return Use(
            data=self._data,
            run=plan.context.digest,
            round=number,
            method=f"{plan.charter.method}, pooled statistics",
            institutions=cohort,
            colluders=plan.charter.parameters.colluders,
            dropouts=cohort - plan.quorum(plan.cohorts[layer]),
            releases=tuple(self._planned(one) for one in self._inputs[layer]),
            not_covered=NOT_COVERED,
        )

    def given(self, noisy: NDArray[np.int64], release: Release, moment: InputMoment) -> InputMoment:
        """What goes into the secure sum: float64 that holds the whole numbers of the grid exactly."""
        if release.kind == "diagonal":
            return replace(moment, total=torch.from_numpy(to_diagonal(noisy, release.clipping)))
        return replace(moment, total=torch.from_numpy(to_matrix(noisy, release.inputs, release.clipping)))

    def _planned(self, one: PublicInput) -> Release:
        noise = self._named[one.name].noise
        assert noise is not None
        return Release(
            name=one.name,
            kind="diagonal" if one.diagonal else "matrix",
            inputs=one.inputs,
            bound=noise.bound,
            exponent=one.clipping.exponent,
            variance=noise.variance,
        )
