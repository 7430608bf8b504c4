"""A round of federated pruning, from pruned layers at every institution to one model."""

from fedspallm_secure.rounds.adding import Adder, AddingUp, add_encrypted, add_up
from fedspallm_secure.rounds.coordinator import CoordinatorRound
from fedspallm_secure.rounds.custodian import count_votes
from fedspallm_secure.rounds.durable import DurableRound, held_before
from fedspallm_secure.rounds.encrypting import OwnCiphertexts
from fedspallm_secure.rounds.institution import InstitutionRound, Member
from fedspallm_secure.rounds.outcome import Outcome
from fedspallm_secure.rounds.plan import RoundPlan, plan_round
from fedspallm_secure.rounds.public import After, MatrixSource, PublicWeights
from fedspallm_secure.rounds.published import PublishedSums
from fedspallm_secure.rounds.replay import Replayed, replay
from fedspallm_secure.rounds.telemetry import LocalTelemetry, RoundTelemetry
from fedspallm_secure.rounds.witness import attest_sum

__all__ = [
    "Adder",
    "AddingUp",
    "After",
    "CoordinatorRound",
    "DurableRound",
    "InstitutionRound",
    "LocalTelemetry",
    "MatrixSource",
    "Member",
    "Outcome",
    "OwnCiphertexts",
    "PublicWeights",
    "PublishedSums",
    "Replayed",
    "RoundPlan",
    "RoundTelemetry",
    "add_encrypted",
    "add_up",
    "attest_sum",
    "count_votes",
    "held_before",
    "plan_round",
    "replay",
]
