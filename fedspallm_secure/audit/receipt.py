"""A receipt: one institution's contribution to one sum is in the log that its keeper signed. It is checked alone.

The form is a C2SP tlog-proof (https://c2sp.org/tlog-proof):

    c2sp.org/tlog-proof@v1
    extra <base64 of the entry: the canonical JSON of one envelope>
    index <of the entry, from 0>
    <base64 of a hash of the inclusion proof, one a line, from the leaf up>
    <empty line>
    <the checkpoint, a signed note>

The format leaves `extra` to the application and unprotected. Here it is what the proof is about: its leaf hash must
lead to the root, and it carries the institution's signature. A contribution of encrypted votes says the digests of the
ciphertexts.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

from fedspallm_secure.audit.copies import Copy, DamagedError, MissingError, SignedCheckpoint, open_checkpoint, read_copy
from fedspallm_secure.charter import Charter
from fedspallm_secure.errors import ConfigError, RemoteProtocolError, StorageError
from fedspallm_secure.messages import (
    Collected,
    Encrypted,
    Envelope,
    Masked,
    SumName,
    Survivors,
    canonical,
    decode_base64,
    digest,
    open_envelope,
)
from fedspallm_secure.tlog import check_inclusion, leaf_hash

__all__ = ["Receipt", "check_receipt", "prove"]

_FORM = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"0|[1-9][0-9]{0,15}")
_TODO = "Ask whoever gave you the receipt for it again; `fedspallm audit prove` makes one from the transcript."


@dataclass(frozen=True)
class Receipt:
    """What a receipt that holds shows.

    Attributes:
        contribution: as the institution signed it.
        index: of the entry that has it.
        checkpoint: of the log that it is in.
    """

    contribution: Masked | Encrypted
    index: int
    checkpoint: SignedCheckpoint

    @property
    def sum(self) -> SumName:
        """Of which sum it is a contribution."""
        return "votes" if isinstance(self.contribution, Encrypted) else self.contribution.sum

    @property
    def attempt(self) -> int:
        """At which attempt at that sum."""
        return 0 if isinstance(self.contribution, Encrypted) else self.contribution.attempt


def prove(folder: Path, institution: str, name: SumName, number: int | None = None) -> str:
    """Make the receipt of the contribution that was added up, the last attempt's.

    Args:
        folder: the transcript.
        institution: whose contribution.
        name: of the sum.
        number: of the round, from 0; the last round in which that sum was made if None.

    Returns:
        The receipt, which holds.

    Raises:
        ConfigError: no transcript is there, or its charter has no such institution or round.
        MissingError: the institution contributed nothing, or no checkpoint is over it.
        DamagedError: the transcript does not hold where the receipt needs it.
    """
    copy = read_copy(folder)
    names = [member.name for member in copy.charter.roster]
    if institution not in names:
        raise ConfigError(f"The charter has no institution {institution!r}.", f"It has {', '.join(names)}.")
    if number is not None and not 0 <= number < copy.charter.rounds:
        raise ConfigError(f"The charter has no round {number + 1}.", f"It has 1 to {copy.charter.rounds}.")
    try:
        index, entry = _contribution(copy, institution, name, number)
        receipt = _written(copy, index, entry)
        check_receipt(receipt, copy.charter)
    except (RemoteProtocolError, StorageError) as error:
        raise DamagedError(error.problem, error.todo) from error
    return receipt


def check_receipt(receipt: str, charter: Charter) -> Receipt:
    """See that a receipt holds.

    Args:
        receipt: as it came.
        charter: of the run, from somebody you trust: it says whose keys count.

    Raises:
        RemoteProtocolError: it does not; the text says which step failed.
    """
    # 1. It is a tlog-proof.
    entry, index, proof, note = _parsed(receipt)
    # 2. The checkpoint is of this run's log, and its keeper signed it; so did those who cosigned it.
    checkpoint = open_checkpoint(note, charter)
    # 3. The entry stands in that log.
    check_inclusion(leaf_hash(entry), index, checkpoint.head.size, proof, bytes.fromhex(checkpoint.head.root))
    # 4. The entry is a contribution, signed by an institution of the charter, for this run.
    keys = {member.name: member.public_key for member in charter.roster}
    message = open_envelope(_envelope(entry), keys)
    if not isinstance(message, Masked | Encrypted):
        raise RemoteProtocolError(f"The entry is {message.kind!r} of {message.sender!r}, no contribution.", _TODO)
    if message.charter != digest(charter):
        raise RemoteProtocolError(
            f"The contribution is to the run under charter {message.charter}, not {digest(charter)}.", _TODO
        )
    return Receipt(message, index, checkpoint)


def _contribution(copy: Copy, institution: str, name: SumName, number: int | None) -> tuple[int, bytes]:
    """Index and bytes of the contribution to the last attempt of which the server named who is in."""
    named: dict[int, tuple[int, tuple[str, ...]]] = {}
    sent: dict[tuple[int, int], tuple[int, bytes]] = {}
    encrypted = name == "votes" and copy.charter.custodian is not None
    for index, (line, envelope) in enumerate(copy.entries()):
        if envelope.signatures[0].keyid not in (institution, copy.charter.server):
            continue
        message = open_envelope(envelope, copy.charter.keys)
        if isinstance(message, Collected) and encrypted:
            named[message.round] = 0, message.contributors
        if isinstance(message, Encrypted) and encrypted:
            sent[message.round, 0] = index, line
        if isinstance(message, Survivors) and message.sum == name and not encrypted:
            named[message.round] = message.attempt, message.survivors
        if isinstance(message, Masked) and message.sum == name and not encrypted:
            sent[message.round, message.attempt] = index, line
    number = max(named, default=0) if number is None else number
    what = f"the {name} of round {number + 1}"
    if number not in named:
        raise MissingError(f"The log does not say who is in {what}.", copy.damage or "Name a sum that was made.")
    attempt, contributors = named[number]
    if institution not in contributors:
        raise MissingError(f"{institution!r} is not in {what}: nothing of it was added up.", "Name another sum.")
    key = number, attempt
    if key not in sent:
        raise DamagedError(
            f"{institution!r} is said to be in {what}, and the log has no such contribution of it.",
            f"Keep the log: {copy.charter.server!r} signed that, or it was changed; `fedspallm audit` tells.",
        )
    return sent[key]


def _written(copy: Copy, index: int, entry: bytes) -> str:
    checkpoint = copy.covering(index)
    if checkpoint is None:
        problem = f"No checkpoint vouches for the log as far as the contribution, entry {index}."
        found = [*copy.refused, *(f"{one.path} is signed, but of another log." for one in copy.unfitting)]
        found += [copy.damage] if copy.damage else []
        if found:
            raise DamagedError(f"{problem} {' '.join(found)}", "Take the transcript again, from somebody else too.")
        raise MissingError(problem, "Wait for the end of the round, or take the transcript again.")
    proof = copy.tree.inclusion(index, checkpoint.head.size)
    head = [_FORM, f"extra {_base64(entry)}", f"index {index}", *map(_base64, proof)]
    return "\n".join(head) + "\n\n" + checkpoint.note


def _parsed(receipt: str) -> tuple[bytes, int, list[bytes], str]:
    """Entry, index, proof and note."""
    head, blank, note = receipt.partition("\n\n")
    form, *lines = head.split("\n")
    if not blank or form != _FORM:
        raise RemoteProtocolError(f"This is no receipt: {_FORM!r}, its lines and a checkpoint are due.", _TODO)
    extra, index = [*lines, "", ""][:2]
    if not extra.startswith("extra "):
        raise RemoteProtocolError("The receipt has no line `extra`, which should hold the entry.", _TODO)
    if not index.startswith("index ") or not _INDEX.fullmatch(index.removeprefix("index ")):
        raise RemoteProtocolError("The receipt has no line `index` with the entry's index.", _TODO)
    try:
        entry, *proof = [decode_base64(line) for line in (extra.removeprefix("extra "), *lines[2:])]
    except ValueError as error:
        raise RemoteProtocolError("A line of the receipt is not base64.", _TODO) from error
    if any(len(part) != 32 for part in proof):
        raise RemoteProtocolError("A hash of the receipt's proof has not 32 bytes.", _TODO)
    return entry, int(index.removeprefix("index ")), proof, note


def _envelope(entry: bytes) -> Envelope:
    try:
        envelope = Envelope.model_validate_json(entry)
        if canonical(envelope) == entry:
            return envelope
    except ValueError:  # of pydantic: no envelope; of rfc8785: one that has no canonical form
        pass
    raise RemoteProtocolError("The entry is not the canonical JSON of one envelope.", _TODO)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
