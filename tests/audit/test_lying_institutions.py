"""Institutions that lie while the round goes on: what an audit of the log that is left says, and of whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedspallm_secure.audit import Depth, audit
from fedspallm_secure.charter import Method, sign_charter
from fedspallm_secure.errors import FedspallmError
from fedspallm_secure.messages import (
    Envelope,
    LaneBlob,
    Masked,
    Message,
    Proof,
    SumName,
    Unmask,
    canonical,
    seal,
)
from fedspallm_secure.rounds import AddingUp, InstitutionRound
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Lane, Server
from fedspallm_secure.tlog import Evidence, leaf_hash
from tests.audit.forging import failed
from tests.audit.honest_transcript import model_folder
from tests.rounds.synthetic import Run, Setting

_FOUR = Setting(clients=4, layers=1, shapes=((4, 8), (4, 8)), minimum_cohort=4, dropouts=1)  # 3 of the 4 must be left
_DEPTHS: tuple[Depth, ...] = ("public", "full")


def _instead(institution: InstitutionRound, lie: Message) -> Envelope:
    """What an institution says instead of what it should; it stands by it."""
    envelope = seal(lie, institution._identity)
    institution._view.chain.sent.add(leaf_hash(canonical(envelope)).hex())
    return envelope


class _WrongProof(InstitutionRound):
    """i1 proves another sum than it sent."""

    def _prove(self, digits: Callable[[Lane], Any]) -> Envelope:
        envelope = super()._prove(digits)
        if self._identity.name != "i1":
            return envelope
        proof = self._plan.context.open(envelope)
        assert isinstance(proof, Proof)
        return _instead(self, proof.model_copy(update={"products": (("ab" * 8, "cd" * 8),) * len(proof.products)}))


class _NoDigits(InstitutionRound):
    """i1 adds to its masked votes what no digits can."""

    def _send(self, digits: Callable[[Lane], Any]) -> Envelope:
        envelope = super()._send(digits)
        if self._identity.name != "i1":
            return envelope
        masked = self._plan.context.open(envelope)
        assert isinstance(masked, Masked)
        first, *more = masked.lanes
        words = self._blobs.get(first.blob) + np.uint64(2**63)
        lanes = (first.model_copy(update={"blob": self._blobs.put(words)}), *more)
        return _instead(self, masked.model_copy(update={"lanes": lanes}))


class _WrongSize(InstitutionRound):
    """i1 stores a word more than it says."""

    def _send(self, digits: Callable[[Lane], Any]) -> Envelope:
        envelope = super()._send(digits)
        if self._identity.name != "i1":
            return envelope
        masked = self._plan.context.open(envelope)
        assert isinstance(masked, Masked)
        first, *more = masked.lanes
        words = np.append(self._blobs.get(first.blob), np.uint64(0))
        lanes = (first.model_copy(update={"blob": self._blobs.put(words)}), *more)
        return _instead(self, masked.model_copy(update={"lanes": lanes}))


class _Indulgent(AddingUp):
    """The server overlooks the word too many."""

    def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
        """One lane's sum."""
        parts = [self._blobs.get(blob.blob)[: blob.words] for _, blob in server.contributions(lane)]
        total = sum(parts, np.zeros(parts[0].size, np.uint64))
        server.unmask(lane, total)
        return LaneBlob(lane=lane.name, words=total.size, blob=self._blobs.put(total))


class _WrongShares(InstitutionRound):
    """i1 hands out shares that are none."""

    def receive(self, envelope: Envelope, evidence: Evidence) -> Envelope | None:
        """As any institution, but for that."""
        answer = super().receive(envelope, evidence)
        unmask = None if answer is None else self._plan.context.open(answer)
        if self._identity.name != "i1" or not isinstance(unmask, Unmask):
            return answer
        groups = tuple(
            group.model_copy(update={"seeds": dict.fromkeys(group.seeds, "00" * 32 + "07")}) for group in unmask.groups
        )
        return _instead(self, unmask.model_copy(update={"groups": groups}))


def _ran(
    folder: Path, institution: type[InstitutionRound], adder: type[AddingUp] = AddingUp, method: Method = "wanda"
) -> tuple[Run, FedspallmError | None]:
    """A run of such institutions, and what stopped it."""
    run = Run(replace(_FOUR, method=method), folder)
    stopped = None
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(embedded, "InstitutionRound", institution)
        monkeypatch.setattr(embedded, "AddingUp", adder)
        try:
            run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
        except FedspallmError as error:
            stopped = error
    run.transcript.write_charter(run.charter, sign_charter(run.charter, run.participants.everybody))
    return run, stopped


@pytest.mark.parametrize(
    ("institution", "check"),
    [(_WrongProof, "A15"), (_NoDigits, "A14")],
)
def test_an_honest_server_is_not_blamed_for_what_an_institution_hides_under_its_mask(
    institution: type[InstitutionRound], check: str, tmp_path: Path
) -> None:
    run, stopped = _ran(tmp_path, institution)
    assert stopped is not None  # the others noticed
    for depth in _DEPTHS:
        verdict = audit(run.transcript.folder, depth=depth, base=model_folder(run, run.base, tmp_path / depth))
        assert failed(verdict) == {check}
        assert verdict.at_fault == ()


def test_an_institution_that_signs_another_number_of_words_than_it_stores_is_blamed(tmp_path: Path) -> None:
    run, _ = _ran(tmp_path, _WrongSize, _Indulgent)
    verdict = audit(run.transcript.folder, depth="full")
    assert [(f.number, f.expected, f.at_fault) for f in verdict.failed] == [("A20", "2", ("i1",))]


def test_shares_that_were_set_right_by_others_are_told(tmp_path: Path) -> None:
    run, stopped = _ran(tmp_path, _WrongShares)
    assert stopped is None
    verdict = audit(run.transcript.folder, depth="full", base=model_folder(run, run.base, tmp_path / "base-model"))
    assert verdict.failed == ()
    (told,) = [finding.evidence for finding in verdict.findings if finding.number == "A13"]
    assert "shares of i1 did not fit" in told
