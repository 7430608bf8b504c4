"""A round of secure sums in one process: the real machines, and a dictionary where the blobs lie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.charter import Base, Charter, Institution, Method, Parameters, Tensor
from fedspallm_secure.messages import Envelope, Identity, LaneBlob, Sums, open_envelope
from fedspallm_secure.secagg import Client, Entropy, Lane, RoundContext, Server, values_packing, votes_packing

__all__ = ["SmallRound", "entropy", "identity", "round_context", "snapshot"]


def identity(name: str) -> Identity:
    """The participant `name`, always with the same key."""
    return Identity(name, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


def entropy(seed: str) -> Entropy:
    """Bytes that depend on `seed` alone."""
    return Random(seed).randbytes


def round_context(
    clients: int,
    lanes: Sequence[tuple[int, Sequence[int]]],
    *,
    method: Method = "sparsegpt",
    round_index: int = 0,
    digits_per_word: int = 4,
) -> RoundContext:
    """A round of the institutions i0, i1, ... with lanes of (length, cohort)."""
    charter = Charter(
        run="test",
        server="server",
        server_key=identity("server").public,
        roster=tuple(
            Institution(name=f"i{index}", public_key=identity(f"i{index}").public, capacity="1")
            for index in range(clients)
        ),
        method=method,
        schedule=("0.5",),
        beacon="b" * 64,
        base=Base(
            layers=len(lanes),
            pruned=tuple(
                Tensor(name=f"lane{index}", layer=index, rows=1, columns=length, dtype="float32", digest="d" * 64)
                for index, (length, _) in enumerate(lanes)
            ),
            rest={},
        ),
        parameters=Parameters(
            minimum_cohort=2,
            minimum_contributors=2,
            dropout_margin=0,
            colluders=0,
            digits_per_word=digits_per_word,
            clip="1",
        ),
    )
    made = (
        Lane(
            index=index,
            name=f"lane{index}",
            length=length,
            cohort=tuple(cohort),
            votes=votes_packing(len(cohort)),
            values=values_packing(len(cohort), digits_per_word),
        )
        for index, (length, cohort) in enumerate(lanes)
    )
    return RoundContext(charter, round_index, tuple(made))


def snapshot(machine: Client | Server) -> dict[str, Any]:
    """Everything a machine holds, so that it can be compared later on."""
    return {
        name: value.copy() if isinstance(value, dict | list | set) else value for name, value in vars(machine).items()
    }


Digits = Callable[[int, Lane], NDArray[Any]]
"""(roster index, lane) -> that client's digits."""


class SmallRound:
    """One server and all clients, step by step.

    Args:
        context: of the round.
        seed: of everybody's entropy.
    """

    def __init__(self, context: RoundContext, seed: str = "seed") -> None:
        self.context = context
        self.server = Server(context, identity("server"))
        self.clients = [Client(context, identity(name), entropy(f"{seed} {name}")) for name in context.roster]
        self.words: dict[str, NDArray[np.uint64]] = {}

    def store(self, lane: Lane, words: NDArray[np.uint64]) -> LaneBlob:
        """Put words away under their digest."""
        blob = hashlib.sha256(words.tobytes()).hexdigest()
        self.words[blob] = words
        return LaneBlob(lane=lane.name, words=words.size, blob=blob)

    def gather_keys(self) -> Envelope:
        """Every client advertises; the server's broadcast, not delivered yet."""
        broadcasts = [self.server.receive(client.advertise()) for client in self.clients]
        assert broadcasts[-1] is not None
        return broadcasts[-1]

    def deliver(self, broadcast: Envelope) -> None:
        """Hand a broadcast to every client."""
        for client in self.clients:
            client.receive(broadcast)

    def know_eligible(self, lengths: Sequence[int]) -> None:
        """Tell everybody how long the values' lanes are."""
        self.server.know_eligible(lengths)
        for client in self.clients:
            client.know_eligible(lengths)

    def masked(self, index: int, digits: Digits) -> Envelope:
        """One client masks all its lanes; its message, not delivered yet."""
        client = self.clients[index]
        return client.send([self.store(lane, client.mask(lane, digits(index, lane))) for lane in client.lanes])

    def add(self) -> Envelope:
        """The server adds up what came; its message, not delivered yet."""
        sums = []
        for lane in self.context.lanes:
            contributions = [self.words[blob.blob] for blob in self.server.contributions(lane)]
            total: NDArray[np.uint64] = np.sum(contributions, axis=0, dtype=np.uint64)
            sums.append(self.store(lane, total))
        return self.server.publish(sums)

    def sum(self, digits: Digits) -> Envelope:
        """A whole sum, from masking to the server's message, which is delivered."""
        for index in range(len(self.clients)):
            self.server.receive(self.masked(index, digits))
        published = self.add()
        self.deliver(published)
        return published

    def published(self, envelope: Envelope) -> Mapping[str, NDArray[np.uint64]]:
        """The words of each lane that the server published."""
        message = open_envelope(envelope, self.context.charter.keys)
        assert isinstance(message, Sums)
        return {blob.lane: self.words[blob.blob] for blob in message.lanes}
