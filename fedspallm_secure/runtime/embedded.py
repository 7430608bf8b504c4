"""All participants of a run in one process: the same machines as anywhere else, and a queue instead of a network.

Every envelope goes through its signed form, every payload through a blob store, and both are counted, so that the bytes
reported are those that a network would carry.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.charter import Charter, Policy, load_charter_signatures
from fedspallm_secure.messages import (
    Attested,
    Collected,
    Confirm,
    Confirmed,
    Counted,
    Encrypted,
    Envelope,
    Identity,
    Masked,
    Message,
    ModelStatement,
    Proof,
    Proofs,
    Release,
    Shares,
    SumName,
    Sums,
    Survivors,
    Unmask,
    Unproven,
    canonical,
    digest,
    open_envelope,
)
from fedspallm_secure.rounds import (
    AddingUp,
    CoordinatorRound,
    DurableRound,
    InstitutionRound,
    LocalTelemetry,
    Member,
    Outcome,
    OwnCiphertexts,
    PublicWeights,
    RoundPlan,
    RoundTelemetry,
    attest_sum,
    held_before,
)
from fedspallm_secure.secagg import Delivery, Entropy
from fedspallm_secure.tlog import LogView, origin_of
from fedspallm_secure.transcript import BlobStore, Transcript
from fedspallm_secure.workspace import Journal, LayerStore

__all__ = ["Participants", "RoundResult", "Traffic", "run_round"]

Direction = Literal["up", "down"]

_STATISTICS: Final[dict[SumName, str]] = {"votes": "diagonals", "values": "matrices"}


class Counting(Protocol):
    """The custodian, as a run meets it: `custodian.Office` in this process, or somebody elsewhere."""

    def count(self, plan: RoundPlan, log: Iterable[Envelope], blobs: BlobStore) -> Envelope:
        """Count the votes of a round; see `custodian.Office.count`."""
        ...


@dataclass(frozen=True)
class Participants:
    """Everybody's signing key, in one hand because this is one process.

    Attributes:
        server: the coordinator.
        institutions: by name, in roster order.
        policies: what each of those insists on that does not take the default.
        witness: who vouches for a sum that the institutions can't check, if the charter names somebody.
        custodian: who counts encrypted votes, if the charter names somebody.
        views: what each of them, and the witness, has verified of the run's log; filled as the run goes on.
    """

    server: Identity
    institutions: Mapping[str, Identity]
    policies: Mapping[str, Policy] = field(default_factory=dict)
    witness: Identity | None = None
    custodian: Counting | None = None
    views: dict[str, LogView] = field(default_factory=dict)

    @property
    def everybody(self) -> list[Identity]:
        """All who sign the charter, but for the custodian."""
        witness = [] if self.witness is None else [self.witness]
        return [self.server, *self.institutions.values(), *witness]

    def view(self, name: str, charter: Charter) -> LogView:
        """What `name` has verified of the log of the run under `charter`."""
        return self.views.setdefault(name, LogView(origin_of(digest(charter)), charter.server_key))

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


@dataclass(frozen=True)
class RoundResult:
    """What a round gave.

    Attributes:
        model: the new model's digest, which every institution and the server computed.
        telemetry: sums and means of the institutions' figures; None where votes are encrypted.
    """

    model: str
    telemetry: RoundTelemetry | None


class _MeteredBlobs(BlobStore):
    """One institution's way to the blob store: what it puts goes up, what it gets comes down (once; then it has it)."""

    def __init__(self, folder: Path, name: str, traffic: Traffic) -> None:
        super().__init__(folder)
        self.answering = ""
        self.sending = ""
        self._name = name
        self._traffic = traffic
        self._fetched: set[str] = set()

    def put(self, words: NDArray[np.uint64]) -> str:
        self._traffic.add(self._name, "up", self.sending, words.nbytes)
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
    own: Mapping[str, LayerStore],
    transcript: Path,
    output: LayerStore,
    traffic: Traffic,
    telemetry: Mapping[str, LocalTelemetry] | None = None,
    entropy: Entropy = os.urandom,
    progress: Callable[[str], None] = lambda text: None,
    clock: Callable[[], int] = lambda: int(time.time()),
    vanishing: Collection[str] = (),
) -> RoundResult:
    """One round: from what every institution prepared to the next global model.

    An institution that has no answer to a message has vanished: when nothing is on its way any more, the step is closed
    without it.

    Args:
        plan: of the round.
        participants: everybody's identity.
        public: the weights the round starts from.
        own: institution -> its pruned layers, or where statistics are pooled its second moments.
        transcript: folder of the run's log and payloads.
        output: where the new model's layers go.
        traffic: counts bytes.
        telemetry: institution -> its figures, which the operator gets as sums; nobody's where left out.
        entropy: source of the ephemeral keys.
        progress: called with a line for people, once an answer.
        clock: seconds since 1970, for cosignatures.
        vanishing: institutions that give no answer any more once the counts of votes have been proven.

    Returns:
        The new model's digest and the operator's figures.

    Raises:
        FedspallmError: the round failed; the text says where.
    """
    folder = Transcript(transcript)
    figures = telemetry if telemetry is not None else dict.fromkeys(participants.institutions, LocalTelemetry())
    blobs = {name: _MeteredBlobs(folder.blobs.folder, name, traffic) for name in participants.institutions}
    with tempfile.TemporaryDirectory(prefix=".ciphertexts-", dir=transcript.parent) as kept:
        institutions = {
            name: InstitutionRound(
                plan,
                Member(
                    identity,
                    entropy,
                    Journal(),
                    participants.view(name, plan.charter),
                    participants.policies.get(name, Policy()),
                ),
                public,
                own[name],
                figures[name],
                blobs[name],
                None,
                _own_ciphertexts(plan, folder, Path(kept) / name),
            )
            for name, identity in participants.institutions.items()
        }
        with folder.open_log() as log:
            held = held_before(plan, log)
            outcome = Outcome(plan, public, folder.blobs)
            coordinator = CoordinatorRound(
                plan, participants.server, outcome, AddingUp(folder.blobs, plan.ckks), output, held
            )
            server = DurableRound(plan, participants.server, coordinator, held, log)
            post = _Post(
                plan, participants, server, institutions, folder.blobs, blobs, traffic, progress, frozenset(vanishing)
            )
            post.carry()
    folder.write_checkpoint(plan.context.round, post.checkpoint(clock))
    assert coordinator.model is not None  # nobody is missing, or the step was closed
    return RoundResult(coordinator.model, coordinator.telemetry)


