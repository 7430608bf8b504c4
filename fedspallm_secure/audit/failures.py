"""How a check says that it failed, and how the replay says that there is nothing more to replay."""

from __future__ import annotations

from fedspallm_secure.errors import ProtocolError

__all__ = ["CheckError", "LogEndsError"]


class CheckError(ProtocolError):
    """A check failed.

    Args:
        check: its number.
        evidence: one sentence.
        expected: what should be there.
        actual: what is there.
        at_fault: whose key signed it.
    """

    def __init__(
        self, check: str, evidence: str, expected: str | None, actual: str | None, at_fault: tuple[str, ...]
    ) -> None:
        super().__init__(evidence, "Keep the transcript as evidence.")
        self.check = check
        self.expected = expected
        self.actual = actual
        self.at_fault = at_fault


class LogEndsError(ProtocolError):
    """The log ends before what comes next."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The log ends before {what}.", "Ask for the rest of it.")
