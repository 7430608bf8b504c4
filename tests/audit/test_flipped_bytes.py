"""No byte of a transcript can be changed without an audit's saying so: which check fails, and where.

The place of a change is named so: an entry of the log by its index; a checkpoint and a payload by the name of the file;
of the charter and its signatures, A1 and A2 are about nothing else. Nobody is blamed: anyone can change a copy.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from fedspallm_secure.audit import Depth, Finding, Verdict
from fedspallm_secure.charter import CkksVotes
from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import Counted, Encrypted, Masked, Sums
from tests.audit.honest_transcript import ENCRYPTED, TINY, Honest, record

_HARMLESS_AT_PUBLIC_DEPTH: dict[type[Masked] | type[Encrypted], str] = {
    Masked: "what institutions sent is not read: that the sums are theirs is shown by proofs, or the witness's word",
    Encrypted: "the same: that the counts are of their votes is shown by proofs",
}
"""Kinds of messages whose payloads may change without an audit at public depth, and why. At full depth: none."""

_HARMLESS_BESIDE_THE_TRANSCRIPT = {
    "config.json": "an audit compares tensors; that it does not read this file is said under what is not proven",
    "the base model's tensors that nobody prunes": "the charter has their digests, and nothing is computed from them",
    "the header's padding": "JSON ignores white space",
}
"""Parts of the two models' folders that may change, and why."""

_LETTERS = f"{string.ascii_letters}{string.digits}+/=".encode()
_CLASSES = (string.digits, "abcdef", string.ascii_lowercase, string.ascii_uppercase, '"{}[],:', "+/=", "\n \t")


@dataclass(frozen=True)
class _Flip:
    """One byte of a file that becomes another."""

    name: str
    position: int
    byte: int


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(TINY, tmp_path_factory.mktemp("honest"))


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(replace(TINY, method="wanda"), tmp_path_factory.mktemp("masks"))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(replace(ENCRYPTED, method="wanda"), tmp_path_factory.mktemp("encrypted"))


def test_each_changed_byte_of_any_file_fails_the_check_of_that_file_at_that_place(
    honest: Honest, masks: Honest, tmp_path: Path
) -> None:
    rng = random.Random(0)
    judged = 0
    for run, each in ((masks, 17), (honest, 4)):  # what has no values is quicker to audit
        folder = run.copy(tmp_path / run.run.setting.method)
        assert run.audited(folder).status == "verified"
        files = _files(folder) if run is masks else ["log.jsonl"]
        blobs = [*_blobs(run, Masked), *_blobs(run, Sums)]
        for name in [*files, *(blobs if run is masks else blobs[1::2])]:
            for flip in _flips(folder, name, rng, each):
                _assert_found(run, folder, flip)
                judged += 1
        assert run.audited(folder).status == "verified"  # every byte is back
    assert judged >= 2000


def test_each_changed_byte_of_a_run_with_encrypted_votes_fails_the_check_of_its_file_at_that_place(
    encrypted: Honest, tmp_path: Path
) -> None:
    rng = random.Random(3)
    folder = encrypted.copy(tmp_path / "copy")
    contexts, ciphertexts, counts = _contexts(encrypted), _blobs(encrypted, Encrypted), _blobs(encrypted, Counted)
    assert (len(contexts), len(ciphertexts), counts) == (1, 3, _blobs(encrypted, Sums))
    names = [*_files(folder), *contexts, *ciphertexts, *counts]
    assert set(names) == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in names:
        flips = list(_flips(folder, name, rng, 4))
        for flip in flips if name in counts else rng.sample(flips, min(20, len(flips))):
            _assert_found(encrypted, folder, flip)
    assert encrypted.audited(folder).status == "verified"  # every byte is back


def test_every_other_byte_at_a_place_is_found(masks: Honest, tmp_path: Path) -> None:
    folder = masks.copy(tmp_path / "copy")
    log = (folder / "log.jsonl").read_bytes()
    line = log.index(b"\n") + 1
    for position in (_last_letters(log, line)[0], log.index(b"\n", line)):
        for byte in set(_LETTERS if chr(log[position]) in string.printable[:62] else range(256)) - {log[position]}:
            _assert_found(masks, folder, _Flip("log.jsonl", position, byte))


