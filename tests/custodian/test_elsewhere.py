"""A run whose custodian answers by files ends as every other, and takes no answer that is not the custodian's."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedspallm_secure.audit import audit
from fedspallm_secure.charter import CharterSignature, load_key, sign_charter
from fedspallm_secure.custodian import Elsewhere, Exchange
from fedspallm_secure.errors import ConfigError, FedspallmError, RemoteProtocolError, StorageError
from fedspallm_secure.messages import Counted, Envelope, Identity, canonical, open_envelope, seal
from tests.custodian.waiting_run import SMALL, Waiting, custodian, keygen, start
from tests.rounds.synthetic import Run, Setting


class _AtWork:
    """The custodian, who comes by whenever the run waits, and runs the command that the run has shown."""

    def __init__(self, waiting: Waiting) -> None:
        self.waiting = waiting
        self.said: list[str] = []
        self.calls: list[str] = []

    def __call__(self, seconds: float) -> None:
        assert len(self.calls) < 50, "the run waits for something else"
        verb, keys, run = self.said[-1].split("fedspallm custodian ")[1].split()
        self.calls.append(verb)
        exchange = self.waiting.exchange
        if not (exchange.signature if verb == "sign" else exchange.counted(self.number)).exists():
            done = custodian(verb, keys, run, *(["--yes"] if verb == "sign" else []))
            assert done.returncode == 0, done.stderr

    @property
    def number(self) -> int:
        """The round that the run was heard to wait for."""
        return int(self.said[-1].split("round ")[1].split(":")[0]) - 1


def _whole_run(waiting: Waiting) -> list[str]:
    """All rounds; what the run said, in order."""
    work = _AtWork(waiting)
    seat = waiting.elsewhere(work, work.said)
    waiting.write_signatures(seat.sign(waiting.run.charter))
    waiting.run.participants = replace(waiting.run.participants, custodian=seat)
    current = waiting.run.base
    for number in range(len(waiting.run.setting.schedule)):
        plan = waiting.run.plan(number)
        _, current = waiting.run.round(plan, current, waiting.run.prune(plan, current))
    return work.said


@pytest.mark.parametrize(
    "setting",
    [
        SMALL,
        Setting(clients=4, layers=2, ckks=True, seed=1),
        Setting(clients=3, method="wanda", schedule=("0.25", "0.5"), ckks=True, seed=2),
    ],
    ids=["wanda", "sparsegpt", "two rounds"],
)
def test_the_model_is_that_of_masked_votes_and_the_audit_is_clean(setting: Setting, tmp_path: Path) -> None:
    waiting = start(tmp_path, setting)
    said = _whole_run(waiting)
    assert len(said) == 1 + len(setting.schedule)
    assert said[0].endswith(f"fedspallm custodian sign {waiting.keys} {waiting.folder}")
    assert said[1].endswith(f"fedspallm custodian count {waiting.keys} {waiting.folder}")
    masked = Run(replace(setting, ckks=False), tmp_path / "masked")
    current = masked.base
    for number in range(len(setting.schedule)):
        plan = masked.plan(number)
        _, current = masked.round(plan, current, masked.prune(plan, current))
    assert waiting.run.result.model == masked.result.model
    assert not waiting.exchange.folder.exists()
    verdict = audit(waiting.run.transcript.folder, depth="full")
    assert verdict.status != "failed", verdict


def test_who_was_given_only_the_offer_is_told_that_keys_are_elsewhere(tmp_path: Path) -> None:
    waiting = start(tmp_path)
    given = tmp_path / "given"
    given.mkdir()
    for name in ("offer.json", "round-0001.context"):
        (given / name).write_bytes((waiting.keys / name).read_bytes())
    said: list[str] = []

    def come(seconds: float) -> None:
        if not waiting.exchange.signature.exists():
            waiting.sign()

    seat = replace(waiting, keys=given).elsewhere(come, said)
    seat.sign(waiting.run.charter)
    assert said[0].endswith(f"fedspallm custodian sign KEYS {waiting.folder}")


def test_an_answer_that_is_there_already_is_taken_without_a_word(tmp_path: Path) -> None:
    waiting = start(tmp_path)
    waiting.sign()
    said: list[str] = []
    waiting.elsewhere(lambda _: None, said).sign(waiting.run.charter)
    assert said == []


def test_an_answer_that_is_copied_slowly_is_read_when_it_is_whole(tmp_path: Path) -> None:
    waiting = start(tmp_path)
    waiting.sign()
    path = waiting.exchange.signature
    whole = path.read_bytes()
    path.unlink()
    parts = [whole[:10], whole[:20], whole]

    def come(seconds: float) -> None:
        if parts:
            path.write_bytes(parts.pop(0))

    signature = waiting.elsewhere(come, []).sign(waiting.run.charter)
    assert canonical(signature) == whole


def _of_server(waiting: Waiting) -> bytes:
    return canonical(sign_charter(waiting.run.charter, [waiting.run.participants.server]).signatures[0])


def _in_its_name(waiting: Waiting) -> bytes:
    signed = sign_charter(waiting.run.charter, [waiting.run.participants.server]).signatures[0]
    return canonical(signed.model_copy(update={"keyid": "notary"}))


def _under_another(waiting: Waiting) -> bytes:
    other = start(waiting.folder.parent / "other", keys=waiting.keys)
    other.run.charter = other.run.charter.model_copy(update={"run": "another"})
    other.sign()
    return other.exchange.signature.read_bytes()


def _in_other_form(waiting: Waiting) -> bytes:
    waiting.sign()
    return waiting.exchange.signature.read_bytes() + b"\n"


def _no_base64(waiting: Waiting) -> bytes:
    return canonical(CharterSignature(keyid="notary", sig="A"))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda _: b"", "invalid JSON"),
        (lambda _: b"{}", "keyid: field required"),
        (_no_base64, "it is not the signature of 'notary' under the charter"),
        (_in_other_form, "it is not in canonical form"),
        (_of_server, "it is not the signature of 'notary' under the charter"),
        (_in_its_name, "it is not the signature of 'notary' under the charter"),
        (_under_another, "it is not the signature of 'notary' under the charter"),
    ],
)
def test_a_signature_that_is_not_the_custodians_is_refused_with_what_to_do(
    tmp_path: Path, change: Callable[[Waiting], bytes], part: str
) -> None:
    waiting = start(tmp_path)
    waiting.exchange.folder.mkdir(exist_ok=True)
    waiting.exchange.signature.write_bytes(change(waiting))
    with pytest.raises(RemoteProtocolError) as refusal:
        waiting.elsewhere(lambda _: None, []).sign(waiting.run.charter)
    assert part in refusal.value.problem
    assert str(waiting.exchange.signature) in refusal.value.problem
    assert f"fedspallm custodian sign {waiting.keys} {waiting.folder}" in refusal.value.todo


def _counted(waiting: Waiting) -> Counted:
    envelope = Envelope.model_validate_json(waiting.answer.read_bytes())
    message = open_envelope(envelope, waiting.run.charter.keys)
    assert isinstance(message, Counted)
    return message


def _says(waiting: Waiting, **changes: object) -> bytes:
    """The answer with changes, signed with the custodian's own key."""
    notary = Identity("notary", load_key(waiting.keys / "signing-key.pem"))
    return canonical(seal(_counted(waiting).model_copy(update=changes), notary))


