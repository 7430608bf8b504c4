"""The custodian reads a charter, signs it, and signs no other with the same keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedspallm_secure.charter import Charter, CharterSignature, CharterSignatures, MaskedVotes, check_charter_signatures
from fedspallm_secure.messages import canonical, digest
from tests.custodian.waiting_run import SMALL, Waiting, custodian, keygen, refused, start


@pytest.fixture
def waiting(tmp_path: Path) -> Waiting:
    """A run that proposes its charter."""
    waiting = start(tmp_path)
    waiting.exchange.propose(waiting.run.charter)
    return waiting


def _sign(waiting: Waiting, *more: str, answer: str = "") -> tuple[int, str]:
    done = custodian("sign", waiting.keys, waiting.folder, *more, answer=answer)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def _changed(charter: Charter, **changes: object) -> Charter:
    return charter.model_copy(update=changes)


def test_before_it_signs_it_is_shown_who_is_in_it_and_what_it_promises(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    code, said = _sign(waiting, answer="y\n")
    assert code == 0, said
    charter = waiting.run.charter
    for name, key in charter.keys.items():
        assert name in said
        assert key in said
    assert digest(charter) in said
    assert "still see no sum of votes" in said
    assert "to count the votes of the one round once" in said
    assert "Sign? [y/N]" in said
    signature = CharterSignature.model_validate_json(waiting.exchange.signature.read_bytes())
    waiting.write_signatures(signature)
    signed = CharterSignatures.model_validate_json(waiting.run.transcript.signatures.read_bytes())
    check_charter_signatures(charter, signed)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_who_says_no_or_nothing_has_signed_nothing_and_may_sign_another(waiting: Waiting, answer: str) -> None:
    code, said = _sign(waiting, answer=answer)
    assert code == 3
    assert said.endswith("Nothing was signed.")
    assert not waiting.exchange.signature.exists()
    waiting.exchange.propose(_changed(waiting.run.charter, run="another"))
    assert _sign(waiting, "--yes")[0] == 0


def test_the_same_charter_is_signed_again_and_no_other_ever(waiting: Waiting) -> None:
    assert _sign(waiting, "--yes")[0] == 0
    first = waiting.exchange.signature.read_bytes()
    waiting.exchange.signature.unlink()
    assert _sign(waiting, "--yes")[0] == 0
    assert waiting.exchange.signature.read_bytes() == first
    waiting.exchange.signature.unlink()
    waiting.exchange.propose(_changed(waiting.run.charter, run="another"))
    done = custodian("sign", waiting.keys, waiting.folder, "--yes")
    assert done.returncode == 7
    message = done.stderr.splitlines()
    assert message[-2].startswith("error: CKKS key ")
    assert f"was decided as for charter {digest(waiting.run.charter)} round 0 before" in message[-2]
    assert not waiting.exchange.signature.exists()


def _other_keys(waiting: Waiting, tmp_path: Path) -> Charter:
    return start(tmp_path / "other").run.charter


def _other_key_for_counts(waiting: Waiting, tmp_path: Path) -> Charter:
    charter = waiting.run.charter
    assert charter.custodian is not None
    stranger = charter.custodian.model_copy(update={"public_key": "ab" * 32})
    return _changed(charter, votes=charter.votes.model_copy(update={"custodian": stranger}))


def _one_more_institution(waiting: Waiting, tmp_path: Path) -> Charter:
    keys = keygen(tmp_path / "four", institutions=4)
    charter = start(tmp_path / "other", replace(SMALL, clients=4), keys).run.charter
    return _changed(charter, votes=waiting.run.charter.votes)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda waiting, _: _changed(waiting.run.charter, votes=MaskedVotes()), "does not name the custodian"),
        (_other_keys, "does not name the custodian"),
        (_other_key_for_counts, "does not name the custodian"),
        (_one_more_institution, "The charter of 4 institutions and 1 rounds does not name"),
        (lambda waiting, _: _changed(waiting.run.charter, schedule=("0.5", "0.6")), "1 CKKS contexts for 2 rounds"),
        (lambda waiting, _: _changed(waiting.run.charter, schedule=("2",)), "'2' is not a pruning pattern"),
    ],
)
def test_a_charter_that_breaks_a_rule_or_is_not_for_these_keys_is_refused(
    waiting: Waiting, tmp_path: Path, make: Callable[[Waiting, Path], Charter], part: str
) -> None:
    before = (waiting.keys / "journal").read_bytes()
    waiting.exchange.propose(make(waiting, tmp_path))
    refused(custodian("sign", waiting.keys, waiting.folder, "--yes"), 6, part)
    assert (waiting.keys / "journal").read_bytes() == before
    assert not waiting.exchange.signature.exists()


def test_what_a_forger_writes_does_not_reach_the_terminal_as_it_is(waiting: Waiting) -> None:
    base = waiting.run.charter.base
    named = base.pruned[0].model_copy(update={"name": "\x1b[2Jlane", "rows": 0})
    forged = _changed(waiting.run.charter, base=base.model_copy(update={"pruned": (named, *base.pruned[1:])}))
    waiting.exchange.propose(forged)
    done = custodian("sign", waiting.keys, waiting.folder, "--yes")
    assert done.returncode == 6
    assert "\x1b" not in done.stderr + done.stdout
    assert "[U+001B][2Jlane" in done.stderr


def test_where_no_charter_is_proposed_nothing_is_due(waiting: Waiting) -> None:
    waiting.exchange.charter.unlink()
    assert _sign(waiting, "--yes") == (3, f"{waiting.folder} proposes no charter to sign.")


def test_a_run_is_found_by_each_of_its_names(waiting: Waiting, tmp_path: Path) -> None:
    partial = tmp_path / "out.partial"
    waiting.folder.rename(partial)
    for name in ("out.partial", "out", "out.partial/transcript"):
        done = custodian("sign", waiting.keys, tmp_path / name, "--yes")
        assert done.returncode == 0, done.stderr
        (partial / "custodian" / "charter.signature.json").unlink()
    for name in ("none", "keys", "out.partial/custodian"):
        refused(custodian("sign", waiting.keys, tmp_path / name, "--yes"), 2, "is no folder of a run")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"null"])
def test_a_file_that_is_no_charter_is_refused(waiting: Waiting, content: bytes) -> None:
    waiting.exchange.charter.write_bytes(content)
    refused(custodian("sign", waiting.keys, waiting.folder, "--yes"), 2, str(waiting.exchange.charter))


def test_a_charter_laid_out_for_people_is_the_same_charter(waiting: Waiting) -> None:
    waiting.exchange.charter.write_text(waiting.run.charter.model_dump_json(indent=2), encoding="utf-8")
    assert waiting.exchange.charter.read_bytes() != canonical(waiting.run.charter)
    assert _sign(waiting, "--yes")[0] == 0
