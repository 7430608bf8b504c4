"""What an audit found, as data: each check with its evidence, who took part, what was said, and the verdict over all.

A verdict is only as good as its weakest check: one that failed decides, and one that could not be made leaves the whole
incomplete. Nothing checked is nothing verified. The same data is shown on the terminal, on a page and as JSON.

Much of it was written by others: names and sentences come out of a transcript that may be a forgery. `visible` makes
them harmless to look at; escaping is the business of whoever knows the format.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict, dataclass
from typing import Literal

import fedspallm_secure

__all__ = ["Event", "Finding", "Participant", "Status", "Verdict", "listed", "summary", "to_json", "visible"]

Status = Literal["ok", "failed", "skipped"]
"""What came of one check; skipped is one for which the evidence was not there."""

_EXIT_CODES = {"verified": 0, "failed": 1, "incomplete": 3}
_FORMAT = "fedspallm-secure/audit/v1"
_LONGEST = 1000
_MOST_NAMES = 6


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        number: of the check, as "A7".
        title: one sentence that is true when the check is ok.
        status: what came of it.
        evidence: one or two sentences: what was found, or why the check was skipped.
        entry: index in the log, from 0, of the entry that it is about.
        expected: the digest or value that should be there.
        actual: the digest or value that is there.
        at_fault: names of those whose key signed what failed.
    """

    number: str
    title: str
    status: Status
    evidence: str
    entry: int | None = None
    expected: str | None = None
    actual: str | None = None
    at_fault: tuple[str, ...] = ()


@dataclass(frozen=True)
class Participant:
    """Who took part, and what the log has of it.

    Attributes:
        name: in the charter.
        role: "coordinator", "institution", "custodian" or "witness".
        key: its public Ed25519 key, 64 hexadecimal digits.
        entries: how many entries of the log it signed.
        contributed: the sums that it is part of, as "round 1 votes".
        cosigned: whether it cosigned the log.
    """

    name: str
    role: str
    key: str
    entries: int
    contributed: tuple[str, ...]
    cosigned: bool


@dataclass(frozen=True)
class Event:
    """One message of the log, for people.

    Attributes:
        entry: its index in the log, from 0.
        round: the number that people know the round by; `Participant.contributed` uses the same.
        step: "keys", "votes", "values", "checks" or "model".
        sender: name of who signed it.
        kind: of the message.
        said: one short sentence: what the sender said by it.
    """

    entry: int
    round: int
    step: str
    sender: str
    kind: str
    said: str


@dataclass(frozen=True)
class Verdict:
    """All that one audit found.

    Attributes:
        run: what the run is called.
        charter: digest of the charter.
        depth: "public", where sums are taken as published, or "full", where they are computed again.
        findings: one a check, in order.
        not_proven: sentences: what no check shows, however many are ok.
        participants: everybody whom the charter names.
        events: the messages of the log, in order.
        log_size: entries of the log.
        log_root: its Merkle root.
        model: digest of the last round's model, or None where the log has none.
        bytes_read: how much the audit read.
        seconds: how long it took.
    """

    run: str
    charter: str
    depth: Literal["public", "full"]
    findings: tuple[Finding, ...]
    not_proven: tuple[str, ...]
    participants: tuple[Participant, ...]
    events: tuple[Event, ...]
    log_size: int
    log_root: str
    model: str | None
    bytes_read: int
    seconds: float

    @property
    def status(self) -> Literal["verified", "failed", "incomplete"]:
        """The verdict: failed if any check did, verified if all are ok and there is one, else incomplete."""
        found = {finding.status for finding in self.findings}
        if "failed" in found:
            return "failed"
        return "verified" if found == {"ok"} else "incomplete"

    @property
    def exit_code(self) -> int:
        """Of the command: 0 verified, 1 failed, 3 incomplete."""
        return _EXIT_CODES[self.status]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The checks that failed, in order."""
        return tuple(finding for finding in self.findings if finding.status == "failed")

    @property
    def skipped(self) -> tuple[Finding, ...]:
        """The checks that could not be made, in order."""
        return tuple(finding for finding in self.findings if finding.status == "skipped")

    @property
    def at_fault(self) -> tuple[str, ...]:
        """Those whose key signed what failed, each once, in the order in which the checks name them."""
        return tuple(dict.fromkeys(name for finding in self.failed for name in finding.at_fault))


def summary(verdict: Verdict) -> str:
    """One sentence that goes with the verdict's one word: how many checks, and who is at fault."""
    number, failed, skipped = len(verdict.findings), len(verdict.failed), len(verdict.skipped)
    if not number:
        return "nothing was checked."
    if verdict.status == "verified":
        return f"{number} of {number} checks hold."
    if verdict.status == "incomplete":
        return f"no check failed, but {skipped} of {number} could not be made."
    blame = f"at fault: {listed(verdict.at_fault)}" if verdict.at_fault else "the evidence names nobody as at fault"
    missing = f", {skipped} could not be made" if skipped else ""
    return f"{failed} of {number} checks failed{missing}; {blame}."


def to_json(verdict: Verdict) -> bytes:
    """The verdict for machines: every attribute by its name, keys sorted, indented, one line feed at the end.

    Besides the attributes of `Verdict` there are `status`, `exit_code`, `at_fault`, `format` (which changes when the
    fields do) and `tool_version`. What is not ASCII is escaped, so no terminal is fooled either.

    Args:
        verdict: of an audit.

    Returns:
        UTF-8. Equal verdicts give equal bytes.
    """
    fields = asdict(verdict) | {
        "status": verdict.status,
        "exit_code": verdict.exit_code,
        "at_fault": verdict.at_fault,
        "format": _FORMAT,
        "tool_version": fedspallm_secure.__version__,
    }
    return json.dumps(fields, sort_keys=True, indent=2, allow_nan=False).encode() + b"\n"


def visible(text: str) -> str:
    """`text` on one line, with what can't be seen or turns the reading direction written out, and cut if very long.

    >>> visible(f"a{chr(0x1B)}[2Jb{chr(0x202E)}c")
    'a[U+001B][2Jb[U+202E]c'

    Args:
        text: whatever somebody wrote.

    Returns:
        At most about a thousand characters of it: none of Unicode's categories C (control, format, surrogate, private,
        unassigned), and no line or paragraph separator.
    """
    shown = "".join(_written(character) for character in text[:_LONGEST])
    return shown if len(text) <= _LONGEST else f"{shown} [and {len(text) - _LONGEST:,} more characters]"


def listed(names: tuple[str, ...]) -> str:
    """Names in a sentence; after the sixth only how many more.

    >>> [listed(("a",)), listed(("a", "b")), listed(tuple("abcdefgh"))]
    ['a', 'a and b', 'a, b, c, d, e, f and 2 more']
    """
    first, more = list(names[:_MOST_NAMES]), len(names) - _MOST_NAMES
    if more > 0:
        first.append(f"{more} more")
    return " and ".join([", ".join(first[:-1]), first[-1]] if len(first) > 1 else first)


def _written(character: str) -> str:
    category = unicodedata.category(character)
    return f"[U+{ord(character):04X}]" if category[0] == "C" or category in ("Zl", "Zp") else character
