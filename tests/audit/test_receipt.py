"""A receipt shows by itself that a contribution is in the log, and a bad one is refused by name."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedspallm_secure.audit.copies import DamagedError, MissingError
from fedspallm_secure.audit.receipt import check_receipt, prove
from fedspallm_secure.errors import ConfigError, RemoteProtocolError
from fedspallm_secure.messages import (
    Envelope,
    Identity,
    Masked,
    SumName,
    canonical,
    digest,
    open_envelope,
    seal,
)
from fedspallm_secure.tlog import HeldLog, leaf_hash, origin_of
from tests.audit.recorded import checkpoint, copy_of, record
from tests.rounds.synthetic import Run, Setting
from tests.rounds.vanishing import vanish


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two rounds."""
    return record(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def receipt(run: Run) -> str:
    """That i2 voted in the first round."""
    return prove(run.transcript.folder, "i2", "votes", 0)


def _masked(run: Run) -> dict[tuple[str, int, str], tuple[int, Envelope, Masked]]:
    """Sender, round and sum -> its last contribution, with its place in the log."""
    found = {}
    for index, envelope in enumerate(run.entries()):
        message = open_envelope(envelope, run.charter.keys)
        if isinstance(message, Masked):
            found[message.sender, message.round, str(message.sum)] = index, envelope, message
    return found


def test_every_contribution_to_every_sum_has_a_receipt_that_holds(run: Run) -> None:
    contributions = _masked(run)
    assert len(contributions) == 2 * 2 * len(run.names)
    sums: tuple[SumName, ...] = ("votes", "values")
    for name in run.names:
        for number in range(2):
            for which in sums:
                index, _, message = contributions[name, number, which]
                found = check_receipt(prove(run.transcript.folder, name, which, number), run.charter)
                assert (found.contribution, found.index) == (message, index)
                assert found.checkpoint.cosigners == tuple(run.names)
                assert found.checkpoint.note == run.transcript.checkpoint(number).read_text()


def test_without_a_round_it_is_the_last_one_with_that_sum(run: Run) -> None:
    assert prove(run.transcript.folder, "i2", "values") == prove(run.transcript.folder, "i2", "values", 1)


def test_the_checkpoint_is_the_shortest_over_the_contribution_whatever_its_file_is_called(
    run: Run, tmp_path: Path
) -> None:
    first, second = (run.transcript.checkpoint(number).read_text() for number in range(2))
    copy = copy_of(run, tmp_path / "copy", run.entries(), {"1.note": second, "2.note": first})
    assert prove(copy, "i2", "votes", 0) == prove(run.transcript.folder, "i2", "votes", 0)


def test_the_file_is_a_c2sp_tlog_proof_that_another_program_verifies_with_two_public_keys(
    run: Run, receipt: str
) -> None:
    """Nothing of ours but the names of things: RFC 6962 inclusion by recursion, and Ed25519."""
    head, text, signatures = receipt.split("\n\n", 2)
    form, extra, place, *path = head.split("\n")
    assert form == "c2sp.org/tlog-proof@v1"
    entry, index = base64.b64decode(extra.removeprefix("extra ")), int(place.removeprefix("index "))
    origin, size, root = text.split("\n")
    assert origin == f"fedspallm-secure.invalid/v1/log/{digest(run.charter)}"

    def node(left: bytes, right: bytes) -> bytes:
        return hashlib.sha256(b"\x01" + left + right).digest()

    def climb(index: int, size: int, path: list[bytes]) -> bytes:
        if size == 1:
            assert not path
            return hashlib.sha256(b"\x00" + entry).digest()
        middle = 1 << (size - 1).bit_length() - 1
        if index < middle:
            return node(climb(index, middle, path[:-1]), path[-1])
        return node(path[-1], climb(index - middle, size - middle, path[:-1]))

    assert climb(index, int(size), [base64.b64decode(line) for line in path]) == base64.b64decode(root)
    line = next(line for line in signatures.splitlines() if line.startswith(f"— {origin} "))
    _key(run.charter.server_key).verify(base64.b64decode(line.split(" ")[2])[4:], f"{text}\n".encode())
    envelope = json.loads(entry)
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    _key(run.charter.keys["i2"]).verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)
    with pytest.raises(InvalidSignature):
        _key(run.charter.keys["i3"]).verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)
    message = json.loads(payload)
    assert (message["kind"], message["sender"], message["sum"], message["round"]) == ("masked", "i2", "votes", 0)


