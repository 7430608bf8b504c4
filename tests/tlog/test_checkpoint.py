"""A checkpoint's text is that of C2SP's published example, which has one meaning; all else is refused.

The keys of that example are not published. So its signatures can't be verified: their form is compared instead, and
what is signed in that form is verified with bare Ed25519.
"""

from __future__ import annotations

import base64
import hashlib
import string

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import example, given
from hypothesis import strategies as st

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Identity, LogHead
from fedspallm_secure.tlog import (
    Checkpoint,
    Cosignature,
    checkpoint_text,
    cosign,
    open_note,
    origin_of,
    parse_checkpoint,
    sign_note,
)
from tests.secagg.small_round import identity

# https://c2sp.org/tlog-checkpoint and https://c2sp.org/tlog-cosignature
_ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
_TEXT = f"example.com/behind-the-sofa\n20852163\n{_ROOT}\n"
_LOG_LINE = (
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
_WITNESS_LINE = (
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
_PUBLISHED = f"{_TEXT}\n{_LOG_LINE}{_WITNESS_LINE}"
_TIME = 1_679_315_147
_SOFA = Checkpoint("example.com/behind-the-sofa", LogHead(size=20852163, root=base64.b64decode(_ROOT).hex()))
_LOG = identity("log")
_WITNESS = Identity("witness.example.com/w1", identity("witness").key)


def _raw(line: str) -> bytes:
    return base64.b64decode(line.split(" ")[2])


def test_the_published_example_means_what_its_specification_says_and_is_what_we_would_write() -> None:
    assert parse_checkpoint(_TEXT) == _SOFA
    assert checkpoint_text(_SOFA) == _TEXT


def test_the_published_note_opens_to_its_text_and_tells_nothing_about_keys_that_are_not_its() -> None:
    for keys in ({}, {"example.com/behind-the-sofa": _LOG.public, _WITNESS.name: _WITNESS.public}):
        assert open_note(_PUBLISHED, keys) == (_TEXT, [])


def test_our_lines_have_the_form_of_the_published_ones() -> None:
    note = sign_note(_TEXT, _SOFA.origin, _LOG)
    ours, published = note.removeprefix(f"{_TEXT}\n"), _LOG_LINE
    assert ours.split(" ")[:2] == published.split(" ")[:2]
    assert len(_raw(ours)) == len(_raw(published)) == 4 + 64
    ours, published = cosign(note, _WITNESS, _TIME), _WITNESS_LINE
    assert ours.split(" ")[:2] == published.split(" ")[:2]
    assert len(_raw(ours)) == len(_raw(published)) == 4 + 8 + 64
    assert _raw(ours)[4:12] == _raw(published)[4:12]  # the time


def test_key_ids_and_what_is_signed_are_those_of_the_specification() -> None:
    note = sign_note(_TEXT, _SOFA.origin, _LOG)
    raw, key = _raw(note.removeprefix(f"{_TEXT}\n")), bytes.fromhex(_LOG.public)
    assert raw[:4] == hashlib.sha256(b"example.com/behind-the-sofa\n\x01" + key).digest()[:4]
    Ed25519PublicKey.from_public_bytes(key).verify(raw[4:], _TEXT.encode())
    line, key = cosign(note, _WITNESS, _TIME), bytes.fromhex(_WITNESS.public)
    raw = _raw(line)
    assert raw[:4] == hashlib.sha256(b"witness.example.com/w1\n\x04" + key).digest()[:4]
    signed = f"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n{_ROOT}\n"
    Ed25519PublicKey.from_public_bytes(key).verify(raw[12:], signed.encode())
    keys = {_SOFA.origin: _LOG.public, _WITNESS.name: _WITNESS.public}
    found = [Cosignature(_SOFA.origin, None), Cosignature(_WITNESS.name, _TIME)]
    assert open_note(note + line + _LOG_LINE + _WITNESS_LINE, keys) == (_TEXT, found)


_ORIGINS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1, max_size=40)
_HEADS = st.builds(LogHead, size=st.integers(0, 2**53 - 1), root=st.binary(min_size=32, max_size=32).map(bytes.hex))


@given(st.builds(Checkpoint, _ORIGINS, _HEADS))
def test_any_checkpoint_is_parsed_to_what_was_written(checkpoint: Checkpoint) -> None:
    assert parse_checkpoint(checkpoint_text(checkpoint)) == checkpoint


@given(
    st.one_of(
        st.text(),
        st.lists(st.text(string.digits, max_size=18) | st.just(_ROOT) | _ORIGINS, min_size=2, max_size=5).map(
            lambda lines: "\n".join(lines) + "\n"
        ),
    )
)
@example(f"o\n9007199254740991\n{_ROOT}\n")
@example(f"o\n9007199254740992\n{_ROOT}\n")
@example(f"o\n9999999999999999\n{_ROOT}\n")
def test_any_text_is_the_one_form_of_a_checkpoint_or_refused(text: str) -> None:
    try:
        checkpoint = parse_checkpoint(text)
    except RemoteProtocolError:
        return
    assert checkpoint_text(checkpoint) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no checkpoint"),
        (_TEXT.removesuffix("\n"), "no checkpoint"),
        (_TEXT + "\n", "no checkpoint"),
        (_TEXT + "more\n", "no checkpoint"),
        (_TEXT.replace("example.com/behind-the-sofa", ""), "no checkpoint"),
        (_TEXT.replace("\n20852163", ""), "no checkpoint"),
        (_TEXT.replace("20852163", "020852163"), "no checkpoint"),
        (_TEXT.replace("20852163", "-1"), "no checkpoint"),
        (_TEXT.replace("20852163", "+1"), "no checkpoint"),
        (_TEXT.replace("20852163", "1.0"), "no checkpoint"),
        (_TEXT.replace("20852163", " 20852163"), "no checkpoint"),
        (_TEXT.replace("20852163", "٣"), "no checkpoint"),
        (_TEXT.replace("20852163", "9007199254740992"), "no checkpoint"),
        (_TEXT.replace("\n", "\r\n"), "no checkpoint"),
        (_TEXT.replace(_ROOT, _ROOT.rstrip("=")), "is not base64"),
        (_TEXT.replace(_ROOT, _ROOT.replace("2I=", "2J=")), "is not base64"),
        (_TEXT.replace(_ROOT, _ROOT.replace("/", "_")), "is not base64"),
        (_TEXT.replace(_ROOT, ""), "has 0 bytes"),
        (_TEXT.replace(_ROOT, base64.b64encode(bytes(31)).decode()), "has 31 bytes"),
        (_TEXT.replace(_ROOT, base64.b64encode(bytes(33)).decode()), "has 33 bytes"),
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str, says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        parse_checkpoint(text)


def test_the_log_of_another_charter_has_another_name() -> None:
    assert origin_of("a" * 64) == f"fedspallm-secure.invalid/v1/log/{'a' * 64}"
    assert origin_of("a" * 64) != origin_of("b" * 64)
