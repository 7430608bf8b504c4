"""A transcript as an auditor reads it: never changed, never trusted, each part with what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedspallm_secure.charter import Charter, check_charter, load_charter
from fedspallm_secure.errors import ConfigError, FedspallmError, RemoteProtocolError, StorageError
from fedspallm_secure.messages import Envelope, Message, canonical, open_envelope
from fedspallm_secure.secagg import RoundContext
from fedspallm_secure.transcript import Transcript, read_log

__all__ = ["Entry", "OpenedContext", "open_entry", "read_charter", "read_entries"]


@dataclass(frozen=True)
class Entry:
    """One entry of the log.

    Attributes:
        index: in the log, from 0.
        envelope: as it stands there.
        message: what is in it.
    """

    index: int
    envelope: Envelope
    message: Message


@dataclass(frozen=True)
class OpenedContext(RoundContext):
    """A round of which an auditor opened all entries, so that it verifies no signature twice.

    Attributes:
        opened: the entries, and what is in them.
    """

    opened: Mapping[Envelope, Message] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, context: RoundContext, entries: Iterable[Entry]) -> OpenedContext:
        """The same round; all entries are of it."""
        opened = {entry.envelope: entry.message for entry in entries}
        return cls(context.charter, context.round, context.lanes, context.start, opened)

    def open(self, envelope: Envelope) -> Message:
        """The signed message in `envelope`, once it is known to belong to this round.

        Raises:
            RemoteProtocolError: bad signature, unknown signer, another charter or another round.
        """
        found = self.opened.get(envelope)
        return super().open(envelope) if found is None else found


def read_charter(transcript: Transcript) -> Charter:
    """The charter, once it is known to be whole and to keep its own rules.

    Raises:
        ConfigError: there is none, or it is not one in canonical form.
        CharterError: it breaks a rule.
    """
    charter = load_charter(transcript.charter)
    if _bytes(transcript.charter) != canonical(charter):
        raise ConfigError(f"{transcript.charter.name} is not in canonical form.", "Ask for the file as it was signed.")
    check_charter(charter)
    return charter


def read_entries(transcript: Transcript) -> tuple[list[Envelope], FedspallmError | None]:
    """The log's whole entries, and what is wrong with the one after them, if something is."""
    entries: list[Envelope] = []
    seen: dict[bytes, int] = {}
    try:
        for index, (line, envelope) in enumerate(read_log(transcript.log)):
            if line in seen:
                raise StorageError(f"Entry {index} is entry {seen[line]} again.", "An entry stands in the log once.")
            seen[line] = index
            entries.append(envelope)
    except FedspallmError as error:
        return entries, error
    return entries, None


def open_entry(index: int, envelope: Envelope, charter: Charter, own: str) -> Entry:
    """One entry, once its signature holds and it is known to belong to this charter, whose digest is `own`.

    Raises:
        RemoteProtocolError: it is not.
    """
    message = open_envelope(envelope, charter.keys)
    todo = "It belongs to another run, or to none."
    if message.charter != own:
        raise RemoteProtocolError(f"{message.sender!r} speaks of charter {message.charter}.", todo)
    if message.round >= charter.rounds:
        raise RemoteProtocolError(
            f"{message.sender!r} speaks of round {message.round + 1}; the charter has {charter.rounds}.", todo
        )
    return Entry(index, envelope, message)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path.name} can't be read: {error.strerror}.", "Ask for the whole transcript.") from error
