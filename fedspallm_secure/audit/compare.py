"""Two copies of one run's log: does one continue the other, and if not, did the keeper of the log sign both?

Each participant saw the log grow, but only its own view of it. A keeper that showed two of them different logs can't
take back what it signed: two checkpoints contradict each other if they name the same size and another root, or if the
log of the longer one does not begin with the log of the shorter one (RFC 9162, section 2.1.4). Whoever merely changed
its own copy has no such signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import Literal

from fedspallm_secure.audit.copies import Copy, SignedCheckpoint, read_copy
from fedspallm_secure.errors import ConfigError, RemoteProtocolError
from fedspallm_secure.messages import LogHead, digest, open_envelope

__all__ = ["Comparison", "Entry", "compare"]

_EXIT_CODES = {"consistent": 0, "fork": 1, "unproven": 3}


@dataclass(frozen=True)
class Entry:
    """What one copy has where they part.

    Attributes:
        path: of that copy's log.
        index: of the entry.
        leaf: its leaf hash, 64 hexadecimal digits.
        kind: of the message; None if it does not hold.
        sender: who signed it; None if it does not hold.
        problem: why it does not hold; None if it does.
    """

    path: Path
    index: int
    leaf: str
    kind: str | None = None
    sender: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Comparison:
    """What two copies show together.

    Attributes:
        status: "consistent" if one continues the other and nothing is against it, "fork" if the keeper signed two logs,
            "unproven" if something is wrong and the keeper may not be to blame.
        charter: digest of the charter, which both have.
        keeper: name of the log's keeper.
        sizes: entries of each copy, up to the first damaged line.
        parted: the first entries that differ, or None if there are none.
        evidence: two checkpoints that contradict each other, or None.
        remarks: sentences: why it is unproven, and which checkpoints do not count.
    """

    status: Literal["consistent", "fork", "unproven"]
    charter: str
    keeper: str
    sizes: tuple[int, int]
    parted: tuple[Entry, Entry] | None
    evidence: tuple[SignedCheckpoint, SignedCheckpoint] | None
    remarks: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """Of the command: 0 consistent, 1 fork, 3 unproven."""
        return _EXIT_CODES[self.status]


def compare(first: Path, second: Path) -> Comparison:
    """Compare two copies of one run's transcript.

    Args:
        first: folder of the one.
        second: folder of the other.

    Raises:
        ConfigError: a folder is no transcript, or they are of two runs.
        StorageError: a log was changed while it was read.
    """
    one, other = read_copy(first), read_copy(second)
    if digest(one.charter) != digest(other.charter):
        raise ConfigError(
            f"These are two runs: the charter of {first} has the digest {digest(one.charter)}, that of {second} "
            f"{digest(other.charter)}.",
            "Give two copies of one run; if they should be, ask both which charter they signed.",
        )
    place = _parting(one, other)
    evidence = _contradiction(one, other)
    doubts = _doubts(one, other, place)
    return Comparison(
        status="fork" if evidence else "unproven" if doubts else "consistent",
        charter=digest(one.charter),
        keeper=one.charter.server,
        sizes=(len(one.tree), len(other.tree)),
        parted=None if place is None else (_entry(one, place), _entry(other, place)),
        evidence=evidence,
        remarks=(*doubts, *one.refused, *other.refused),
    )


def _parting(one: Copy, other: Copy) -> int | None:
    """The first index at which both have an entry, and not the same."""
    both = range(min(len(one.tree), len(other.tree)))
    return next((index for index in both if one.tree.leaf(index) != other.tree.leaf(index)), None)


def _contradiction(one: Copy, other: Copy) -> tuple[SignedCheckpoint, SignedCheckpoint] | None:
    """The shortest two checkpoints that contradict each other, if any do; rather one of each copy than two of one."""
    pairs = [(a, b) for a in one.checkpoints for b in other.checkpoints]
    within = [*combinations(one.checkpoints, 2), *combinations(other.checkpoints, 2)]
    for group in (pairs, within):
        found = [pair for pair in group if _contradict(pair[0].head, pair[1].head, (one, other))]
        if found:
            return min(found, key=lambda pair: pair[0].head.size + pair[1].head.size)
    return None


def _contradict(a: LogHead, b: LogHead, copies: tuple[Copy, Copy]) -> bool:
    shorter, longer = sorted((a, b), key=lambda head: head.size)
    if shorter.size == longer.size:
        return shorter.root != longer.root
    return any(copy.has(longer) and not copy.has(shorter) for copy in copies)


def _doubts(one: Copy, other: Copy, place: int | None) -> list[str]:
    """Sentences on what keeps the two from being called consistent."""
    doubts = [f"{copy.damage} Nothing after that was compared." for copy in (one, other) if copy.damage]
    for copy in (one, other):
        log = copy.transcript.log
        if place is not None and copy.covering(place) is None:
            doubts.append(
                f"No checkpoint vouches for {log} as far as entry {place}: who holds that copy may have changed it, "
                "and it is no evidence against the keeper."
            )
        longest = max(one, other, key=lambda either: len(either.tree))
        for checkpoint in copy.checkpoints:
            if checkpoint.head.size > len(longest.tree):
                doubts.append(f"{checkpoint.path} is over {checkpoint.head.size} entries, which neither copy has.")
            elif checkpoint in copy.unfitting:
                doubts.append(f"{checkpoint.path} is signed, but not for {log}: that copy's entries have another root.")
            elif place is None and not longest.has(checkpoint.head):
                doubts.append(f"{checkpoint.path} is signed, but not for {longest.transcript.log}.")
    return doubts


def _entry(copy: Copy, index: int) -> Entry:
    log, leaf = copy.transcript.log, copy.tree.leaf(index).hex()
    _, envelope = next(islice(copy.entries(), index, None))
    try:
        message = open_envelope(envelope, copy.charter.keys)
    except RemoteProtocolError as error:
        return Entry(log, index, leaf, problem=error.problem)
    return Entry(log, index, leaf, message.kind, message.sender)
