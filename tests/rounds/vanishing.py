"""Institutions that fall silent in the middle of a round."""

from __future__ import annotations

import pytest

from fedspallm_secure.messages import Advertise, Envelope, Message, open_envelope
from fedspallm_secure.rounds import CoordinatorRound, InstitutionRound
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Delivery
from fedspallm_secure.tlog import Evidence
from tests.rounds.synthetic import Run

__all__ = ["AT_ONCE", "vanish"]

AT_ONCE = "at once"
"""When an institution vanishes that never even advertised keys."""


def vanish(monkeypatch: pytest.MonkeyPatch, run: Run, when: dict[str, str], *, after_it_answered: bool = False) -> None:
    """In the run's first round nothing more comes of some institutions from a certain message on.

    Args:
        monkeypatch: undoes it.
        run: whose round.
        when: institution -> `AT_ONCE`, or the first message without an answer: "shares", "survivors votes"; in a
            repetition of the values sum "advertised 1", "survivors values 1".
        after_it_answered: whether they take that message in and answer it, and the answer gets lost.
    """

    class Vanishing(InstitutionRound):
        gone = False

        def receive(self, envelope: Envelope, evidence: Evidence) -> Envelope | None:
            message = open_envelope(envelope, run.charter.keys)
            last = message.round == 0 and when.get(self._identity.name) == _brief(message)
            if self.gone or (last and not after_it_answered):
                self.gone = True
                return None
            answer = super().receive(envelope, evidence)
            self.gone = last
            return None if last else answer

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