def _key(public: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))


def test_no_changed_byte_passes_but_those_that_make_a_cosignature_one_of_a_stranger(run: Run, receipt: str) -> None:
    """A note may carry signatures of keys that nobody here knows; they are skipped, and then count for nobody."""
    draw, data, whole = random.Random(0), receipt.encode(), check_receipt(receipt, run.charter)
    passed = 0
    for place in draw.sample(range(len(data)), 400) + list(range(len(data) - 700, len(data))):
        changed = bytearray(data)
        changed[place] ^= 1 << draw.randrange(7)
        try:
            found = check_receipt(changed.decode(errors="replace"), run.charter)
        except RemoteProtocolError:
            continue
        passed += 1
        assert (found.contribution, found.index, found.checkpoint.head) == (
            whole.contribution,
            whole.index,
            whole.checkpoint.head,
        )
        assert len(set(whole.checkpoint.cosigners) - set(found.checkpoint.cosigners)) == 1
    assert passed < 150  # name and key id of five cosigners: 8 characters and a little each


def _replaced(receipt: str, number: int, line: str) -> str:
    lines = receipt.split("\n")
    return "\n".join([*lines[:number], line, *lines[number + 1 :]])


def _logged(run: Run, envelope: Envelope, keeper: Identity | None = None, cosigned: bool = True) -> str:
    """A receipt of a log that has this entry besides those of the run, made as one would without the checks."""
    log = HeldLog(origin_of(digest(run.charter)))
    entries = [*run.entries()[:10], envelope, *run.entries()[10:20]]
    for entry in entries:
        log.append(entry)
    place = log.evidence(envelope, run.participants.server, "i0", None).place
    hashes = [base64.b64encode(bytes.fromhex(part)).decode() for part in place.proof]
    extra = base64.b64encode(canonical(envelope)).decode()
    head = ["c2sp.org/tlog-proof@v1", f"extra {extra}", f"index {place.index}", *hashes]
    return "\n".join(head) + "\n\n" + checkpoint(run, entries, ("i0",) if cosigned else (), keeper)


def _stranger(name: str) -> Identity:
    return Identity(name, Ed25519PrivateKey.from_private_bytes(bytes(32)))


def _said(run: Run, **changes: object) -> Masked:
    return _masked(run)["i2", 0, "votes"][2].model_copy(update=changes)


def _not_canonical(run: Run) -> bytes:
    """A contribution as another JSON writer has it, with spaces."""
    return json.dumps(_masked(run)["i2", 0, "votes"][1].model_dump(mode="json")).encode()


