"""A run whose votes were encrypted, as an auditor tells it: without the key or TenSEAL, and without saying more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from fedspallm_secure.audit import Depth, Verdict, audit, show_verdict, to_json
from fedspallm_secure.audit.copies import DamagedError, MissingError
from fedspallm_secure.audit.receipt import check_receipt, prove
from fedspallm_secure.messages import Encrypted
from tests.audit.honest_transcript import ENCRYPTED, TINY, Honest, record
from tests.rounds.synthetic import Setting

_FOUR = Setting(clients=4, layers=1, shapes=((4, 8), (4, 8)), minimum_cohort=4, dropouts=1, method="wanda", ckks=True)
_ABSENT = ["torch", "transformers", "datasets", "matplotlib", "tenseal"]
_COMMAND = Path(sys.executable).parent / "fedspallm"
_ALONE = "rest on the custodian's word alone"
_KEY = "its key opens each institution's ciphertexts too"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(ENCRYPTED, tmp_path_factory.mktemp("honest"))


@pytest.fixture(scope="module")
def three_of_four(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    """i1 vanishes before it hands over its ciphertexts."""
    return record(_FOUR, tmp_path_factory.mktemp("three"), {"i1": "confirmed votes"})


@pytest.mark.parametrize("depth", ["public", "full"])
def test_it_is_audited_where_neither_torch_nor_tenseal_is(honest: Honest, depth: str, tmp_path: Path) -> None:
    out = tmp_path / "verdict.json"
    words = ["fedspallm", "audit", honest.folder, "--base", honest.base, "--model", honest.model]
    words += ["--depth", depth, "--format", "json", "--out", out]
    script = (
        f"import sys; sys.modules |= dict.fromkeys({_ABSENT!r}); sys.argv = {[str(word) for word in words]!r};"
        "from fedspallm_secure.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, "VERIFIED: " in done.stderr) == (0, True), done.stderr
    found = {finding["number"]: finding for finding in json.loads(out.read_bytes())["findings"]}
    assert {finding["status"] for finding in found.values()} == {"ok"}
    assert ({"A20", "A21"} <= found.keys()) == (depth == "full")
    assert found["A23"]["evidence"] == "1 contexts."


@pytest.mark.parametrize("depth", ["public", "full"])
def test_without_the_models_what_hangs_on_them_is_skipped_and_the_rest_holds(honest: Honest, depth: Depth) -> None:
    verdict = audit(honest.folder, depth=depth)
    assert {finding.number for finding in verdict.skipped} == {"A16", "A17"}
    assert verdict.exit_code == 3


def test_at_public_depth_no_ciphertext_is_read(honest: Honest) -> None:
    blobs = {lane.blob for message in honest.messages() if isinstance(message, Encrypted) for lane in message.lanes}
    size = sum((honest.folder / "blobs" / blob).stat().st_size for blob in blobs)
    public, full = honest.audited(depth="public"), honest.audited()
    assert full.bytes_read - public.bytes_read >= size


def _not_proven(setting: Setting, folder: Path, when: Mapping[str, str]) -> str:
    return " ".join(record(setting, folder, when).audited().not_proven)


def test_what_hangs_on_the_custodian_is_said_to_be_not_proven_and_only_where_there_is_one(tmp_path: Path) -> None:
    assert "custodian" not in _not_proven(TINY, tmp_path / "masked", {})
    proved = _not_proven(_FOUR, tmp_path / "proved", {"i1": "confirmed votes"})
    assert _KEY in proved
    assert "if an institution helped the custodian" in proved
    assert _ALONE not in proved
    twice = replace(_FOUR, schedule=("0.25", "0.5"))
    unproven = _not_proven(twice, tmp_path / "unproven", {"i1": "sums votes"})
    assert _KEY in unproven
    assert "That the counts of round 1 are those of the ciphertexts" in unproven
    assert _ALONE in unproven


def test_what_full_depth_would_add_is_told_as_it_is(honest: Honest) -> None:
    public = " ".join(honest.audited(depth="public").not_proven)
    assert "an audit at full depth computes them again, and of encrypted votes the sum of the ciphertexts" in public
    assert "an audit at full depth" not in " ".join(honest.audited().not_proven)


def test_a_log_that_ends_before_the_proofs_leaves_the_counts_to_the_custodians_word(
    honest: Honest, tmp_path: Path
) -> None:
    entries = (honest.folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    kinds = [message.kind for message in honest.messages()]
    folder = honest.copy(tmp_path / "copy")
    for end, alone in (
        (kinds.index("sums"), False),
        (kinds.index("sums") + 1, True),
        (kinds.index("proofs") + 1, False),
    ):
        (folder / "log.jsonl").write_bytes(b"".join(entries[:end]))
        assert (_ALONE in " ".join(honest.audited(folder).not_proven)) == alone


def test_the_verdict_tells_the_custodians_part(three_of_four: Honest) -> None:
    verdict = three_of_four.audited()
    (person,) = [person for person in verdict.participants if person.role == "custodian"]
    assert (person.name, person.entries, person.contributed, person.cosigned) == ("custodian", 1, (), False)
    told = {event.kind: (event.step, event.sender, event.said) for event in verdict.events}
    assert told["encrypted"][::2] == ("votes", "encrypted its votes: 2 lanes, of which it told the digests.")
    assert told["release"][::2] == ("votes", "handed over its ciphertexts.")
    assert told["collected"][1:] == ("coordinator", "collected the ciphertexts of i0, i2, i3, for the custodian.")
    assert told["counted"] == ("votes", "custodian", "counted the votes of i0, i2, i3: 2 lanes.")
    contributed = {person.name: person.contributed for person in verdict.participants}
    assert (contributed["i0"], contributed["i1"]) == (("round 1 votes",), ())
    (possible,) = [finding.evidence for finding in verdict.findings if finding.number == "A14"]
    assert possible == "Round 1: 2 sums of lanes. Round 1: custodian counted the votes of 3 institutions."
    written = json.loads(to_json(verdict))
    assert {"custodian"} == {one["name"] for one in written["participants"] if one["role"] == "custodian"}
    assert "custodian" in _printed(verdict)


def _printed(verdict: Verdict) -> str:
    console = Console(width=100, file=StringIO(), color_system=None)
    with console.capture() as capture:
        show_verdict(verdict, console)
    return capture.get()


def test_all_positions_that_take_part_in_the_values_are_told(honest: Honest) -> None:
    (eligible,) = [finding.evidence for finding in honest.audited().findings if finding.number == "A16"]
    plan = honest.run.plan()
    values = next(m for m in honest.messages() if m.kind == "masked" and m.sum == "values")
    (words,) = [lane.words for lane in values.lanes]
    digits = plan.lanes[0].values.digits
    positions = int(eligible.removeprefix("Round 1: ").removesuffix(" positions."))
    assert (words - 1) * digits < positions <= words * digits


def test_encrypted_votes_have_a_receipt_if_they_were_counted(three_of_four: Honest) -> None:
    charter = three_of_four.run.charter
    sent = {message.sender: message for message in three_of_four.messages() if isinstance(message, Encrypted)}
    assert sent.keys() == set(three_of_four.run.names)
    for name in ("i0", "i2", "i3"):
        found = check_receipt(prove(three_of_four.folder, name, "votes"), charter)
        assert (found.contribution, found.sum, found.attempt) == (sent[name], "votes", 0)
    with pytest.raises(MissingError, match="'i1' is not in the votes of round 1"):
        prove(three_of_four.folder, "i1", "votes")
    with pytest.raises(MissingError, match="does not say who is in the values"):
        prove(three_of_four.folder, "i0", "values")


def test_values_after_encrypted_votes_have_a_receipt_too(honest: Honest) -> None:
    for name in ("votes", "values"):
        receipt = prove(honest.folder, "i1", name)
        assert check_receipt(receipt, honest.run.charter).sum == name


def test_a_receipt_for_votes_that_the_log_lacks_is_not_made(honest: Honest, tmp_path: Path) -> None:
    folder = honest.copy(tmp_path / "copy")
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    at = next(
        at for at, message in enumerate(honest.messages()) if isinstance(message, Encrypted) and message.sender == "i1"
    )
    (folder / "log.jsonl").write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
    with pytest.raises(DamagedError, match="the log has no such contribution"):
        prove(folder, "i1", "votes")


def test_the_command_says_what_a_receipt_for_encrypted_votes_proves(honest: Honest, tmp_path: Path) -> None:
    receipt = tmp_path / "i1.tlog-proof"
    receipt.write_text(prove(honest.folder, "i1", "votes"))
    words = ["audit", "check-proof", str(receipt), "--charter", str(honest.folder / "charter.json")]
    done = subprocess.run([_COMMAND, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "i1 signed a contribution to the votes of round 1, of the encrypted lanes below" in done.stdout
    assert "since its lanes are encrypted" in done.stdout
