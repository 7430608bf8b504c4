"""The custodian's keys under another charter than the one it signed, and charters that it did not sign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.charter import CharterSignatures, CkksVotes, MaskedVotes, load_charter_signatures
from fedspallm_secure.custodian import Office
from fedspallm_secure.errors import CharterError, LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import (
    LaneBlob,
    Sums,
    digest,
)
from fedspallm_secure.rounds import OwnCiphertexts, RoundPlan, plan_round
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Lane
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import (
    Encryptor,
    PublicContext,
    choose_parameters,
)
from fedspallm_secure.workspace import Journal
from tests.rounds.small_encrypted import MASKS, play
from tests.rounds.synthetic import CUSTODIAN, Run


def _fake(run: Run, folder: Path, victim: list[NDArray[np.uint64]], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of institutions that the server made up: one hands in the victim's ciphertexts, the others vote nothing."""
    assert run.office is not None
    fake = Run(replace(run.setting, seed=1), folder)
    fake.charter = fake.charter.model_copy(update={"votes": run.charter.votes})
    for context in run.office.contexts:
        fake.transcript.blobs.put_bytes(context)
    fake.participants = replace(fake.participants, custodian=run.office)
    pair = run.office._keys[0]

    class Handing(OwnCiphertexts):
        @classmethod
        def under(
            cls, plan: RoundPlan, signatures: CharterSignatures, contexts: BlobStore, folder: Path
        ) -> OwnCiphertexts | None:
            """As the attackers' own programs do: whether anybody signed the charter is not asked."""
            folder.mkdir()
            public = PublicContext(choose_parameters(4), pair.public, pair.digest)
            return cls(Encryptor(public, folder), BlobStore(folder / "blobs"))

        def encrypt(self, lane: Lane, votes: NDArray[np.bool_]) -> LaneBlob:
            if self._store.folder.parent.name != "i0":
                return super().encrypt(lane, np.zeros(lane.length, np.bool_))
            self._names.append(self._store.put(victim[0]))
            return LaneBlob(lane=lane.name, words=victim[0].size, blob=self._names[-1])

    monkeypatch.setattr(embedded, "OwnCiphertexts", Handing)
    return fake


def _victim(run: Run, folder: Path) -> tuple[NDArray[np.bool_], list[NDArray[np.uint64]]]:
    """Somebody's votes in the true run, as it encrypts them."""
    assert run.office is not None
    votes = np.random.default_rng(5).random(48) < 0.5
    pair = run.office._keys[0]
    encryptor = Encryptor(PublicContext(choose_parameters(4), pair.public, pair.digest), folder)
    return votes, list(encryptor.encrypt(votes))


def test_a_custodian_that_signed_an_invented_charter_counts_the_victims_votes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why institutions encrypt only under a charter that the custodian has signed, and it signs only one."""
    run = Run(MASKS, tmp_path / "true")
    assert run.office is not None
    votes, words = _victim(run, tmp_path)
    fake = _fake(run, tmp_path / "fake", words, monkeypatch)
    fooled = Office(CUSTODIAN, 4, run.office._keys, Journal(), tmp_path / "scratch")
    fooled.sign(fake.charter)
    fake.participants = replace(fake.participants, custodian=fooled)
    with pytest.raises(RemoteProtocolError, match="are not the sum of what the institutions sent"):
        play(fake)
    (sums,) = (said for said in fake.messages(fake.plan()) if isinstance(said, Sums))
    (lane,) = fake.plan().context.lanes
    counts = lane.votes.unpack(fake.transcript.blobs.get(sums.lanes[0].blob), lane.length)
    assert np.array_equal(counts, votes)


def test_a_custodian_that_signed_the_true_charter_counts_nothing_under_an_invented_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(MASKS, tmp_path / "true")
    assert run.office is not None
    fake = _fake(run, tmp_path / "fake", _victim(run, tmp_path)[1], monkeypatch)
    with pytest.raises(LocalProtocolError, match=rf"is for charter {digest(run.charter)} round 0, not for charter"):
        play(fake)
    assert {"counted", "sums votes"}.isdisjoint(fake.said(fake.plan()))
    with pytest.raises(LocalProtocolError, match=rf"was decided as for charter {digest(run.charter)} round 0"):
        run.office.sign(fake.charter)


def test_an_institution_encrypts_nothing_under_a_charter_that_the_custodian_did_not_sign(tmp_path: Path) -> None:
    run = Run(MASKS, tmp_path / "true")
    signed = load_charter_signatures(run.transcript.signatures)
    without = CharterSignatures(signatures=tuple(one for one in signed.signatures if one.keyid != CUSTODIAN.name))
    plan, contexts = run.plan(), run.transcript.blobs
    with pytest.raises(RemoteProtocolError, match="The charter is not signed by custodian"):
        OwnCiphertexts.under(plan, without, contexts, tmp_path / "own")
    other = replace(plan, context=replace(plan.context, charter=run.charter.model_copy(update={"run": "another"})))
    with pytest.raises(RemoteProtocolError, match="under the charter does not hold"):
        OwnCiphertexts.under(other, signed, contexts, tmp_path / "own")
    assert not (tmp_path / "own").exists()
    assert OwnCiphertexts.under(plan, signed, contexts, tmp_path / "own") is not None


def test_a_custodian_counts_nothing_before_it_signed(tmp_path: Path) -> None:
    run = Run(MASKS, tmp_path / "true")
    assert run.office is not None
    fresh = Office(CUSTODIAN, 4, run.office._keys, Journal(), tmp_path / "scratch")
    run.participants = replace(run.participants, custodian=fresh)
    with pytest.raises(LocalProtocolError, match="is for no charter yet, not for charter"):
        play(run)
    assert "counted" not in run.said(run.plan())


def test_the_keys_of_one_round_do_not_serve_another(tmp_path: Path) -> None:
    """A charter that exchanges the contexts of two rounds is another charter, and is not signed with the same keys."""
    run = Run(replace(MASKS, schedule=("0.25", "0.5")), tmp_path)
    assert run.office is not None
    signed = run.office.sign(run.charter)
    assert run.office.sign(run.charter) == signed
    office = Office(CUSTODIAN, 4, run.office._keys[::-1], run.office._journal, tmp_path / "scratch")
    votes = run.charter.votes.model_copy(update={"contexts": office.offer.contexts})
    with pytest.raises(LocalProtocolError, match="was decided as for charter"):
        office.sign(run.charter.model_copy(update={"votes": votes}))


def test_a_charter_that_does_not_name_these_keys_for_these_institutions_is_neither_signed_nor_counted(
    tmp_path: Path,
) -> None:
    run = Run(MASKS, tmp_path)
    assert run.office is not None
    votes = run.charter.votes
    assert isinstance(votes, CkksVotes)
    masked = run.charter.model_copy(update={"votes": MaskedVotes()})
    other_key = run.charter.model_copy(update={"votes": votes.model_copy(update={"contexts": ("ab" * 32,)})})
    member = run.charter.roster[0].model_copy(update={"name": "i9", "public_key": "cd" * 32})
    one_more = run.charter.model_copy(update={"roster": (*run.charter.roster, member)})
    for charter in (masked, other_key, one_more):
        with pytest.raises(CharterError, match="does not name the custodian 'custodian' with the 1 keys, for 4"):
            run.office.sign(charter)
    for charter in (other_key, one_more):
        with pytest.raises(CharterError, match="does not name the custodian 'custodian' with the 1 keys, for 4"):
            run.office.count(plan_round(charter, 0), [], run.transcript.blobs)
