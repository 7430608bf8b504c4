"""One round, replayed by an auditor: the coordinator's own machine, with the log in place of its signing key.

The machine says what the coordinator has to send next. Where the log has that message, its signature is taken from
there; where it has not, the coordinator did not follow the protocol. Sums are taken from the log too, once they were
looked at, and at full depth computed again from every institution's masked lanes. Counts of encrypted votes can't be:
there, the sum of the ciphertexts is compared with the one that the custodian signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.audit.counting import Counting
from fedspallm_secure.audit.failures import CheckError, LogEndsError
from fedspallm_secure.audit.record import Entry
from fedspallm_secure.charter import model_digest
from fedspallm_secure.errors import FedspallmError, RemoteProtocolError, StorageError
from fedspallm_secure.messages import (
    PAYLOAD_TYPE,
    Envelope,
    LaneBlob,
    Masked,
    ModelStatement,
    SumName,
    Sums,
    decode_base64,
    pre_authentication_encoding,
)
from fedspallm_secure.rounds import Outcome, PublicWeights, RoundPlan, add_up
from fedspallm_secure.secagg import Lane, Participation, Server
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.workspace import LayerStore

__all__ = ["AuditedOutcome", "CheckedSums", "LoggedOutcome", "Recorded"]

_WORD = 8  # bytes


class Recorded:
    """Stands in for the coordinator's key: it signs what the coordinator has signed, and nothing else.

    Args:
        name: the coordinator's.
        public: its key.
        entries: the round's.
    """

    def __init__(self, name: str, public: str, entries: Sequence[Entry]) -> None:
        self.name = name
        self.public = public
        self._due: bytes | None = None
        self._given: list[Envelope] = []
        self._known = {_encoded(entry): entry.envelope for entry in entries if entry.message.sender == name}

    def sign(self, data: bytes) -> bytes:
        """The signature that stands in the log.

        Raises:
            RemoteProtocolError: there is none.
        """
        if data not in self._known:
            self._due = data[data.index(b"{") :]
            raise RemoteProtocolError(
                f"{self.name!r} did not send what is due by the entries before.", "Keep the log as evidence."
            )
        self._given.append(self._known[data])
        return decode_base64(self._known[data].signatures[0].sig)

    def next_step(self) -> None:
        """Forget what was signed so far."""
        self._given.clear()

    def follow(self, rest: Sequence[Entry]) -> tuple[int, bytes | None]:
        """How far `rest` is what was signed in this step, and the message that is due then; None if nothing more is."""
        pairs = zip(rest, self._given, strict=False)
        same = next((at for at, (entry, given) in enumerate(pairs) if entry.envelope != given), None)
        if same is None:
            same = min(len(rest), len(self._given))
        return same, self._due if same == len(self._given) else decode_base64(self._given[same].payload)


class CheckedSums:
    """Gives the coordinator's machine the sums that the log has, once they were checked.

    Args:
        plan: of the round.
        outcome: what sums mean.
        blobs: of the transcript.
        entries: the round's.
        counting: who answers for counts of encrypted votes.
        full: whether sums are computed again.
        progress: called after each lane.

    Attributes:
        lanes: how many were found in order, votes and values.
        suspects: institutions whose shares did not fit the others'.
    """

    def __init__(
        self,
        plan: RoundPlan,
        outcome: AuditedOutcome,
        blobs: BlobStore,
        entries: Sequence[Entry],
        counting: Counting,
        full: bool,
        progress: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._outcome = outcome
        self._blobs = blobs
        self._counting = counting
        self._full = full
        self._progress = progress
        self._server = (plan.charter.server,)
        self.lanes = 0
        self.suspects: set[str] = set()
        self.sums: dict[SumName, Sums] = {
            entry.message.sum: entry.message
            for entry in reversed(entries)
            if isinstance(entry.message, Sums) and entry.message.sender == plan.charter.server
        }

    def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
        """One lane's sum as it was published."""
        if name not in self.sums:
            raise LogEndsError(f"the {name} of round {self._plan.context.round + 1} were published")
        lanes = {blob.lane: blob for blob in self.sums[name].lanes}
        if lane.name not in lanes:
            raise CheckError("A14", f"The published {name} lack lane {lane.name}.", lane.name, None, self._server)
        self.suspects.update(server.suspects)
        counted = server.counted(lane)
        if counted is not None:
            self._counting.check_published(self.sums[name], lane, lanes[lane.name], counted)
        self._check_size(server, name, lane, lanes[lane.name])
        if self._full:
            self._check_sum(server, name, lane, lanes[lane.name])
        self._check_digits(server, name, lane, lanes[lane.name])
        self.lanes += 1
        self._progress()
        return lanes[lane.name]

    def check_released(self, who: str, lanes: Iterable[tuple[Lane, LaneBlob]]) -> None:
        """Nothing: what was released is looked at when it is added up, at full depth."""

    def _check_size(self, server: Server, name: SumName, lane: Lane, blob: LaneBlob) -> None:
        """The sum has as many words as there must be."""
        due = lane.packing(name).words(self._outcome.length(lane, name))
        words = self._words("A14", lane, blob)
        if (blob.words, words) != (due, due):
            raise CheckError(
                "A14",
                f"The published {name} of lane {lane.name} have another number of words than is due.",
                str(due),
                f"{words}, said to be {blob.words}",
                self._server if server.counted(lane) is None else self._counting.custodian,
            )

    def _check_digits(self, server: Server, name: SumName, lane: Lane, blob: LaneBlob) -> None:
        """Each digit is one that so many institutions can give.

        If not, the server lies, or one of them sent none; of encrypted votes, the custodian counted wrongly.
        """
        by = () if server.counted(lane) is None else self._counting.custodian
        try:
            digits = self._outcome.digits(lane, name, blob, self._outcome.length(lane, name))
        except FedspallmError as error:
            damaged = isinstance(error, StorageError)
            raise CheckError("A14", error.problem, blob.blob, None, () if damaged else by) from error
        top = server.participation.number(lane, name) * lane.packing(name).top
        largest = int(digits.max()) if digits.size else 0
        if largest > top:
            raise CheckError(
                "A14",
                f"The published {name} of lane {lane.name} are more than its institutions can give.",
                f"at most {top}",
                str(largest),
                by,
            )

    def _check_sum(self, server: Server, name: SumName, lane: Lane, blob: LaneBlob) -> None:
        """The sum is that of the contributions, which are as their senders signed them."""
        for who, contribution in server.contributions(lane):
            words = self._words("A20", lane, contribution)
            if words != contribution.words:
                raise CheckError(
                    "A20",
                    f"{who!r} signed another number of words for lane {lane.name} than its payload has.",
                    str(contribution.words),
                    str(words),
                    (who,),
                )
        counted, ckks = server.counted(lane), self._plan.ckks
        if counted is not None and ckks is not None:
            self._counting.check_ciphertexts(server, lane, counted, ckks)
            return
        try:
            total = add_up(server, lane, self._blobs)
        except FedspallmError as error:
            raise CheckError("A20", f"Lane {lane.name}: {error.problem}", None, None, ()) from error
        found = hashlib.sha256(total.astype("<u8", copy=False).tobytes()).hexdigest()
        if found != blob.blob:
            raise CheckError(
                "A21",
                f"The published {name} of lane {lane.name} are not the sum of what the institutions sent.",
                found,
                blob.blob,
                self._server,
            )

    def _words(self, check: str, lane: Lane, blob: LaneBlob) -> int:
        """How many words a payload has. If not as many as were signed, it is read: it may have been changed since."""
        try:
            words = self._blobs.size(blob.blob) // _WORD
            if words != blob.words:
                self._blobs.get(blob.blob)
        except FedspallmError as error:
            raise CheckError(check, f"Lane {lane.name}: {error.problem}", blob.blob, None, ()) from error
        return words


