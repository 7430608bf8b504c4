"""One round's checks: A9 to A18, and at full depth A20 and A21, by replaying it and looking at what came of it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from fedspallm_secure.audit.checks import CHECK_OF_KIND
from fedspallm_secure.audit.counting import Counting
from fedspallm_secure.audit.failures import CheckError, LogEndsError
from fedspallm_secure.audit.findings import Findings
from fedspallm_secure.audit.log_checks import Keeper
from fedspallm_secure.audit.record import Entry, OpenedContext
from fedspallm_secure.audit.replayed import AuditedOutcome, CheckedSums, LoggedOutcome, Recorded
from fedspallm_secure.errors import FedspallmError
from fedspallm_secure.messages import Attested, Counted, Envelope, ModelStatement, Proofs, Sums, Unproven
from fedspallm_secure.rounds import CoordinatorRound, MatrixSource, PublicWeights, RoundPlan, replay
from fedspallm_secure.secagg import SumCheck
from fedspallm_secure.tlog import HeldLog, origin_of
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.workspace import LayerStore

__all__ = ["RoundAudit"]

_IN_ORDER = ("A9", "A10", "A11", "A12", "A13", "A20", "A21", "A14", "A15", "A16", "A17", "A18")
"""The checks of a round, as it comes to them."""

_VERDICTS = ("proofs", "attested", "unproven")
"""Kinds of messages of which the last one settles the model."""

_NO_BASE = "The base weights are needed: give the base model, by --base."


class RoundAudit:
    """The audit of one round.

    Args:
        plan: of the round.
        entries: the round's.
        keeper: of the log.
        blobs: of the transcript.
        full: whether sums are computed again.
        findings: takes in what is found.
        progress: called after each lane.

    Attributes:
        cut: whether all entries were in order, and there should be more.
    """

    def __init__(
        self,
        plan: RoundPlan,
        entries: Sequence[Entry],
        keeper: Keeper,
        blobs: BlobStore,
        full: bool,
        findings: Findings,
        progress: Callable[[], None],
    ) -> None:
        self._plan = replace(plan, context=OpenedContext.of(plan.context, entries))
        self._entries = entries
        self._keeper = keeper
        self._blobs = blobs
        self._full = full
        self._findings = findings
        self._progress = progress
        self._number = plan.context.round + 1
        self._coordinator: CoordinatorRound | None = None
        self._outcome: AuditedOutcome | None = None
        self._checked: CheckedSums | None = None
        self._held = HeldLog(origin_of(plan.context.digest))
        self._counting = Counting(self._plan, entries, blobs, keeper, self._held)
        self._at = 0
        self.cut = False

    @property
    def model(self) -> str | None:
        """The digest of the round's model, if the round came to its end."""
        return None if self._coordinator is None else self._coordinator.model

    @property
    def digests(self) -> dict[str, str]:
        """The new model's tensors: name -> digest, as computed again; empty if they were not."""
        return {} if self._outcome is None else self._outcome.digests

    def contributed(self) -> dict[str, tuple[str, ...]]:
        """Institution -> the sums of this round that it is part of."""
        if self._coordinator is None:
            return {}
        found: dict[str, tuple[str, ...]] = {}
        participation, context = self._coordinator.participation, self._plan.context
        for message in self._sums():
            for name in context.names(participation.contributors(message.sum)):
                found[name] = (*found.get(name, ()), f"round {self._number} {message.sum}")
        return found

    def replay(self, source: MatrixSource | None, output: LayerStore | None, before: Sequence[Envelope]) -> None:
        """Replay the round.

        Args:
            source: the weights that it starts from, if they are known.
            output: where the new ones are stored, or None.
            before: the log's entries up to this round.
        """
        plan, charter = self._plan, self._plan.charter
        signer = Recorded(charter.server, charter.server_key, self._entries)
        if source is None:
            self._outcome = LoggedOutcome(plan, self._blobs, self._entries)
            for check in ("A16", "A17"):
                self._findings.skip(check, _NO_BASE)
        else:
            self._outcome = AuditedOutcome(plan, PublicWeights(source), self._blobs, self._progress)
        self._checked = CheckedSums(
            plan, self._outcome, self._blobs, self._entries, self._counting, self._full, self._progress
        )
        held = self._held
        for envelope in before:
            held.append(envelope)
        held.take_new()
        self._coordinator = CoordinatorRound(plan, signer, self._outcome, self._checked, output, held)
        try:
            envelopes = [entry.envelope for entry in self._entries]
            replay(self._coordinator, plan, held, envelopes, lambda number: self._set_place(number, signer))
        except LogEndsError as end:
            self.cut = True
            self._skip_from("A14", f"Round {self._number}: {end.problem}")
        except CheckError as failure:
            self._findings.fail(
                failure.check,
                f"Round {self._number}: {failure.problem}",
                self._entry(),
                failure.expected,
                failure.actual,
                failure.at_fault,
            )
            self._skip_from(failure.check, f"Round {self._number} could not be followed past entry {self._entry()}.")
        except FedspallmError as error:
            self._not_due(error, signer)
        else:
            self._ended()
        self._note_what_holds()

    def check_proofs(self) -> None:
        """A15: what was proved of each sum adds up to what was published."""
        for published in self._sums():
            verdict = self._verdict_on(published)
            if verdict is None:
                continue
            index, message = verdict
            what = f"Round {self._number} {published.sum}"
            if isinstance(message, Unproven):
                self._findings.note("A15", f"{what}: called unproven, so no weight changes by them.")
            elif isinstance(message, Attested):
                self._findings.note("A15", f"{what}: the witness {message.attestation.signatures[0].keyid} vouches.")
            elif isinstance(message, Proofs):
                try:
                    self._verify(published, message)
                    self._findings.note("A15", f"{what}: {len(message.proofs)} proofs add up.")
                except FedspallmError as error:
                    self._findings.fail("A15", f"{what}: {error.problem} {self._either(published)}", index)

    def check_statements(self) -> None:
        """A17 and A18: everybody stated one model, and it is the one that follows."""
        stated = [(e.index, e.message) for e in self._entries if isinstance(e.message, ModelStatement)]
        if not stated:
            return
        (first, one), computed = stated[0], self._computed()
        if computed is not None and computed not in {message.model for _, message in stated}:
            self._findings.fail(
                "A17",
                f"Round {self._number}: another model follows than was stated.",
                first,
                computed,
                one.model,
                self._liars(stated, first),
            )
        for index, message in stated:
            if message.model != one.model:
                self._findings.fail(
                    "A18",
                    f"Round {self._number}: {message.sender!r} stated another model than {one.sender!r}.",
                    index,
                    one.model,
                    message.model,
                    self._liars(stated, index),
                )

    def _computed(self) -> str | None:
        """The digest of the model that follows, where the auditor has the weights to compute it."""
        return self._coordinator.computed if self._coordinator is not None and self.digests else None

    def _liars(self, stated: Sequence[tuple[int, ModelStatement]], index: int) -> tuple[str, ...]:
        """Who signed what it could know to be false; and the log's keeper, which should have refused it.

        An institution that was shown another log may have computed another model. One is to blame if it says itself
        that it saw this log with all that the model follows from.
        """
        computed = self._computed()
        verdict = max((e.index for e in self._entries[: self._at] if e.message.kind in _VERDICTS), default=0)
        liars = [
            message.sender
            for _, message in stated
            if computed is not None
            and message.model != computed
            and message.seen is not None
            and verdict < message.seen.size <= len(self._held)
            and self._held.head(message.seen.size) == message.seen
        ]
        return (*liars, *self._keeper.blamed(index))

    def _set_place(self, number: int, signer: Recorded) -> None:
        self._at = number
        signer.next_step()

    def _entry(self) -> int:
        """Index in the log of the entry that was looked at last."""
        return self._entries[self._at].index if self._entries else 0

    def _ended(self) -> None:
        """The whole log was followed; did it come to the round's end?"""
        assert self._coordinator is not None
        self._at = len(self._entries)
        if self._coordinator.model is None:
            self.cut = True
            missing = ", ".join(self._coordinator.missing())
            self._skip_from("A9", f"Round {self._number} did not come to its end; the log ends waiting for {missing}.")
        else:
            if self._outcome is not None and self._outcome.eligible is None:
                self._findings.note("A16", f"Round {self._number}: there are no values.")
            stated = len(self._coordinator.agreed)
            self._findings.note("A18", f"Round {self._number}: {stated} institutions stated {self._coordinator.model}.")

    def _note_what_holds(self) -> None:
        """Evidence for the checks that the replay came past."""
        assert self._checked is not None
        assert self._outcome is not None
        followed = Counter(CHECK_OF_KIND[entry.message.kind] for entry in self._entries[: self._at])
        for check in ("A9", "A10", "A11", "A12", "A13"):
            if followed[check]:
                self._findings.note(check, f"Round {self._number}: {followed[check]} messages.")
        if self._checked.suspects:
            names = ", ".join(sorted(self._checked.suspects))
            self._findings.note("A13", f"Round {self._number}: shares of {names} did not fit; the others' sufficed.")
        for check in ("A14", "A20", "A21"):
            if self._checked.lanes:
                self._findings.note(check, f"Round {self._number}: {self._checked.lanes} sums of lanes.")
        for word in (entry.message for entry in self._entries[: self._at] if isinstance(entry.message, Counted)):
            voters = len(word.contributors)
            self._findings.note(
                "A14", f"Round {self._number}: {word.sender} counted the votes of {voters} institutions."
            )
        if self._outcome.eligible is not None:
            self._findings.note("A16", f"Round {self._number}: {self._outcome.eligible} positions.")
        if self.digests:
            self._findings.note("A17", f"Round {self._number}: {len(self.digests)} tensors, {self.model}.")

    def _not_due(self, error: FedspallmError, signer: Recorded) -> None:
        """An entry was refused, or is not the one that is due.

        What an honest institution signed may be refused here because another entry is missing. So only the log's keeper
        is to blame, which let it in; for counts that are due, the custodian too if it saw this log.
        """
        assert self._coordinator is not None
        server, computed = self._plan.charter.server, self._coordinator.computed
        first = self._at + (self._entries[self._at].message.sender != server)
        followed, due = signer.follow(self._entries[first:])
        self._at = self._at if due is None else first + followed
        if due is None:
            entry = self._entries[self._at]
            check = CHECK_OF_KIND[entry.message.kind]
            if computed is None or getattr(entry.message, "model", computed) == computed:  # else check_statements does
                counts = isinstance(entry.message, Counted) and self._coordinator.missing() == self._counting.custodian
                blamed = self._counting.blamed() if counts else self._keeper.blamed(entry.index)
                self._findings.fail(check, f"Round {self._number}: {error.problem}", entry.index, at_fault=blamed)
            self._skip_from(check, f"Round {self._number} could not be followed past entry {entry.index}.")
        elif self._at == len(self._entries):
            self.cut = True
            kind = json.loads(due)["kind"]
            self._skip_from(CHECK_OF_KIND[kind], f"Round {self._number}: the log ends where {kind!r} is due.")
        else:
            self._fail_due(due, json.loads(due)["kind"], self._entries[self._at])

    def _fail_due(self, due: bytes, kind: str, entry: Entry) -> None:
        """Another entry stands where the coordinator's word is due, in one form only."""
        server, check = self._plan.charter.server, CHECK_OF_KIND[kind]
        same = entry.message.kind == kind and entry.message.sender == server
        came = "so, but says something else" if same else f"{entry.message.kind!r} of {entry.message.sender!r}"
        self._findings.fail(
            check,
            f"Round {self._number}: by the entries before it, entry {entry.index} has to be {kind!r} of {server!r}; "
            f"it is {came}.",
            entry.index,
            hashlib.sha256(due).hexdigest(),
            hashlib.sha256(base64.b64decode(entry.envelope.payload)).hexdigest(),
            self._keeper.blamed(entry.index),
        )
        self._skip_from(check, f"Round {self._number} could not be followed past entry {entry.index}.")

    def _skip_from(self, check: str, why: str) -> None:
        """What can't be checked after `check`."""
        for later in _IN_ORDER[_IN_ORDER.index(check) :]:
            self._findings.skip(later, why)

    def _sums(self) -> list[Sums]:
        """The published sums that the replay came past."""
        return [
            entry.message
            for entry in self._entries[: self._at]
            if isinstance(entry.message, Sums) and entry.message.sender == self._plan.charter.server
        ]

    def _verdict_on(self, published: Sums) -> tuple[int, Proofs | Attested | Unproven] | None:
        for entry in self._entries[: self._at]:
            message = entry.message
            if isinstance(message, Proofs | Attested | Unproven) and message.sum == published.sum:
                return entry.index, message
        return None

    def _either(self, published: Sums) -> str:
        """What proofs that do not add up can mean."""
        if published.counted is not None:
            return (
                f"Either {' '.join(self._counting.custodian)} counted wrongly, or one of those who proved the counts "
                "encrypted other votes or signed a wrong proof."
            )
        if self._full:
            return "It is the sum of what they sent, so one of those who proved it signed a wrong proof."
        return (
            f"Either {published.sender!r} published another sum, or one of those who proved it signed a wrong proof: "
            "an audit at full depth tells which."
        )

    def _verify(self, published: Sums, proofs: Proofs) -> None:
        assert self._coordinator is not None
        assert self._outcome is not None
        contributors = self._coordinator.participation.contributors(published.sum)
        check = SumCheck(self._plan.context, published, None, contributors, {})
        for lane, blob in zip(self._plan.context.lanes, published.lanes, strict=True):
            length = self._outcome.length(lane, published.sum)
            check.add(lane, self._outcome.digits(lane, published.sum, blob, length), None)
            self._progress()
        check.verify(proofs)
