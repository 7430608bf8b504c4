"""SPEC.md section 13: one round of a log, replayed by a server that has no key, and looks at what it publishes."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from protocol.vectors.second.agreement import Lane, Round
from protocol.vectors.second.encoding import canonical
from protocol.vectors.second.encrypted import counted_in
from protocol.vectors.second.log import Log
from protocol.vectors.second.outcome import Outcome
from protocol.vectors.second.products import check_proofs, totals
from protocol.vectors.second.published import words_of
from protocol.vectors.second.refusal import CheckError, require
from protocol.vectors.second.server import Server
from protocol.vectors.second.unmasking import Unmasking

__all__ = ["Entry", "IncompleteError", "replay"]

Entry = tuple[dict[str, Any], dict[str, Any]]
"""An envelope of the log, and its body."""


class IncompleteError(Exception):
    """What would decide is not there."""


class _UnsaidError(Exception):
    """The server did not say what follows."""


class _Words:
    """Gives the server's envelopes by their bodies, in place of its key."""

    def __init__(self, server: str, entries: Sequence[Entry]) -> None:
        self._said = {canonical(body): envelope for envelope, body in entries if body["sender"] == server}
        self.given: list[dict[str, Any]] = []

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        if canonical(body) not in self._said:
            raise _UnsaidError(body["kind"])
        self.given.append(self._said[canonical(body)])
        return self.given[-1]


class _Auditor(Server):
    """A server that publishes what the log has, once it was checked; at full depth it adds up again."""

    def __init__(
        self, the_round: Round, words: _Words, outcome: Outcome, blobs: MutableMapping[str, bytes], log: Log
    ) -> None:
        super().__init__(the_round, words, outcome, blobs, log)
        self.full = False
        self.in_log: dict[str, dict[str, Any]] = {}

    @property
    def waits_for_witness(self) -> bool:
        return self._kind == "attest"

    @property
    def ended(self) -> bool:
        return self._kind == ""

    def _total(self, lane: Lane, unmasking: Unmasking) -> dict[str, Any]:
        if self._which not in self.in_log:
            raise IncompleteError(f"nobody published the {self._which}")
        sums = self.in_log[self._which]
        if lane.index == 0:
            totals(self._round, self._outcome, sums, self._lengths)
            self._check_possible(sums)
        blob = dict(sums["lanes"][lane.index])
        if self.full:
            require("W6", self._added(lane, unmasking) == words_of("W6", blob, self._blobs), lane.name)
        return blob

    def _check_released(self, sender: int) -> None:
        """At full depth, when they are added up."""

    def _counted(self, lane: Lane, blob: dict[str, Any], sent: dict[int, dict[str, Any]]) -> dict[str, Any]:
        if self._which not in self.in_log:
            raise IncompleteError(f"nobody published the {self._which}")
        sums = self.in_log[self._which]
        if lane.index == 0:
            totals(self._round, self._outcome, sums, self._lengths, self._check_counted)
            self._check_possible(sums)
        if self.full:
            return super()._counted(lane, blob, sent)
        return {name: blob[name] for name in ("lane", "words", "blob")}

    def _check_counted(self) -> None:
        """C45 to C47; C48 follows from what was collected."""
        counted_in(self._round, self.in_log["votes"], self._survivors)

    def _check_possible(self, sums: dict[str, Any]) -> None:
        """C31 and C32."""
        votes = sums if self._which == "votes" else self._published["votes"]
        values = sums if self._which == "values" else None
        self._outcome.possible(votes, values, self._participation)

    def _send_verdict(self, message: tuple[list[str], dict[str, Any]]) -> list[tuple[list[str], dict[str, Any]]]:
        body, sums = self._round.open(message[1]), self._published[self._which]
        if body["kind"] == "proofs":
            due = totals(self._round, self._outcome, sums, self._lengths)
            check_proofs(self._round, body, self._participation.survivors[self._which], due)
        return super()._send_verdict(message)


def replay(
    the_round: Round,
    entries: Sequence[Entry],
    weights: Mapping[str, bytes],
    blobs: MutableMapping[str, bytes],
    log: Log,
    full: bool,
) -> tuple[str, dict[str, bytes]]:
    """T5, and all that a server checks: the new model's digest, and its weights.

    Args:
        the_round: which.
        entries: the round's.
        weights: tensor's name -> bytes at the start of the round.
        blobs: digest -> bytes.
        log: as it was when the round began; as it is when it ended, afterwards.
        full: whether sums are added up again.

    Raises:
        CheckError: the log is not one that follows.
        IncompleteError: it ends before the round does.
    """
    words = _Words(the_round.server, entries)
    auditor = _Auditor(the_round, words, Outcome(the_round, weights, blobs), blobs, log)
    auditor.full = full
    auditor.in_log = {
        body["sum"]: body for _, body in entries if body["kind"] == "sums" and body["sender"] == the_round.server
    }
    due: list[dict[str, Any]] = []
    at = 0
    while at < len(entries):
        envelope, body = entries[at]
        if due:
            require("T5", due.pop(0) == envelope, f"entry {at}")
            at += 1
            continue
        closing = body["sender"] == the_round.server or (body["kind"] == "attest" and not auditor.waits_for_witness)
        words.given.clear()
        at += not closing
        try:
            out = auditor.close() if closing else auditor.receive(envelope)
        except _UnsaidError as unsaid:
            rest = [later for later, _ in entries[at:]]
            if rest == words.given[: len(rest)]:
                raise IncompleteError(f"the log ends before {unsaid}") from unsaid
            raise CheckError("T5", f"{unsaid} is due at entry {at}") from unsaid
        due = [message for number, (_, message) in enumerate(out) if message not in [one for _, one in out[:number]]]
        require("T5", bool(due) or not closing or auditor.waits_for_witness, f"entry {at}")
    if due or not auditor.ended:
        raise IncompleteError("the log ends before the round does")
    return auditor.model, auditor.weights
