"""An institution in one round: its pruned layers on one side, the secure sums on the other.

It answers every message of the server with the message that is due next, and nothing follows a published sum before it
was checked. Its weights and masks, or its second moments, are read from its own workspace, one lane at a time, and
leave it masked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from fedspallm_secure.charter import Policy, check_policy
from fedspallm_secure.errors import LocalProtocolError
from fedspallm_secure.messages import Envelope, Identity, LaneBlob, canonical
from fedspallm_secure.rounds.encrypting import OwnCiphertexts
from fedspallm_secure.rounds.outcome import Outcome
from fedspallm_secure.rounds.own_moments import OwnMoments
from fedspallm_secure.rounds.own_weights import OwnWeights
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.statement import compare_statement, state_model
from fedspallm_secure.rounds.telemetry import LocalTelemetry
from fedspallm_secure.secagg import Client, ClientState, Entropy, Lane
from fedspallm_secure.tlog import Evidence, LogView, leaf_hash
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.workspace import Journal, LayerStore

__all__ = ["InstitutionRound", "Member"]


@dataclass(frozen=True)
class Member:
    """What an institution brings to every round.

    Attributes:
        identity: its name and signing key.
        entropy: source of its ephemeral keys.
        journal: where it writes down what it reveals, before it does.
        view: what it has verified of the run's log.
        policy: what it insists on, whatever the charter says.
    """

    identity: Identity
    entropy: Entropy
    journal: Journal
    view: LogView
    policy: Policy = field(default_factory=Policy)


class InstitutionRound:
    """One institution's part of a round.

    Args:
        plan: of the round.
        member: who it is.
        public: the weights the round starts from.
        own: this institution's pruned layers; where statistics are pooled, the second moments of its layers' inputs.
        telemetry: its figures for the operator's sums.
        blobs: where its masked lanes go, and the published sums come from.
        output: where the new model is stored, or None if only its digest is wanted.
        ciphertexts: where votes are encrypted, what does that.

    Raises:
        CharterError: the charter breaks the institution's policy.
        LocalProtocolError: votes are to be encrypted, and nothing does that.
    """

    def __init__(
        self,
        plan: RoundPlan,
        member: Member,
        public: PublicWeights,
        own: LayerStore,
        telemetry: LocalTelemetry,
        blobs: BlobStore,
        output: LayerStore | None,
        ciphertexts: OwnCiphertexts | None = None,
    ) -> None:
        check_policy(plan.charter, member.policy)
        if plan.context.encrypts_votes and ciphertexts is None:
            raise LocalProtocolError(
                "The charter wants encrypted votes.", "Give the round the context of its CKKS key, and a folder."
            )
        self._ciphertexts = ciphertexts
        self._plan = plan
        self._identity = member.identity
        self._telemetry = telemetry
        self._blobs = blobs
        self._output = output
        self._view = member.view
        self._sums = Client(plan.context, member.identity, member.entropy, member.journal, member.view.chain)
        self._outcome = Outcome(plan, public, blobs)
        self._own = (
            OwnWeights(plan, member.identity.name, public, self._outcome.averaged, own)
            if plan.charter.pooled is None
            else OwnMoments(plan, member.identity.name, self._outcome.pooled, own)
        )
        self._counts: tuple[LaneBlob, ...] = ()
        self._model: str | None = None
        self._answers: dict[bytes, Envelope | None] = {}

    def start(self) -> Envelope:
        """The first message, for the server."""
        return self._sums.advertise()

    def receive(self, envelope: Envelope, evidence: Evidence) -> Envelope | None:
        """Take a message of the server, do what it calls for, and give the answer.

        A message that came before gets the same answer again: a server that was restarted may not have it.

        Args:
            envelope: the message.
            evidence: that it stands in the log.

        Returns:
            What to send to the server, or None after its last message.

        Raises:
            ProtocolError: the message is not acceptable.
            EquivocationError: the log is another one than was shown before.
            StorageError: a workspace, a payload or the journal can't be read or written.
            ModelError: a pruned weight is not finite.
        """
        leaf = leaf_hash(canonical(envelope))
        if leaf not in self._answers:
            message = self._plan.context.open(envelope)
            self._view.accept(message, envelope, evidence)
            self._answers[leaf] = self._answer(envelope)
        return self._answers[leaf]

    def _answer(self, envelope: Envelope) -> Envelope | None:
        if self._model is not None:
            server = {self._plan.charter.server}
            compare_statement(self._plan.context, envelope, server, self._identity.name, self._model)
            return None
        answer = self._sums.receive(envelope)
        if answer is not None:
            return answer
        match self._sums.state:
            case ClientState.VOTING if self._ciphertexts is not None:
                return self._encrypt(self._ciphertexts)
            case ClientState.VOTING:
                return self._send(self._votes)
            case ClientState.RELEASING if self._ciphertexts is not None:
                release = self._sums.release()
                self._ciphertexts.hand_over(self._blobs)
                return release
            case ClientState.COUNTED:
                self._counts = self._sums.published.lanes
                return self._prove(self._votes)
            case ClientState.CHECKED:
                participation = self._sums.participation
                self._sums.know_eligible(self._outcome.eligible_lengths(self._counts, participation))
                return self._send(self._values)
            case ClientState.SUMMED:
                return self._prove(self._values)
        self._sums.forget()
        return self._state_model()

    def _prove(self, digits: Callable[[Lane], NDArray[Any]]) -> Envelope:
        """Both sides of the comparison of a published sum with what the institutions sent."""
        published = self._sums.published
        participation = self._sums.participation
        lengths = [lane.length for lane in self._plan.context.lanes]
        if published.sum == "values":
            lengths = self._outcome.eligible_lengths(self._counts, participation)
        for lane, blob, length in zip(self._plan.context.lanes, published.lanes, lengths, strict=True):
            sums = self._outcome.digits(lane, published.sum, blob, length)
            self._sums.check(lane, sums, digits(lane) if lane in self._sums.lanes else None)
        return self._sums.prove()

    def _send(self, digits: Callable[[Lane], NDArray[Any]]) -> Envelope:
        blobs = []
        for lane in self._sums.lanes:
            words = self._sums.mask(lane, digits(lane))
            blobs.append(LaneBlob(lane=lane.name, words=words.size, blob=self._blobs.put(words)))
        return self._sums.send(blobs)

    def _encrypt(self, ciphertexts: OwnCiphertexts) -> Envelope:
        return self._sums.send_encrypted([ciphertexts.encrypt(lane, self._votes(lane)) for lane in self._sums.lanes])

    def _votes(self, lane: Lane) -> NDArray[Any]:
        if lane == self._plan.telemetry:
            return self._telemetry.with_votes()
        return self._own.votes(lane)

    def _values(self, lane: Lane) -> NDArray[Any]:
        if lane == self._plan.telemetry:  # the last lane: all others were encoded before it
            return self._telemetry.with_values(*self._own.clipped.total)
        return self._own.values(lane, self._counts[lane.index], self._sums.participation)

    def _state_model(self) -> Envelope:
        participation = self._sums.participation
        sums = self._sums.published.lanes if participation.accepted("values") else None
        self._model = self._outcome.model(self._counts, sums, participation, self._output)
        return state_model(self._plan.context, self._identity, self._model, self._view.chain)