_BAD: dict[str, tuple[Callable[[Run, str], str], str]] = {
    "empty": (lambda run, receipt: "", "This is no receipt"),
    "form": (lambda run, receipt: _replaced(receipt, 0, "c2sp.org/tlog-proof@v2"), "This is no receipt"),
    "no note": (lambda run, receipt: receipt.split("\n\n")[0], "This is no receipt"),
    "no extra": (lambda run, receipt: receipt.replace(receipt.split("\n")[1] + "\n", ""), "no line `extra`"),
    "no index": (lambda run, receipt: receipt.replace(receipt.split("\n")[2] + "\n", ""), "no line `index`"),
    "index 007": (lambda run, receipt: _replaced(receipt, 2, "index 007"), "no line `index`"),
    "nothing else": (lambda run, receipt: "c2sp.org/tlog-proof@v1\n\n", "no line `extra`"),
    "not base64": (lambda run, receipt: _replaced(receipt, 3, "?"), "not base64"),
    "short hash": (lambda run, receipt: _replaced(receipt, 3, "AAAA"), "has not 32 bytes"),
    "other index": (lambda run, receipt: _replaced(receipt, 2, "index 0"), "does not show entry 0 to be in the log"),
    "past the end": (lambda run, receipt: _replaced(receipt, 2, "index 999"), "does not show entry 999"),
    "other entry": (
        lambda run, receipt: _replaced(receipt, 1, prove(run.transcript.folder, "i3", "votes", 0).split("\n")[1]),
        "The proof does not show entry",
    ),
    "hash dropped": (lambda run, receipt: receipt.replace(receipt.split("\n")[3] + "\n", ""), "The proof does not"),
    "other checkpoint": (
        lambda run, receipt: receipt.split("\n\n")[0] + "\n\n" + run.transcript.checkpoint(1).read_text(),
        "The proof does not show entry",
    ),
    "other run's checkpoint": (
        lambda run, receipt: (
            receipt.split("\n\n")[0] + "\n\n" + checkpoint(run, run.entries()[:70], ("i0",), charter="11" * 32)
        ),
        "is of the log 'fedspallm-secure.invalid/v1/log/1111",
    ),
    "keeper's key": (
        lambda run, receipt: _logged(run, run.entries()[30], _stranger("coordinator")),
        "'coordinator', who keeps the log, did not sign the checkpoint",
    ),
    "keeper's signature dropped": (
        lambda run, receipt: "\n".join(line for line in receipt.split("\n") if not line.startswith("— fedspallm")),
        "'coordinator', who keeps the log, did not sign the checkpoint",
    ),
    "other kind": (lambda run, receipt: _logged(run, run.entries()[0]), "is 'advertise' of 'i0', no contribution"),
    "institution's key": (
        lambda run, receipt: _logged(run, seal(_said(run), _stranger("i2"))),
        "The signature of 'i2' does not hold",
    ),
    "another's name": (
        lambda run, receipt: _logged(run, seal(_said(run), run.participants.institutions["i3"])),
        "'i3' signed a message in the name of 'i2'",
    ),
    "server as institution": (
        lambda run, receipt: _logged(run, seal(_said(run, sender="coordinator"), run.participants.server)),
        "The signer 'coordinator' is not in the charter",
    ),
    "other run's contribution": (
        lambda run, receipt: _logged(run, seal(_said(run, charter="11" * 32), run.participants.institutions["i2"])),
        "The contribution is to the run under charter 1111",
    ),
}


@pytest.mark.parametrize("defect", _BAD)
def test_a_bad_receipt_is_refused_by_name(defect: str, run: Run, receipt: str) -> None:
    make, problem = _BAD[defect]
    with pytest.raises(RemoteProtocolError) as refusal:
        check_receipt(make(run, receipt), run.charter)
    assert problem in refusal.value.problem


def test_an_entry_that_is_in_the_log_but_is_no_envelope_is_refused(run: Run) -> None:
    """Its keeper may put anything there."""
    for entry in (b"", b"null", b'{"payload":"","payloadType":"","signatures":[]}', _not_canonical(run)):
        text = f"{origin_of(digest(run.charter))}\n1\n{base64.b64encode(leaf_hash(entry)).decode()}\n"
        server = run.participants.server
        note = checkpoint(run, run.entries()[:1])
        key_id = base64.b64decode(note.split("\n")[4].split(" ")[2])[:4]
        line = base64.b64encode(key_id + server.sign(text.encode())).decode()
        receipt = (
            f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(entry).decode()}\nindex 0\n\n{text}\n"
            f"— {origin_of(digest(run.charter))} {line}\n"
        )
        with pytest.raises(RemoteProtocolError, match="The entry is not the canonical JSON of one envelope"):
            check_receipt(receipt, run.charter)


def test_a_receipt_holds_under_its_own_charter_only(run: Run, receipt: str) -> None:
    other = run.charter.model_copy(update={"run": "another"})
    with pytest.raises(RemoteProtocolError, match="The checkpoint is of the log"):
        check_receipt(receipt, other)


def test_after_a_repetition_the_receipt_is_of_the_attempt_that_was_added_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Setting(clients=8, minimum_cohort=5, dropouts=1, shapes=((12, 16),), layers=1), tmp_path)
    vanish(monkeypatch, run, {"i1": "proofs votes"})
    plan = run.plan()
    run.round(plan, run.base, run.prune(plan, run.base))
    run.transcript.charter.write_bytes(canonical(run.charter))
    sent = [said for said in run.messages(plan) if isinstance(said, Masked) and said.sum == "values"]
    assert [said.attempt for said in sent if said.sender == "i0"] == [0, 1]
    folder = run.transcript.folder
    assert check_receipt(prove(folder, "i0", "values"), run.charter).attempt == 1
    assert check_receipt(prove(folder, "i1", "votes"), run.charter).attempt == 0
    with pytest.raises(MissingError, match=r"^'i1' is not in the values of round 1: nothing of it was added up"):
        prove(folder, "i1", "values")


