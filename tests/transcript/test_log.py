"""The log gives back the envelopes that were appended, in order, and says where it is damaged."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import Envelope, canonical
from fedspallm_secure.messages.envelope import PAYLOAD_TYPE, Signature
from fedspallm_secure.transcript import Log


def _envelope(number: int) -> Envelope:
    # The line separators are what a line-based file must not stumble over.
    text = base64.b64encode(bytes([number])).decode()
    return Envelope(payloadType=PAYLOAD_TYPE, payload=text, signatures=(Signature(keyid="a\n\u2028\x85", sig=text),))


def test_envelopes_come_back_in_the_order_of_their_appending(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on demand" / "log.jsonl"
    for number in range(5):
        Log(path).append(_envelope(number))
    assert list(Log(path)) == [_envelope(number) for number in range(5)]
    assert path.read_bytes() == b"".join(canonical(_envelope(number)) + b"\n" for number in range(5))


def test_a_log_can_be_read_again_and_while_it_grows(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    log.append(_envelope(0))
    assert list(log) == [_envelope(0)]
    log.append(_envelope(1))
    assert list(log) == [_envelope(0), _envelope(1)]


@pytest.mark.parametrize(
    "line", [b"no json", b"{}", b"", b"\xff\xfe", canonical(_envelope(1))[:-1], canonical(_envelope(1)) * 2]
)
def test_a_line_that_is_no_envelope_is_named_by_its_number(tmp_path: Path, line: bytes) -> None:
    log = Log(tmp_path / "log.jsonl")
    log.append(_envelope(0))
    with log.path.open("ab") as file:
        file.write(line + b"\n")
    envelopes = iter(log)
    assert next(envelopes) == _envelope(0)
    with pytest.raises(StorageError, match="Line 2 of"):
        next(envelopes)


def test_a_log_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't be read"):
        list(Log(tmp_path / "log.jsonl"))


def test_a_log_that_can_t_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path, tmp_path / "file" / "log.jsonl"):
        with pytest.raises(StorageError, match="can't be written"):
            Log(path).append(_envelope(0))