class AuditedOutcome(Outcome):
    """What sums mean, computed by the auditor from the weights that the round starts from.

    Args:
        plan: of the round.
        public: those weights.
        blobs: of the transcript.
        progress: called after each lane.
    """

    def __init__(self, plan: RoundPlan, public: PublicWeights, blobs: BlobStore, progress: Callable[[], None]) -> None:
        super().__init__(plan, public, blobs)
        self.digests: dict[str, str] = {}
        self.eligible: int | None = None
        self._advance = progress
        self._lengths = {lane.name: lane.length for lane in plan.context.lanes}
        self._lanes = plan.context.lanes

    def length(self, lane: Lane, name: SumName) -> int:
        """How many digits a lane has in a sum."""
        return lane.length if name == "votes" else self._lengths[lane.name]

    def eligible_lengths(self, counts: Sequence[LaneBlob], participation: Participation) -> list[int]:
        """Those that the counts give."""
        try:
            lengths = self._eligible(counts, participation)
        except FedspallmError as error:
            raise CheckError("A16", error.problem, None, None, ()) from error
        self._lengths = {lane.name: length for lane, length in zip(self._lanes, lengths, strict=True)}
        self.eligible = sum(lengths[: len(self._plan.lanes)])
        return lengths

    def model(
        self,
        counts: Sequence[LaneBlob],
        sums: Sequence[LaneBlob] | None,
        participation: Participation,
        output: LayerStore | None,
    ) -> str:
        """The model that they give; `digests` has its tensors'."""
        try:
            self.digests = self.tensors(counts, sums, participation, output, self._advance)
        except FedspallmError as error:
            raise CheckError("A17", error.problem, None, None, ()) from error
        return model_digest(self.digests)

    def _eligible(self, counts: Sequence[LaneBlob], participation: Participation) -> list[int]:
        return super().eligible_lengths(counts, participation)


class LoggedOutcome(AuditedOutcome):
    """What the log says that sums mean, where there are no weights to compute it from.

    Args:
        plan: of the round.
        blobs: of the transcript.
        entries: the round's.
    """

    def __init__(self, plan: RoundPlan, blobs: BlobStore, entries: Sequence[Entry]) -> None:
        super().__init__(plan, PublicWeights(_Nowhere()), blobs, lambda: None)
        self._entries = entries
        self._attempt = 0

    def model(
        self,
        counts: Sequence[LaneBlob],
        sums: Sequence[LaneBlob] | None,
        participation: Participation,
        output: LayerStore | None,
    ) -> str:
        """The one that was stated first."""
        stated = [entry.message.model for entry in self._entries if isinstance(entry.message, ModelStatement)]
        if not stated:
            raise LogEndsError("anybody stated a model")
        return stated[0]

    def _eligible(self, counts: Sequence[LaneBlob], participation: Participation) -> list[int]:
        """As many as the words that came can hold."""
        words: dict[str, int] = {}
        for entry in self._entries:
            message = entry.message
            if isinstance(message, Masked) and (message.sum, message.attempt) == ("values", self._attempt):
                words |= {blob.lane: blob.words for blob in message.lanes if blob.lane not in words}
        self._attempt += 1
        lanes = [(lane, words.get(lane.name, 0) * lane.values.digits) for lane in self._lanes]
        return [min(lane.most_values, digits) for lane, digits in lanes]


class _Nowhere:
    """No weights."""

    def weights(self, layer: int, name: str) -> NDArray[Any]:
        """None are there."""
        return np.zeros((0, 0))


def _encoded(entry: Entry) -> bytes:
    return pre_authentication_encoding(PAYLOAD_TYPE, decode_base64(entry.envelope.payload))
