"""An audit from beginning to end: what is read, which checks are made of it in which order, and the verdict."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedspallm_secure.audit.checks import (
    ENCRYPTED,
    FULL,
    GIVEN_MODEL,
    GIVEN_ROSTERS,
    NOT_PROVEN,
    NOT_PROVEN_ENCRYPTED,
    TITLES,
)
from fedspallm_secure.audit.findings import Findings
from fedspallm_secure.audit.log_checks import (
    Broken,
    Keeper,
    check_checkpoints,
    check_links,
    keeper_of,
    read_checkpoints,
)
from fedspallm_secure.audit.record import Entry, open_entry, read_charter, read_entries
from fedspallm_secure.audit.round_checks import RoundAudit
from fedspallm_secure.audit.story import participants_of, told
from fedspallm_secure.audit.verdict import Verdict
from fedspallm_secure.charter import (
    Charter,
    CkksVotes,
    SignedRoster,
    check_chain,
    check_charter_roster,
    check_charter_signatures,
    load_charter_signatures,
    load_roster,
)
from fedspallm_secure.errors import ConfigError, FedspallmError
from fedspallm_secure.messages import Envelope, ModelStatement, Proofs, Sums, digest
from fedspallm_secure.rounds import After, MatrixSource, plan_round
from fedspallm_secure.tlog import HeldLog, origin_of
from fedspallm_secure.transcript import Transcript
from fedspallm_secure.workspace import BaseWeights, LayerStore, ModelFolder, check_model

__all__ = ["Depth", "audit"]

Depth = Literal["public", "full"]

_NO_FULL = (
    "That published sums are the sums of what the institutions sent is shown by their proofs, or the witness's word: "
    "an audit at full depth computes them again."
)
_NO_FULL_ENCRYPTED = (
    "That published sums are the sums of what the institutions sent is shown by their proofs, or the witness's word: "
    "an audit at full depth computes them again, and of encrypted votes the sum of the ciphertexts."
)
_NO_MODEL = "That a particular model is the one stated: no model was given to compare."


def audit(
    folder: Path,
    *,
    depth: Depth = "public",
    base: Path | None = None,
    model: Path | None = None,
    rosters: Sequence[Path] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verdict:
    """Check a transcript, without the server and without changing anything.

    Args:
        folder: of the transcript.
        depth: "public", or "full" to compute every sum again from the masked lanes.
        base: folder of the base model, from which the model is computed again.
        model: folder of the model that is said to have come out.
        rosters: files of signed rosters, from roster 1 on.
        progress: called with (lanes worked on, all lanes).

    Returns:
        The verdict. What is wrong with the transcript is in there, and never raised.

    Raises:
        ConfigError: there is no such transcript, or a roster's file can't be read.
        StorageError: `base` or `model` is no model folder, or a scratch folder can't be written.
    """
    began = time.monotonic()
    transcript = Transcript(folder)
    if not folder.is_dir() or not (transcript.charter.exists() or transcript.log.exists()):
        raise ConfigError(
            f"{folder} holds no transcript.", "Give the folder with charter.json and log.jsonl, as OUT/transcript."
        )
    left_out = {
        *(() if depth == "full" else FULL),
        *(() if model is not None else (GIVEN_MODEL,)),
        *(() if rosters else (GIVEN_ROSTERS,)),
    }
    case = _Case(
        transcript,
        depth,
        None if base is None else ModelFolder(base),
        None if model is None else ModelFolder(model),
        [load_roster(path) for path in rosters],
        Findings(number for number in TITLES if number not in left_out),
        progress,
    )
    return case.verdict(began)


@dataclass
class _Case:
    """One audit."""

    transcript: Transcript
    depth: Depth
    base: ModelFolder | None
    given: ModelFolder | None
    rosters: list[SignedRoster]
    findings: Findings
    progress: Callable[[int, int], None]
    model: str | None = None

    def verdict(self, began: float) -> Verdict:
        """Make all checks."""
        charter = self._charter()
        held = HeldLog("" if charter is None else origin_of(digest(charter)))
        if charter is not None:
            envelopes, broken = self._envelopes()
            entries = self._entries(charter, envelopes, broken)
            broken += check_links(charter, entries, held, self.findings)
            for envelope in envelopes[len(entries) :]:
                held.append(envelope)
            checkpoints = read_checkpoints(self.transcript, charter, held)
            keeper = keeper_of(charter, entries, held, checkpoints)
            for one in broken:
                self.findings.fail(one.check, one.problem, one.index, at_fault=keeper.blamed(one.index))
            contributed = self._rounds(charter, entries, keeper)
            cosigned = check_checkpoints(self.transcript, entries, held, keeper, checkpoints, self.findings)
        else:
            entries = []
            for number in list(TITLES)[1:]:
                self.findings.skip(number, "There is no charter to check it by.")
            contributed, cosigned = {}, frozenset[str]()
        return Verdict(
            run="" if charter is None else charter.run,
            charter="" if charter is None else digest(charter),
            depth=self.depth,
            findings=self.findings.all(),
            not_proven=self._not_proven(charter, entries),
            participants=() if charter is None else participants_of(charter, entries, contributed, cosigned),
            events=told(charter, entries) if charter is not None else (),
            log_size=len(held),
            log_root=held.head().root,
            model=self.model,
            bytes_read=self._bytes_read(),
            seconds=time.monotonic() - began,
        )

    def _charter(self) -> Charter | None:
        try:
            charter = read_charter(self.transcript)
            for number in range(charter.rounds):
                plan_round(charter, number)
        except FedspallmError as error:
            self.findings.fail("A1", str(error))
            self.findings.leave_out(ENCRYPTED)
            return None
        self.findings.note("A1", f"Its digest is {digest(charter)}.")
        self._check_contexts(charter)
        try:
            check_charter_signatures(charter, load_charter_signatures(self.transcript.signatures))
            self.findings.note("A2", f"{len(charter.keys)} signatures hold.")
        except FedspallmError as error:
            self.findings.fail("A2", str(error))
        if self.rosters:
            self._check_rosters(charter)
        return charter

    def _check_contexts(self, charter: Charter) -> None:
        if not isinstance(charter.votes, CkksVotes):
            self.findings.leave_out(ENCRYPTED)
            return
        try:
            for context in charter.votes.contexts:
                self.transcript.blobs.get_bytes(context)
            self.findings.note(ENCRYPTED, f"{len(charter.votes.contexts)} contexts.")
        except FedspallmError as error:
            self.findings.fail(ENCRYPTED, error.problem)

    def _check_rosters(self, charter: Charter) -> None:
        try:
            last = check_chain(self.rosters)
            check_charter_roster(charter, last)
            self.findings.note("A22", f"Roster {last.number}, digest {digest(last)}, has {len(last.members)} members.")
        except FedspallmError as error:
            self.findings.fail("A22", error.problem)

    def _envelopes(self) -> tuple[list[Envelope], list[Broken]]:
        """The log up to the first line that is damaged, and that."""
        envelopes, damage = read_entries(self.transcript)
        self.findings.note("A3", f"{len(envelopes)} entries.")
        return envelopes, [] if damage is None else [Broken("A3", str(damage), len(envelopes))]

    def _entries(self, charter: Charter, envelopes: list[Envelope], broken: list[Broken]) -> list[Entry]:
        """The entries up to the first that is not to be believed, which is added to those `broken`."""
        entries, own = list[Entry](), digest(charter)
        for index, envelope in enumerate(envelopes):
            try:
                entries.append(open_entry(index, envelope, charter, own))
            except FedspallmError as error:
                broken.append(Broken("A4", error.problem, index))
                break
        self.findings.note("A4", f"{len(entries)} signatures hold.")
        return entries

    def _rounds(self, charter: Charter, entries: list[Entry], keeper: Keeper) -> dict[str, tuple[str, ...]]:
        """Replay every round; who contributed to which sums."""
        contributed: dict[str, tuple[str, ...]] = {}
        start: str | None = None
        source: MatrixSource | None = None if self.base is None else BaseWeights(self.base, charter.base)
        done = iter(range(1, 1 << 62))
        plans = [plan_round(charter, number) for number in range(charter.rounds)]
        looks = 4 if charter.changes_weights else 2  # at every sum, and at its proofs
        total = sum(len(plan.context.lanes) * looks for plan in plans)
        total += 0 if source is None else sum(len(plan.lanes) for plan in plans)

        def advance() -> None:
            self.progress(min(next(done), total), total)

        rounds = [entry.message.round for entry in entries]
        if rounds != sorted(rounds):
            at = next(index for index in range(1, len(rounds)) if rounds[index] < rounds[index - 1])
            self.findings.fail(
                "A9", "An entry of an earlier round stands after those of a later one.", at, at_fault=keeper.blamed(at)
            )
            return contributed
        with tempfile.TemporaryDirectory(prefix="fedspallm-audit-") as scratch:
            for number in range(charter.rounds):
                output = LayerStore(Path(scratch) / str(number)) if number + 1 < charter.rounds else None
                plan = plans[number].starting_from(start)
                of_round = [entry for entry in entries if entry.message.round == number]
                before = [entry.envelope for entry in entries if entry.message.round < number]
                full = self.depth == "full"
                one = RoundAudit(plan, of_round, keeper, self.transcript.blobs, full, self.findings, advance)
                one.replay(source, output, before)
                one.check_proofs()
                one.check_statements()
                for name, sums in one.contributed().items():
                    contributed[name] = contributed.get(name, ()) + sums
                if one.model is None:
                    self._stop(number, charter.rounds)
                    if one.cut and len(before) + len(of_round) < len(entries):
                        at = len(before) + len(of_round)
                        why = f"Round {number + 2} begins here; round {number + 1} did not come to its end."
                        self.findings.fail("A18", why, at, at_fault=keeper.blamed(at))
                    break
                start = self.model = one.model
                source = None if source is None or output is None else After(source, output, charter.layers_of(number))
                self._check_given(charter, one.digests, last=number + 1 == charter.rounds)
        if self.model is None:
            with suppress(StopIteration):
                self.model = next(e.message.model for e in reversed(entries) if isinstance(e.message, ModelStatement))
        return contributed

    def _stop(self, number: int, rounds: int) -> None:
        """A round did not come to its end."""
        why = f"Round {number + 1} of {rounds} did not come to its end."
        for check in ("A18", "A19"):
            self.findings.skip(check, why)

    def _check_given(self, charter: Charter, digests: dict[str, str], *, last: bool) -> None:
        if self.given is None or not last:
            return
        if not digests:
            self.findings.skip("A19", "The model's tensors are not known: give the base model, by --base.")
            return
        wrong = check_model(self.given, digests, charter.base)
        for mismatch in wrong[:1]:
            more = f", and {len(wrong) - 1} more tensors differ" if len(wrong) > 1 else ""
            self.findings.fail("A19", f"Tensor {mismatch.name}{more}.", None, mismatch.expected, mismatch.actual)
        self.findings.note("A19", f"{len(digests)} tensors compared.")

    def _not_proven(self, charter: Charter | None, entries: Sequence[Entry]) -> tuple[str, ...]:
        encrypted = charter is not None and charter.custodian is not None
        no_full = (_NO_FULL_ENCRYPTED if encrypted else _NO_FULL,) if self.depth == "public" else ()
        no_model = (_NO_MODEL,) if self.given is None else ()
        no_counts = (*_unproven_counts(entries), *NOT_PROVEN_ENCRYPTED) if encrypted else ()
        return (*no_full, *no_model, *no_counts, *NOT_PROVEN)

    def _bytes_read(self) -> int:
        small = [self.transcript.charter, self.transcript.signatures, self.transcript.log]
        files = sum(path.stat().st_size for path in small if path.exists())
        models = sum(folder.bytes_read for folder in (self.base, self.given) if folder is not None)
        return files + models + self.transcript.blobs.bytes_read


def _unproven_counts(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Of encrypted votes, the rounds whose counts nobody but the custodian vouches for."""
    messages = [entry.message for entry in entries]
    published = {message.round + 1 for message in messages if isinstance(message, Sums) and message.sum == "votes"}
    proved = {message.round + 1 for message in messages if isinstance(message, Proofs) and message.sum == "votes"}
    rounds = [str(number) for number in sorted(published - proved)]
    if not rounds:
        return ()
    return (
        f"That the counts of round {' and '.join(rounds)} are those of the ciphertexts: not every institution proved "
        "them, so they, and the masks that follow from them, rest on the custodian's word alone.",
    )