def test_what_the_charter_does_not_have_is_refused_as_an_argument(run: Run, tmp_path: Path) -> None:
    folder = run.transcript.folder
    with pytest.raises(ConfigError, match=r"no institution 'i9'.* It has i0, i1, i2, i3, i4\."):
        prove(folder, "i9", "votes")
    with pytest.raises(ConfigError, match=r"no institution 'coordinator'"):
        prove(folder, "coordinator", "votes")
    with pytest.raises(ConfigError, match=r"The charter has no round 3\. It has 1 to 2\."):
        prove(folder, "i0", "votes", 2)
    with pytest.raises(ConfigError, match="can't be read"):
        prove(tmp_path / "none", "i0", "votes")


def test_without_a_checkpoint_or_the_sum_the_evidence_is_missing(run: Run, tmp_path: Path) -> None:
    entries = run.entries()
    without = copy_of(run, tmp_path / "without", entries)
    with pytest.raises(MissingError, match="No checkpoint vouches for the log as far as the contribution") as missing:
        prove(without, "i2", "votes", 0)
    assert missing.value.exit_code == 3
    first = run.transcript.checkpoint(0).read_text()
    early = copy_of(run, tmp_path / "early", entries[:75], {"0001.note": first})
    assert prove(early, "i2", "votes") == prove(run.transcript.folder, "i2", "votes", 0)
    with pytest.raises(MissingError, match="The log does not say who is in the votes of round 2"):
        prove(early, "i2", "votes", 1)
    with pytest.raises(MissingError, match="The log does not say who is in the votes of round 1"):
        prove(copy_of(run, tmp_path / "empty", []), "i2", "votes")


def test_a_transcript_that_does_not_hold_gives_no_receipt(run: Run, tmp_path: Path) -> None:
    entries = run.entries()
    index = _masked(run)["i2", 0, "votes"][0]
    note = {"0001.note": run.transcript.checkpoint(0).read_text()}
    changed = copy_of(run, tmp_path / "changed", [*entries[:3], *entries[4:]], note)
    with pytest.raises(DamagedError, match=r"0001\.note is signed, but of another log") as damaged:
        prove(changed, "i2", "votes", 0)
    assert damaged.value.exit_code == 1
    size = note["0001.note"].split("\n")[1]
    broken = copy_of(run, tmp_path / "broken", entries, {"0001.note": note["0001.note"].replace(size, "69", 1)})
    with pytest.raises(DamagedError, match=r"0001\.note does not count: "):
        prove(broken, "i2", "votes", 0)
    lost = [*entries[:index], *entries[index + 1 :]]
    liar = copy_of(run, tmp_path / "liar", lost, {"0001.note": checkpoint(run, lost[:69])})
    with pytest.raises(DamagedError, match=r"^'i2' is said to be in the votes of round 1, and the log has no such"):
        prove(liar, "i2", "votes", 0)
    signature = entries[index].signatures[0].model_copy(update={"sig": entries[index + 1].signatures[0].sig})
    unsigned = entries[index].model_copy(update={"signatures": (signature,)})
    forged = [*entries[:index], unsigned, *entries[index + 1 :]]
    forgery = copy_of(run, tmp_path / "forgery", forged, {"0001.note": checkpoint(run, forged[:70])})
    with pytest.raises(DamagedError, match="The signature of 'i2' does not hold"):
        prove(forgery, "i2", "votes", 0)
    torn = copy_of(run, tmp_path / "torn", entries, note)
    log = torn / "log.jsonl"
    log.write_bytes(b"\n".join([*log.read_bytes().split(b"\n")[:60], b"{}", b""]))
    with pytest.raises(DamagedError, match=r"Line 61 of the log .* is damaged"):
        prove(torn, "i2", "votes", 0)
