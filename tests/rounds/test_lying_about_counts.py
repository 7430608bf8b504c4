"""A custodian that lies about what it decrypted, and a server that lies about what the custodian said.

The round ends in an error, and no change of a weight is sent after counts that are false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedspallm_secure.errors import LocalProtocolError
from fedspallm_secure.messages import (
    Attest,
    Attested,
    Counted,
    Envelope,
    LaneBlob,
    LogHead,
    Message,
    Proofs,
    Sums,
    digest,
    open_envelope,
    seal,
)
from fedspallm_secure.rounds import AddingUp, CoordinatorRound, RoundPlan
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Delivery, Lane, Server
from fedspallm_secure.transcript import BlobStore
from tests.rounds.small_encrypted import FALSE, FOUR, MASKS, play, refused
from tests.rounds.synthetic import CUSTODIAN, Run
from tests.rounds.vanishing import vanish

# The custodian lies.


@dataclass
class _Lying:
    """A custodian that signs something else than it found."""

    run: Run
    change: Callable[[Counted, BlobStore, RoundPlan], dict[str, object]]
    signer: Any = CUSTODIAN

    def count(self, plan: RoundPlan, log: Iterable[Envelope], blobs: BlobStore) -> Envelope:
        assert self.run.office is not None
        honest = open_envelope(self.run.office.count(plan, log, blobs), plan.charter.keys)
        assert isinstance(honest, Counted)
        return seal(honest.model_copy(update=self.change(honest, blobs, plan)), self.signer)


def _everything_is_eligible(honest: Counted, blobs: BlobStore, plan: RoundPlan) -> dict[str, object]:
    """Positions that one institution alone kept are said to have been kept by all."""
    (lane,), (counted,) = plan.context.lanes, honest.lanes
    counts = lane.votes.unpack(blobs.get(counted.blob), lane.length)
    assert (counts == 1).any()
    counts[counts == 1] = 4
    return {"lanes": (counted.model_copy(update={"blob": blobs.put(lane.votes.pack(counts))}),)}


def test_counts_that_the_custodian_invents_are_found_by_the_proofs_before_any_value_is_sent(tmp_path: Path) -> None:
    run = Run(FOUR, tmp_path)
    run.participants = replace(run.participants, custodian=_Lying(run, _everything_is_eligible))
    refused(run, FALSE, "masked values", "proofs values", "model")
    assert "proofs votes" in run.said(run.plan())


def test_with_a_proof_missing_the_same_counts_move_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(replace(FOUR, witness="auditor"), tmp_path)
    run.participants = replace(run.participants, custodian=_Lying(run, _everything_is_eligible))
    vanish(monkeypatch, run, {"i1": "sums votes"})
    _, output = run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
    assert {"masked values", "attest votes", "proofs votes"}.isdisjoint(run.said(run.plan()))
    for tensor in run.charter.base.pruned:
        new, W = output.weights(tensor.layer, tensor.name), run.base.weights(tensor.layer, tensor.name)
        assert np.array_equal(new[new != 0], W[new != 0])


def _lanes(change: Callable[[Any], Any]) -> Callable[[Counted, BlobStore, RoundPlan], dict[str, object]]:
    return lambda honest, blobs, plan: {"lanes": tuple(change(lane) for lane in honest.lanes)}


_LIES: dict[str, tuple[Callable[[Counted, BlobStore, RoundPlan], dict[str, object]], str]] = {
    "other contributors": (
        lambda *_: {"contributors": ("i0", "i1", "i3")},
        "The custodian counted the votes of others than those whose ciphertexts came",
    ),
    "other survivors": (
        lambda *_: {"survivors": "ab" * 32},
        "The custodian counted votes for other survivors than those confirmed",
    ),
    "no lanes": (lambda *_: {"lanes": ()}, "The custodian named 0 lanes that are not the 1 due"),
    "another lane": (_lanes(lambda lane: lane.model_copy(update={"lane": "other"})), "lanes that are not the 1 due"),
    "other words": (_lanes(lambda lane: lane.model_copy(update={"words": 1})), "The custodian announced 1 words"),
    "another sum": (
        _lanes(lambda lane: lane.model_copy(update={"ciphertexts": "ab" * 32})),
        rf"counted votes of lane .* whose encrypted sum is {'ab' * 32}; that of the ciphertexts sent is \w+",
    ),
    "another round": (lambda *_: {"round": 1}, "'custodian' speaks of round 1, not 0"),
    "another charter": (lambda *_: {"charter": "ab" * 32}, "'custodian' speaks of charter abab"),
    "a log that was not shown": (
        lambda *_: {"seen": LogHead(size=1, root="ab" * 32)},
        "'custodian'",
    ),
}


@pytest.mark.parametrize("what", _LIES)
def test_what_the_custodian_may_not_say_is_refused_by_the_server_and_not_published(what: str, tmp_path: Path) -> None:
    change, words = _LIES[what]
    run = Run(MASKS, tmp_path)
    run.participants = replace(run.participants, custodian=_Lying(run, change))
    refused(run, words, "sums votes", "model")


@pytest.mark.parametrize("name", ["i0", "coordinator"])
def test_nobody_else_counts_votes(name: str, tmp_path: Path) -> None:
    run = Run(MASKS, tmp_path)
    signer = {"coordinator": run.participants.server, **run.participants.institutions}[name]
    told: dict[str, object] = {"sender": name, "prev": None, "seen": None}
    run.participants = replace(run.participants, custodian=_Lying(run, lambda *_: told, signer))
    refused(run, f"'{name}' is not the charter's custodian", "sums votes", "model")


# The server lies about what the custodian said.


def _lying_to_all(
    monkeypatch: pytest.MonkeyPatch, run: Run, forge: Callable[[Message], Message], of: type[Message] = Sums
) -> None:
    """The server signs something else than it should, and its log holds that."""

    class LyingCoordinator(CoordinatorRound):
        def receive(self, envelope: Envelope) -> list[Delivery]:
            return self._forged(super().receive(envelope))

        def close(self) -> list[Delivery]:
            return self._forged(super().close())

        def _forged(self, honest: list[Delivery]) -> list[Delivery]:
            lies = []
            for delivery in honest:
                message = open_envelope(delivery.envelope, run.charter.keys)
                lie = seal(forge(message), run.participants.server) if isinstance(message, of) else delivery.envelope
                self._log.append(lie)
                lies.append(Delivery(delivery.to, lie))
            return lies

    monkeypatch.setattr(embedded, "CoordinatorRound", LyingCoordinator)


def _other_counts(run: Run) -> Callable[[Any], Message]:
    """As many votes, in other places."""

    def forge(message: Any) -> Message:
        if message.sum != "votes":
            return message  # type: ignore[no-any-return]
        (lane,), blobs = run.plan().context.lanes, run.transcript.blobs
        counts = lane.votes.unpack(blobs.get(message.lanes[0].blob), lane.length)[::-1].copy()
        blob = message.lanes[0].model_copy(update={"blob": blobs.put(lane.votes.pack(counts))})
        return message.model_copy(update={"lanes": (blob,)})  # type: ignore[no-any-return]

    return forge


def _only(of: str, **changes: object) -> Callable[[Any], Message]:
    return lambda message: message.model_copy(update=changes) if message.sum == of else message


def test_counts_that_the_custodian_did_not_sign_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(FOUR, tmp_path)
    _lying_to_all(monkeypatch, run, _other_counts(run))
    refused(run, "The published counts are not those that the custodian signed", "proof votes", "masked values")


def test_counts_without_the_custodians_word_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(FOUR, tmp_path)
    _lying_to_all(monkeypatch, run, _only("votes", counted=None))
    refused(run, "The published counts come without the custodian's word", "proof votes", "masked values")


def test_a_custodians_word_for_changes_of_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(FOUR, tmp_path)
    said: list[Envelope] = []

    def forge(message: Any) -> Message:
        said.extend([message.counted] if message.counted is not None else [])
        return message if message.sum == "votes" else message.model_copy(update={"counted": said[0]})  # type: ignore[no-any-return]

    _lying_to_all(monkeypatch, run, forge)
    refused(run, "A custodian's word came for a sum that it does not count", "proof values", "model")


def test_counts_in_which_ours_are_left_out_are_refused_though_the_custodian_signed_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """i0 released its votes; the server says that nothing came, and the custodian counts the others."""
    run = Run(FOUR, tmp_path)

    def forge(message: Any) -> Message:
        counted = open_envelope(message.counted, run.charter.keys).model_copy(
            update={"contributors": ("i1", "i2", "i3")}
        )
        return message.model_copy(update={"counted": seal(counted, CUSTODIAN)})  # type: ignore[no-any-return]

    _lying_to_all(monkeypatch, run, forge)
    refused(run, "Our votes are not counted", "proof votes", "masked values")


def test_a_witness_that_vouches_for_counts_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in league with the witness sends its word instead of a proof that is missing."""
    run = Run(replace(FOUR, witness="auditor"), tmp_path)
    auditor = run.participants.witness
    assert auditor is not None
    published: list[Sums] = []

    def forge(message: Any) -> Message:
        if isinstance(message, Sums):
            published.append(message)
            return message
        header = published[0].model_dump(include={"charter", "round", "sum", "attempt"})
        word = seal(Attest(**header, sender="auditor", sums=digest(published[0])), auditor)
        return Attested(**header, sender="coordinator", attestation=word)

    _lying_to_all(monkeypatch, run, forge, Sums | Proofs)  # type: ignore[arg-type]
    refused(run, "A witness can't vouch for counts that the custodian decrypts", "masked values", "model")


def test_a_server_of_the_honest_code_does_not_publish_other_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(FOUR, tmp_path)

    class Another(AddingUp):
        def __call__(self, server: Server, name: Any, lane: Lane) -> LaneBlob:
            honest = super().__call__(server, name, lane)
            return honest.model_copy(update={"blob": "ab" * 32}) if name == "votes" else honest

    monkeypatch.setattr(embedded, "AddingUp", Another)
    with pytest.raises(LocalProtocolError, match="We publish other counts than the custodian's"):
        play(run)
    assert "sums votes" not in run.said(run.plan())
