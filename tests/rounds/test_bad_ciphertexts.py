"""Ciphertexts that are no votes under the round's key, or not what their sender signed: refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import (
    Encrypted,
    Envelope,
    LaneBlob,
    Release,
)
from fedspallm_secure.rounds import DurableRound, OwnCiphertexts
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Delivery, Lane
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import (
    Encryptor,
    PublicContext,
    add_ciphertexts,
    choose_parameters,
    make_key_pair,
)
from tests.rounds.comparison import Parts, check_round
from tests.rounds.small_encrypted import FOUR, MASKS, refused
from tests.rounds.synthetic import Run


def _i3_encrypts(monkeypatch: pytest.MonkeyPatch, forge: Callable[[Encryptor, Lane, BlobStore], LaneBlob]) -> None:
    """i3 hands in whatever `forge` makes."""

    class Forging(OwnCiphertexts):
        def encrypt(self, lane: Lane, votes: NDArray[np.bool_]) -> LaneBlob:
            if self._store.folder.parent.name != "i3":
                return super().encrypt(lane, votes)
            blob = forge(self._encryptor, lane, self._store)
            self._names.append(blob.blob)
            return blob

    monkeypatch.setattr(embedded, "OwnCiphertexts", Forging)


def _stored(lane: Lane, store: BlobStore, words: NDArray[np.uint64]) -> LaneBlob:
    """Under the number of words that is due, however many there are."""
    return LaneBlob(lane=lane.name, words=lane.ciphertext_words, blob=store.put(words))


def _of_another_key(encryptor: Encryptor, folder: Path) -> NDArray[np.uint64]:
    pair = make_key_pair(choose_parameters(4))
    other = Encryptor(PublicContext(choose_parameters(4), pair.public, pair.digest), folder)
    return next(iter(other.encrypt(np.ones(48, np.bool_))))


def _no_residues(encryptor: Encryptor, folder: Path) -> NDArray[np.uint64]:
    return np.full(8192, 2**64 - 1, np.uint64)


def _random_residues(encryptor: Encryptor, folder: Path) -> NDArray[np.uint64]:
    return np.random.default_rng(0).integers(0, choose_parameters(4).q, 8192, np.uint64)


def _hides_nothing(encryptor: Encryptor, folder: Path) -> NDArray[np.uint64]:
    words = next(iter(encryptor.encrypt(np.ones(48, np.bool_)))).copy()
    words[4096:] = 0
    return words


def _no_whole_numbers(encryptor: Encryptor, folder: Path) -> NDArray[np.uint64]:
    return encryptor.encrypt_numbers(np.full(4096, 0.4))


def _three_votes_each(encryptor: Encryptor, folder: Path) -> NDArray[np.uint64]:
    return encryptor.encrypt_numbers(np.full(4096, 3.0))


def _votes_taken_away(encryptor: Encryptor, folder: Path) -> NDArray[np.uint64]:
    return encryptor.encrypt_numbers(np.full(4096, -1.0))


_BAD: dict[str, tuple[Callable[[Encryptor, Path], NDArray[np.uint64]], str]] = {
    "another context": (_of_another_key, "Lane .*: A decrypted sum"),
    "random residues": (_random_residues, "Lane .*: A decrypted sum"),
    "no residues": (_no_residues, "votes of 'i3' can't be added: ciphertext 1 has words that are no residues"),
    "half a ciphertext": (
        lambda *_: np.ones(4096, np.uint64),
        "votes of 'i3' can't be added: ciphertext 1 has 4096 words; 8192 are expected",
    ),
    "nothing": (lambda *_: np.empty(0, np.uint64), "votes of 'i3' can't be added: 0 ciphertexts came; 1 are expected"),
    "a ciphertext too many": (
        lambda *_: np.ones(2 * 8192, np.uint64),
        "votes of 'i3' can't be added: 2 or more ciphertexts came; 1 are expected",
    ),
    "votes in the clear": (_hides_nothing, "votes of 'i3' can't be added: ciphertext 1 hides nothing"),
    "no whole numbers": (_no_whole_numbers, r"Lane .*: A decrypted sum is further than 0\.25 from a whole number"),
    "three votes each": (_three_votes_each, "Lane .*: A decrypted sum has a count that 4 contributors can't reach"),
    "votes taken away": (_votes_taken_away, "Lane .*: A decrypted sum is no sum of votes"),
}


@pytest.mark.parametrize("what", _BAD)
def test_ciphertexts_that_are_no_votes_are_refused_by_name_and_no_count_leaves_the_custodian(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = _BAD[what]
    run = Run(MASKS, tmp_path)
    _i3_encrypts(monkeypatch, lambda encryptor, lane, store: _stored(lane, store, make(encryptor, store.folder.parent)))
    refused(run, words, "counted", "sums votes", "model")


def test_somebody_elses_ciphertexts_are_refused_by_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(MASKS, tmp_path)
    names: list[str] = []

    class Copying(OwnCiphertexts):
        def encrypt(self, lane: Lane, votes: NDArray[np.bool_]) -> LaneBlob:
            blob = super().encrypt(lane, votes)
            names.append(blob.blob)
            return blob if self._store.folder.parent.name != "i3" else blob.model_copy(update={"blob": names[0]})

    monkeypatch.setattr(embedded, "OwnCiphertexts", Copying)
    refused(run, r"'i3' sent for lane layers\.0\.0\.weight the ciphertexts of 'i0'", "survivors votes", "release")


def test_a_ciphertext_of_an_earlier_round_breaks_the_margin_of_the_next_since_that_has_its_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """i3 saw i0's ciphertexts of the first round, and could commit to them, made unrecognisable, in the second."""
    run = Run(replace(MASKS, schedule=("0.25", "0.5")), tmp_path)
    names: list[str] = []

    class Replaying(OwnCiphertexts):
        def encrypt(self, lane: Lane, votes: NDArray[np.bool_]) -> LaneBlob:
            owner = self._store.folder.parent.name
            blob = super().encrypt(lane, votes)
            if owner == "i0":
                names.append(blob.blob)
            if owner != "i3" or len(names) < 2:
                return blob
            parameters = choose_parameters(4)
            old = iter([run.transcript.blobs.get(names[0])])
            nothing = self._encryptor.encrypt(np.zeros(lane.length, np.bool_))
            (words,) = add_ciphertexts(parameters, lane.length, [old, nothing])
            self._names[-1] = self._store.put(words)
            return blob.model_copy(update={"blob": self._names[-1]})

    monkeypatch.setattr(embedded, "OwnCiphertexts", Replaying)
    first = run.plan(0)
    _, output = run.round(first, run.base, run.prune(first, run.base))
    second = run.plan(1)
    with pytest.raises(RemoteProtocolError, match=r"Lane layers\.0\.0\.weight: A decrypted sum"):
        run.round(second, output, run.prune(second, output))
    assert {"counted", "sums votes"}.isdisjoint(run.said(second))