def _own_ciphertexts(plan: RoundPlan, folder: Transcript, own: Path) -> OwnCiphertexts | None:
    if not plan.context.encrypts_votes:
        return None
    return OwnCiphertexts.under(plan, load_charter_signatures(folder.signatures), folder.blobs, own)


@dataclass(frozen=True)
class _Post:
    """Carries every message of a round to where it is due."""

    plan: RoundPlan
    participants: Participants
    server: DurableRound
    institutions: Mapping[str, InstitutionRound]
    payloads: BlobStore
    blobs: Mapping[str, _MeteredBlobs]
    traffic: Traffic
    progress: Callable[[str], None]
    vanishing: frozenset[str]
    gone: set[str] = field(default_factory=set)

    def carry(self) -> None:
        """Until the coordinator has said its last word."""
        upward = {name: institution.start() for name, institution in self.institutions.items()}
        while upward or self.server.coordinator.missing():
            downward: list[Delivery] = []
            for name, envelope in upward.items():
                step = self._step(open_envelope(envelope, self.plan.context.keys))
                if name in self.institutions:
                    self.traffic.add(name, "up", step, len(canonical(envelope)))
                downward += self.server.receive(envelope)
            if not downward and self.server.coordinator.missing():
                downward = self._without_the_missing()
            upward = {}
            for delivery in downward:
                answer = self._deliver(delivery)
                if answer is not None:
                    upward[delivery.to] = answer

    def checkpoint(self, clock: Callable[[], int]) -> str:
        """The log at the end of the round, cosigned by all who agreed on the model."""
        note = self.server.checkpoint()
        for name in self.server.coordinator.agreed:
            view = self.participants.view(name, self.plan.charter)
            since = self.server.since(view.chain.seen)
            own = self.server.own(name)
            note += view.cosign(note, since, own, self.participants.institutions[name], clock())
        return note

    def _deliver(self, delivery: Delivery) -> Envelope | None:
        name = delivery.to
        if name not in self.institutions:
            return self._count()
        message = open_envelope(delivery.envelope, self.plan.context.keys)
        if name in self.vanishing and isinstance(message, Proofs) and message.sum == "votes":
            self.gone.add(name)
        if name in self.gone:
            return None
        step = self._step(message)
        evidence = self.server.evidence(delivery, self.participants.view(name, self.plan.charter).chain.seen)
        self.progress(f"{name} answers {step}")
        self.traffic.add(name, "down", step, len(canonical(delivery.envelope)) + len(canonical(evidence)))
        self.blobs[name].answering = step
        to_votes = isinstance(message, Shares) and message.attempt == 0
        to_ciphertexts = isinstance(message, Confirmed) and message.sum == "votes"
        self.blobs[name].sending = self._sum("votes" if to_votes or to_ciphertexts else "values")
        return self.institutions[name].receive(delivery.envelope, evidence)

    def _step(self, message: Message) -> str:
        """The step of the protocol that a message belongs to, as reports name it."""
        if isinstance(message, Masked | Survivors | Confirm | Confirmed | Unmask | Sums):
            return self._sum(message.sum)
        if isinstance(message, Encrypted | Release | Collected | Counted):
            return self._sum("votes")
        if isinstance(message, Proof | Proofs | Attested | Unproven):
            return "checks"
        return "model" if isinstance(message, ModelStatement) else "keys"

    def _sum(self, name: SumName) -> str:
        """A sum by what it adds up."""
        return name if self.plan.charter.pooled is None else _STATISTICS[name]

    def _count(self) -> Envelope:
        self.progress("the custodian counts the votes")
        assert self.participants.custodian is not None  # the charter names one
        return self.participants.custodian.count(self.plan, self.server.log(), self.payloads)

    def _without_the_missing(self) -> list[Delivery]:
        """Nothing is on its way: the witness is asked if it is its turn, else the step is closed."""
        witness, coordinator = self.participants.witness, self.server.coordinator
        if witness is None or coordinator.missing() != (witness.name,) or not coordinator.waits_for_witness:
            return self.server.close()
        chain = self.participants.view(witness.name, self.plan.charter).chain
        word = attest_sum(self.plan, witness, self.server.entries(), self.payloads, chain)
        return self.server.receive(word)
