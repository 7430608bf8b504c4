"""Signed notes are those of C2SP: the example published with Go's sumdb/note opens, and no changed one does."""

from __future__ import annotations

import base64

import pytest

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.tlog.note import Cosignature, cosign, open_note, sign_note, signers
from tests.secagg.small_round import identity

# The example of https://pkg.go.dev/golang.org/x/mod/sumdb/note; its verifier key is PeterNeumann+c74f20a3+ARpc2Q...
_PUBLISHED = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
_NEUMANN = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:].hex()

_TEXT = "fedspallm\n7\n" + base64.b64encode(bytes(32)).decode() + "\n"
_KEYS = {name: identity(name).public for name in ("server", "i0", "i1")}


def _note() -> str:
    note = sign_note(_TEXT, "server", identity("server"))
    return note + cosign(note, identity("i0"), 1_700_000_000) + cosign(note, identity("i1"), 1_700_000_001)


def test_the_published_example_opens_and_is_what_we_would_write() -> None:
    text, found = open_note(_PUBLISHED, {"PeterNeumann": _NEUMANN})
    assert text.endswith("what your problem is.\n")
    assert found == [Cosignature("PeterNeumann", None)]


def test_a_changed_letter_of_the_published_example_is_noticed() -> None:
    with pytest.raises(RemoteProtocolError, match="signature of 'PeterNeumann' under the note does not hold"):
        open_note(_PUBLISHED.replace("cryptography", "cryptographs"), {"PeterNeumann": _NEUMANN})


def test_a_note_tells_who_signed_and_who_cosigned_when() -> None:
    text, found = open_note(_note(), _KEYS)
    assert text == _TEXT
    assert found == [
        Cosignature("server", None),
        Cosignature("i0", 1_700_000_000),
        Cosignature("i1", 1_700_000_001),
    ]
    assert signers(found, cosigners=False) == ["server"]
    assert signers(found, cosigners=True) == ["i0", "i1"]


def test_signatures_of_unknown_names_and_keys_are_skipped() -> None:
    _, found = open_note(_note(), {"server": _KEYS["server"], "i0": _KEYS["i1"]})
    assert found == [Cosignature("server", None)]


def test_every_changed_byte_of_the_text_is_noticed() -> None:
    note = _note()
    for at, letter in enumerate(_TEXT):
        other = "x" if letter != "x" else "y"
        with pytest.raises(RemoteProtocolError):
            open_note(note[:at] + other + note[at + 1 :], _KEYS)


def test_a_cosignature_holds_for_its_own_time_only() -> None:
    note = sign_note(_TEXT, "server", identity("server"))
    line = cosign(note, identity("i0"), 1_700_000_000)
    raw = bytearray(base64.b64decode(line.split(" ")[2]))
    raw[11] ^= 1
    forged = f"— i0 {base64.b64encode(raw).decode()}\n"
    with pytest.raises(RemoteProtocolError, match="signature of 'i0' under the note does not hold"):
        open_note(note + forged, _KEYS)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        _TEXT,
        _TEXT + "\n",
        _note().rstrip("\n"),
        _note().replace("— server", "- server"),
        _note().replace("— server ", "— server+x "),
        _note().replace("— server ", "— "),
        _note() + "— i0 AAAA\n",
        _note() + "— i0 not-base64!\n",
        _note().replace("\n7\n", "\n\t7\n"),
    ],
)
def test_what_is_no_note_is_refused(broken: str) -> None:
    with pytest.raises(RemoteProtocolError, match=r"no signed note|malformed|control characters"):
        open_note(broken, _KEYS)
