"""A round of federated pruning, from pruned layers at every institution to one model."""

from fedspallm_secure.rounds.coordinator import CoordinatorRound
from fedspallm_secure.rounds.institution import InstitutionRound, Member
from fedspallm_secure.rounds.outcome import Outcome
from fedspallm_secure.rounds.plan import RoundPlan, plan_round
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.telemetry import LocalTelemetry, RoundTelemetry
from fedspallm_secure.rounds.witness import attest_sum

__all__ = [
    "CoordinatorRound",
    "InstitutionRound",
    "LocalTelemetry",
    "Member",
    "Outcome",
    "PublicWeights",
    "RoundPlan",
    "RoundTelemetry",
    "attest_sum",
    "plan_round",
]