def _by_server(waiting: Waiting) -> bytes:
    envelope = seal(_counted(waiting), waiting.run.participants.server)
    signature = envelope.signatures[0].model_copy(update={"keyid": "notary"})
    return canonical(envelope.model_copy(update={"signatures": (signature,)}))


def _other_message(waiting: Waiting) -> bytes:
    first = waiting.run.entries()[0]
    return canonical(first)


def _garbled(waiting: Waiting) -> bytes:
    envelope = Envelope.model_validate_json(waiting.answer.read_bytes())
    payload = base64.b64encode(base64.b64decode(envelope.payload)[:-1]).decode()
    return canonical(envelope.model_copy(update={"payload": payload}))


_WRONG: list[tuple[Callable[[Waiting], bytes], str]] = [
    (lambda _: b"[]", "is no answer of the custodian 'notary'"),
    (_garbled, "The signature of 'notary' does not hold"),
    (_by_server, "The signature of 'notary' does not hold"),
    (_other_message, "is not in the charter"),
    (lambda waiting: _says(waiting, charter="ab" * 32), "it says nothing about round 1 of this charter"),
    (lambda waiting: _says(waiting, round=1), "it says nothing about round 1 of this charter"),
    (lambda waiting: _says(waiting, survivors="ab" * 32), "for other survivors than those confirmed"),
    (lambda waiting: _says(waiting, contributors=("i0", "i1")), "votes of others than those whose ciphertexts came"),
    (lambda waiting: _says(waiting, lanes=_counted(waiting).lanes[:1]), "The custodian"),
]