def test_at_public_depth_only_the_payloads_that_are_not_read_may_change(
    honest: Honest, encrypted: Honest, tmp_path: Path
) -> None:
    rng = random.Random(1)
    for number, run in enumerate((honest, encrypted)):
        folder = run.copy(tmp_path / f"{number}")
        harmless = {name for kind in _HARMLESS_AT_PUBLIC_DEPTH for name in _blobs(run, kind)}
        for name in sorted(harmless):
            for flip in _some(folder, name, rng, 2):
                assert _audited(run, folder, flip, "public").status == "verified"
        read = [*_files(folder), *_blobs(run, Sums), *_contexts(run)]
        assert len(harmless) + len(read) == sum(path.is_file() for path in folder.rglob("*"))
        for name in read:
            for flip in _some(folder, name, rng, 8):
                _assert_found(run, folder, flip, "public")


@pytest.mark.parametrize("votes", ["masks", "encrypted"])
def test_what_is_added_to_a_file_or_cut_from_it_is_found(
    votes: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run: Honest = request.getfixturevalue(votes)
    folder = run.copy(tmp_path / "copy")
    sent = [*_blobs(run, Masked), *_blobs(run, Encrypted)]
    for name in [*_files(folder), *sent[:2], *_blobs(run, Sums), *_contexts(run)]:
        data = (folder / name).read_bytes()
        added = [data + more for more in (b"\0", b"\n", b" ", b"}", data[-1:], data, bytes(8))]
        for changed in [
            *added,
            b"\n" + data,
            b"\xef\xbb\xbf" + data,
            data[:-1],
            data[:-8],
            data[: len(data) // 2],
            b"",
        ]:
            if not name.startswith("blobs") and changed == data:
                continue
            (folder / name).write_bytes(changed)
            verdict = run.audited(folder)
            failed = {finding.number for finding in verdict.failed}
            if name == "log.jsonl" and not changed:
                assert failed == {"A7"}  # an empty log is a log, but not the one that was signed
            else:
                assert failed & _checks(run, name), (name, changed[-20:])
            assert verdict.at_fault == ()
        (folder / name).write_bytes(data)
    assert run.audited(folder).status == "verified"


@pytest.mark.parametrize("which", ["base", "model"])
def test_each_changed_byte_of_a_model_is_found_at_its_tensor_or_its_file_is_refused(
    honest: Honest, which: str, tmp_path: Path
) -> None:
    rng = random.Random(2)
    check = "A16" if which == "base" else "A19"
    folder = {"base": honest.base, "model": honest.model}[which]
    path = folder / "model.safetensors"
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    end_of_json = data.rindex(b"}", 0, start) + 1
    rest = _span_of_rest(data)
    outcomes = {"refused": 0, "failed": 0, "harmless": 0}
    for position in [*rng.sample(range(start), 60), *range(start, len(data), 4)]:
        for byte in (data[position] ^ (1 << rng.randrange(8)), _plausible(data[position], rng)):
            try:
                verdict = _audited(honest, honest.folder, _Flip(str(path), position, byte))
            except StorageError:
                outcomes["refused"] += 1
                continue
            if verdict.status == "verified":
                padding = end_of_json <= position < start
                assert padding or (which == "base" and position in rest), data[position - 9 : position + 9]
                outcomes["harmless"] += 1
                continue
            (finding,) = verdict.failed
            assert finding.number == check
            assert any(name in finding.evidence for name in _tensors(honest)) or position < start
            assert verdict.at_fault == ()
            outcomes["failed"] += 1
    assert min(outcomes["refused"], outcomes["failed"]) > 20
    config = folder / "config.json"
    text = config.read_bytes()
    assert _audited(honest, honest.folder, _Flip(str(config), text.index(b"llama"), ord("x"))).status == "verified"
    assert len(_HARMLESS_BESIDE_THE_TRANSCRIPT) == 3


def _tensors(honest: Honest) -> list[str]:
    base = honest.run.charter.base
    return [*(tensor.name for tensor in base.pruned), *base.rest]


def _span_of_rest(data: bytes) -> set[int]:
    """Where a weight file has the tensors that nobody prunes: in its header, and their data."""
    header = data[8 : 8 + int.from_bytes(data[:8], "little")]
    at = header.index(b'"embedding.weight"')
    end = header.index(b"}", at) + 1
    begin, stop = (int(number) for number in header[header.index(b'_offsets":[', at) + 11 : end - 2].split(b","))
    start = 8 + len(header)
    return {*range(8 + at, 8 + end), *range(start + begin, start + stop)}


def _files(folder: Path) -> list[str]:
    """All files of a transcript but for payloads."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = [name for name in files if not name.startswith("blobs/")]
    assert names == ["charter.json", "charter.signatures.json", "checkpoints/0001.note", "log.jsonl"]
    return names


def _contexts(honest: Honest) -> list[str]:
    """The public keys under which votes are encrypted."""
    votes = honest.run.charter.votes
    return [f"blobs/{context}" for context in votes.contexts] if isinstance(votes, CkksVotes) else []


def _blobs(honest: Honest, kind: type[Masked] | type[Encrypted] | type[Counted] | type[Sums]) -> list[str]:
    """The payloads that messages of one kind name."""
    return [
        f"blobs/{lane.blob}" for message in honest.messages() if isinstance(message, kind) for lane in message.lanes
    ]


def _checks(honest: Honest, name: str) -> set[str]:
    """Of which checks one must fail when a file was changed."""
    of_files = {
        "charter.json": {"A1", "A2"},
        "charter.signatures.json": {"A2"},
        "log.jsonl": {"A3", "A4"},
        "checkpoints/0001.note": {"A7"},
    }
    of_files |= {sent: {"A20"} for sent in [*_blobs(honest, Masked), *_blobs(honest, Encrypted)]}
    of_files |= {context: {"A23"} for context in _contexts(honest)}
    return of_files.get(name, {"A14"})


def _flips(folder: Path, name: str, rng: random.Random, each: int = 10) -> Iterator[_Flip]:
    """Bytes to be changed: `each` in every entry of a log, all of a small payload, many of the rest."""
    data = (folder / name).read_bytes()
    positions = list(range(len(data)))
    if name == "log.jsonl":
        ends = [-1, *(position for position, byte in enumerate(data) if byte == ord("\n"))]
        positions = []
        for begin, end in pairwise(ends):
            positions += [*_last_letters(data, begin + 1), end, *rng.sample(range(begin + 1, end), each - 3)]
    elif not name.startswith("blobs/"):
        positions = rng.sample(positions, 1000 if name == "charter.json" else 60)
    elif len(positions) > 10_000:  # ciphertexts and their keys
        positions = [*positions[:8], *rng.sample(positions[8:-8], 100), *positions[-8:]]
    for number, position in enumerate(positions):
        byte = data[position]
        yield _Flip(name, position, byte ^ (1 << rng.randrange(8)) if number % 2 else _plausible(byte, rng))


def _some(folder: Path, name: str, rng: random.Random, number: int) -> list[_Flip]:
    return rng.sample(list(_flips(folder, name, rng)), number)


def _last_letters(log: bytes, line: int) -> list[int]:
    """The last letters of the payload's base64 and the signature's, which may have bits that mean nothing."""
    ends = [log.index(b'","payloadType"', line), log.index(b'"}]}', line)]
    return [end - 1 - log[end - 2 : end].count(b"=") for end in ends]


def _plausible(byte: int, rng: random.Random) -> int:
    """Another character of the same kind, so that it still looks right; what is no text becomes any other byte."""
    for kind in _CLASSES:
        if chr(byte) in kind:
            return ord(rng.choice(kind.replace(chr(byte), "")))
    return (byte + rng.randrange(1, 256)) % 256


def _audited(honest: Honest, folder: Path, flip: _Flip, depth: Depth = "full") -> Verdict:
    """What an audit says while one byte is another."""
    path = folder / flip.name
    data = path.read_bytes()
    assert data[flip.position] != flip.byte
    path.write_bytes(data[: flip.position] + bytes([flip.byte]) + data[flip.position + 1 :])
    try:
        return honest.audited(folder, depth)
    finally:
        path.write_bytes(data)


def _assert_found(honest: Honest, folder: Path, flip: _Flip, depth: Depth = "full") -> None:
    verdict = _audited(honest, folder, flip, depth)
    found = [finding for finding in verdict.failed if finding.number in _checks(honest, flip.name)]
    assert verdict.exit_code == 1, flip
    assert found, (flip, verdict.failed)
    assert any(_names_place(finding, folder, flip) for finding in found), (flip, found)
    assert verdict.at_fault == (), flip


def _names_place(finding: Finding, folder: Path, flip: _Flip) -> bool:
    if finding.number in ("A1", "A2"):
        return True
    if finding.number in ("A3", "A4"):
        return finding.entry == (folder / flip.name).read_bytes().count(b"\n", 0, flip.position)
    return flip.name.rpartition("/")[2] in finding.evidence
