"""Secure sums: packed digits under pairwise masks, as state machines without input or output."""

from fedspallm_secure.secagg.check import ProofGathering, SumCheck
from fedspallm_secure.secagg.client import Client
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.keys import Entropy
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.packing import Packing, most_digits, values_packing, votes_packing
from fedspallm_secure.secagg.server import Server
from fedspallm_secure.secagg.states import ClientState, ServerState

__all__ = [
    "Client",
    "ClientState",
    "Entropy",
    "Lane",
    "Packing",
    "ProofGathering",
    "RoundContext",
    "Server",
    "ServerState",
    "SumCheck",
    "most_digits",
    "values_packing",
    "votes_packing",
]
