"""An institution in one round: its pruned layers on one side, the secure sums on the other.

It answers every message of the server with the message that is due next, and nothing follows a published sum before it
was checked against everybody's proofs. Its weights and masks are read from its own
workspace, one tensor at a time, and leave it masked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import ModelError
from fedspallm_secure.messages import Advertised, Envelope, Identity, LaneBlob, Sums
from fedspallm_secure.rounds.outcome import Outcome
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.rounds.public import PublicWeights
from fedspallm_secure.rounds.statement import compare_statement, state_model
from fedspallm_secure.secagg import Client, Entropy, Lane, SumCheck
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.workspace import LayerStore

__all__ = ["InstitutionRound"]


class InstitutionRound:
    """One institution's part of a round.

    Args:
        plan: of the round.
        identity: the institution's name and signing key.
        entropy: source of the ephemeral keys.
        public: the weights the round starts from.
        pruned: this institution's pruned layers.
        blobs: where its masked lanes go, and the published sums come from.
        output: where the new model is stored, or None if only its digest is wanted.
    """

    def __init__(
        self,
        plan: RoundPlan,
        identity: Identity,
        entropy: Entropy,
        public: PublicWeights,
        pruned: LayerStore,
        blobs: BlobStore,
        output: LayerStore | None,
    ) -> None:
        self._plan = plan
        self._identity = identity
        self._public = public
        self._pruned = pruned
        self._blobs = blobs
        self._output = output
        self._sums = Client(plan.context, identity, entropy)
        self._outcome = Outcome(plan, public, blobs)
        self._counts: tuple[LaneBlob, ...] = ()
        self._pending: tuple[SumCheck, Sums] | None = None
        self._model: str | None = None

    def start(self) -> Envelope:
        """The first message, for the server."""
        return self._sums.advertise()

    def receive(self, envelope: Envelope) -> Envelope | None:
        """Take a message of the server, do what it calls for, and give the answer.

        Returns:
            What to send to the server, or None after its last message.

        Raises:
            ProtocolError: the message is not acceptable.
            StorageError: a workspace or payload can't be read or written.
            ModelError: a pruned weight is not finite.
        """
        if self._model is not None:
            server = {self._plan.charter.server}
            compare_statement(self._plan.context, envelope, server, self._identity.name, self._model)
            return None
        if self._pending is not None:
            check, published = self._pending
            check.verify(envelope)
            self._pending = None
            return self._go_on(published)
        message = self._sums.receive(envelope)
        if isinstance(message, Advertised):
            return self._send(self._votes)
        assert isinstance(message, Sums)  # all that the machine lets through
        check = self._check(message)
        self._pending = check, message
        return check.proof()

    def _check(self, published: Sums) -> SumCheck:
        """Both sides of the comparison of a published sum with what the institutions sent."""
        if published.sum == "votes":
            self._counts = published.lanes
        check = self._sums.check(published)
        for lane, blob in zip(self._plan.context.lanes, published.lanes, strict=True):
            mine = lane in self._sums.lanes
            if published.sum == "votes":
                sums = self._outcome.digits(lane, "votes", blob, lane.length)
                check.add(lane, sums, self._votes(lane) if mine else None)
            else:
                _, eligible, _ = self._outcome.masks(lane, self._counts[lane.index])
                sums = self._outcome.digits(lane, "values", blob, int(np.count_nonzero(eligible)))
                check.add(lane, sums, self._values(lane) if mine else None)
        return check

    def _go_on(self, published: Sums) -> Envelope:
        """What is due after a sum that holds."""
        if published.sum == "values":
            return self._state_model(published.lanes)
        if not self._plan.charter.changes_weights:
            return self._state_model(None)
        self._sums.know_eligible(self._outcome.eligible_lengths(published.lanes))
        return self._send(self._values)

    def _send(self, digits: Callable[[Lane], NDArray[Any]]) -> Envelope:
        blobs = []
        for lane in self._sums.lanes:
            words = self._sums.mask(lane, digits(lane))
            blobs.append(LaneBlob(lane=lane.name, words=words.size, blob=self._blobs.put(words)))
        return self._sums.send(blobs)

    def _votes(self, lane: Lane) -> NDArray[np.bool_]:
        tensor = self._plan.tensor(lane)
        return self._pruned.kept(tensor.layer, tensor.name).reshape(-1)

    def _values(self, lane: Lane) -> NDArray[np.uint32]:
        tensor = self._plan.tensor(lane)
        _, eligible, _ = self._outcome.masks(lane, self._counts[lane.index])
        new = self._pruned.weights(tensor.layer, tensor.name)
        if not np.isfinite(new.astype(np.float32, copy=False)).all():
            raise ModelError(
                f"{self._identity.name}'s pruned {tensor.name} holds values that are not finite.",
                "Prune that layer again with more damping.",
            )
        voted = self._pruned.kept(tensor.layer, tensor.name)
        return self._outcome.quantiser(lane).encode(new, self._public.weight(tensor), voted, eligible)

    def _state_model(self, sums: tuple[LaneBlob, ...] | None) -> Envelope:
        self._model = self._outcome.model(self._counts, sums, self._output)
        return state_model(self._plan.context, self._identity, self._model)
