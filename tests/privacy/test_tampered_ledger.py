"""A ledger that was touched, or that says what its releases do not cost, is refused and left as it is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import Frozen, Identity, canonical, pre_authentication_encoding
from fedspallm_secure.privacy import (
    Budget,
    Head,
    Ledger,
    Opening,
    Spending,
    read_ledger,
)
from fedspallm_secure.privacy.entries import LEDGER_TYPE
from tests.privacy.uses import BANK, BUDGET, HOSPITAL, opened, release, use


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def _payload(line: bytes) -> bytes:
    return base64.b64decode(json.loads(line)["payload"])


def _signed(body: Frozen | bytes, signer: Identity = HOSPITAL, name: str | None = None) -> bytes:
    """A line that says `body`, whatever that is."""
    payload = body if isinstance(body, bytes) else canonical(body)
    signature = signer.sign(pre_authentication_encoding(LEDGER_TYPE, payload))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": LEDGER_TYPE,
        "signatures": [{"keyid": name or signer.name, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def _refused(path: Path, problem: str) -> None:
    before = path.read_bytes()
    with pytest.raises(StorageError, match=problem):
        read_ledger(path, HOSPITAL.public)
    with pytest.raises(StorageError, match=problem):
        opened(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: [lines[0], *lines[2:]], "Line 2 of the ledger .* has the number 2"),
        (lambda lines: lines[1:], "Line 1 of the ledger .* is a spending, and there is no opening"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "Line 2 of the ledger .* has the number 2"),
        (lambda lines: [*lines, lines[3]], "Line 5 of the ledger .* has the number 3"),
        (lambda lines: [*lines, lines[0]], "Line 5 of the ledger .* is an opening, and not the first line"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], "Line 2 of the ledger .* is an opening"),
    ],
    ids=["one missing", "the first missing", "two swapped", "one twice", "a second opening", "the opening twice"],
)
def test_lines_that_were_moved_or_taken_out_are_noticed(
    path: Path, change: Callable[[list[bytes]], list[bytes]], problem: str
) -> None:
    path.write_bytes(b"".join(change(_lines(path))))
    _refused(path, problem)


def test_a_flipped_bit_anywhere_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.choice(len(whole) - 1, 60, replace=False).tolist():
        for bit in (1, 16):
            flipped = bytearray(whole)
            flipped[at] ^= bit
            path.write_bytes(flipped)
            with pytest.raises(StorageError):
                read_ledger(path, HOSPITAL.public)


def test_another_institution_s_signature_is_not_enough(path: Path) -> None:
    lines = _lines(path)
    path.write_bytes(b"".join([*lines[:3], _signed(_payload(lines[3]), BANK, "hospital")]))
    _refused(path, "Line 4 of the ledger .* is not signed with the institution's key")
    path.write_bytes(b"".join([*lines[:3], _signed(_payload(lines[3]), HOSPITAL, "bank")]))
    _refused(path, "Line 4 of the ledger .* is signed in another name")
    path.write_bytes(b"".join(lines))
    with pytest.raises(StorageError, match=r"Line 1 of the ledger .* is not signed with the institution's key"):
        read_ledger(path, BANK.public)
    with pytest.raises(StorageError, match="Line 1"):
        Ledger(path, BANK, BUDGET)


def _last(path: Path) -> Spending:
    return Spending.model_validate_json(_payload(_lines(path)[-1]))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"epsilon": "0.000001"}, r"says an epsilon of 0\.000001, which is"),
        ({"epsilon": "7.9"}, r"says an epsilon of 7\.9, which is"),
        ({"previous": "0" * 64}, "does not follow the line before it"),
        ({"number": 4}, "has the number 4"),
        ({"use": use([release(multiplier=0.01)]), "epsilon": "999"}, r"says an epsilon of 999, which is"),
        ({"use": use([release(), release()])}, "has a use that is not sound: A use names a release twice"),
        (
            {"use": use().model_copy(update={"institutions": 3, "colluders": 3})},
            "has a use that is not sound: Of 3 institutions",
        ),
    ],
    ids=["less", "more", "chain", "number", "false", "twice", "shares"],
)
def test_a_line_that_the_institution_itself_signed_and_that_breaks_a_rule_is_refused(
    path: Path, change: dict[str, object], problem: str
) -> None:
    body = _last(path).model_copy(update=change)
    path.write_bytes(b"".join([*_lines(path)[:-1], _signed(body)]))
    _refused(path, f"Line 4 of the ledger .* {problem}")


def test_a_signed_line_that_overspends_is_refused(path: Path) -> None:
    overspent = use([release(multiplier=0.3)])
    body = _last(path).model_copy(update={"use": overspent})
    with Ledger(path.with_name("other"), HOSPITAL, Budget(epsilon="50", delta="0.000001")) as generous:
        for spending in read_ledger(path, HOSPITAL.public).spendings[:2]:
            generous.spend(spending.use)
        generous.spend(overspent)
        body = body.model_copy(update={"epsilon": generous.account.epsilon})
    path.write_bytes(b"".join([*_lines(path)[:-1], _signed(body)]))
    _refused(path, "Line 4 of the ledger .* goes beyond the budget")


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"kind":"opening"}', b"no json", b'{"kind": "spending"}'])
def test_a_signed_payload_that_is_no_line_is_refused(path: Path, payload: bytes) -> None:
    path.write_bytes(b"".join([*_lines(path), _signed(payload)]))
    _refused(path, "Line 5 of the ledger")


def test_a_signed_line_that_is_written_differently_is_refused(path: Path) -> None:
    lines = _lines(path)
    path.write_bytes(b"".join([*lines[:3], _signed(b" " + _payload(lines[3]))]))
    _refused(path, "Line 4 of the ledger .* is not in canonical form")


def test_lines_gone_from_the_end_are_noticed_by_who_remembers_the_head(path: Path) -> None:
    lines = _lines(path)
    head = read_ledger(path, HOSPITAL.public).head
    with opened(path) as ledger:
        ledger.spend(use())
    assert read_ledger(path, HOSPITAL.public, head).head.lines == 5
    Ledger(path, HOSPITAL, BUDGET, head).close()
    path.write_bytes(b"".join(lines[:3]))
    assert read_ledger(path, HOSPITAL.public).head.lines == 3  # nobody else can notice
    with pytest.raises(StorageError, match="does not have the line 4 that it had before"):
        read_ledger(path, HOSPITAL.public, head)
    with pytest.raises(StorageError, match="does not have the line 4 that it had before"):
        Ledger(path, HOSPITAL, BUDGET, head)
    with pytest.raises(StorageError, match="does not have the line 3"):
        read_ledger(path, HOSPITAL.public, Head(3, "0" * 64))


def test_a_ledger_that_vanished_is_not_begun_anew_by_who_remembers_it(path: Path) -> None:
    head = read_ledger(path, HOSPITAL.public).head
    path.unlink()
    with pytest.raises(StorageError, match="does not have the line 4"):
        Ledger(path, HOSPITAL, BUDGET, head)
    assert path.read_bytes() == b""
    with pytest.raises(StorageError, match="is empty"):
        read_ledger(path, HOSPITAL.public)


def test_an_opening_signed_with_a_budget_out_of_range_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    body = Opening(institution="hospital", key=HOSPITAL.public, budget=Budget(epsilon="51", delta="0.1"))
    path.write_bytes(_signed(body))
    _refused(path, "Line 1 of the ledger .* has no sound budget")
    path.write_bytes(_signed(body.model_copy(update={"key": BANK.public})))
    _refused(path, f"Line 1 of the ledger .* opens the ledger of the key {BANK.public}")
