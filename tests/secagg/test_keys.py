"""Both ends of a pair derive one key, for one purpose only; a key that anybody could know is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import SumName
from fedspallm_secure.secagg.keys import (
    ChannelContext,
    MaskContext,
    check_point,
    derive,
    ephemeral_key,
    pair_mask_key,
    public_key,
    self_mask_key,
    shared_secret,
)
from tests.secagg.small_round import entropy

_CHARTER = "00112233445566778899aabbccddeeff" * 2
_MASK = MaskContext(_CHARTER, 258, "values", 7, 3)
_CHANNEL = ChannelContext(_CHARTER, 258, 7, 4, 65541)
_WORD = st.integers(0, 2**32 - 1)
_DIGEST = st.binary(min_size=32, max_size=32).map(bytes.hex)
_MASKS = st.builds(
    MaskContext, charter=_DIGEST, round=_WORD, sum=st.sampled_from(["votes", "values"]), attempt=_WORD, lane=_WORD
)
_CHANNELS = st.builds(ChannelContext, charter=_DIGEST, round=_WORD, attempt=_WORD, sender=_WORD, receiver=_WORD)


def _hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 by hand: PRK = HMAC(32 zero bytes, secret); the first 32 bytes are HMAC(PRK, info | 0x01)."""

    def mac(key: bytes, data: bytes) -> bytes:
        engine = hmac.HMAC(key, hashes.SHA256())
        engine.update(data)
        return engine.finalize()

    return mac(mac(bytes(32), secret), info + b"\x01")


def test_hkdf_by_hand_gives_the_published_vector() -> None:
    # RFC 5869, test case 3: no salt, no info; the first 32 of its 42 bytes
    assert _hkdf(b"\x0b" * 22, b"").hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


def _pair() -> tuple[bytes, bytes]:
    here, there = ephemeral_key(entropy("here")), ephemeral_key(entropy("there"))
    return shared_secret(here, public_key(there), "there"), shared_secret(there, public_key(here), "here")


@given(_MASKS, _WORD, _WORD)
def test_both_ends_derive_the_same_key(context: MaskContext, low: int, high: int) -> None:
    here, there = _pair()
    assert pair_mask_key(here, context, low, high) == pair_mask_key(there, context, low, high)


def test_a_secret_is_x25519_of_the_published_vector() -> None:
    # RFC 7748, section 6.1
    alice = ephemeral_key(lambda _: bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert public_key(alice) == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert shared_secret(alice, bob, "bob").hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


_CHARTER_ROUND = bytes.fromhex(_CHARTER) + bytes.fromhex("00000102")


def test_a_pair_s_mask_key_is_hkdf_of_exactly_these_bytes() -> None:
    info = b"fedspallm-secure/v1/pairwise-mask" + _CHARTER_ROUND + bytes.fromhex("02 00000007 00000003")
    info += bytes.fromhex("00000004 00010005")
    assert pair_mask_key(b"secret", _MASK, 4, 65541) == _hkdf(b"secret", info)
    votes = dataclasses.replace(_MASK, sum="votes")
    assert pair_mask_key(b"secret", votes, 4, 65541) == _hkdf(b"secret", info.replace(b"\x02\0\0\0\x07", b"\1\0\0\0\7"))


def test_a_self_mask_key_is_hkdf_of_exactly_these_bytes() -> None:
    info = b"fedspallm-secure/v1/self-mask" + _CHARTER_ROUND + bytes.fromhex("02 00000007 00000003 00010005")
    assert self_mask_key(b"seed" * 8, _MASK, 65541) == _hkdf(b"seed" * 8, info)


def test_a_channel_s_context_is_written_byte_by_byte_as_documented() -> None:
    assert _CHANNEL.encode() == _CHARTER_ROUND + bytes.fromhex("00000007 00000004 00010005")


def test_a_key_for_anything_is_hkdf_of_prefix_label_and_info() -> None:
    assert derive(b"secret", b"label", b"info") == _hkdf(b"secret", b"fedspallm-secure/v1/labelinfo")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("charter", "01" + _CHARTER[2:]), ("charter", _CHARTER[:-1] + "e"), ("round", 257), ("sum", "votes")),
        *(("attempt", 6), ("lane", 2)),
    ],
)
def test_a_mask_key_serves_one_lane_of_one_attempt_at_one_sum_only(field: str, value: Any) -> None:
    changed = dataclasses.replace(_MASK, **{field: value})
    assert pair_mask_key(b"secret", changed, 1, 2) != pair_mask_key(b"secret", _MASK, 1, 2)
    assert self_mask_key(b"secret", changed, 1) != self_mask_key(b"secret", _MASK, 1)


