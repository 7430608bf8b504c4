"""The log as a whole: links between its entries, and the checkpoints that its keeper and the institutions signed.

Whoever hands over a copy may have changed it. So its keeper is to blame for an entry's being there, or not being there,
as far as it signed this very log: in a checkpoint, or where it named survivors, or whose ciphertexts came. Beyond that
the evidence names nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fedspallm_secure.audit.findings import Findings
from fedspallm_secure.audit.record import Entry
from fedspallm_secure.charter import Charter
from fedspallm_secure.errors import FedspallmError, RemoteProtocolError, StorageError
from fedspallm_secure.messages import Collected, LogHead, ModelStatement, Survivors
from fedspallm_secure.tlog import Checkpoint, HeldLog, open_note, parse_checkpoint, signers
from fedspallm_secure.transcript import Transcript

__all__ = ["Broken", "Cosigned", "Keeper", "check_checkpoints", "check_links", "keeper_of", "read_checkpoints"]


@dataclass(frozen=True)
class Broken:
    """What is wrong with an entry.

    Attributes:
        check: that fails by it.
        problem: one sentence.
        index: of the entry.
    """

    check: str
    problem: str
    index: int


@dataclass(frozen=True)
class Cosigned:
    """A checkpoint whose signatures hold.

    Attributes:
        checkpoint: what it says.
        cosigners: who cosigned it, and when.
    """

    checkpoint: Checkpoint
    cosigners: dict[str, int]


@dataclass(frozen=True)
class Keeper:
    """The keeper of the log, and how much of this copy it signed.

    Attributes:
        name: its name.
        signed: number of entries, from the first one on.
    """

    name: str
    signed: int

    def blamed(self, index: int) -> tuple[str, ...]:
        """Who is to blame for what stands at `index`: the keeper, or nobody who is known."""
        return (self.name,) if index < self.signed else ()


def check_links(charter: Charter, entries: Sequence[Entry], held: HeldLog, findings: Findings) -> list[Broken]:
    """A5 and A6, entry by entry; appends them to `held`.

    Returns:
        The entries that contradict those before them.
    """
    broken = []
    for entry in entries:
        if entry.message.sender != charter.server:
            for number, check in (("A5", held.check_prev), ("A6", held.check_seen)):
                try:
                    check(entry.message)
                except RemoteProtocolError as error:
                    broken.append(Broken(number, error.problem, entry.index))
        held.append(entry.envelope)
    findings.note("A5", f"{len(entries)} entries.")
    findings.note("A6", f"The log has {len(held)} entries with root {held.head().root}.")
    return broken


def read_checkpoints(transcript: Transcript, charter: Charter, held: HeldLog) -> list[Cosigned | FedspallmError | str]:
    """The checkpoint at the end of each round; what is wrong with it; or why there is none."""
    read: list[Cosigned | FedspallmError | str] = []
    for number in range(charter.rounds):
        path = transcript.checkpoint(number)
        try:
            read.append(_read(path.read_bytes(), charter, held))
        except FileNotFoundError:
            read.append(f"The checkpoint at the end of round {number + 1} is missing.")
        except OSError as error:
            read.append(f"Checkpoint {path.name} can't be read: {error.strerror}.")
        except FedspallmError as error:
            read.append(error)
    return read


def keeper_of(
    charter: Charter, entries: Sequence[Entry], held: HeldLog, read: Sequence[Cosigned | FedspallmError | str]
) -> Keeper:
    """The keeper, with what it signed of this copy.

    Args:
        charter: names it.
        entries: those that are signed.
        held: the whole log.
        read: the checkpoints.
    """
    notes = [one.checkpoint for one in read if isinstance(one, Cosigned)]
    signed = [note.head.size for note in notes if note.origin == held.origin and _begins(held, note.head)]
    for entry in entries:
        message = entry.message
        if not isinstance(message, Survivors | Collected) or message.sender != charter.server:
            continue
        if _begins(held, message.log):
            signed.append(entry.index + 1 if message.log.size == entry.index else message.log.size)
    return Keeper(charter.server, max(signed, default=0))


def check_checkpoints(
    transcript: Transcript,
    entries: Sequence[Entry],
    held: HeldLog,
    keeper: Keeper,
    read: Sequence[Cosigned | FedspallmError | str],
    findings: Findings,
) -> frozenset[str]:
    """A7 and A8, round by round.

    Args:
        transcript: for the names of its files.
        entries: those that are to be believed.
        held: the whole log, perhaps with more.
        keeper: of the log.
        read: the checkpoints.
        findings: takes in what is found.

    Returns:
        Who cosigned the last round's.
    """
    cosigners = frozenset[str]()
    for number, signed in enumerate(read):
        name = transcript.checkpoint(number).name
        if isinstance(signed, Cosigned) and _is_end(signed.checkpoint, number, name, entries, held, keeper, findings):
            cosigners = _check_cosigners(signed, number, name, entries, keeper, findings)
            continue
        if isinstance(signed, FedspallmError):
            findings.fail("A7", f"Checkpoint {name}: {signed.problem}")
        why = signed if isinstance(signed, str) else f"Checkpoint {name} is not one of this log."
        for check in ("A7", "A8"):
            findings.skip(check, why)
    return cosigners


def _is_end(
    checkpoint: Checkpoint,
    number: int,
    name: str,
    entries: Sequence[Entry],
    held: HeldLog,
    keeper: Keeper,
    findings: Findings,
) -> bool:
    """Whether a checkpoint is of this log as it was at the end of round `number`."""
    size = checkpoint.head.size
    ends = [entry.index + 1 for entry in entries if entry.message.round == number]
    later = any(entry.message.round > number for entry in entries)
    end = ends[-1] if ends and (later or len(entries) == len(held)) else None  # else a round may go on unread
    same = checkpoint.origin == held.origin and _begins(held, checkpoint.head)
    if same and size == end:
        findings.note("A7", f"Round {number + 1}: {size} entries, root {checkpoint.head.root}.")
        return True
    if same and end is None:
        findings.skip("A7", f"Where round {number + 1} ends can't be told.")
        return False
    findings.fail(
        "A7",
        f"Checkpoint {name} is of another log, or of another part of it than round {number + 1}: it is of {size} "
        f"entries, the round ends after {'an unknown number' if end is None else end}.",
        expected=checkpoint.head.root,
        actual=held.head(size).root if size <= len(held) else f"{len(held)} entries",
        # Whoever signed two logs is to blame; that somebody else's copy is cut or changed shows nothing.
        at_fault=(keeper.name,) if checkpoint.origin == held.origin and not same and size <= keeper.signed else (),
    )
    return False


def _check_cosigners(
    signed: Cosigned, number: int, name: str, entries: Sequence[Entry], keeper: Keeper, findings: Findings
) -> frozenset[str]:
    stated = [
        entry.message.sender
        for entry in entries
        if isinstance(entry.message, ModelStatement) and entry.message.round == number
    ]
    missing = [who for who in stated if who != keeper.name and who not in signed.cosigners]
    if missing:
        findings.skip("A8", f"Checkpoint {name} is not cosigned by {', '.join(missing)}.")
    findings.note("A8", f"Round {number + 1}: cosigned by {', '.join(signed.cosigners)}{_when(signed.cosigners)}.")
    return frozenset(signed.cosigners)


def _read(data: bytes, charter: Charter, held: HeldLog) -> Cosigned:
    """What a note says, and who cosigned it when.

    Raises:
        RemoteProtocolError: no note of a checkpoint; a signature that does not hold, stands there twice, or is of
            nobody in the charter.
        StorageError: not UTF-8.
    """
    try:
        note = data.decode()
    except UnicodeDecodeError as error:
        raise StorageError("It is not UTF-8.", "Ask for it again.") from error
    text, found = open_note(note, charter.keys | {held.origin: charter.server_key})
    lines = note[len(text) :].strip("\n").split("\n")
    if len(lines) != len(found):
        raise RemoteProtocolError(
            f"{len(lines) - len(found)} of its signatures are of nobody in the charter.", "Keep it."
        )
    plain, cosigned = signers(found, cosigners=False), signers(found, cosigners=True)
    if len(plain) + len(cosigned) != len(found):
        raise RemoteProtocolError("Somebody signed it twice.", "Keep it.")
    if plain != [held.origin]:
        raise RemoteProtocolError(
            "The log's keeper did not sign it, or is not alone to sign as its keeper.", "Keep it."
        )
    return Cosigned(parse_checkpoint(text), {one.name: one.time for one in found if one.time is not None})


def _begins(held: HeldLog, head: LogHead) -> bool:
    """Whether a log begins so."""
    return head.size <= len(held) and held.head(head.size) == head


def _when(cosigned: dict[str, int]) -> str:
    if not cosigned:
        return ""
    first, last = _utc(min(cosigned.values())), _utc(max(cosigned.values()))
    return f", at {first}" if first == last else f", between {first} and {last}"


def _utc(seconds: int) -> str:
    """A time for people; a signer may have written any number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s after 1970"
