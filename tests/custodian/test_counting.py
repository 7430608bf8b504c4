"""`fedspallm custodian count`: once, the same again after any crash, and nothing for a run that was tampered with."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedspallm_secure.charter import CharterSignatures
from fedspallm_secure.messages import Collected, Encrypted, Envelope, canonical, open_envelope, seal
from fedspallm_secure.transcript import read_log
from tests.custodian.waiting_run import Waiting, custodian, refused, start


@pytest.fixture(scope="module")
def due(tmp_path_factory: pytest.TempPathFactory) -> Waiting:
    """A run that waits for its counts; not to be changed."""
    waiting = start(tmp_path_factory.mktemp("due"))
    waiting.sign()
    waiting.until_counts_are_due()
    return waiting


@pytest.fixture
def waiting(due: Waiting, tmp_path: Path) -> Waiting:
    """The same in folders that a test may change."""
    shutil.copytree(due.folder, tmp_path / "run")
    shutil.copytree(due.keys, tmp_path / "keys")
    return Waiting(due.run, tmp_path / "keys", type(due.exchange)(tmp_path / "run"))


def _entries(waiting: Waiting) -> list[Envelope]:
    return [envelope for _, envelope in read_log(waiting.exchange.transcript.log)]


def _write(waiting: Waiting, entries: list[Envelope]) -> None:
    waiting.exchange.transcript.log.write_bytes(b"".join(canonical(entry) + b"\n" for entry in entries))


def _decrypted(waiting: Waiting) -> int:
    return (waiting.keys / "journal").read_text(encoding="utf-8").count("decrypted for")


def test_it_says_how_far_it_is_and_where_the_answer_lies(waiting: Waiting) -> None:
    done = waiting.count()
    assert done.returncode == 0, done.stderr
    assert "count votes, round 1" in done.stderr
    assert "2/2" in done.stderr
    assert str(waiting.answer) in done.stderr
    assert _decrypted(waiting) == 2
    assert done.stdout == ""


def test_counted_twice_it_is_the_same_answer(waiting: Waiting) -> None:
    assert waiting.count().returncode == 0
    first, journal = waiting.answer.read_bytes(), (waiting.keys / "journal").read_bytes()
    assert waiting.count().returncode == 0
    assert waiting.answer.read_bytes() == first
    assert (waiting.keys / "journal").read_bytes() == journal
    waiting.answer.unlink()
    assert waiting.count().returncode == 0
    assert waiting.answer.read_bytes() == first


def _killed_at_write(waiting: Waiting, number: int) -> bool:
    """Count in a process that is killed when it brings something to the disk for the n-th time; False if it ended."""
    child = os.fork()
    if child == 0:
        real, left = os.fsync, [number]

        def dying(fd: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            real(fd)

        os.fsync = dying
        os._exit(waiting.count().returncode)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def test_killed_at_any_write_it_gives_the_same_answer_when_it_is_run_again(
    waiting: Waiting, due: Waiting, tmp_path: Path
) -> None:
    assert waiting.count().returncode == 0
    undisturbed, half_way, number = waiting.answer.read_bytes(), 0, 0
    while True:
        folder = tmp_path / str(number)
        shutil.copytree(due.folder, folder / "run")
        shutil.copytree(due.keys, folder / "keys")
        again = Waiting(due.run, folder / "keys", type(due.exchange)(folder / "run"))
        killed = _killed_at_write(again, number)
        half_way += killed and _decrypted(again) > 0 and not again.answer.exists()
        assert again.count().returncode == 0
        assert again.answer.read_bytes() == undisturbed
        number += 1
        if not killed:
            break
    assert half_way > 3  # between the journal and the answer


def test_a_journal_that_forgot_is_noticed(waiting: Waiting) -> None:
    assert waiting.count().returncode == 0
    (waiting.keys / "journal").write_bytes(b"")
    waiting.answer.unlink()
    refused(waiting.count(), 9, "journal is empty")
    assert not waiting.answer.exists()


def _flipped_log(waiting: Waiting) -> None:
    log = waiting.exchange.transcript.log
    data = bytearray(log.read_bytes())
    data[data.index(b"\n") + 2] ^= 1
    log.write_bytes(data)


def _forged_entry(waiting: Waiting) -> None:
    entries = _entries(waiting)
    at = next(at for at, entry in enumerate(entries) if isinstance(_message(waiting, entry), Encrypted))
    signature = entries[at].signatures[0].model_copy(update={"sig": entries[at - 1].signatures[0].sig})
    entries[at] = entries[at].model_copy(update={"signatures": (signature,)})
    _write(waiting, entries)


def _message(waiting: Waiting, entry: Envelope) -> object:
    return open_envelope(entry, waiting.run.charter.keys)


def _without_first_entry(waiting: Waiting) -> None:
    _write(waiting, _entries(waiting)[1:])


def _cut_line(waiting: Waiting) -> None:
    log = waiting.exchange.transcript.log
    log.write_bytes(log.read_bytes()[:-5])


def _ciphertext(waiting: Waiting) -> Path:
    message = next(message for entry in _entries(waiting) if isinstance(message := _message(waiting, entry), Encrypted))
    return waiting.exchange.transcript.blobs.folder / message.lanes[-1].blob


def _flipped_ciphertext(waiting: Waiting) -> None:
    path = _ciphertext(waiting)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def _missing_ciphertext(waiting: Waiting) -> None:
    _ciphertext(waiting).unlink()


def _other_charter(waiting: Waiting) -> None:
    other = waiting.run.charter.model_copy(update={"run": "another"})
    waiting.exchange.transcript.charter.write_bytes(canonical(other))


def _unsigned(name: str) -> Callable[[Waiting], None]:
    def damage(waiting: Waiting) -> None:
        path = waiting.exchange.transcript.signatures
        signed = CharterSignatures.model_validate_json(path.read_bytes())
        kept = tuple(signature for signature in signed.signatures if signature.keyid != name)
        assert len(kept) < len(signed.signatures)
        path.write_bytes(canonical(signed.model_copy(update={"signatures": kept})))

    return damage


def _no_signatures(waiting: Waiting) -> None:
    waiting.exchange.transcript.signatures.unlink()


def _signatures_of_nothing(waiting: Waiting) -> None:
    waiting.exchange.transcript.signatures.write_bytes(b"[]")


def _round_beyond_the_last(waiting: Waiting) -> None:
    entries, server = _entries(waiting), waiting.run.participants.server
    last = _message(waiting, entries[-1])
    assert isinstance(last, Collected)
    _write(waiting, [*entries[:-1], seal(last.model_copy(update={"round": 7}), server)])


def _fewer_contributors(waiting: Waiting) -> None:
    entries, server = _entries(waiting), waiting.run.participants.server
    last = _message(waiting, entries[-1])
    assert isinstance(last, Collected)
    fewer = last.model_copy(update={"contributors": last.contributors[1:]})
    _write(waiting, [*entries[:-1], seal(fewer, server)])


_TAMPERED: list[tuple[Callable[[Waiting], None], int, str]] = [
    (_flipped_log, 9, "Line 2 of the log"),
    (_cut_line, 9, "is torn"),
    (_forged_entry, 7, "does not hold"),
    (_without_first_entry, 7, "in another log than this one"),
    (_flipped_ciphertext, 9, "does not hold what its name says"),
    (_missing_ciphertext, 9, "can't be read"),
    (_other_charter, 7, "under the charter does not hold"),
    (_unsigned("i1"), 7, "The charter is not signed by i1"),
    (_unsigned("notary"), 7, "The charter is not signed by notary"),
    (_no_signatures, 9, "charter.signatures.json can't be read"),
    (_signatures_of_nothing, 9, "holds no signatures"),
    (_round_beyond_the_last, 7, "The log asks for the votes of round 8 of 1"),
    (_fewer_contributors, 7, "3 are needed"),
]


@pytest.mark.parametrize(("tamper", "code", "part"), _TAMPERED, ids=[tamper.__name__ for tamper, *_ in _TAMPERED])
def test_what_was_tampered_with_is_refused_by_name_and_nothing_is_answered(
    waiting: Waiting, tamper: Callable[[Waiting], None], code: int, part: str
) -> None:
    tamper(waiting)
    done = waiting.count()
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    error, todo = done.stderr[done.stderr.index("error: ") :].splitlines()
    assert part in error
    assert todo.strip()
    assert not waiting.answer.exists()


def test_a_run_that_asks_for_nothing_gets_nothing(waiting: Waiting) -> None:
    log, entries = waiting.exchange.transcript.log, _entries(waiting)
    for kept in (entries[:-1], []):
        _write(waiting, kept)
        done = waiting.count()
        assert (done.returncode, done.stderr) == (3, f"{waiting.folder} waits for no counts.\n")
    log.unlink()
    assert waiting.count().returncode == 3
    assert _decrypted(waiting) == 0


def test_once_the_counts_stand_in_the_log_nothing_is_due(waiting: Waiting) -> None:
    assert waiting.count().returncode == 0
    entry = Envelope.model_validate_json(waiting.answer.read_bytes())
    _write(waiting, [*_entries(waiting), entry])
    assert waiting.count().returncode == 3


def test_other_keys_count_nothing(waiting: Waiting, tmp_path: Path) -> None:
    other = start(tmp_path / "other").keys
    refused(custodian("count", other, waiting.folder), 6, "does not name the custodian")
    assert not waiting.answer.exists()


def test_an_answer_that_can_not_be_written_leaves_nothing_and_can_be_given_later(waiting: Waiting) -> None:
    shutil.rmtree(waiting.exchange.folder)
    waiting.exchange.folder.write_bytes(b"")
    done = waiting.count()
    assert done.returncode == 9
    assert "counted-0001.json can't be written" in done.stderr
    waiting.exchange.folder.unlink()
    assert waiting.count().returncode == 0