@pytest.mark.parametrize(("change", "part"), _WRONG)
def test_counts_that_are_not_the_custodians_or_not_of_this_round_are_refused(
    tmp_path: Path, change: Callable[[Waiting], bytes], part: str
) -> None:
    waiting = start(tmp_path)
    waiting.sign()

    def come(seconds: float) -> None:
        if not waiting.answer.exists():
            assert waiting.count().returncode == 0
            waiting.answer.write_bytes(change(waiting))

    waiting.run.participants = replace(waiting.run.participants, custodian=waiting.elsewhere(come, []))
    plan = waiting.run.plan()
    with pytest.raises(RemoteProtocolError, match=part):
        waiting.run.round(plan, waiting.run.base, waiting.run.prune(plan, waiting.run.base))
    assert "sums votes" not in waiting.run.said(plan)


def test_answers_of_an_earlier_attempt_are_not_taken_for_those_of_this_one(tmp_path: Path) -> None:
    waiting = start(tmp_path)
    waiting.exchange.folder.mkdir(exist_ok=True)
    waiting.answer.write_bytes(b"of another charter")
    _whole_run(waiting)


def _gone(keys: Path) -> None:
    (keys / "round-0001.context").unlink()


def _other_context(keys: Path) -> None:
    other = keygen(keys.with_name("other"))
    (keys / "round-0001.context").write_bytes((other / "round-0001.context").read_bytes())


def _no_offer(keys: Path) -> None:
    (keys / "offer.json").write_bytes(b"{}")


@pytest.mark.parametrize(
    ("numbers", "damage", "kind", "part"),
    [
        ((4, 1), None, ConfigError, "is for 3 institutions and 1 rounds; the run has 4 and 1"),
        ((3, 2), None, ConfigError, "is for 3 institutions and 1 rounds; the run has 3 and 2"),
        ((3, 1), _gone, StorageError, "round-0001.context can't be read"),
        ((3, 1), _other_context, StorageError, "is not the context that offer.json names for round 1"),
        ((3, 1), _no_offer, ConfigError, "is no custodian's offer"),
    ],
)
def test_an_offer_that_will_not_do_is_refused_before_anything_is_proposed(
    tmp_path: Path,
    numbers: tuple[int, int],
    damage: Callable[[Path], None] | None,
    kind: type[FedspallmError],
    part: str,
) -> None:
    keys = keygen(tmp_path / "keys")
    if damage is not None:
        damage(keys)
    with pytest.raises(kind, match=part):
        Elsewhere(keys / "offer.json", *numbers, Exchange(tmp_path / "run"), print)
    assert not (tmp_path / "run").exists()
