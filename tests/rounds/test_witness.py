"""A witness vouches for sums that it recomputed and for no other, and its word counts for what one was shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import (
    Attest,
    Envelope,
    LaneBlob,
    Revealed,
    SumName,
    Sums,
    Unmask,
    digest,
    open_envelope,
    seal,
)
from fedspallm_secure.rounds import AddingUp, attest_sum
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Lane, Server
from fedspallm_secure.tlog import Evidence
from fedspallm_secure.transcript import BlobStore
from tests.rounds.synthetic import Run, Setting
from tests.rounds.vanishing import vanish

_WITNESSED = Setting(clients=6, layers=1, shapes=((12, 16),), minimum_cohort=4, dropouts=1, witness="auditor")


def _a_vote_too_many(words: NDArray[np.uint64], lane: Lane) -> NDArray[np.uint64]:
    """One institution's vote counts twice."""
    counts = lane.votes.unpack(words, lane.length)
    counts[np.flatnonzero(counts < lane.votes.clients)[0]] += 1
    return lane.votes.pack(counts)


def _another_word(words: NDArray[np.uint64], _: Lane) -> NDArray[np.uint64]:
    altered = words.copy()
    altered[0] ^= np.uint64(1)
    return altered


def _false(
    monkeypatch: pytest.MonkeyPatch, of: SumName, alter: Callable[[NDArray[np.uint64], Lane], NDArray[np.uint64]]
) -> None:
    """The server publishes another sum of the first lane than came out, to everybody."""

    class Lying(AddingUp):
        def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
            honest = super().__call__(server, name, lane)
            if name != of or lane.index > 0:
                return honest
            return honest.model_copy(update={"blob": self._blobs.put(alter(self._blobs.get(honest.blob), lane))})

    monkeypatch.setattr(embedded, "AddingUp", Lying)


@pytest.mark.parametrize(("of", "alter"), [("votes", _a_vote_too_many), ("values", _another_word)])
def test_a_false_sum_is_refused_by_its_lane_and_nothing_follows_from_it(
    of: SumName, alter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_WITNESSED, tmp_path)
    vanish(monkeypatch, run, {"i1": f"sums {of}"})
    _false(monkeypatch, of, alter)
    said = rf"The published {of} of lane layers\.0\.0\.weight are not the sum of what the institutions sent\."
    with pytest.raises(RemoteProtocolError, match=said):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
    after = {f"attest {of}", f"attested {of}", "model", *(["masked values"] if of == "votes" else [])}
    assert f"sums {of}" in run.said(run.plan())
    assert after.isdisjoint(run.said(run.plan()))


def test_without_a_witness_the_same_false_counts_move_no_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_WITNESSED, witness=None), tmp_path)
    vanish(monkeypatch, run, {"i1": "sums votes"})
    _false(monkeypatch, "votes", _a_vote_too_many)
    _, output = run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
    assert "masked values" not in run.said(run.plan())
    for tensor in run.charter.base.pruned:
        new, W = output.weights(tensor.layer, tensor.name), run.base.weights(tensor.layer, tensor.name)
        assert np.array_equal(new[new != 0], W[new != 0])


def test_its_word_counts_for_the_very_sums_that_an_institution_was_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_WITNESSED, tmp_path)
    blobs = run.transcript.blobs

    def other_counts(envelope: Envelope) -> Envelope:
        message = open_envelope(envelope, run.charter.keys)
        if not isinstance(message, Sums):
            return envelope
        first, *others = message.lanes
        other = blobs.put(_a_vote_too_many(blobs.get(first.blob), run.plan().lanes[0]))
        lanes = (first.model_copy(update={"blob": other}), *others)
        return seal(message.model_copy(update={"lanes": lanes}), run.participants.server)

    vanish(monkeypatch, run, {"i1": "sums votes"})

    class PossiblyDeceived(embedded.InstitutionRound):  # type: ignore[name-defined,misc]
        def receive(self, envelope: Envelope, evidence: Evidence) -> Envelope | None:
            shown = other_counts(envelope) if self._identity.name == "i2" else envelope
            answer: Envelope | None = (
                super().receive(envelope, evidence) if shown == envelope else self._answer(shown)
            )  # in no log: as if i2 had not looked
            return answer

    monkeypatch.setattr(embedded, "InstitutionRound", PossiblyDeceived)
    with pytest.raises(RemoteProtocolError, match="The witness attested other sums than those that were published to"):
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
    assert "attested votes" in run.said(run.plan())


