"""What came of each check: the first thing that is wrong decides, and nothing is ok without evidence for it."""

from __future__ import annotations

from collections.abc import Iterable

from fedspallm_secure.audit.checks import TITLES
from fedspallm_secure.audit.verdict import Finding

__all__ = ["Findings"]


class Findings:
    """One finding a check; one of which nothing was said in the end was not made.

    Args:
        numbers: of the checks to be made.
    """

    def __init__(self, numbers: Iterable[str]) -> None:
        self._numbers = tuple(numbers)
        self._found: dict[str, Finding] = {}
        self._evidence: dict[str, list[str]] = {number: [] for number in self._numbers}

    def leave_out(self, number: str) -> None:
        """A check that is not to be made after all."""
        del self._evidence[number]
        self._numbers = tuple(other for other in self._numbers if other != number)

    def note(self, number: str, evidence: str) -> None:
        """What speaks for a check."""
        if number in self._evidence:
            self._evidence[number].append(evidence)

    def fail(
        self,
        number: str,
        evidence: str,
        entry: int | None = None,
        expected: str | None = None,
        actual: str | None = None,
        at_fault: tuple[str, ...] = (),
    ) -> None:
        """A check failed. What was found first stays, but for a check that was only skipped."""
        known = self._found.get(number)
        if number in self._evidence and (known is None or known.status == "skipped"):
            self._found[number] = Finding(number, TITLES[number], "failed", evidence, entry, expected, actual, at_fault)

    def skip(self, number: str, why: str) -> None:
        """A check can't be made, or not to its end. One that failed has failed."""
        if number in self._evidence and number not in self._found:
            self._found[number] = Finding(number, TITLES[number], "skipped", why)

    def all(self) -> tuple[Finding, ...]:
        """One finding a check, in order."""
        return tuple(self._found.get(number, self._by_evidence(number)) for number in self._numbers)

    def _by_evidence(self, number: str) -> Finding:
        evidence = " ".join(self._evidence[number])
        if not evidence:
            return Finding(number, TITLES[number], "skipped", "The transcript holds nothing to check it by.")
        return Finding(number, TITLES[number], "ok", evidence)
