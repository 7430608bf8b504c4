"""Institutions that fall silent in the middle of a round."""

from __future__ import annotations

import pytest

from fedspallm_secure.messages import Advertise, Envelope, Message, open_envelope
from fedspallm_secure.rounds import CoordinatorRound, InstitutionRound
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Delivery
from tests.rounds.synthetic import Run

__all__ = ["AT_ONCE", "vanish"]

AT_ONCE = "at once"
"""When an institution vanishes that never even advertised keys."""


def vanish(monkeypatch: pytest.MonkeyPatch, run: Run, when: dict[str, str]) -> None:
    """In the run's first round some institutions never answer from a certain message on, which is not taken in either.

    Args:
        monkeypatch: undoes it.
        run: whose round.
        when: institution -> `AT_ONCE`, or the first message without an answer: "shares", "survivors votes"; in a
            repetition of the values sum "advertised 1", "survivors values 1".
    """

    class Vanishing(InstitutionRound):
        gone = False

        def receive(self, envelope: Envelope) -> Envelope | None:
            message = open_envelope(envelope, run.charter.keys)
            self.gone |= message.round == 0 and when.get(self._identity.name) == _brief(message)
            return None if self.gone else super().receive(envelope)

    class Hearing(CoordinatorRound):
        def receive(self, envelope: Envelope) -> list[Delivery]:
            message = open_envelope(envelope, run.charter.keys)
            lost = isinstance(message, Advertise) and message.round == 0 and when.get(message.sender) == AT_ONCE
            return [] if lost else super().receive(envelope)

    monkeypatch.setattr(embedded, "InstitutionRound", Vanishing)
    monkeypatch.setattr(embedded, "CoordinatorRound", Hearing)


def _brief(message: Message) -> str:
    name, attempt = getattr(message, "sum", ""), getattr(message, "attempt", 0)
    return " ".join(part for part in (message.kind, name, str(attempt or "")) if part)
