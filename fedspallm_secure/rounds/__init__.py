"""A round of federated pruning, from pruned layers at every institution to one model."""

from fedspallm_secure.rounds.coordinator import CoordinatorRound
from fedspallm_secure.rounds.institution import InstitutionRound
from fedspallm_secure.rounds.outcome import Outcome
from fedspallm_secure.rounds.plan import RoundPlan, plan_round
from fedspallm_secure.rounds.public import PublicWeights

__all__ = ["CoordinatorRound", "InstitutionRound", "Outcome", "PublicWeights", "RoundPlan", "plan_round"]
