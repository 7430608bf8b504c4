"""Sealed shares open for their receiver alone, in their exchange alone, and only as they were sealed."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.secagg.keys import ChannelContext
from fedspallm_secure.secagg.sealing import open_sealed, seal_for

_CONTEXT = ChannelContext("c0" * 32, 3, 1, 4, 65541)
_SECRET = bytes(range(32))
_SHARES = bytes(range(66))
_REFUSED = "The shares that came as 'i4''s were not sealed by it for this client in this exchange"


@given(st.binary(max_size=300), st.binary(min_size=32, max_size=32))
def test_what_was_sealed_comes_out_again(plaintext: bytes, secret: bytes) -> None:
    assert open_sealed(secret, _CONTEXT, seal_for(secret, _CONTEXT, plaintext), "i4") == plaintext


def test_a_seal_is_aes_256_gcm_under_exactly_this_key_nonce_and_associated_data() -> None:
    numbers = bytes.fromhex("00000003 00000001 00000004 00010005")
    info = b"fedspallm-secure/v1/share-channel" + bytes.fromhex("c0" * 32) + numbers
    key = HKDF(SHA256(), length=32, salt=None, info=info).derive(_SECRET)
    sealed = AESGCM(key).encrypt(bytes(12), _SHARES, bytes.fromhex("c0" * 32) + numbers)
    assert base64.b64decode(seal_for(_SECRET, _CONTEXT, _SHARES)) == sealed
    assert len(sealed) == len(_SHARES) + 16


@pytest.mark.parametrize(
    ("field", "value"),
    [("charter", "c1" + "c0" * 31), ("round", 2), ("attempt", 0), ("sender", 65541), ("receiver", 4)],
)
def test_a_seal_opens_in_no_other_run_round_or_exchange_and_for_nobody_else(field: str, value: Any) -> None:
    sealed = seal_for(_SECRET, _CONTEXT, _SHARES)
    with pytest.raises(RemoteProtocolError, match=_REFUSED):
        open_sealed(_SECRET, dataclasses.replace(_CONTEXT, **{field: value}), sealed, "i4")


def test_the_table_above_changes_every_field_of_the_context() -> None:
    assert [field.name for field in dataclasses.fields(ChannelContext)] == (
        "charter round attempt sender receiver".split()
    )


def test_a_seal_does_not_open_for_whom_it_comes_back_to() -> None:
    sealed = seal_for(_SECRET, _CONTEXT, _SHARES)
    back = dataclasses.replace(_CONTEXT, sender=_CONTEXT.receiver, receiver=_CONTEXT.sender)
    with pytest.raises(RemoteProtocolError, match=_REFUSED):
        open_sealed(_SECRET, back, sealed, "i4")


@given(st.integers(0, 255))
def test_a_seal_opens_under_no_other_secret(bit: int) -> None:
    sealed = seal_for(_SECRET, _CONTEXT, _SHARES)
    other = (int.from_bytes(_SECRET, "big") ^ (1 << bit)).to_bytes(32, "big")
    with pytest.raises(RemoteProtocolError, match=_REFUSED):
        open_sealed(other, _CONTEXT, sealed, "i4")


def test_a_seal_with_any_bit_changed_is_refused() -> None:
    sealed = base64.b64decode(seal_for(_SECRET, _CONTEXT, _SHARES))
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteProtocolError, match=_REFUSED):
            open_sealed(_SECRET, _CONTEXT, base64.b64encode(changed).decode(), "i4")


_SEALED = seal_for(_SECRET, _CONTEXT, _SHARES)


@pytest.mark.parametrize(
    "sealed",
    [
        *("", _SEALED[:-4], _SEALED[4:], _SEALED + "AAAA", _SEALED[:16], base64.b64encode(bytes(15)).decode()),
        *(_SEALED.rstrip("="), _SEALED + "=", f" {_SEALED}", f"{_SEALED}\n", "ä" * 12),
        base64.b64encode(_SHARES).decode(),
    ],
)
def test_what_is_too_short_or_too_long_or_no_base64_is_refused(sealed: str) -> None:
    with pytest.raises(RemoteProtocolError, match=_REFUSED):
        open_sealed(_SECRET, _CONTEXT, sealed, "i4")


def test_base64_of_the_same_bytes_written_otherwise_is_refused() -> None:
    sealed = seal_for(_SECRET, _CONTEXT, _SHARES + b"one")
    assert sealed.endswith("=")
    last = sealed.rstrip("=")[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    otherwise = sealed.rstrip("=")[:-1] + alphabet[alphabet.index(last) + 1] + "=" * sealed.count("=")
    assert base64.b64decode(otherwise) == base64.b64decode(sealed)
    with pytest.raises(RemoteProtocolError, match=_REFUSED):
        open_sealed(_SECRET, _CONTEXT, otherwise, "i4")
