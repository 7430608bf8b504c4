"""A round as its coordinator lived it: every call, what it sent upon it, and the log that was left."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedspallm_secure.messages import Envelope, LaneBlob, SumName
from fedspallm_secure.rounds import AddingUp, CoordinatorRound, Outcome, PublicWeights, RoundPlan, add_up
from fedspallm_secure.runtime import embedded
from fedspallm_secure.runtime.embedded import RoundResult
from fedspallm_secure.secagg import Delivery, Lane, Server
from fedspallm_secure.tlog import HeldLog, origin_of
from tests.rounds.synthetic import Run, Setting
from tests.rounds.vanishing import vanish

__all__ = ["Recorded", "Step", "record"]


@dataclass(frozen=True)
class Step:
    """One call of a coordinator.

    Attributes:
        took: the message, or None where a deadline passed.
        sent: what followed.
        missing: who was missing then.
        size: entries of the round in the log then.
    """

    took: Envelope | None
    sent: list[Delivery]
    missing: tuple[str, ...]
    size: int


class _AddingAgain(AddingUp):
    """As the coordinator did, but for the disk: the sums lie there since the round."""

    def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
        if server.counted(lane) is not None:
            return super().__call__(server, name, lane)
        total = add_up(server, lane, self._blobs)
        return LaneBlob(
            lane=lane.name, words=total.size, blob=hashlib.sha256(total.astype("<u8").tobytes()).hexdigest()
        )


@dataclass(frozen=True)
class Recorded:
    """A finished round.

    Attributes:
        run: its setting.
        plan: of the round.
        public: the weights that it started from.
        before: entries of the rounds before.
        entries: its own.
        steps: how they came about.
        result: what it gave.
    """

    run: Run
    plan: RoundPlan
    public: PublicWeights
    before: list[Envelope]
    entries: list[Envelope]
    steps: list[Step]
    result: RoundResult

    def fresh(self) -> tuple[CoordinatorRound, HeldLog]:
        """A coordinator that knows nothing of this round, and its log as it was before."""
        log = HeldLog(origin_of(self.plan.context.digest))
        for envelope in self.before:
            log.append(envelope)
        log.take_new()
        outcome = Outcome(self.plan, self.public, self.run.transcript.blobs)
        add = _AddingAgain(self.run.transcript.blobs, self.plan.ckks)
        return CoordinatorRound(self.plan, self.run.participants.server, outcome, add, None, log), log


def record(setting: Setting, when: Mapping[str, str], folder: Path, *, witness_gone: bool = False) -> Recorded:
    """Run all rounds of a setting, and remember the last one.

    Args:
        setting: which.
        when: who vanishes in the first round, see `vanish`.
        folder: for everything.
        witness_gone: whether the charter's witness never says a word.
    """
    run = Run(setting, folder)
    if witness_gone:
        run.participants = replace(run.participants, witness=None)
    current = run.base
    with pytest.MonkeyPatch.context() as monkeypatch:
        vanish(monkeypatch, run, dict(when))
        steps = _watch(monkeypatch)
        for number in range(len(setting.schedule)):
            steps.clear()
            before = run.entries() if number else []
            plan, public = run.plan(number), PublicWeights(current)
            _, current = run.round(plan, current, run.prune(plan, current))
    first = len(before)
    own = [replace(step, size=step.size - first) for step in steps]
    return Recorded(run, plan, public, before, run.entries()[first:], own, run.result)


def _watch(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """The steps of the coordinators to come, as they happen; a message that never reached one is none."""
    steps: list[Step] = []

    class Watched(embedded.CoordinatorRound):  # type: ignore[name-defined,misc]
        def receive(self, envelope: Envelope) -> list[Delivery]:
            size = len(self._log)
            sent: list[Delivery] = super().receive(envelope)
            if len(self._log) > size:
                steps.append(Step(envelope, sent, self.missing(), len(self._log)))
            return sent

        def close(self) -> list[Delivery]:
            sent: list[Delivery] = super().close()
            steps.append(Step(None, sent, self.missing(), len(self._log)))
            return sent

    monkeypatch.setattr(embedded, "CoordinatorRound", Watched)
    return steps
