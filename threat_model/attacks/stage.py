"""A round of this system, its machines unchanged, in the hands of a server that does what it likes.

The adversary has the server's signing key, keeps the log and carries every message. Where an honest server is good
enough for its purpose it lets the real one work, and takes over at the message it names. Institutions that collude are
real ones too, which tell all they know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.charter import load_charter_signatures
from fedspallm_secure.errors import FedspallmError
from fedspallm_secure.messages import (
    Envelope,
    LaneBlob,
    Masked,
    Message,
    SumName,
    Sums,
    Survivors,
    open_envelope,
    seal,
)
from fedspallm_secure.rounds import (
    Adder,
    AddingUp,
    CoordinatorRound,
    InstitutionRound,
    LocalTelemetry,
    Member,
    Outcome,
    OwnCiphertexts,
    PublicWeights,
    RoundPlan,
)
from fedspallm_secure.secagg import Delivery, Lane
from fedspallm_secure.tlog import HeldLog, origin_of
from fedspallm_secure.workspace import Journal, LayerStore
from tests.rounds.synthetic import Run
from threat_model.attacks.attack import refused
from threat_model.attacks.known import Known

__all__ = ["Stage"]

Forge = Callable[[str, Message], Message]
"""(receiver, what an honest server sends it) -> what it is sent."""


class Stage:
    """One round under such a server.

    Args:
        run: whose round.
        plan: of the round; the run's first one if None.
        pruned: institution -> its pruned layers; made by the run if None.
        before: the round before this one, whose log goes on.
        public: institution -> the weights it starts from, where they are not the base model's.
        colluders: who tells the server everything.
        silent: institution -> the first message that it does not answer.
        add: what the server publishes, if not the truth.

    Attributes:
        heard: what the institutions sent, in order.
        refusals: who refused what, in order.
        known: what follows for the server from all of it.
        ended: why the honest server could not go on, if it could not.
        due: messages that the honest server would send next, in the log already.
    """

    def __init__(
        self,
        run: Run,
        plan: RoundPlan | None = None,
        pruned: Mapping[str, LayerStore] | None = None,
        *,
        before: Stage | None = None,
        public: Mapping[str, LayerStore] | None = None,
        colluders: Collection[str] = (),
        silent: Mapping[str, str] | None = None,
        add: Adder | None = None,
    ) -> None:
        self.run = run
        self.plan = run.plan() if plan is None else plan
        self.pruned = run.prune(self.plan, run.base) if pruned is None else pruned
        self.blobs = run.transcript.blobs
        self.log: HeldLog = HeldLog(origin_of(self.plan.context.digest)) if before is None else before.log
        self._entries = [] if before is None else before.entries
        self.output = LayerStore(run.folder / f"global-{self.plan.context.round + 1}")
        self.heard: list[Message] = []
        self.refusals: list[tuple[str, FedspallmError]] = []
        self.ended: FedspallmError | None = None
        self.known = Known(self.plan.context)
        self.due: list[Delivery] = []
        self.base = run.base if before is None else before.output
        self._paused = False
        self._server = run.participants.server
        self._colluders = colluders
        self._silent = silent or {}
        stores = dict.fromkeys(run.names, self.base) | dict(public or {})
        self.institutions: dict[str, InstitutionRound] = {}
        for name in run.names:
            self._join(name, PublicWeights(stores[name]))
        self.outcome = Outcome(self.plan, PublicWeights(self.base), self.blobs)
        adder = AddingUp(self.blobs, self.plan.ckks) if add is None else add
        self.coordinator = CoordinatorRound(self.plan, self._server, self.outcome, adder, self.output, self.log)

    @property
    def entries(self) -> list[Envelope]:
        """The log so far."""
        self._entries += self.log.take_new()
        return self._entries

    @property
    def refusal(self) -> str:
        """Who refused what first, for people."""
        return refused(self.refusals)

    def play(self, *, until: str = "", forge: Forge | None = None) -> None:
        """Let the honest server work until it would send a certain message, or has no more to send.

        Args:
            until: that message, such as "survivors votes"; it is left in `due`, and sent when play goes on.
            forge: what each institution is sent in place of what the honest server sends.
        """
        answers = self._deliver(forge) if self._paused else self._start()
        while answers or self.coordinator.missing():
            try:
                self.due = self._collect(answers) or self.coordinator.close()
            except FedspallmError as error:
                self.ended = error
                return
            self._paused = bool(self.due) and _brief(self._open(self.due[0].envelope)) == until
            if self._paused:
                return
            answers = self._deliver(forge)

    def say(self, message: Message) -> Envelope:
        """Sign a message as the server, and put it into the log if it is not there."""
        envelope = seal(message, self._server)
        self.log.append(envelope)
        return envelope

    def name_survivors(self, names: Collection[str], **changes: Any) -> Survivors:
        """What the honest server is about to say of survivors, but of others, and in the log as it is now."""
        honest = self._open(self.due[0].envelope)
        assert isinstance(honest, Survivors)
        return honest.model_copy(update={"survivors": tuple(names), "log": self.log.head(), **changes})

    def tell(self, name: str, envelope: Envelope) -> Envelope | None:
        """Send an entry of the log to an institution, with true evidence; its answer if it gives one."""
        context, view = self.plan.context, self.run.participants.view(name, self.plan.charter)
        if self._silent.get(name) == _brief(self._open(envelope)):
            return None
        evidence = self.log.evidence(envelope, self._server, name, view.chain.seen)
        try:
            answer = (
                self._count() if name not in context.roster else self.institutions[name].receive(envelope, evidence)
            )
        except FedspallmError as error:
            self.refusals.append((name, error))
            return None
        if name in self._colluders:
            self.known.tell_all(context.indices[name], self.institutions[name])
        if answer is not None:
            self.hear(answer)
        return answer

    def hear(self, envelope: Envelope) -> None:
        """Take note of what an institution sent."""
        message = open_envelope(envelope, self.plan.charter.keys)
        self.heard.append(message)
        self.known.hear(message)

    def sent(self, name: str, of: SumName, lane: Lane) -> NDArray[np.uint64]:
        """An institution's lane as it sent it, masked."""
        message = next(
            said for said in self.heard if isinstance(said, Masked) and (said.sender, said.sum) == (name, of)
        )
        return self.blobs.get(next(blob.blob for blob in message.lanes if blob.lane == lane.name))

    def sums_sent(self) -> list[SumName]:
        """The sums for which lanes were sent, in order."""
        return list(dict.fromkeys(said.sum for said in self.heard if isinstance(said, Masked)))

    def opened(self, name: str, of: SumName, lane: Lane) -> NDArray[np.uint64]:
        """The same, less every mask that the server can take off."""
        return self.known.without_masks(of, lane, self.plan.context.indices[name], self.sent(name, of, lane))

    def votes(self, name: str, lane: Lane) -> NDArray[np.bool_]:
        """The truth: an institution's votes in a lane, flat."""
        tensor = self.plan.tensors(lane)[0]
        return self.pruned[name].kept(tensor.layer, tensor.name).reshape(-1)

    def changes(self, name: str, lane: Lane, where: NDArray[np.bool_]) -> NDArray[np.uint32]:
        """The truth: the digits of an institution's changes at some positions (rows, columns) of a lane."""
        tensor = self.plan.tensors(lane)[0]
        W, voted = PublicWeights(self.base).weight(tensor), self.pruned[name].kept(tensor.layer, tensor.name)
        new = self.pruned[name].weights(tensor.layer, tensor.name)
        return self.outcome.averaged.quantiser(lane).encode(new, W, voted, where)

    def packed(self, name: str, of: SumName, lane: Lane) -> NDArray[np.uint64]:
        """The truth: what an institution's lane is without any mask."""
        if of == "votes":
            return lane.votes.pack(self.votes(name, lane))
        return lane.values.pack(self.changes(name, lane, self.eligible(lane)))

    def eligible(self, lane: Lane) -> NDArray[np.bool_]:
        """The positions (rows, columns) of a lane whose values are summed, by the counts that were published."""
        counts = self.published("votes", lane)
        assert counts is not None
        return self.outcome.averaged.masks(lane, counts, self.coordinator.participation)[1]

    def said(self) -> list[Message]:
        """What was said in this round, as the log has it."""
        messages = [open_envelope(envelope, self.plan.charter.keys) for envelope in self.entries]
        return [message for message in messages if message.round == self.plan.context.round]

    def published(self, of: SumName, lane: Lane) -> LaneBlob | None:
        """What the server published as a lane's sum; None if it did not come to that."""
        sums = [said for said in self.said() if isinstance(said, Sums) and said.sum == of]
        return sums[-1].lanes[lane.index] if sums else None

    def _start(self) -> dict[str, Envelope]:
        answers = {name: institution.start() for name, institution in self.institutions.items()}
        for envelope in answers.values():
            self.hear(envelope)
        return answers

    def _collect(self, answers: Mapping[str, Envelope]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for envelope in answers.values():
            deliveries += self.coordinator.receive(envelope)
        return deliveries

    def _deliver(self, forge: Forge | None) -> dict[str, Envelope]:
        answers = {}
        for delivery in self.due:
            sent = delivery.envelope
            if forge is not None:
                sent = self.say(forge(delivery.to, self._open(sent)))
            answer = self.tell(delivery.to, sent)
            if answer is not None:
                answers[delivery.to] = answer
        return answers

    def _join(self, name: str, public: PublicWeights) -> None:
        """Ask an institution to take part."""
        participants, folder = self.run.participants, self.run.folder / f"of-{name}-{self.plan.context.round}"
        view = participants.view(name, self.plan.charter)
        policy = participants.policies[name]
        member = Member(participants.institutions[name], self.run.entropy, Journal(), view, policy)
        own = self._own_ciphertexts(folder)
        try:
            self.institutions[name] = InstitutionRound(
                self.plan, member, public, self.pruned[name], LocalTelemetry(), self.blobs, None, own
            )
        except FedspallmError as error:
            self.refusals.append((name, error))

    def _own_ciphertexts(self, folder: Path) -> OwnCiphertexts | None:
        if not self.plan.context.encrypts_votes:
            return None
        signatures = load_charter_signatures(self.run.transcript.signatures)
        return OwnCiphertexts.under(self.plan, signatures, self.blobs, folder)

    def _count(self) -> Envelope:
        """What the custodian answers."""
        assert self.run.office is not None
        return self.run.office.count(self.plan, self.entries, self.blobs)

    def _open(self, envelope: Envelope) -> Message:
        return open_envelope(envelope, self.plan.charter.keys)


def _brief(message: Message) -> str:
    """A message's kind, and its sum if it has one: "survivors votes"."""
    return f"{message.kind} {getattr(message, 'sum', '')}".strip()
