"""Secure sums: packed digits under pairwise and self masks, as state machines without input or output."""

from fedspallm_secure.secagg.check import SumCheck
from fedspallm_secure.secagg.client import Client
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.encrypted import check_encrypted
from fedspallm_secure.secagg.gathering import Delivery
from fedspallm_secure.secagg.graph import COMPLETE_UP_TO
from fedspallm_secure.secagg.groups import Group
from fedspallm_secure.secagg.keys import Entropy
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.packing import (
    Packing,
    diagonals_packing,
    moments_packing,
    most_digits,
    values_packing,
    votes_packing,
)
from fedspallm_secure.secagg.participation import Participation
from fedspallm_secure.secagg.quorum import check_every_quorum
from fedspallm_secure.secagg.server import Server
from fedspallm_secure.secagg.states import ClientState, ServerState
from fedspallm_secure.secagg.unmasking import Unmasking

__all__ = [
    "COMPLETE_UP_TO",
    "Client",
    "ClientState",
    "Delivery",
    "Entropy",
    "Group",
    "Lane",
    "Packing",
    "Participation",
    "RoundContext",
    "Server",
    "ServerState",
    "SumCheck",
    "Unmasking",
    "check_encrypted",
    "check_every_quorum",
    "diagonals_packing",
    "moments_packing",
    "most_digits",
    "values_packing",
    "votes_packing",
]
