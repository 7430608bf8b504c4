"""Two copies of one log: consistent, or a fork that the keeper's own signatures show, or neither."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspallm_secure.audit.compare import Comparison, compare
from fedspallm_secure.audit.copies import read_copy
from fedspallm_secure.errors import ConfigError, StorageError
from fedspallm_secure.messages import Envelope, Identity, canonical, open_envelope
from fedspallm_secure.tlog import leaf_hash
from tests.audit.recorded import checkpoint, copy_of, record
from tests.rounds.synthetic import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two rounds."""
    return record(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def entries(run: Run) -> list[Envelope]:
    """Its log."""
    return run.entries()


def _forked(entries: list[Envelope], place: int) -> list[Envelope]:
    """The same log up to `place`, and then without the entry there."""
    return entries[:place] + entries[place + 1 :]


def _both_ways(first: Path, second: Path) -> Comparison:
    """What the two show, once it is the same in the other order."""
    found, turned = compare(first, second), compare(second, first)
    assert (found.status, found.sizes, bool(found.evidence)) == (
        turned.status,
        turned.sizes[::-1],
        bool(turned.evidence),
    )
    return found


def test_a_copy_is_consistent_with_itself(run: Run, entries: list[Envelope]) -> None:
    found = compare(run.transcript.folder, run.transcript.folder)
    assert (found.status, found.exit_code) == ("consistent", 0)
    assert found.sizes == (len(entries), len(entries))
    assert (found.parted, found.evidence, found.remarks) == (None, None, ())


@pytest.mark.parametrize("size", [0, 1, 69, 70, 71, 139])
def test_a_copy_that_ends_earlier_is_consistent_and_the_other_one_has_more(
    size: int, run: Run, entries: list[Envelope], tmp_path: Path
) -> None:
    early = copy_of(run, tmp_path / "early", entries[:size], {"0001.note": checkpoint(run, entries[: size // 2])})
    found = _both_ways(early, run.transcript.folder)
    assert (found.status, found.sizes, found.remarks) == ("consistent", (size, len(entries)), ())


def test_a_fork_is_shown_by_the_shortest_checkpoints_over_it_with_all_who_signed_them(
    run: Run, entries: list[Envelope], tmp_path: Path
) -> None:
    other = _forked(entries, 30)
    notes = {size: checkpoint(run, entries[:size], ("i0", "i1")) for size in (20, 50, 90)}
    others = {size: checkpoint(run, other[:size], ("i3", "i1")) for size in (25, 60, 100)}
    first = copy_of(run, tmp_path / "a", entries, {f"{size:04}.note": note for size, note in notes.items()})
    second = copy_of(run, tmp_path / "b", other, {f"{size:04}.note": note for size, note in others.items()})
    found = compare(first, second)
    assert (found.status, found.exit_code, found.keeper) == ("fork", 1, "coordinator")
    assert found.evidence is not None
    assert [one.path for one in found.evidence] == [
        first / "checkpoints" / "0050.note",
        second / "checkpoints" / "0060.note",
    ]
    assert [one.note for one in found.evidence] == [notes[50], others[60]]
    assert [one.cosigners for one in found.evidence] == [("i0", "i1"), ("i1", "i3")]
    assert found.parted is not None
    for entry, log, envelope in zip(found.parted, (first, second), (entries[30], entries[31]), strict=True):
        message = open_envelope(envelope, run.charter.keys)
        assert (entry.path, entry.index, entry.problem) == (log / "log.jsonl", 30, None)
        assert (entry.kind, entry.sender) == (message.kind, message.sender)
        assert entry.leaf == leaf_hash(canonical(envelope)).hex()
    assert found.remarks == ()


_SIZES = st.lists(st.integers(0, 23), max_size=3, unique=True)


@settings(max_examples=60)
@given(place=st.integers(0, 21), sizes=st.tuples(_SIZES, _SIZES))
def test_it_is_a_fork_just_if_both_copies_have_a_signed_checkpoint_over_the_place_where_they_part(
    run: Run, entries: list[Envelope], place: int, sizes: tuple[list[int], list[int]]
) -> None:
    logs = entries[:24], _forked(entries, place)[:24]
    with tempfile.TemporaryDirectory() as folder:
        first, second = (
            copy_of(run, Path(folder) / name, log, {f"{size:04}.note": checkpoint(run, log[:size]) for size in own})
            for name, log, own in zip("ab", logs, sizes, strict=True)
        )
        found = _both_ways(first, second)
    assert found.parted is not None
    assert found.parted[0].index == place
    covering = [[size for size in own if size > place] for own in sizes]
    assert found.status == ("fork" if all(covering) else "unproven")
    if found.evidence:
        assert [one.head.size for one in found.evidence] == [min(own) for own in covering]
    for path, own in zip((first, second), covering, strict=True):
        assert any(f"vouches for {path / 'log.jsonl'} " in remark for remark in found.remarks) == (not own)


def test_who_changed_its_own_copy_has_no_evidence_against_the_keeper(
    run: Run, entries: list[Envelope], tmp_path: Path
) -> None:
    notes = {path.name: path.read_text() for path in run.transcript.checkpoint(0).parent.iterdir()}
    changed = copy_of(run, tmp_path / "changed", _forked(entries, 30), notes)
    found = _both_ways(run.transcript.folder, changed)
    assert (found.status, found.exit_code, found.evidence) == ("unproven", 3, None)
    assert f"No checkpoint vouches for {changed / 'log.jsonl'} as far as entry 30" in found.remarks[0]
    assert f"0001.note is signed, but not for {changed / 'log.jsonl'}" in found.remarks[1]
    assert "0002.note is over 140 entries" not in " ".join(found.remarks)


def test_a_checkpoint_of_another_log_than_both_copies_is_no_consistency(
    run: Run, entries: list[Envelope], tmp_path: Path
) -> None:
    strange = checkpoint(run, _forked(entries, 10)[:40])
    short = copy_of(run, tmp_path / "short", entries[:30], {"0001.note": strange})
    long = copy_of(run, tmp_path / "long", entries[:60])
    found = _both_ways(short, long)
    assert (found.status, found.parted, found.evidence) == ("unproven", None, None)
    assert found.remarks == (f"{short / 'checkpoints' / '0001.note'} is signed, but not for {long / 'log.jsonl'}.",)


def test_two_checkpoints_that_contradict_each_other_are_a_fork_even_if_the_logs_do_not_part(
    run: Run, entries: list[Envelope], tmp_path: Path
) -> None:
    strange = checkpoint(run, _forked(entries, 10)[:40])
    short = copy_of(run, tmp_path / "short", entries[:30], {"0001.note": strange})
    for size in (40, 60):
        long = copy_of(run, tmp_path / str(size), entries[:60], {"0001.note": checkpoint(run, entries[:size])})
        found = _both_ways(short, long)
        assert (found.status, found.parted) == ("fork", None)
    alone = copy_of(run, tmp_path / "alone", entries[:60], {"1.note": strange, "2.note": checkpoint(run, entries[:50])})
    found = _both_ways(alone, copy_of(run, tmp_path / "plain", entries[:60]))
    assert found.evidence is not None
    assert [one.path for one in found.evidence] == [alone / "checkpoints" / f"{name}.note" for name in (1, 2)]


def test_a_checkpoint_over_more_than_both_copies_have_is_named(
    run: Run, entries: list[Envelope], tmp_path: Path
) -> None:
    one = copy_of(run, tmp_path / "one", entries[:30], {"0001.note": checkpoint(run, entries[:40])})
    found = _both_ways(one, copy_of(run, tmp_path / "other", entries[:35]))
    assert (found.status, found.exit_code) == ("unproven", 3)
    assert found.remarks == (f"{one / 'checkpoints' / '0001.note'} is over 40 entries, which neither copy has.",)


@pytest.mark.parametrize(
    ("defect", "problem"),
    [
        ("changed root", "The signature of 'fedspallm-secure.invalid/v1/log/"),
        ("changed cosignature", "The signature of 'i2' under the note does not hold"),
        ("stranger's key", "'coordinator', who keeps the log, did not sign the checkpoint"),
        ("cosigned only", "'coordinator', who keeps the log, did not sign the checkpoint"),
        ("another run", "The checkpoint is of the log 'fedspallm-secure.invalid/v1/log/1111"),
        ("no note", "This is no signed note"),
        ("no text", "can't decode byte 0xff"),
        ("line ends", "The note's text holds control characters"),
        ("pipe", "The checkpoint can't be read: it is no file"),
    ],
)
def test_a_checkpoint_that_does_not_hold_counts_as_none_and_is_named(
    defect: str, problem: str, run: Run, entries: list[Envelope], tmp_path: Path
) -> None:
    other = _forked(entries, 30)
    good = checkpoint(run, other[:50], ("i2",))
    stranger = Identity("coordinator", Ed25519PrivateKey.generate())
    lines = good.split("\n")
    head = "\n".join(lines[:4])
    bad = {
        "changed root": good.replace(lines[2], checkpoint(run, entries[:50]).split("\n")[2]).encode(),
        "changed cosignature": good.replace(lines[5], checkpoint(run, entries[:50], ("i2",)).split("\n")[5]).encode(),
        "stranger's key": checkpoint(run, other[:50], ("i2",), stranger).encode(),
        "cosigned only": f"{head}\n{lines[5]}\n".encode(),
        "another run": checkpoint(run, other[:50], ("i2",), charter="11" * 32).encode(),
        "no note": head.encode(),
        "no text": b"\xff" + good.encode(),
        "line ends": good.replace("\n", "\r\n").replace("\r\n\r\n", "\r\n\n").encode(),
    }
    first = copy_of(run, tmp_path / "a", entries, {"0001.note": checkpoint(run, entries[:50])})
    second = copy_of(run, tmp_path / "b", other)
    path = second / "checkpoints" / "0001.note"
    if defect == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(bad[defect])
    found = _both_ways(first, second)
    assert (found.status, found.evidence) == ("unproven", None)
    assert any(remark.startswith(f"{path} does not count: ") and problem in remark for remark in found.remarks)
    if defect != "pipe":
        path.write_bytes(good.encode())
        assert compare(first, second).status == "fork"


def test_a_damaged_line_ends_the_comparison_and_a_fork_before_it_is_still_one(
    run: Run, entries: list[Envelope], tmp_path: Path
) -> None:
    damaged = copy_of(run, tmp_path / "damaged", entries, {"0001.note": checkpoint(run, entries[:50])})
    log = damaged / "log.jsonl"
    lines = log.read_bytes().split(b"\n")
    log.write_bytes(b"\n".join([*lines[:60], b"{}", *lines[61:]]))
    found = _both_ways(damaged, run.transcript.folder)
    assert (found.status, found.sizes) == ("unproven", (60, len(entries)))
    assert found.remarks[0].startswith(f"Line 61 of the log {log} is damaged")
    forked = copy_of(
        run, tmp_path / "forked", _forked(entries, 40), {"1.note": checkpoint(run, _forked(entries, 40)[:45])}
    )
    assert _both_ways(damaged, forked).status == "fork"
    log.write_bytes(b"\n".join(lines[:60]))
    found = compare(damaged, run.transcript.folder)
    assert (found.status, found.sizes) == ("unproven", (59, len(entries)))
    assert found.remarks[0].startswith(f"Line 60 of the log {log} is torn")


def test_an_entry_that_is_no_message_is_shown_with_what_is_wrong(
    run: Run, entries: list[Envelope], tmp_path: Path
) -> None:
    unsigned = entries[5].model_copy(update={"signatures": entries[6].signatures})
    changed = copy_of(run, tmp_path / "changed", [*entries[:5], unsigned, *entries[6:]])
    found = compare(run.transcript.folder, changed)
    assert found.parted is not None
    assert found.parted[0].kind is not None
    assert (found.parted[1].kind, found.parted[1].sender) == (None, None)
    assert "does not hold" in str(found.parted[1].problem)


def test_two_runs_and_what_is_no_transcript_are_refused_as_arguments(
    run: Run, entries: list[Envelope], tmp_path: Path
) -> None:
    here = run.transcript.folder
    other = copy_of(run, tmp_path / "other", entries)
    charter = run.charter.model_copy(update={"run": "another"})
    (other / "charter.json").write_bytes(canonical(charter))
    with pytest.raises(ConfigError, match=r"^These are two runs: the charter of .* has the digest"):
        compare(here, other)
    (other / "charter.json").write_text("{")
    with pytest.raises(ConfigError, match="is no charter"):
        compare(other, here)
    (other / "charter.json").unlink()
    with pytest.raises(ConfigError, match=r"There is no charter\.json in"):
        compare(here, other)
    with pytest.raises(ConfigError, match="none can't be read"):
        compare(here, tmp_path / "none")
    with pytest.raises(ConfigError, match=r"log\.jsonl can't be read"):
        compare(here, here / "log.jsonl")


def test_a_log_that_changes_while_it_is_read_is_refused(run: Run, entries: list[Envelope], tmp_path: Path) -> None:
    copy = read_copy(copy_of(run, tmp_path / "copy", entries[:9]))
    log = copy.transcript.log
    lines = log.read_bytes().splitlines(keepends=True)
    for changed in (lines[:8], [*lines[:3], lines[4], *lines[4:]]):
        log.write_bytes(b"".join(changed))
        with pytest.raises(StorageError, match=r"^Entry [38] of .* was changed while it was read"):
            list(copy.entries())
