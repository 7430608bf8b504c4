"""Both ends of a pair derive one key, for one mask only; a key that anybody could know is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.secagg.keys import MaskContext, ephemeral_key, lane_key, shared_secret
from tests.secagg.small_round import entropy

_CONTEXT = MaskContext("c0" * 32, 1, "votes", 2, 3, 4)
_WORD = st.integers(0, 2**32 - 1)
_CONTEXTS = st.builds(
    MaskContext,
    charter=st.binary(min_size=32, max_size=32).map(bytes.hex),
    round=_WORD,
    sum=st.sampled_from(["votes", "values"]),
    lane=_WORD,
    low=_WORD,
    high=_WORD,
)


def _pair() -> tuple[bytes, bytes]:
    here, there = ephemeral_key(entropy("here")), ephemeral_key(entropy("there"))
    publics = [key.public_key().public_bytes_raw().hex() for key in (here, there)]
    return shared_secret(here, publics[1], "there"), shared_secret(there, publics[0], "here")


@given(_CONTEXTS)
def test_both_ends_derive_the_same_key(context: MaskContext) -> None:
    here, there = _pair()
    assert lane_key(here, context) == lane_key(there, context)


def test_a_secret_is_x25519_of_the_published_vector() -> None:
    # RFC 7748, section 6.1
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert (
        shared_secret(ephemeral_key(lambda _: alice), bob, "bob").hex()
        == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    )


def test_a_key_is_hkdf_sha256_without_salt_written_out() -> None:
    def mac(key: bytes, data: bytes) -> bytes:
        engine = hmac.HMAC(key, hashes.SHA256())
        engine.update(data)
        return engine.finalize()

    # RFC 5869: PRK = HMAC(32 zero bytes, secret); the first 32 bytes are HMAC(PRK, info | 0x01)
    assert lane_key(b"secret", _CONTEXT) == mac(mac(bytes(32), b"secret"), _CONTEXT.encode() + b"\x01")


@pytest.mark.parametrize(
    ("field", "value"),
    [("charter", "c0" * 31 + "c1"), ("round", 0), ("sum", "values"), ("lane", 3), ("low", 2), ("high", 5)],
)
def test_a_key_serves_one_mask_only(field: str, value: Any) -> None:
    changed = dataclasses.replace(_CONTEXT, **{field: value})
    assert lane_key(b"secret", changed) != lane_key(b"secret", _CONTEXT)
    assert lane_key(b"another", _CONTEXT) != lane_key(b"secret", _CONTEXT)


def test_the_table_above_changes_every_field_of_the_context() -> None:
    assert [field.name for field in dataclasses.fields(MaskContext)] == "charter round sum lane low high".split()


def test_a_context_is_written_byte_by_byte_as_documented() -> None:
    context = MaskContext("00112233445566778899aabbccddeeff" * 2, 258, "values", 3, 4, 65541)
    assert context.encode() == b"fedspallm-secure/v1/pairwise-mask" + bytes.fromhex(
        "00112233 44556677 8899aabb ccddeeff 00112233 44556677 8899aabb ccddeeff00000102 02 00000003 00000004 00010005"
    )


@given(_CONTEXTS)
def test_a_context_can_be_read_back_so_no_two_are_written_alike(context: MaskContext) -> None:
    label, rest = context.encode()[:33], context.encode()[33:]
    assert label == b"fedspallm-secure/v1/pairwise-mask"
    assert len(rest) == 32 + 4 + 1 + 12
    numbers = [int.from_bytes(rest[at : at + 4], "big") for at in (32, 37, 41, 45)]
    read = MaskContext(rest[:32].hex(), numbers[0], "votes" if rest[36] == 1 else "values", *numbers[1:])
    assert read == context


# The u-coordinates of order 1, 2, 4 and 8 on Curve25519 and its twist (RFC 7748, section 7), p and p + 1
# being other names of 0 and 1; X25519 ignores the top bit, so each comes twice.
_P = 2**255 - 19
_ORDER_8 = [
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]
_SMALL = [0, 1, *_ORDER_8, _P - 1, _P, _P + 1]


@pytest.mark.parametrize("u", [point + top for point in _SMALL for top in (0, 2**255)])
def test_points_of_small_order_are_refused(u: int) -> None:
    with pytest.raises(RemoteProtocolError, match="'peer' advertised an X25519 key of small order"):
        shared_secret(ephemeral_key(entropy("here")), u.to_bytes(32, "little").hex(), "peer")


def test_entropy_is_asked_for_once_and_decides_the_key() -> None:
    asked: list[int] = []

    def source(length: int) -> bytes:
        asked.append(length)
        return b"\x07" * length

    assert ephemeral_key(source).private_bytes_raw() == b"\x07" * 32
    assert asked == [32]