def _witnessed_round(folder: Path) -> tuple[Run, list[Envelope], BlobStore]:
    """A round whose values the witness vouched for; its log and payloads."""
    run = Run(_WITNESSED, folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        vanish(monkeypatch, run, {"i1": "sums values"})
        run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
    return run, run.entries(), run.transcript.blobs


def test_it_names_the_sum_that_was_published_last(tmp_path: Path) -> None:
    run, log, blobs = _witnessed_round(tmp_path)
    assert run.participants.witness is not None
    messages = [open_envelope(envelope, run.charter.keys) for envelope in log]
    *_, last = (message for message in messages if isinstance(message, Sums))
    word = open_envelope(attest_sum(run.plan(), run.participants.witness, log, blobs), run.charter.keys)
    assert isinstance(word, Attest)
    assert (word.sender, word.sum, word.attempt, word.sums) == ("auditor", "values", 0, digest(last))
    assert word in messages


def _refusal(run: Run, log: list[Envelope], blobs: BlobStore) -> str:
    """Why the witness does not sign, or nothing if it does."""
    assert run.participants.witness is not None
    try:
        attest_sum(run.plan(), run.participants.witness, log, blobs)
    except RemoteProtocolError as error:
        return error.problem
    return ""


def test_a_message_that_is_missing_is_refused_where_it_matters_and_nothing_else_goes_wrong(tmp_path: Path) -> None:
    run, log, blobs = _witnessed_round(tmp_path)
    kinds = {
        said
        for number, said in enumerate(run.said(run.plan()))
        if _refusal(run, log[:number] + log[number + 1 :], blobs)
    }
    assert kinds == {"advertise", "share", "survivors votes", "survivors values", "masked values"}


@pytest.mark.parametrize(
    ("sender", "change", "said"),
    [
        ("coordinator", lambda sums: {"lanes": sums.lanes[:-1]}, "lanes are not the round's"),
        ("coordinator", lambda sums: {"lanes": sums.lanes[::-1]}, "lanes are not the round's"),
        (
            "coordinator",
            lambda sums: {"lanes": (sums.lanes[0].model_copy(update={"words": 1}), *sums.lanes[1:])},
            "not as many words as the institutions sent",
        ),
        ("i0", lambda unmask: {"groups": ()}, "'i0' handed out other shares"),
        ("i0", lambda unmask: {"groups": (Revealed(seeds={}, keys={}),)}, "'i0' handed out other shares"),
    ],
)
def test_a_malformed_message_is_refused_as_such(
    sender: str, change: Callable[[Any], dict[str, object]], said: str, tmp_path: Path
) -> None:
    run, log, blobs = _witnessed_round(tmp_path)
    signer = run.participants.institutions.get(sender, run.participants.server)
    forged = []
    for message, envelope in zip(run.messages(run.plan()), log, strict=True):
        altered = isinstance(message, Sums | Unmask) and message.sender == sender
        forged.append(seal(message.model_copy(update=change(message)), signer) if altered else envelope)
    assert said in _refusal(run, forged, blobs)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("sums", "The log holds no published sum"),
        ("masked", "The log lacks the lanes of an institution that is said to have contributed"),
        ("unmask", "0 shares of 'i0''s secret came"),
        ("share", "Keys or shares are missing of i0, i1, i2, i3, i4, i5"),
        ("advertise", "Keys or shares are missing of i0, i1, i2, i3, i4, i5"),
        ("survivors", "The log does not say who survived the values"),
    ],
)
def test_without_the_evidence_nothing_is_signed(kind: str, said: str, tmp_path: Path) -> None:
    run, log, blobs = _witnessed_round(tmp_path)
    assert run.participants.witness is not None
    kept = [envelope for envelope in log if open_envelope(envelope, run.charter.keys).kind != kind]
    with pytest.raises(RemoteProtocolError, match=said):
        attest_sum(run.plan(), run.participants.witness, kept, blobs)
