"""From a charter to one round's lanes: who prunes which layers, how each lane is packed; the same for everybody."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedspallm_secure.aggregation import sample_layers
from fedspallm_secure.charter import Charter, Pattern, Tensor, check_charter
from fedspallm_secure.rounds.telemetry import telemetry_lane
from fedspallm_secure.secagg import Lane, RoundContext, values_packing, votes_packing
from fedspallm_secure.votes import CkksParameters, choose_parameters

__all__ = ["RoundPlan", "plan_round"]


@dataclass(frozen=True)
class RoundPlan:
    """One round of a charter.

    Attributes:
        context: charter, round and lanes, for the state machines.
        pattern: what the round's final mask satisfies.
        cohorts: for each decoder layer the roster indices of the institutions that prune it.
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
        """The lanes that carry weights: all but the telemetry's, which is the last one if there is one."""
        return self.context.lanes[: len(self.charter.base.pruned)]

    @property
    def telemetry(self) -> Lane | None:
        """The lane that carries no weights; None where votes are encrypted, as figures are no votes."""
        return None if self.context.encrypts_votes else self.context.lanes[-1]

    @property
    def ckks(self) -> CkksParameters | None:
        """How votes are encrypted, the same for all lanes; None where they are masked."""
        return choose_parameters(len(self.charter.roster)) if self.context.encrypts_votes else None

    def tensor(self, lane: Lane) -> Tensor:
        """The tensor that one of `lanes` carries."""
        return self.charter.base.pruned[lane.index]

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
    cohorts = sample_layers(
        [member.share for member in charter.roster],
        charter.base.layers,
        charter.parameters.minimum_cohort,
        bytes.fromhex(charter.beacon),
        round_index,
    )
    lanes = tuple(
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
    if charter.custodian is None:
        lanes = (*lanes, telemetry_lane(len(lanes), len(charter.roster)))
    else:
        ckks = choose_parameters(len(charter.roster))
        lanes = tuple(replace(lane, ciphertext_words=ckks.ciphertexts(lane.length) * ckks.words) for lane in lanes)
    context = RoundContext(charter, round_index, lanes, charter.base.model if start is None else start)
    return RoundPlan(context, charter.patterns[round_index], cohorts)