def test_ciphertexts_that_are_not_what_was_signed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(MASKS, tmp_path)

    class Damaging(OwnCiphertexts):
        def hand_over(self, to: BlobStore) -> None:
            super().hand_over(to)
            if self._store.folder.parent.name == "i3":
                words = self._store.get(self._names[0]).copy()
                words[0] ^= np.uint64(1)
                (to.folder / self._names[0]).write_bytes(words.tobytes())

    monkeypatch.setattr(embedded, "OwnCiphertexts", Damaging)
    words = r"'i3' released no votes for lane layers\.0\.0\.weight: .* does not hold what its name says"
    refused(run, words, "collected", "counted")


def test_who_releases_what_can_not_be_added_is_left_out_and_the_round_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(FOUR, tmp_path)
    refused: list[str] = []

    class Going(DurableRound):
        def receive(self, envelope: Envelope) -> list[Delivery]:
            try:
                return super().receive(envelope)
            except RemoteProtocolError as error:
                refused.append(error.problem)
                return []

    monkeypatch.setattr(embedded, "DurableRound", Going)
    _i3_encrypts(monkeypatch, lambda encryptor, lane, store: _stored(lane, store, _no_residues(encryptor, tmp_path)))
    left = ["i0", "i1", "i2"]
    plan = run.plan()
    check_round(run, plan, run.base, run.prune(plan, run.base), Parts(voted=left, moved=left, stated=left))
    assert len(refused) == 1
    assert "votes of 'i3' can't be added" in refused[0]
    assert [said.sender for said in run.messages(plan) if isinstance(said, Encrypted)][3:] == ["i3"]
    assert "i3" not in {said.sender for said in run.messages(plan) if isinstance(said, Release)}
