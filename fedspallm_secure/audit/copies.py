"""One copy of a run's transcript, and what the keeper of its log signed of it.

A copy comes from somebody who may have changed it. What counts is what a key of the charter signed: a checkpoint holds
if the keeper signed it under the log's name, and vouches for a copy if its root is that of the copy's first entries.
A checkpoint that does not hold is named and left out; so is what follows the first damaged line of a log.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedspallm_secure.charter import Charter, load_charter
from fedspallm_secure.errors import ConfigError, FedspallmError, RemoteProtocolError, StorageError
from fedspallm_secure.messages import Envelope, LogHead, digest
from fedspallm_secure.tlog import MerkleTree, leaf_hash, open_note, origin_of, parse_checkpoint, signers
from fedspallm_secure.transcript import Transcript, read_log

__all__ = ["Copy", "DamagedError", "MissingError", "SignedCheckpoint", "open_checkpoint", "read_copy"]


class DamagedError(FedspallmError):
    """Something that was signed or hashed does not hold: the verification failed."""

    exit_code = 1


class MissingError(FedspallmError):
    """The transcript does not have what would show it: the evidence is incomplete."""

    exit_code = 3


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint that the keeper of the log signed.

    Attributes:
        note: as it came.
        head: what it says.
        cosigners: who says to have seen it, in the order of the roster, the witness last.
        path: where it lies; None if it came inside something else.
    """

    note: str
    head: LogHead
    cosigners: tuple[str, ...]
    path: Path | None = None


@dataclass(frozen=True)
class Copy:
    """A transcript as somebody has it.

    Attributes:
        transcript: where it lies.
        charter: of the run.
        tree: over the log's entries, up to the first damaged line.
        damage: what is wrong with the log, or None.
        checkpoints: those that hold, the shortest first.
        refused: sentences on those that do not.
    """

    transcript: Transcript
    charter: Charter
    tree: MerkleTree
    damage: str | None
    checkpoints: tuple[SignedCheckpoint, ...]
    refused: tuple[str, ...]

    def has(self, head: LogHead) -> bool:
        """Whether the copy's first entries are the log that a checkpoint speaks of."""
        return head.size <= len(self.tree) and self.tree.root(head.size).hex() == head.root

    def covering(self, index: int) -> SignedCheckpoint | None:
        """The shortest checkpoint that vouches for the copy as far as entry `index`, if there is one."""
        found = (one for one in self.checkpoints if one.head.size > index and self.has(one.head))
        return next(found, None)

    @property
    def unfitting(self) -> tuple[SignedCheckpoint, ...]:
        """The checkpoints that the keeper signed of another log than the copy is, as far as the copy goes."""
        within = (one for one in self.checkpoints if one.head.size <= len(self.tree))
        return tuple(one for one in within if not self.has(one.head))

    def entries(self) -> Iterator[tuple[bytes, Envelope]]:
        """The entries that `tree` is over, read again: their bytes, and the envelopes.

        Raises:
            StorageError: the log was changed meanwhile.
        """
        lines = read_log(self.transcript.log)
        for index in range(len(self.tree)):
            line, envelope = next(lines, (b"", None))
            if envelope is None or leaf_hash(line) != self.tree.leaf(index):
                raise StorageError(
                    f"Entry {index} of {self.transcript.log} was changed while it was read.",
                    "Start again, once nobody writes to it.",
                )
            yield line, envelope


def read_copy(folder: Path) -> Copy:
    """Read a copy. Of its log only hashes stay in memory.

    Args:
        folder: the transcript.

    Raises:
        ConfigError: no transcript is there, or it can't be read.
    """
    transcript = Transcript(folder)
    try:
        names = set(os.listdir(folder))
    except OSError as error:
        raise ConfigError(f"The transcript {folder} can't be read: {error}.", "Give the folder of one.") from error
    if missing := sorted({transcript.charter.name, transcript.log.name} - names):
        raise ConfigError(f"There is no {missing[0]} in {folder}.", "Give the folder of a whole transcript.")
    charter = load_charter(transcript.charter)
    tree, damage = MerkleTree(), None
    try:
        for line, _ in read_log(transcript.log):
            tree.append(line)
    except StorageError as error:
        damage = error.problem
    checkpoints, refused = [], []
    for path in sorted(transcript.checkpoint(0).parent.glob("*.note")):
        try:
            checkpoints.append(open_checkpoint(_read(path), charter, path))
        except RemoteProtocolError as error:
            refused.append(f"{path} does not count: {error.problem}")
    checkpoints.sort(key=lambda one: one.head.size)
    return Copy(transcript, charter, tree, damage, tuple(checkpoints), tuple(refused))


def open_checkpoint(note: str, charter: Charter, path: Path | None = None) -> SignedCheckpoint:
    """What a checkpoint says, and who signed it.

    Args:
        note: as it came.
        charter: of the run.
        path: where it lies.

    Raises:
        RemoteProtocolError: no checkpoint, or one of another log, or its keeper did not sign it, or a signature under
            it does not hold.
    """
    origin = origin_of(digest(charter))
    cosigners = {name: key for name, key in charter.keys.items() if name != charter.server}
    text, found = open_note(note, cosigners | {origin: charter.server_key})
    checkpoint = parse_checkpoint(text)
    todo = "Ask for the checkpoint again, and for the charter of that run."
    if checkpoint.origin != origin:
        raise RemoteProtocolError(f"The checkpoint is of the log {checkpoint.origin!r}, not of {origin!r}.", todo)
    if origin not in signers(found, cosigners=False):
        raise RemoteProtocolError(f"{charter.server!r}, who keeps the log, did not sign the checkpoint.", todo)
    seen = signers(found, cosigners=True)
    return SignedCheckpoint(note, checkpoint.head, tuple(name for name in cosigners if name in seen), path)


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            raise OSError("it is no file")  # a named pipe would wait for ever, a device might never end
        return path.read_bytes().decode()  # as it is: line ends are signed too
    except (OSError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"The checkpoint can't be read: {error}.", "Take the file again.") from error
