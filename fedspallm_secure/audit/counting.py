"""Counts of encrypted votes: what can be seen of them without the key, and who answers for what is wrong.

The custodian answers for what is false by its own word, whatever it was shown. What is false only by the log before its
word is its fault if it says itself that it saw that log: a server could have shown it another one, and then the
evidence does not name it. The log's keeper let it in either way.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedspallm_secure.audit.failures import CheckError
from fedspallm_secure.audit.log_checks import Keeper
from fedspallm_secure.audit.record import Entry
from fedspallm_secure.errors import FedspallmError, StorageError
from fedspallm_secure.messages import Collected, Counted, CountedLane, LaneBlob, Sums
from fedspallm_secure.rounds import RoundPlan, add_encrypted
from fedspallm_secure.secagg import Lane, Server
from fedspallm_secure.tlog import HeldLog
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import CkksParameters, check_ciphertexts

__all__ = ["Counting"]


class Counting:
    """The custodian's part of a round, as far as the log has it.

    Args:
        plan: of the round.
        entries: the round's.
        blobs: of the transcript.
        keeper: of the log.
        held: the log up to the entry that is looked at.

    Attributes:
        custodian: its name alone, or nobody's where votes are masked.
    """

    def __init__(
        self, plan: RoundPlan, entries: Sequence[Entry], blobs: BlobStore, keeper: Keeper, held: HeldLog
    ) -> None:
        custodian, server = plan.charter.custodian, plan.charter.server
        self._plan = plan
        self._blobs = blobs
        self._keeper = keeper
        self._held = held
        self.custodian = () if custodian is None else (custodian.name,)
        self._counted = [e for e in entries if isinstance(e.message, Counted) and (e.message.sender,) == self.custodian]
        self._collected = [e for e in entries if isinstance(e.message, Collected) and e.message.sender == server]

    def blamed(self) -> tuple[str, ...]:
        """Who is to blame for counts that can't follow from the log before them."""
        return (*(self.custodian if self._saw_this_log() else ()), *self._let_in())

    def check_published(self, published: Sums, lane: Lane, blob: LaneBlob, counted: CountedLane) -> None:
        """A14: the counts of a lane are those that the custodian signed, here and in its word beside them.

        Args:
            published: the server's message.
            lane: which.
            blob: its counts.
            counted: what the custodian said of it.

        Raises:
            CheckError: they are not.
        """
        if counted.counts == blob:
            return
        if self._says(published, lane, blob):
            evidence = f"The custodian signed two counts of lane {lane.name}: these, and others that were published."
            by = (*self.custodian, *self._let_in())
        else:
            evidence = f"The published counts of lane {lane.name} are not those that the custodian signed."
            by = (published.sender,)
        raise CheckError("A14", evidence, counted.blob, blob.blob, by)

    def check_ciphertexts(self, server: Server, lane: Lane, counted: CountedLane, ckks: CkksParameters) -> None:
        """A20 and A21: the contributions are ciphertexts, and their sum is the one that the custodian counted.

        Raises:
            CheckError: they are not, or it is another.
        """
        try:
            found = add_encrypted(server, lane, self._blobs, ckks)
        except FedspallmError as error:
            for who, contribution in server.contributions(lane):
                self._check_contribution(who, lane, contribution, ckks)
            raise CheckError("A20", f"Lane {lane.name}: {error.problem}", None, None, ()) from error
        if found != counted.ciphertexts:
            raise CheckError(
                "A21",
                f"The custodian counted other votes of lane {lane.name} than the institutions sent.",
                found,
                counted.ciphertexts,
                self.blamed(),
            )

    def _check_contribution(self, who: str, lane: Lane, blob: LaneBlob, ckks: CkksParameters) -> None:
        """What can't be added was damaged since, or its sender signed what is no ciphertext."""
        try:
            for _ in check_ciphertexts(ckks, lane.length, who, self._blobs.stream(blob.blob, ckks.words)):
                pass
        except FedspallmError as error:
            damage = self._damage(blob)
            problem = f"Lane {lane.name}: {damage or error.problem}"
            raise CheckError("A20", problem, blob.blob, None, () if damage else (who,)) from error

    def _damage(self, blob: LaneBlob) -> str | None:
        """What is wrong with a payload if it is not the one that was signed."""
        try:
            self._blobs.get(blob.blob)
        except StorageError as error:
            return error.problem
        return None

    def _says(self, published: Sums, lane: Lane, blob: LaneBlob) -> bool:
        """Whether the custodian's word beside published counts is for these."""
        if published.counted is None:
            return False
        try:
            word = self._plan.context.open(published.counted)
        except FedspallmError:
            return False
        return isinstance(word, Counted) and blob in [one.counts for one in word.lanes if one.lane == lane.name]

    def _let_in(self) -> tuple[str, ...]:
        return self._keeper.blamed(self._counted[0].index) if self._counted else ()

    def _saw_this_log(self) -> bool:
        """Whether the custodian says that it saw this log up to what was collected, or says of none: it needs one."""
        word = self._counted[0].message if self._counted else None
        if not isinstance(word, Counted):
            return False
        if word.seen is None or not self._collected:
            return word.seen is None
        return self._collected[0].index < word.seen.size <= len(self._held) and (
            self._held.head(word.seen.size) == word.seen
        )
