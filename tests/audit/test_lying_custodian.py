"""A custodian that lies while the round goes on: what an audit shows of it, and what no audit can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedspallm_secure.audit import Depth, Verdict, audit
from fedspallm_secure.charter import sign_charter
from fedspallm_secure.custodian import Office
from fedspallm_secure.errors import FedspallmError
from fedspallm_secure.messages import Counted, Envelope, LaneBlob, SumName, open_envelope, seal
from fedspallm_secure.rounds import AddingUp, OwnCiphertexts, RoundPlan
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Lane, Server
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import custodian as votes_custodian
from tests.audit.forging import failed
from tests.audit.honest_transcript import everybody, model_folder
from tests.rounds.synthetic import Run, Setting
from tests.rounds.vanishing import vanish

_FOUR = Setting(clients=4, layers=1, shapes=((4, 8), (4, 8)), minimum_cohort=4, dropouts=1, method="wanda", ckks=True)
_DEPTHS: tuple[Depth, ...] = ("public", "full")


@dataclass
class _Liar:
    """A custodian that counts as it should and says something else.

    Attributes:
        office: the honest one.
        digit: what the first lane's first count becomes; None to leave it.
        ciphertexts: what it says that the first lane's encrypted sum is; None to tell it.
    """

    office: Office
    digit: int | None = None
    ciphertexts: str | None = None

    def count(self, plan: RoundPlan, log: Iterable[Envelope], blobs: BlobStore) -> Envelope:
        """As `Office.count`, but for that."""
        word = open_envelope(self.office.count(plan, log, blobs), plan.charter.keys)
        assert isinstance(word, Counted)
        first, *more = word.lanes
        if self.ciphertexts is not None:
            first = first.model_copy(update={"ciphertexts": self.ciphertexts})
        if self.digit is not None:
            lane = plan.context.lanes[0]
            digits = lane.votes.unpack(blobs.get(first.blob), lane.length).copy()
            assert digits[0] != self.digit
            digits[0] = self.digit
            first = first.model_copy(update={"blob": blobs.put(lane.votes.pack(digits))})
        return seal(word.model_copy(update={"lanes": (first, *more)}), self.office._signer)


class _Indulgent(AddingUp):
    """The server takes the custodian's word, and whatever ciphertexts come."""

    def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
        """One lane's sum."""
        counted = server.counted(lane)
        assert counted is not None
        return counted.counts

    def check_released(self, who: str, lanes: Iterable[tuple[Lane, LaneBlob]]) -> None:
        """Nothing is refused."""


def _ran(
    folder: Path, when: Mapping[str, str], adder: type[AddingUp] = AddingUp, **lie: Any
) -> tuple[Run, FedspallmError | None]:
    """A run with such a custodian, and what stopped it."""
    run = Run(_FOUR, folder)
    assert run.office is not None
    run.participants = replace(run.participants, custodian=_Liar(run.office, **lie))
    stopped = None
    with pytest.MonkeyPatch.context() as monkeypatch:
        vanish(monkeypatch, run, dict(when))
        monkeypatch.setattr(embedded, "AddingUp", adder)
        try:
            run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
        except FedspallmError as error:
            stopped = error
    run.transcript.write_charter(run.charter, sign_charter(run.charter, everybody(run)))
    model_folder(run, run.base, folder / "base-model")
    return run, stopped


def _audited(run: Run, depth: Depth) -> Verdict:
    return audit(run.transcript.folder, depth=depth, base=run.folder / "base-model")


def test_a_false_count_is_found_by_the_proofs_and_nobody_is_blamed_who_may_be_honest(tmp_path: Path) -> None:
    run, stopped = _ran(tmp_path, {}, digit=4)
    assert stopped is not None  # the institutions noticed
    for depth in _DEPTHS:
        verdict = _audited(run, depth)
        (finding,) = verdict.failed
        assert (finding.number, finding.at_fault) == ("A15", ())
        assert finding.evidence.endswith(
            "Either custodian counted wrongly, or one of those who proved the counts encrypted other votes or signed a "
            "wrong proof."
        )


def test_a_false_count_that_not_everybody_proved_is_not_found_and_the_verdict_says_what_rests_on_the_custodian(
    tmp_path: Path,
) -> None:
    run, stopped = _ran(tmp_path, {"i1": "sums votes"}, digit=4)
    assert stopped is None
    honest, _ = _ran(tmp_path / "honest", {"i1": "sums votes"}, ciphertexts=None)
    said = (
        "That the counts of round 1 are those of the ciphertexts: not every institution proved them, so they, and the "
        "masks that follow from them, rest on the custodian's word alone."
    )
    for depth in _DEPTHS:
        verdict = _audited(run, depth)
        assert verdict.status == "verified"
        assert said in verdict.not_proven
        assert said in _audited(honest, depth).not_proven
    assert _audited(run, "full").model != _audited(honest, "full").model


def test_counts_above_the_contributors_are_blamed_on_the_custodian_alone(tmp_path: Path) -> None:
    run, stopped = _ran(tmp_path, {"i1": "confirmed votes"}, digit=4)  # of three
    assert stopped is not None
    for depth in _DEPTHS:
        verdict = _audited(run, depth)
        (finding,) = verdict.failed
        assert (finding.number, finding.expected, finding.actual) == ("A14", "at most 3", "4")
        assert verdict.at_fault == ("custodian",)


def test_another_encrypted_sum_is_found_at_full_depth_and_blamed_on_the_custodian_and_the_server_that_took_it(
    tmp_path: Path,
) -> None:
    run, stopped = _ran(tmp_path, {}, _Indulgent, ciphertexts="ab" * 32)
    assert stopped is None
    assert _audited(run, "public").status == "verified"  # the proofs show that the counts are true
    verdict = _audited(run, "full")
    (finding,) = verdict.failed
    assert (finding.number, finding.actual) == ("A21", "ab" * 32)
    assert verdict.at_fault == ("custodian", "coordinator")


def test_an_institution_that_signed_what_is_no_ciphertext_is_blamed_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[str]()

    class InTheClear(OwnCiphertexts):
        """i1 sends zeros for its votes, which anybody can read and the key opens."""

        def encrypt(self, lane: Lane, votes: Any) -> LaneBlob:
            blob = super().encrypt(lane, votes)
            if self._store.folder.parent.name != "i1":
                return blob
            self._names[-1] = self._store.put(np.zeros(blob.words, np.uint64))
            made.append(self._names[-1])
            return blob.model_copy(update={"blob": self._names[-1]})

    def unchecked(parameters: Any, length: int, sender: str, stream: Iterable[Any]) -> Iterable[Any]:
        """The custodian looks at nothing."""
        return iter(stream)

    monkeypatch.setattr(embedded, "OwnCiphertexts", InTheClear)
    monkeypatch.setattr(votes_custodian, "check_ciphertexts", unchecked)
    run, _ = _ran(tmp_path, {}, _Indulgent)
    assert len(made) == 2
    verdict = _audited(run, "full")
    (finding,) = [finding for finding in verdict.failed if finding.number == "A20"]
    assert (finding.at_fault, finding.expected) == (("i1",), made[0])
    assert "hides nothing" in finding.evidence
    assert verdict.at_fault == ("i1",)
    path = run.transcript.folder / "blobs" / made[0]
    path.write_bytes(b"\xff" * path.stat().st_size)
    verdict = _audited(run, "full")  # what was changed since shows nothing of who signed it
    assert (failed(verdict), verdict.at_fault) == ({"A20"}, ())
