"""What a check does when it fails: it names itself."""

from __future__ import annotations

__all__ = ["CheckError", "require"]


class CheckError(Exception):
    """A numbered check of SPEC.md failed.

    Args:
        check: its number, such as "C16".
        why: for people.
    """

    def __init__(self, check: str, why: str = "") -> None:
        super().__init__(f"{check}: {why}")
        self.check = check


def require(check: str, holds: bool, why: str = "") -> None:
    """Refuse unless `holds`."""
    if not holds:
        raise CheckError(check, why)