def test_a_mask_key_serves_one_pair_or_one_client_and_one_secret_only() -> None:
    keys = [pair_mask_key(secret, _MASK, *pair) for secret in (b"one", b"two") for pair in [(1, 2), (1, 3), (2, 3)]]
    keys += [self_mask_key(secret, _MASK, client) for secret in (b"one", b"two") for client in (1, 2, 3)]
    assert len(set(keys)) == len(keys) == 12


@pytest.mark.parametrize(
    ("field", "value"),
    [("charter", _CHARTER[:-1] + "e"), ("round", 257), ("attempt", 6), ("sender", 5), ("receiver", 5)],
)
def test_a_channel_s_context_differs_in_every_field(field: str, value: Any) -> None:
    assert dataclasses.replace(_CHANNEL, **{field: value}).encode() != _CHANNEL.encode()


def test_the_tables_above_change_every_field_of_the_contexts() -> None:
    assert [field.name for field in dataclasses.fields(MaskContext)] == "charter round sum attempt lane".split()
    assert [field.name for field in dataclasses.fields(ChannelContext)] == (
        "charter round attempt sender receiver".split()
    )


@given(_MASKS)
def test_a_mask_s_context_can_be_read_back_so_no_two_are_written_alike(context: MaskContext) -> None:
    written = context.encode()
    assert len(written) == 32 + 4 + 1 + 4 + 4
    numbers = [int.from_bytes(written[at : at + 4], "big") for at in (32, 37, 41)]
    name: SumName = "votes" if written[36] == 1 else "values"
    assert MaskContext(written[:32].hex(), numbers[0], name, *numbers[1:]) == context


@given(_CHANNELS)
def test_a_channel_s_context_can_be_read_back_so_no_two_are_written_alike(context: ChannelContext) -> None:
    written = context.encode()
    assert len(written) == 32 + 4 * 4
    numbers = [int.from_bytes(written[at : at + 4], "big") for at in (32, 36, 40, 44)]
    assert ChannelContext(written[:32].hex(), *numbers) == context


def test_sender_and_receiver_can_t_be_exchanged() -> None:
    assert ChannelContext(_CHARTER, 0, 0, 1, 2).encode() != ChannelContext(_CHARTER, 0, 0, 2, 1).encode()


# The u-coordinates of order 1, 2, 4 and 8 on Curve25519 and its twist (RFC 7748, section 7).
_P = 2**255 - 19
_ORDER_8 = [
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]
_SMALL = [0, 1, *_ORDER_8, _P - 1]
# Other names of points: p and more for 0 and more, and the top bit, which X25519 ignores.
_OTHER_NAMES = [_P, _P + 1, _P + 9, 2**255 - 1, *(point + 2**255 for point in (*_SMALL, 9, _P)), 2**256 - 1]


_Check = Callable[[str, str], object]
_CHECKS = pytest.mark.parametrize(
    "check", [partial(shared_secret, ephemeral_key(entropy("here"))), check_point], ids=["in use", "alone"]
)


@_CHECKS
@pytest.mark.parametrize("u", _SMALL)
def test_points_of_small_order_are_refused(u: int, check: _Check) -> None:
    with pytest.raises(RemoteProtocolError, match="'peer' advertised an X25519 key of small order"):
        check(u.to_bytes(32, "little").hex(), "peer")


@_CHECKS
@pytest.mark.parametrize("u", _OTHER_NAMES)
def test_points_that_are_not_in_canonical_form_are_refused(u: int, check: _Check) -> None:
    with pytest.raises(RemoteProtocolError, match="'peer' advertised an X25519 key that is not in canonical form"):
        check(u.to_bytes(32, "little").hex(), "peer")


@_CHECKS
@given(seed=st.integers())
def test_every_honest_key_is_accepted(check: _Check, seed: int) -> None:
    check(public_key(ephemeral_key(entropy(f"honest {seed}"))), "peer")


def test_the_largest_point_in_canonical_form_that_is_not_of_small_order_is_accepted() -> None:
    check_point((_P - 2).to_bytes(32, "little").hex(), "peer")


def test_entropy_is_asked_for_once_and_decides_the_key() -> None:
    asked: list[int] = []

    def source(length: int) -> bytes:
        asked.append(length)
        return b"\x07" * length

    assert ephemeral_key(source).private_bytes_raw() == b"\x07" * 32
    assert asked == [32]
