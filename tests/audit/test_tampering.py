"""Whoever drops, adds, moves or replaces an entry of a log is found; and nobody is blamed who did not do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedspallm_secure.messages import (
    Envelope,
    ModelStatement,
    canonical,
    seal,
)
from tests.audit.forging import edited, failed, rewritten, signer, written
from tests.audit.honest_transcript import ENCRYPTED, TINY, Honest, record

_SERVER = ("coordinator",)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(replace(TINY, method="wanda"), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(replace(TINY, method="wanda", schedule=("0.25", "0.5")), tmp_path_factory.mktemp("rounds"))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(replace(ENCRYPTED, method="wanda"), tmp_path_factory.mktemp("encrypted"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    """Another run of the same participants, with the same keys."""
    return record(replace(TINY, method="wanda", clip="0.5"), tmp_path_factory.mktemp("other"))


_STRUCTURAL: dict[str, Callable[[list[Envelope], int], list[Envelope]]] = {
    "dropped": lambda entries, at: entries[:at] + entries[at + 1 :],
    "duplicated at once": lambda entries, at: [*entries[: at + 1], *entries[at:]],
    "duplicated at the end": lambda entries, at: [*entries, entries[at]],
    "swapped with the next": lambda entries, at: [*entries[:at], *entries[at : at + 2][::-1], *entries[at + 2 :]],
    "cut off from there": lambda entries, at: entries[:at],
    "moved to the end": lambda entries, at: [*entries[:at], *entries[at + 1 :], entries[at]],
}


@pytest.mark.parametrize("votes", ["small", "encrypted"])
@pytest.mark.parametrize("how", _STRUCTURAL)
def test_an_entry_that_somebody_without_a_key_moves_is_missed_and_nobody_is_blamed(
    votes: str, how: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    small: Honest = request.getfixturevalue(votes)
    entries = small.entries()
    folder = small.copy(tmp_path / "copy")
    for at in range(len(entries)):
        changed = _STRUCTURAL[how](entries, at)
        if changed == entries:  # the last one has no next one
            continue
        (folder / "log.jsonl").write_bytes(b"".join(canonical(entry) + b"\n" for entry in changed))
        verdict = small.audited(folder)
        assert verdict.exit_code == 1, at
        expected = {"A3"} if how.startswith("duplicated") else {"A7"}
        assert expected <= failed(verdict), (at, verdict.failed)
        assert verdict.at_fault == (), at
        if how == "duplicated at the end":
            assert verdict.failed[0].evidence.startswith(f"Entry {len(entries)} is entry {at} again")
        elif how.startswith("duplicated"):
            assert verdict.failed[0].entry == at + 1


def test_an_entry_of_another_run_is_found_wherever_it_is_put(small: Honest, other: Honest, tmp_path: Path) -> None:
    entries, strange = small.entries(), other.entries()
    for at in range(0, len(entries) + 1, 2):
        changed = [*entries[:at], strange[min(at, len(strange) - 1)], *entries[at:]]
        nobody = small.audited(written(small, tmp_path / f"nobody-{at}", changed))
        server = small.audited(rewritten(small, tmp_path / f"server-{at}", changed))
        for verdict, blamed in ((nobody, ()), (server, _SERVER)):
            found = [(finding.number, finding.entry) for finding in verdict.failed]
            assert ("A4", at) in found, found
            assert verdict.at_fault == blamed


def test_an_entry_signed_with_another_key_of_the_roster_is_found_wherever_it_is(small: Honest, tmp_path: Path) -> None:
    entries = small.entries()
    for at, message in enumerate(small.messages()):
        for by in {"i0", "i1", "coordinator"} - {message.sender}:
            changed = edited(small, entries, at, by)
            write = rewritten if at % 3 else written
            verdict = small.audited(write(small, tmp_path / f"{at}-{by}", changed))
            assert [(f.number, f.entry) for f in verdict.failed if f.number != "A7"] == [("A4", at)]
            assert verdict.at_fault == (_SERVER if at % 3 else ())
        own_name = seal(message, signer(small, "i2" if message.sender != "i2" else "i1"))
        verdict = small.audited(written(small, tmp_path / f"{at}", [*entries[:at], own_name, *entries[at + 1 :]]))
        assert [(f.number, f.entry) for f in verdict.failed if f.number != "A7"] == [("A4", at)]


@pytest.mark.parametrize("votes", ["small", "encrypted"])
@pytest.mark.parametrize("how", ["dropped", "swapped with the next", "moved to the end"])
def test_an_entry_that_the_server_moves_is_missed_by_what_others_signed_and_the_server_is_blamed(
    votes: str, how: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    small: Honest = request.getfixturevalue(votes)
    entries, messages = small.entries(), small.messages()
    last = len(entries) - 1
    for at in range(len(entries)):
        changed = _STRUCTURAL[how](entries, at)
        if changed == entries:
            continue
        verdict = small.audited(rewritten(small, tmp_path / f"{at}", changed))
        unsettled = at == last if how == "dropped" else isinstance(messages[at], ModelStatement) and at < last - 1
        if how == "moved to the end" and at >= last - 3:
            unsettled = False  # the server's own word must be the last
        if unsettled:
            # So would the log look if the round had not ended, or the statements had come so. Cosignatures settle it:
            # nobody but the institutions can give them.
            assert verdict.exit_code == 3, at
            assert "A8" in {finding.number for finding in verdict.skipped}
        else:
            assert verdict.exit_code == 1, at
            assert verdict.at_fault == _SERVER, at
            assert any(finding.entry is not None for finding in verdict.failed)


@pytest.mark.parametrize("votes", ["small", "encrypted"])
def test_a_log_that_the_server_cuts_is_a_round_without_an_end(
    votes: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    small: Honest = request.getfixturevalue(votes)
    entries = small.entries()
    for size in range(0, len(entries), 2):
        verdict = small.audited(rewritten(small, tmp_path / f"{size}", entries[:size]))
        assert (verdict.exit_code, verdict.failed) == (3, ())
        assert "A18" in {finding.number for finding in verdict.skipped}


def test_rounds_that_are_out_of_order_or_without_an_end_are_found(rounds: Honest, tmp_path: Path) -> None:
    entries = rounds.entries()
    end = next(at for at, message in enumerate(rounds.messages()) if message.round == 1)
    without_end = [*entries[: end - 1], *entries[end:]]
    verdict = rounds.audited(rewritten(rounds, tmp_path / "without", without_end))
    assert {"A6", "A18"} <= failed(verdict)
    assert verdict.at_fault == _SERVER
    assert [finding.entry for finding in verdict.failed if finding.number == "A18"] == [end - 1]
    turned = [*entries[end:], *entries[:end]]
    verdict = rounds.audited(rewritten(rounds, tmp_path / "turned", turned))
    assert {"A5", "A6", "A9"} <= failed(verdict)
    assert verdict.at_fault == _SERVER
    verdict = rounds.audited(rewritten(rounds, tmp_path / "second", entries[end:]))
    assert {"A5", "A6", "A18"} <= failed(verdict)


def test_a_server_that_writes_a_whole_log_by_itself_cannot_sign_for_the_institutions(
    small: Honest, tmp_path: Path
) -> None:
    invented = record(replace(TINY, method="wanda", seed=1), tmp_path)
    run = small.run
    entries = []
    for message in invented.messages():
        said = message.model_copy(update={"charter": run.plan().context.digest})
        entry = seal(said, run.participants.server)
        named = entry.signatures[0].model_copy(update={"keyid": message.sender})
        entries.append(entry.model_copy(update={"signatures": (named,)}))
    verdict = small.audited(rewritten(small, tmp_path / "rewritten", entries))
    assert [(f.number, f.entry) for f in verdict.failed] == [("A4", 0)]
    assert verdict.at_fault == _SERVER


def test_a_run_among_invented_institutions_is_in_order_and_the_verdict_says_what_tells_it_from_the_true_one(
    small: Honest, tmp_path: Path
) -> None:
    invented = record(replace(TINY, method="wanda", seed=1), tmp_path)
    true, false = small.audited(), invented.audited()
    assert false.status == "verified"
    assert false.charter != true.charter
    assert {p.key for p in false.participants}.isdisjoint({p.key for p in true.participants})
    assert any("public keys belong to the institutions" in sentence for sentence in false.not_proven)
