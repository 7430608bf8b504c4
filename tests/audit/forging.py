"""What somebody can make of an honest transcript, with whatever keys they have.

Three kinds of people change one: those with the files alone; the server, which signs anew whatever it signed, names the
new log in its survivors and writes new checkpoints; and the server with an institution, which signs its messages anew
and links them. What none of them has are the keys of the other institutions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedspallm_secure.audit import Verdict
from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import (
    Collected,
    Envelope,
    Linked,
    Message,
    Signer,
    Sums,
    Survivors,
    canonical,
    open_envelope,
    seal,
)
from fedspallm_secure.tlog import HeldLog, cosign, leaf_hash, origin_of
from tests.audit.honest_transcript import Honest, everybody

__all__ = [
    "SERVER",
    "Change",
    "Forgery",
    "edit",
    "edited",
    "failed",
    "find",
    "opened",
    "rewritten",
    "signer",
    "written",
]

SERVER = ("coordinator",)
"""Whom most forgeries are blamed on."""

Change = Callable[[Honest, list[Envelope]], list[Envelope]]
"""From the honest log to a forged one."""

_TIME = 1_700_000_000


@dataclass(frozen=True)
class Forgery:
    """Something that somebody with keys does.

    Attributes:
        change: what.
        checks: of which all must fail.
        at_fault: who must be named, and nobody else.
        colluders: whose keys the server has besides its own.
    """

    change: Change
    checks: set[str]
    at_fault: tuple[str, ...] = SERVER
    colluders: tuple[str, ...] = ()


def opened(honest: Honest, envelope: Envelope) -> Message | None:
    """The message in an envelope; None if it is signed by nobody whom the charter names."""
    try:
        return open_envelope(envelope, honest.run.charter.keys)
    except RemoteProtocolError:
        return None


def written(honest: Honest, folder: Path, entries: Sequence[Envelope]) -> Path:
    """A copy of the transcript with another log, by somebody without a key."""
    honest.copy(folder)
    (folder / "log.jsonl").write_bytes(b"".join(canonical(entry) + b"\n" for entry in entries))
    return folder


def rewritten(honest: Honest, folder: Path, entries: Sequence[Envelope], colluders: Collection[str] = ()) -> Path:
    """The same, by the server and some institutions: everything that they can sign fits the new log."""
    run = honest.run
    log = HeldLog(origin_of(run.plan().context.digest))
    last: dict[str, str] = {}
    anew: dict[Envelope, Envelope] = {}
    new: list[Envelope] = []
    notes: dict[int, str] = {}
    number = 0
    for entry in entries:
        message, before = opened(honest, entry), entry
        if isinstance(message, Survivors | Collected) and message.sender == "coordinator":
            entry = seal(message.model_copy(update={"log": log.head()}), run.participants.server)
        elif isinstance(message, Sums) and message.counted in anew:
            entry = seal(message.model_copy(update={"counted": anew[message.counted]}), run.participants.server)
        elif isinstance(message, Linked) and message.sender in colluders:
            seen = message.seen and log.head(min(message.seen.size, len(log)))
            linked = message.model_copy(update={"prev": last.get(message.sender), "seen": seen})
            entry = anew[before] = seal(linked, signer(honest, message.sender))
        log.append(entry)
        new.append(entry)
        last[entry.signatures[0].keyid] = leaf_hash(canonical(entry)).hex()
        number = number if message is None else message.round
        note = log.checkpoint(run.participants.server)
        institutions = [run.participants.institutions[name] for name in colluders if name in run.names]
        notes[number] = note + "".join(cosign(note, institution, _TIME) for institution in institutions)
    written(honest, folder, new)
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    for number, note in notes.items():
        (folder / "checkpoints" / f"{number + 1:04}.note").write_text(note)
    return folder


def find(honest: Honest, kind: str, of: str | None = None, sender: str | None = None) -> int:
    """Index of the first entry of a kind, of a sum, by a sender."""
    for index, message in enumerate(honest.messages()):
        if message.kind == kind and sender in (None, message.sender) and of in (None, getattr(message, "sum", None)):
            return index
    raise LookupError(kind)


def signer(honest: Honest, name: str) -> Signer:
    """Somebody's key."""
    return {identity.name: identity for identity in everybody(honest.run)}[name]


def edited(honest: Honest, entries: list[Envelope], index: int, by: str | None = None, **update: Any) -> list[Envelope]:
    """One entry signed anew with other members, by its sender or with somebody else's key in its name."""
    message = honest.messages()[index].model_copy(update=update)
    entry = seal(message, signer(honest, by or message.sender))
    if by is not None:
        named = entry.signatures[0].model_copy(update={"keyid": message.sender})
        entry = entry.model_copy(update={"signatures": (named,)})
    return [*entries[:index], entry, *entries[index + 1 :]]


def edit(kind: str, of: str | None = None, sender: str = "coordinator", by: str | None = None, **update: Any) -> Change:
    """The first entry of a kind signed anew with other members, see `edited`."""
    return lambda honest, entries: edited(honest, entries, find(honest, kind, of, sender), by, **update)


def failed(verdict: Verdict) -> set[str]:
    """Numbers of the checks that failed."""
    return {finding.number for finding in verdict.failed}
