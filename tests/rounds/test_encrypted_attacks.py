"""A round with encrypted votes in which somebody lies: a custodian, an institution, the server, two of them together.

It ends in an error that names whom or what, and no change of a weight is sent after counts that are false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.charter import CharterSignatures, CkksVotes, MaskedVotes, load_charter_signatures
from fedspallm_secure.custodian import Office
from fedspallm_secure.errors import CharterError, LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import (
    Attest,
    Attested,
    Counted,
    Encrypted,
    Envelope,
    LaneBlob,
    LogHead,
    Message,
    Proofs,
    Release,
    Sums,
    digest,
    open_envelope,
    seal,
)
from fedspallm_secure.rounds import AddingUp, CoordinatorRound, DurableRound, OwnCiphertexts, RoundPlan, plan_round
from fedspallm_secure.runtime import embedded
from fedspallm_secure.secagg import Delivery, Lane, Server
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import (
    Encryptor,
    PublicContext,
    add_ciphertexts,
    choose_parameters,
    make_key_pair,
)
from fedspallm_secure.workspace import Journal
from tests.rounds.comparison import Parts, check_round
from tests.rounds.synthetic import CUSTODIAN, Run, Setting
from tests.rounds.vanishing import vanish

_FOUR = Setting(clients=4, layers=1, shapes=((6, 8),), minimum_cohort=4, dropouts=1, ckks=True)
_MASKS = replace(_FOUR, method="wanda")
_FALSE = "'i0' found that the published votes are not the sum of what the institutions sent"


def _play(run: Run) -> None:
    run.round(run.plan(), run.base, run.prune(run.plan(), run.base))


def _refused(run: Run, words: str, *not_said: str) -> None:
    """The round ends with these words, and before anybody said these."""
    with pytest.raises(RemoteProtocolError, match=words):
        _play(run)
    assert set(not_said).isdisjoint(run.said(run.plan()))


# Somebody's ciphertexts are no votes under the round's key.


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
    run = Run(_MASKS, tmp_path)
    _i3_encrypts(monkeypatch, lambda encryptor, lane, store: _stored(lane, store, make(encryptor, store.folder.parent)))
    _refused(run, words, "counted", "sums votes", "model")


def test_somebody_elses_ciphertexts_are_refused_by_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(_MASKS, tmp_path)
    names: list[str] = []

    class Copying(OwnCiphertexts):
        def encrypt(self, lane: Lane, votes: NDArray[np.bool_]) -> LaneBlob:
            blob = super().encrypt(lane, votes)
            names.append(blob.blob)
            return blob if self._store.folder.parent.name != "i3" else blob.model_copy(update={"blob": names[0]})

    monkeypatch.setattr(embedded, "OwnCiphertexts", Copying)
    _refused(run, r"'i3' sent for lane layers\.0\.0\.weight the ciphertexts of 'i0'", "survivors votes", "release")


def test_a_ciphertext_of_an_earlier_round_breaks_the_margin_of_the_next_since_that_has_its_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """i3 saw i0's ciphertexts of the first round, and could commit to them, made unrecognisable, in the second."""
    run = Run(replace(_MASKS, schedule=("0.25", "0.5")), tmp_path)
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
    run = Run(_MASKS, tmp_path)

    class Damaging(OwnCiphertexts):
        def hand_over(self, to: BlobStore) -> None:
            super().hand_over(to)
            if self._store.folder.parent.name == "i3":
                words = self._store.get(self._names[0]).copy()
                words[0] ^= np.uint64(1)
                (to.folder / self._names[0]).write_bytes(words.tobytes())

    monkeypatch.setattr(embedded, "OwnCiphertexts", Damaging)
    words = r"'i3' released no votes for lane layers\.0\.0\.weight: .* does not hold what its name says"
    _refused(run, words, "collected", "counted")


def test_who_releases_what_can_not_be_added_is_left_out_and_the_round_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_FOUR, tmp_path)
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
    run = Run(_FOUR, tmp_path)
    run.participants = replace(run.participants, custodian=_Lying(run, _everything_is_eligible))
    _refused(run, _FALSE, "masked values", "proofs values", "model")
    assert "proofs votes" in run.said(run.plan())


def test_with_a_proof_missing_the_same_counts_move_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(replace(_FOUR, witness="auditor"), tmp_path)
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
    run = Run(_MASKS, tmp_path)
    run.participants = replace(run.participants, custodian=_Lying(run, change))
    _refused(run, words, "sums votes", "model")


@pytest.mark.parametrize("name", ["i0", "coordinator"])
def test_nobody_else_counts_votes(name: str, tmp_path: Path) -> None:
    run = Run(_MASKS, tmp_path)
    signer = {"coordinator": run.participants.server, **run.participants.institutions}[name]
    told: dict[str, object] = {"sender": name, "prev": None, "seen": None}
    run.participants = replace(run.participants, custodian=_Lying(run, lambda *_: told, signer))
    _refused(run, f"'{name}' is not the charter's custodian", "sums votes", "model")


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
    run = Run(_FOUR, tmp_path)
    _lying_to_all(monkeypatch, run, _other_counts(run))
    _refused(run, "The published counts are not those that the custodian signed", "proof votes", "masked values")


