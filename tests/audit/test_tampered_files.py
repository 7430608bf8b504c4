"""Payloads, models, the charter and checkpoints can't be exchanged for others; and nobody is blamed for it."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fedspallm_secure.audit import audit
from fedspallm_secure.charter import Charter, CkksVotes, sign_charter
from fedspallm_secure.messages import PAYLOAD_TYPE, Masked, Sums, canonical, pre_authentication_encoding
from fedspallm_secure.tlog import HeldLog, cosign, origin_of
from tests.audit.forging import failed, rewritten, signer
from tests.audit.honest_transcript import ENCRYPTED, TINY, Honest, everybody, record
from tests.rounds.synthetic import Setting

_FOUR = Setting(clients=4, layers=1, shapes=((4, 8), (4, 8)), minimum_cohort=4, dropouts=1)  # 3 of the 4 must be left
_SERVER = ("coordinator",)
_TIME = 1_700_000_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(replace(TINY, method="wanda"), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(_FOUR, tmp_path_factory.mktemp("four"))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    setting = replace(ENCRYPTED, method="wanda", schedule=("0.25", "0.5"))
    return record(setting, tmp_path_factory.mktemp("encrypted"))


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(replace(TINY, method="wanda", schedule=("0.25", "0.5")), tmp_path_factory.mktemp("rounds"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    """Another run of the same participants, with the same keys."""
    return record(replace(TINY, method="wanda", clip="0.5"), tmp_path_factory.mktemp("other"))


def test_payloads_that_are_swapped_are_found_by_name(four: Honest, tmp_path: Path) -> None:
    messages = four.messages()
    masked = [lane.blob for m in messages if m.kind == "masked" for lane in m.lanes]
    sums = [lane.blob for m in messages if isinstance(m, Sums) for lane in m.lanes]
    pairs = [(masked[0], masked[1], "A20"), (masked[0], masked[2], "A20"), (sums[0], sums[1], "A14")]
    for number, (one, two, check) in enumerate([*pairs, (masked[0], sums[0], "A20"), (masked[-1], masked[-2], "A20")]):
        blobs = four.copy(tmp_path / f"{number}") / "blobs"
        (blobs / one).rename(blobs / "aside")
        (blobs / two).rename(blobs / one)
        (blobs / "aside").rename(blobs / two)
        verdict = four.audited(blobs.parent)
        (finding,) = verdict.failed
        assert finding.number == check
        assert one in finding.evidence or two in finding.evidence
        assert verdict.at_fault == ()


def test_ciphertexts_and_contexts_that_are_swapped_are_found_by_name(encrypted: Honest, tmp_path: Path) -> None:
    sent = [lane.blob for m in encrypted.messages() if m.kind == "encrypted" for lane in m.lanes]
    votes = encrypted.run.charter.votes
    assert isinstance(votes, CkksVotes)
    pairs = [(sent[0], sent[1], "A20"), (sent[0], sent[3], "A20"), (*votes.contexts, "A23")]
    for number, (one, two, check) in enumerate(pairs):
        blobs = encrypted.copy(tmp_path / f"{number}") / "blobs"
        (blobs / one).rename(blobs / "aside")
        (blobs / two).rename(blobs / one)
        (blobs / "aside").rename(blobs / two)
        verdict = encrypted.audited(blobs.parent)
        (finding,) = verdict.failed
        assert (finding.number, verdict.at_fault) == (check, ())
        assert one in finding.evidence
        (blobs / one).unlink()
        assert [(f.number, f.at_fault) for f in encrypted.audited(blobs.parent).failed] == [(check, ())]


def test_a_charter_that_names_another_custodian_or_other_contexts_is_signed_by_nobody(
    encrypted: Honest, tmp_path: Path
) -> None:
    charter = encrypted.run.charter
    assert isinstance(charter.votes, CkksVotes)
    custodian = charter.votes.custodian.model_copy(update={"public_key": charter.server_key[::-1]})
    others = [
        charter.votes.model_copy(update={"contexts": charter.votes.contexts[::-1]}),
        charter.votes.model_copy(update={"contexts": ("ab" * 32, charter.votes.contexts[1])}),
        charter.votes.model_copy(update={"custodian": custodian}),
    ]
    for number, votes in enumerate(others):
        folder = encrypted.copy(tmp_path / f"{number}")
        (folder / "charter.json").write_bytes(canonical(charter.model_copy(update={"votes": votes})))
        verdict = encrypted.audited(folder)
        assert {"A2", "A4", "A7"} <= failed(verdict)
        assert ("A23" in failed(verdict)) == (number == 1)
        assert verdict.at_fault == ()
    folder = encrypted.copy(tmp_path / "one-missing")
    signed = sign_charter(charter, [one for one in everybody(encrypted.run) if one.name != "custodian"])
    (folder / "charter.signatures.json").write_bytes(canonical(signed))
    (finding,) = encrypted.audited(folder).failed
    assert finding.number == "A2"
    assert "not signed by custodian" in finding.evidence


def test_a_model_that_differs_in_one_weight_is_found_by_its_tensor(four: Honest, tmp_path: Path) -> None:
    tensors = load_file(four.model / "model.safetensors")
    for name, W in tensors.items():
        changed = W.copy()
        changed.reshape(-1)[1] = np.nextafter(changed.reshape(-1)[1], np.float32(9))
        verdict = audit(
            four.folder, depth="full", base=four.base, model=_model(tmp_path / name, tensors | {name: changed})
        )
        (finding,) = verdict.failed
        assert (finding.number, verdict.at_fault) == ("A19", ())
        assert finding.evidence.startswith(f"Tensor {name}.")
    for changed_names in (dict(list(tensors.items())[1:]), tensors | {"more": tensors["embedding.weight"]}):
        model = _model(tmp_path / f"{len(changed_names)}-tensors", changed_names)
        assert failed(audit(four.folder, depth="full", base=four.base, model=model)) == {"A19"}
    assert failed(audit(four.folder, depth="full", base=four.base, model=four.base)) == {"A19"}


def test_another_base_model_is_not_taken_for_the_charters(four: Honest, tmp_path: Path) -> None:
    other = record(replace(_FOUR, seed=1), tmp_path)
    for base in (other.base, four.model):
        verdict = audit(four.folder, depth="full", base=base, model=four.model)
        (finding,) = verdict.failed
        assert (finding.number, verdict.at_fault) == ("A16", ())
        assert "the charter says" in finding.evidence


def _model(folder: Path, tensors: dict[str, Any]) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def test_a_charter_that_was_changed_is_signed_by_nobody_and_no_entry_is_under_it(small: Honest, tmp_path: Path) -> None:
    charter, server = small.run.charter, small.run.participants.server
    for number, changed in enumerate(_charters(charter)):
        assert changed != charter
        folder = small.copy(tmp_path / f"{number}")
        (folder / "charter.json").write_bytes(canonical(changed))
        verdict = small.audited(folder)
        assert failed(verdict) == {"A2", "A4", "A7"}
        assert verdict.at_fault == ()
        signed = sign_charter(changed, [server])
        (folder / "charter.signatures.json").write_bytes(canonical(signed))
        assert failed(small.audited(folder)) == {"A2", "A4", "A7"}


def _charters(charter: Charter) -> list[Charter]:
    parameters = charter.parameters
    return [
        charter.model_copy(update={"parameters": parameters.model_copy(update={"clip": "2"})}),
        charter.model_copy(update={"parameters": parameters.model_copy(update={"digits_per_word": 5})}),
        charter.model_copy(update={"schedule": ("0.25",)}),
        charter.model_copy(update={"beacon": "ab" * 32}),
        charter.model_copy(update={"run": "other"}),
    ]


def test_a_threshold_that_the_rules_forbid_is_refused_with_the_charter(small: Honest, tmp_path: Path) -> None:
    parameters = small.run.charter.parameters.model_copy(update={"minimum_contributors": 2})
    folder = small.copy(tmp_path / "copy")
    changed = small.run.charter.model_copy(update={"parameters": parameters})
    (folder / "charter.json").write_bytes(canonical(changed))
    verdict = small.audited(folder)
    assert failed(verdict) == {"A1"}
    assert len(verdict.skipped) == 20


def test_signatures_under_the_charter_are_each_there_once_and_by_their_own_key(small: Honest, tmp_path: Path) -> None:
    everybody = small.run.participants.everybody
    signed = sign_charter(small.run.charter, everybody)
    one, two, *more = signed.signatures
    for number, signatures in enumerate(
        [
            (one, *more),
            (one, two, *more, one),
            (one.model_copy(update={"sig": two.sig}), two, *more),
            (one.model_copy(update={"keyid": two.keyid}), two.model_copy(update={"keyid": one.keyid}), *more),
            (one.model_copy(update={"keyid": "stranger"}), two, *more),
        ]
    ):
        folder = small.copy(tmp_path / f"{number}")
        changed = signed.model_copy(update={"signatures": signatures})
        (folder / "charter.signatures.json").write_bytes(canonical(changed))
        verdict = small.audited(folder)
        assert (failed(verdict), verdict.at_fault) == ({"A2"}, ())


def test_a_cosignature_that_is_missing_leaves_the_verdict_open(small: Honest, tmp_path: Path) -> None:
    for index, name in enumerate(small.run.names):
        folder = small.copy(tmp_path / name)
        note = folder / "checkpoints/0001.note"
        lines = note.read_text().splitlines(keepends=True)
        gone = lines.pop(-3 + index)
        assert f" {name} " in gone
        note.write_text("".join(lines))
        verdict = small.audited(folder)
        (finding,) = verdict.skipped
        assert (verdict.exit_code, finding.number) == (3, "A8")
        assert f"0001.note is not cosigned by {name}" in finding.evidence


def test_a_line_of_a_checkpoint_that_is_too_many_or_of_somebody_else_is_found(small: Honest, tmp_path: Path) -> None:
    note = (small.folder / "checkpoints/0001.note").read_text()
    by = small.run.participants.institutions
    last = note.splitlines(keepends=True)[-1]
    forged = replace(by["i0"], name="i2")
    stranger = replace(by["i0"], name="stranger")
    without = note.removesuffix(last)
    keeper = note.splitlines(keepends=True)[-4]
    for number, changed in enumerate(
        [
            note + last,
            note + keeper,
            note + cosign(note, stranger, _TIME),
            note + cosign(note, forged, _TIME),
            without + cosign(note, forged, _TIME),
            without + last.replace(" i2 ", " i1 "),
            note.replace(keeper, ""),
        ]
    ):
        folder = small.copy(tmp_path / f"{number}")
        (folder / "checkpoints/0001.note").write_text(changed)
        verdict = small.audited(folder)
        (finding,) = verdict.failed
        assert (number, finding.number, verdict.at_fault) == (number, "A7", ())
        assert "0001.note" in finding.evidence


def test_a_cosignature_of_somebody_in_the_charter_who_did_not_have_to_is_welcome(tmp_path: Path) -> None:
    honest = record(replace(_FOUR, method="wanda"), tmp_path, {"i1": "proofs votes"})
    path = honest.folder / "checkpoints/0001.note"
    note = path.read_text()
    assert honest.audited().status == "verified"
    path.write_text(note + cosign(note, honest.run.participants.institutions["i1"], _TIME))
    verdict = honest.audited()
    assert verdict.status == "verified"
    assert all(participant.cosigned for participant in verdict.participants if participant.role == "institution")


def test_checkpoints_of_two_rounds_that_change_places_are_found_and_nobody_is_blamed(
    rounds: Honest, tmp_path: Path
) -> None:
    folder = rounds.copy(tmp_path / "copy") / "checkpoints"
    (folder / "0001.note").rename(folder / "aside")
    (folder / "0002.note").rename(folder / "0001.note")
    (folder / "aside").rename(folder / "0002.note")
    verdict = rounds.audited(folder.parent)
    assert (failed(verdict), verdict.at_fault) == ({"A7"}, ())
    folder = rounds.copy(tmp_path / "twice") / "checkpoints"
    (folder / "0002.note").write_bytes((folder / "0001.note").read_bytes())
    verdict = rounds.audited(folder.parent)
    assert (failed(verdict), verdict.at_fault) == ({"A7"}, ())
    assert "0002.note" in verdict.failed[0].evidence
    assert "A8" in {finding.number for finding in verdict.skipped}


def test_a_checkpoint_of_another_run_is_not_this_ones(small: Honest, other: Honest, tmp_path: Path) -> None:
    folder = small.copy(tmp_path / "copy")
    (folder / "checkpoints/0001.note").write_bytes((other.folder / "checkpoints/0001.note").read_bytes())
    verdict = small.audited(folder)
    assert (failed(verdict), verdict.at_fault) == ({"A7"}, ())


def test_a_server_that_signed_two_logs_of_a_size_is_blamed_for_it(small: Honest, tmp_path: Path) -> None:
    log = HeldLog(origin_of(small.run.plan().context.digest))
    for entry in small.entries()[:4][::-1]:
        log.append(entry)
    folder = small.copy(tmp_path / "copy")
    (folder / "checkpoints/0001.note").write_text(log.checkpoint(small.run.participants.server))
    verdict = small.audited(folder)
    assert failed(verdict) == {"A7"}
    assert verdict.at_fault == _SERVER  # its survivors name the log that is here


def test_what_is_no_file_or_is_nested_without_end_is_a_finding_and_no_crash(small: Honest, tmp_path: Path) -> None:
    names = ["charter.json", "charter.signatures.json", "log.jsonl", "checkpoints/0001.note"]
    masked = next(m for m in small.messages() if isinstance(m, Masked))
    deep = b"[" * 100_000 + b"]" * 100_000
    for number, name in enumerate([*names, f"blobs/{masked.lanes[0].blob}"]):
        folder = small.copy(tmp_path / f"{number}-folder")
        (folder / name).unlink()
        (folder / name).mkdir()
        loop = small.copy(tmp_path / f"{number}-loop")
        (loop / name).unlink()
        (loop / name).symlink_to(loop / name)
        nested = small.copy(tmp_path / f"{number}-nested")
        (nested / name).write_bytes(deep + b"\n")
        for copy in (folder, loop, nested):
            verdict = small.audited(copy)
            assert verdict.exit_code in ((1, 3) if name.startswith("checkpoints") else (1,)), (copy, name)
            assert verdict.at_fault == ()
    for payload in (deep, b"1" * 100_000, b'{"kind":' * 10_000, b'{"kind":"model","round":1e999}', b"\xff", b""):
        envelope = small.entries()[-1].model_copy(update={"payload": base64.b64encode(payload).decode()})
        signature = base64.b64encode(
            signer(small, "coordinator").sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
        ).decode()
        signed = envelope.signatures[0].model_copy(update={"sig": signature})
        entries = [*small.entries()[:-1], envelope.model_copy(update={"signatures": (signed,)})]
        verdict = small.audited(rewritten(small, tmp_path / f"payload-{len(payload)}-{payload[:1].hex()}", entries))
        assert (failed(verdict), verdict.at_fault) == ({"A4"}, _SERVER)
