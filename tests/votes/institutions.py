"""Institutions that encrypt votes under one custodian's key, with real key sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.votes import (
    CkksParameters,
    Contribution,
    Custodian,
    Decryptor,
    Encryptor,
    KeyPair,
    PublicContext,
    SecretContext,
    VotesLane,
    choose_parameters,
    make_key_pair,
    sum_digest,
)
from fedspallm_secure.workspace import Journal

__all__ = ["CHARTER", "Institutions", "contribution", "key_pair", "lane_of"]

CHARTER = "c" * 64


@cache
def key_pair(clients: int) -> KeyPair:
    """One key a number of clients: they are slow to make, and only the custodian's journal minds."""
    return make_key_pair(choose_parameters(clients))


@dataclass
class Institutions:
    """Everybody of one charter."""

    parameters: CkksParameters
    public: PublicContext
    encryptor: Encryptor
    decryptor: Decryptor
    secret: SecretContext

    @classmethod
    def of(cls, clients: int, folder: Path) -> Institutions:
        parameters, keys = choose_parameters(clients), key_pair(clients)
        public = PublicContext(parameters, keys.public, keys.digest)
        secret = SecretContext(keys.secret, public)
        return cls(parameters, public, Encryptor(public, folder), Decryptor(secret, folder), secret)

    def custodian(self, journal: Journal | None = None) -> Custodian:
        return Custodian(self.secret, self.decryptor, journal or Journal())

    def contributions(self, votes: Iterable[NDArray[np.bool_]]) -> list[Contribution]:
        """Each vector of votes, encrypted by client 0, 1, 2, ..."""
        return [
            contribution(str(index), self.public.digest, list(self.encryptor.encrypt(mine)))
            for index, mine in enumerate(votes)
        ]


def contribution(client: str, context: str, words: Sequence[NDArray[np.uint64]]) -> Contribution:
    """What `client` signed: whatever it likes, under the right digest."""
    digest = sum_digest(np.ascontiguousarray(part) for part in words)
    return Contribution(client, context, digest, lambda: iter(words))


def lane_of(clients: int, length: int, *, name: str = "a.weight", round: int = 0, minimum: int = 2) -> VotesLane:
    return VotesLane(CHARTER, round, name, length, frozenset(map(str, range(clients))), minimum)