def test_counts_without_the_custodians_word_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(_FOUR, tmp_path)
    _lying_to_all(monkeypatch, run, _only("votes", counted=None))
    _refused(run, "The published counts come without the custodian's word", "proof votes", "masked values")


def test_a_custodians_word_for_changes_of_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(_FOUR, tmp_path)
    said: list[Envelope] = []

    def forge(message: Any) -> Message:
        said.extend([message.counted] if message.counted is not None else [])
        return message if message.sum == "votes" else message.model_copy(update={"counted": said[0]})  # type: ignore[no-any-return]

    _lying_to_all(monkeypatch, run, forge)
    _refused(run, "A custodian's word came for a sum that it does not count", "proof values", "model")


def test_counts_in_which_ours_are_left_out_are_refused_though_the_custodian_signed_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """i0 released its votes; the server says that nothing came, and the custodian counts the others."""
    run = Run(_FOUR, tmp_path)

    def forge(message: Any) -> Message:
        counted = open_envelope(message.counted, run.charter.keys).model_copy(
            update={"contributors": ("i1", "i2", "i3")}
        )
        return message.model_copy(update={"counted": seal(counted, CUSTODIAN)})  # type: ignore[no-any-return]

    _lying_to_all(monkeypatch, run, forge)
    _refused(run, "Our votes are not counted", "proof votes", "masked values")


def test_a_witness_that_vouches_for_counts_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in league with the witness sends its word instead of a proof that is missing."""
    run = Run(replace(_FOUR, witness="auditor"), tmp_path)
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
    _refused(run, "A witness can't vouch for counts that the custodian decrypts", "masked values", "model")


def test_a_server_of_the_honest_code_does_not_publish_other_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_FOUR, tmp_path)

    class Another(AddingUp):
        def __call__(self, server: Server, name: Any, lane: Lane) -> LaneBlob:
            honest = super().__call__(server, name, lane)
            return honest.model_copy(update={"blob": "ab" * 32}) if name == "votes" else honest

    monkeypatch.setattr(embedded, "AddingUp", Another)
    with pytest.raises(LocalProtocolError, match="We publish other counts than the custodian's"):
        _play(run)
    assert "sums votes" not in run.said(run.plan())


# Another charter with the same keys.


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
    run = Run(_MASKS, tmp_path / "true")
    assert run.office is not None
    votes, words = _victim(run, tmp_path)
    fake = _fake(run, tmp_path / "fake", words, monkeypatch)
    fooled = Office(CUSTODIAN, 4, run.office._keys, Journal(), tmp_path / "scratch")
    fooled.sign(fake.charter)
    fake.participants = replace(fake.participants, custodian=fooled)
    with pytest.raises(RemoteProtocolError, match="are not the sum of what the institutions sent"):
        _play(fake)
    (sums,) = (said for said in fake.messages(fake.plan()) if isinstance(said, Sums))
    (lane,) = fake.plan().context.lanes
    counts = lane.votes.unpack(fake.transcript.blobs.get(sums.lanes[0].blob), lane.length)
    assert np.array_equal(counts, votes)


def test_a_custodian_that_signed_the_true_charter_counts_nothing_under_an_invented_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_MASKS, tmp_path / "true")
    assert run.office is not None
    fake = _fake(run, tmp_path / "fake", _victim(run, tmp_path)[1], monkeypatch)
    with pytest.raises(LocalProtocolError, match=rf"is for charter {digest(run.charter)} round 0, not for charter"):
        _play(fake)
    assert {"counted", "sums votes"}.isdisjoint(fake.said(fake.plan()))
    with pytest.raises(LocalProtocolError, match=rf"was decided as for charter {digest(run.charter)} round 0"):
        run.office.sign(fake.charter)


def test_an_institution_encrypts_nothing_under_a_charter_that_the_custodian_did_not_sign(tmp_path: Path) -> None:
    run = Run(_MASKS, tmp_path / "true")
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
    run = Run(_MASKS, tmp_path / "true")
    assert run.office is not None
    fresh = Office(CUSTODIAN, 4, run.office._keys, Journal(), tmp_path / "scratch")
    run.participants = replace(run.participants, custodian=fresh)
    with pytest.raises(LocalProtocolError, match="is for no charter yet, not for charter"):
        _play(run)
    assert "counted" not in run.said(run.plan())


def test_the_keys_of_one_round_do_not_serve_another(tmp_path: Path) -> None:
    """A charter that exchanges the contexts of two rounds is another charter, and is not signed with the same keys."""
    run = Run(replace(_MASKS, schedule=("0.25", "0.5")), tmp_path)
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
    run = Run(_MASKS, tmp_path)
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
