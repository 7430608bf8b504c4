"""A network on which one message a round gets lost, comes after the deadline, or comes twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest

from fedspallm_secure.errors import ProtocolError
from fedspallm_secure.messages import Envelope, open_envelope
from fedspallm_secure.rounds import DurableRound
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Delivery
from tests.rounds.synthetic import Run

__all__ = ["How", "Mishap", "befall", "brief"]

How = Literal["lost", "late", "twice"]


@dataclass(frozen=True)
class Mishap:
    """What happens to the message of an institution.

    Attributes:
        sender: of the message.
        said: the message in brief: "advertise", "masked votes".
        how: it goes wrong.
    """

    sender: str
    said: str
    how: How


def brief(run: Run, envelope: Envelope) -> tuple[int, str, str]:
    """The round of a message, who sent it, and what it says: "advertise", "masked votes"."""
    message = open_envelope(envelope, run.charter.keys)
    return message.round, message.sender, f"{message.kind} {getattr(message, 'sum', '')}".strip()


def befall(monkeypatch: pytest.MonkeyPatch, run: Run, mishaps: Mapping[int, Mishap]) -> None:
    """Let mishaps happen, one in each of these rounds."""

    class Unlucky(DurableRound):
        late: Envelope | None = None

        def receive(self, envelope: Envelope) -> list[Delivery]:
            number, sender, said = brief(run, envelope)
            mishap = mishaps.get(number)
            if mishap is None or (mishap.sender, mishap.said) != (sender, said):
                return super().receive(envelope)
            if mishap.how == "twice":
                deliveries = super().receive(envelope)
                assert super().receive(envelope) == []
                return deliveries
            self.late = envelope if mishap.how == "late" else None
            return []

        def close(self) -> list[Delivery]:
            deliveries = super().close()
            if self.late is not None:
                before = self.checkpoint(), self.entries(), self.coordinator.missing()
                with pytest.raises(ProtocolError):
                    super().receive(self.late)
                assert (self.checkpoint(), self.entries(), self.coordinator.missing()) == before
                self.late = None
            return deliveries

    monkeypatch.setattr(embedded, "DurableRound", Unlucky)
