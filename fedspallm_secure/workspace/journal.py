"""What was decided once is never decided otherwise: the rule, without a file.

Some answers are harmless alone and fatal together: the self mask of a peer and its key, or two vectors under one
keystream. So whoever is about to give one writes down which one first, and asks nobody but this journal whether it may.
"""

from __future__ import annotations

from fedspallm_secure.errors import LocalProtocolError

__all__ = ["Journal"]


class Journal:
    """Decisions, in memory: it remembers as long as the process lives, and a process started again knows nothing of it.

    That is enough where the secrets themselves die with the process. Where they outlive it, use `FileJournal`.
    """

    def __init__(self) -> None:
        self._decisions: dict[str, str] = {}

    def decided(self, what: str) -> str | None:
        """How something was decided; None if it was not."""
        return self._decisions.get(what)

    def once(self, what: str, decision: str) -> None:
        """Record a decision; only after this returned may anything be sent that follows from it.

        The same decision again changes nothing, so that a message can be sent again.

        Args:
            what: was to be decided.
            decision: how.

        Raises:
            LocalProtocolError: it was decided otherwise before.
            StorageError: a journal with a file can't write it; nothing was decided.
        """
        before = self._decisions.get(what)
        if before is None:
            self._write(what, decision)
            self._decisions[what] = decision
        elif before != decision:
            raise LocalProtocolError(
                f"{what} was decided as {before} before; refusing {decision}.",
                "Both together uncover what each alone keeps secret. Answer as before, or start afresh with new keys.",
            )

    def _write(self, what: str, decision: str) -> None:
        """Make a new decision outlive the process; in memory there is nothing to do."""
