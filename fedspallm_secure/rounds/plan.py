"""From a charter to one round's lanes: who prunes which layers, how each lane is packed; the same for everybody."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedspallm_secure.aggregation import sample_layers
from fedspallm_secure.charter import Charter, Pattern, PooledInput, PooledStatistics, Tensor, check_charter
from fedspallm_secure.rounds.telemetry import telemetry_lane
from fedspallm_secure.secagg import (
    Lane,
    RoundContext,
    diagonals_packing,
    moments_packing,
    values_packing,
    votes_packing,
)
from fedspallm_secure.votes import CkksParameters, choose_parameters

__all__ = ["RoundPlan", "plan_round"]


@dataclass(frozen=True)
class RoundPlan:
    """One round of a charter.

    Attributes:
        context: charter, round and lanes, for the state machines.
        pattern: what the round's final mask satisfies.
        cohorts: for each decoder layer the roster indices of the institutions that prune it in this round.
    """

    context: RoundContext
    pattern: Pattern
    cohorts: tuple[tuple[int, ...], ...]

    @property
    def charter(self) -> Charter:
        """The agreement."""
        return self.context.charter

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that decide weights: all but the telemetry's, which is the last one if there is one."""
        return self.context.lanes if self.context.encrypts_votes else self.context.lanes[:-1]

    @property
    def telemetry(self) -> Lane | None:
        """The lane that carries no weights; None where votes are encrypted, as figures are no votes."""
        return None if self.context.encrypts_votes else self.context.lanes[-1]

    @property
    def ckks(self) -> CkksParameters | None:
        """How votes are encrypted, the same for all lanes; None where they are masked."""
        return choose_parameters(len(self.charter.roster)) if self.context.encrypts_votes else None

    def starting_from(self, start: str | None) -> RoundPlan:
        """The same round from a model with this digest, the last round's; None for the base model."""
        return self if start is None else replace(self, context=replace(self.context, start=start))

    def tensors(self, lane: Lane) -> tuple[Tensor, ...]:
        """The tensors that one of `lanes` decides: the one that it carries, or all that see its input."""
        if self.charter.pooled is None:
            return (self.charter.base.pruned[lane.index],)
        names = self.pooled(lane).tensors
        return tuple(tensor for tensor in self.charter.base.pruned if tensor.name in names)

    def pooled(self, lane: Lane) -> PooledInput:
        """The input whose second moment one of `lanes` carries."""
        assert self.charter.pooled is not None
        return next(one for one in self.charter.pooled.inputs if one.tensors[0] == lane.name)

    def quorum(self, cohort: tuple[int, ...]) -> int:
        """How many of one of `cohorts` must be there before a sum is opened."""
        return next(group.quorum for group in self.context.groups if group.cohort == cohort)

    def layers_of(self, name: str) -> tuple[int, ...]:
        """The decoder layers that the institution `name` prunes in this round."""
        index = self.context.roster.index(name)
        return tuple(layer for layer, cohort in enumerate(self.cohorts) if index in cohort)


def plan_round(charter: Charter, round_index: int, start: str | None = None) -> RoundPlan:
    """The plan of round `round_index` (from 0).

    Args:
        charter: the agreement.
        round_index: which.
        start: digest of the model that the round starts from, the last round's; None for the base model.

    Raises:
        CharterError: the charter breaks a rule, the capacities can't cover a layer, or the digits can't be packed.
    """
    check_charter(charter)
    drawn = sample_layers(
        [member.share for member in charter.roster],
        charter.base.layers,
        charter.parameters.minimum_cohort,
        bytes.fromhex(charter.beacon),
        charter.position_of(round_index),
    )
    layers = charter.layers_of(round_index)
    cohorts = tuple(cohort if layer in layers else () for layer, cohort in enumerate(drawn))
    pooled = charter.pooled
    lanes = _of_weights(charter, cohorts) if pooled is None else _of_moments(charter, pooled, cohorts)
    if charter.custodian is None:
        lanes = (*lanes, telemetry_lane(len(lanes), len(charter.roster)))
    else:
        ckks = choose_parameters(len(charter.roster))
        lanes = tuple(replace(lane, ciphertext_words=ckks.ciphertexts(lane.length) * ckks.words) for lane in lanes)
    context = RoundContext(charter, round_index, lanes, charter.base.model if start is None else start)
    return RoundPlan(context, charter.pattern_of(round_index), cohorts)


def _of_weights(charter: Charter, cohorts: tuple[tuple[int, ...], ...]) -> tuple[Lane, ...]:
    """One lane a tensor: its mask, and its changes."""
    return tuple(
        Lane(
            index=index,
            name=tensor.name,
            length=tensor.rows * tensor.columns,
            cohort=cohorts[tensor.layer],
            votes=votes_packing(len(cohorts[tensor.layer])),
            values=values_packing(len(cohorts[tensor.layer]), charter.parameters.digits_per_word),
        )
        for index, tensor in enumerate(charter.base.pruned)
    )


def _of_moments(charter: Charter, pooled: PooledStatistics, cohorts: tuple[tuple[int, ...], ...]) -> tuple[Lane, ...]:
    """One lane an input of the round's layers: the diagonal of its second moment, and the rest."""
    tensors = {tensor.name: tensor for tensor in charter.base.pruned}
    due = [one for one in pooled.inputs if cohorts[tensors[one.tensors[0]].layer]]
    lanes = []
    for index, one in enumerate(due):
        first = tensors[one.tensors[0]]
        cohort = cohorts[first.layer]
        lanes.append(
            Lane(
                index=index,
                name=first.name,
                length=first.columns,
                cohort=cohort,
                votes=diagonals_packing(len(cohort)),
                values=moments_packing(len(cohort), charter.parameters.digits_per_word),
                longest=first.columns * (first.columns - 1) // 2 if one.matrix else 0,
            )
        )
    return tuple(lanes)
