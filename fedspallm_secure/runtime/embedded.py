"""All participants of a run in one process: the same machines as anywhere else, and a queue instead of a network.

Every envelope goes through its signed form, every payload through a blob store, and both are counted, so that the bytes
reported are those that a network would carry.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import (
    Envelope,
    Identity,
    Masked,
    Message,
    ModelStatement,
    Proof,
    Proofs,
    Sums,
    canonical,
    open_envelope,
)
from fedspallm_secure.rounds import CoordinatorRound, InstitutionRound, PublicWeights, RoundPlan
from fedspallm_secure.secagg import Entropy
from fedspallm_secure.transcript import BlobStore, Log
from fedspallm_secure.workspace import LayerStore

__all__ = ["Participants", "Traffic", "run_round"]

Direction = Literal["up", "down"]


@dataclass(frozen=True)
class Participants:
    """Everybody's signing key, in one hand because this is one process.

    Attributes:
        server: the coordinator.
        institutions: by name, in roster order.
    """

    server: Identity
    institutions: Mapping[str, Identity]

    @classmethod
    def fresh(cls, names: list[str], entropy: Entropy = os.urandom) -> Participants:
        """New signing keys for a server and the institutions `names`."""
        server, *clients = (
            Identity(name, Ed25519PrivateKey.from_private_bytes(entropy(32))) for name in ["coordinator", *names]
        )
        return cls(server, {identity.name: identity for identity in clients})


@dataclass
class Traffic:
    """Bytes that each institution sent (up) and received (down), by step of the protocol."""

    bytes: dict[str, dict[Direction, dict[str, int]]] = field(
        default_factory=lambda: defaultdict(lambda: {"up": defaultdict(int), "down": defaultdict(int)})
    )

    def add(self, institution: str, direction: Direction, step: str, number: int) -> None:
        """Count `number` bytes."""
        self.bytes[institution][direction][step] += number

    def plain(self) -> dict[str, dict[str, dict[str, int]]]:
        """Institution -> direction -> step -> bytes, as JSON has it."""
        return {name: {way: dict(steps) for way, steps in ways.items()} for name, ways in self.bytes.items()}

    def total(self, institution: str, direction: Direction) -> int:
        """All bytes of one institution in one direction."""
        return sum(self.bytes[institution][direction].values())


class _MeteredBlobs(BlobStore):
    """One institution's way to the blob store: what it puts goes up, what it gets comes down (once; then it has it)."""

    def __init__(self, folder: Path, name: str, traffic: Traffic) -> None:
        super().__init__(folder)
        self.answering = ""
        self._name = name
        self._traffic = traffic
        self._fetched: set[str] = set()

    def put(self, words: NDArray[np.uint64]) -> str:
        self._traffic.add(self._name, "up", _ANSWER[self.answering], words.nbytes)
        return super().put(words)

    def get(self, name: str) -> NDArray[np.uint64]:
        words = super().get(name)
        if name not in self._fetched:
            self._fetched.add(name)
            self._traffic.add(self._name, "down", self.answering, words.nbytes)
        return words


def run_round(
    plan: RoundPlan,
    participants: Participants,
    public: PublicWeights,
    pruned: Mapping[str, LayerStore],
    transcript: Path,
    output: LayerStore,
    traffic: Traffic,
    entropy: Entropy = os.urandom,
    progress: Callable[[str], None] = lambda text: None,
) -> str:
    """One round: from every institution's pruned layers to the next global model.

    Args:
        plan: of the round.
        participants: everybody's identity.
        public: the weights the round starts from.
        pruned: institution -> its pruned layers.
        transcript: folder of the log and the payloads.
        output: where the new model's layers go.
        traffic: counts bytes.
        entropy: source of the ephemeral keys.
        progress: called with a line for people, once an answer.

    Returns:
        The new model's digest, which every institution and the server computed.

    Raises:
        FedspallmError: the round failed; the text says where.
    """
    log = Log(transcript / "log.jsonl")
    blobs = {name: _MeteredBlobs(transcript / "blobs", name, traffic) for name in participants.institutions}
    coordinator = CoordinatorRound(plan, participants.server, public, BlobStore(transcript / "blobs"), output)
    institutions = {
        name: InstitutionRound(plan, identity, entropy, public, pruned[name], blobs[name], None)
        for name, identity in participants.institutions.items()
    }
    upward = {name: institution.start() for name, institution in institutions.items()}
    while upward:
        downward: list[Envelope] = []
        for name, envelope in upward.items():
            log.append(envelope)
            step = _step(open_envelope(envelope, plan.charter.keys))
            traffic.add(name, "up", step, len(canonical(envelope)))
            downward += coordinator.receive(envelope)
        upward = {}
        for envelope in downward:
            log.append(envelope)
            step = _step(open_envelope(envelope, plan.charter.keys))
            for name, institution in institutions.items():
                progress(f"{name} answers {step}")
                traffic.add(name, "down", step, len(canonical(envelope)))
                blobs[name].answering = step
                answer = institution.receive(envelope)
                if answer is not None:
                    upward[name] = answer
    if coordinator.model is None:
        raise RemoteProtocolError(
            f"The round stopped without an answer of {', '.join(coordinator.missing())}.",
            "Run it again with these institutions, or agree on a charter without them.",
        )
    return coordinator.model


_ANSWER = {"keys": "votes", "checks": "values"}
"""What an institution uploads when it answers a step's broadcast."""


def _step(message: Message) -> str:
    """The step of the protocol that a message belongs to, as reports name it."""
    if isinstance(message, Masked | Sums):
        return message.sum
    if isinstance(message, Proof | Proofs):
        return "checks"
    return "model" if isinstance(message, ModelStatement) else "keys"
