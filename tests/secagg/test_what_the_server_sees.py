"""Masked words are exactly packed digits plus every pair's keystream, and no proper part of a cohort shows anything.

What is proven here is that no word is left open and that each pair's mask lies on it, under keys that depend on both
ends' entropy, the round, the sum and the lane. That AES-CTR under such keys looks random is AES's claim, not ours; the
count of bytes below would notice only a mask that is grossly wrong.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from fedspallm_secure.messages import Masked, SumName, digest, open_envelope
from fedspallm_secure.secagg import Lane
from tests.secagg.small_round import SmallRound, entropy, round_context

_COHORT = (0, 2, 3)
_LENGTH = 4000
_ELIGIBLE = 1001
_Seen = dict[tuple[SumName, int, int], NDArray[np.uint64]]


def _digits(name: SumName, index: int, lane: Lane) -> NDArray[np.uint32]:
    length = _LENGTH if name == "votes" else _ELIGIBLE
    random = np.random.default_rng([index, lane.index, name == "votes"])
    return random.integers(0, lane.packing(name).top, length, np.uint32, endpoint=True)


def _packed(name: SumName, index: int, lane: Lane) -> NDArray[np.uint64]:
    return lane.packing(name).pack(_digits(name, index, lane))


def _play(seed: str = "seed", round_index: int = 0) -> tuple[SmallRound, _Seen]:
    """A round, and what the server saw: (sum, lane, client) -> words."""
    context = round_context(4, [(_LENGTH, _COHORT), (_LENGTH, _COHORT)], round_index=round_index)
    played, seen = SmallRound(context, seed), _Seen()
    played.deliver(played.gather_keys())
    sums: tuple[SumName, ...] = ("votes", "values")
    for name in sums:
        if name == "values":
            played.know_eligible([_ELIGIBLE for lane in context.lanes])
        for index in range(4):
            envelope = played.masked(index, partial(_digits, name))
            played.server.receive(envelope)
            message = open_envelope(envelope, context.charter.keys)
            assert isinstance(message, Masked)
            for lane, blob in zip(played.clients[index].lanes, message.lanes, strict=True):
                seen[name, lane.index, index] = played.words[blob.blob]
        played.deliver(played.add())
    return played, seen


def test_masked_words_are_packed_digits_plus_the_keystream_of_every_pair() -> None:
    played, seen = _play()
    drawn = {}
    for index, name in enumerate(played.context.roster):
        source = entropy(f"seed {name}")
        drawn[index] = {sum_name: X25519PrivateKey.from_private_bytes(source(32)) for sum_name in ("votes", "values")}
    charter = bytes.fromhex(digest(played.context.charter))
    for (name, lane_index, index), words in seen.items():
        expected = _packed(name, index, played.context.lanes[lane_index])
        for peer in _COHORT:
            if peer == index:
                continue
            low, high = min(index, peer), max(index, peer)
            info = b"fedspallm-secure/v1/pairwise-mask" + charter + bytes(4) + (b"\x01" if name == "votes" else b"\x02")
            info += b"".join(number.to_bytes(4, "big") for number in (lane_index, low, high))
            secret = drawn[index][name].exchange(drawn[peer][name].public_key())
            key = HKDF(SHA256(), length=32, salt=None, info=info).derive(secret)
            stream = np.frombuffer(Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(8 * words.size)), "<u8")
            expected = expected + stream if index == low else expected - stream
        assert np.array_equal(words, expected)


def test_no_word_of_a_proper_part_of_the_cohort_is_open() -> None:
    played, seen = _play()
    for lane in played.context.lanes:
        sums: tuple[SumName, ...] = ("votes", "values")
        for name in sums:
            for size in (1, 2):
                for part in combinations(_COHORT, size):
                    masked: NDArray[Any] = np.sum([seen[name, lane.index, index] for index in part], axis=0)
                    plain: NDArray[Any] = np.sum([_packed(name, index, lane) for index in part], axis=0)
                    assert (masked != plain).all()
            whole: NDArray[Any] = np.sum([seen[name, lane.index, index] for index in _COHORT], axis=0)
            assert np.array_equal(whole, np.sum([_packed(name, index, lane) for index in _COHORT], axis=0))


def test_the_same_digits_look_different_in_every_word_under_other_entropy_or_in_another_round() -> None:
    _, first = _play()
    for _, second in (_play("other seed"), _play(round_index=1)):
        for key, words in first.items():
            assert (words != second[key]).all()
    _, again = _play()
    assert all(np.array_equal(words, again[key]) for key, words in first.items())


def test_no_two_lanes_sums_or_clients_share_a_mask() -> None:
    played, seen = _play()
    masks = [words - _packed(name, index, played.context.lanes[lane]) for (name, lane, index), words in seen.items()]
    for one, other in combinations(masks, 2):
        common = min(one.size, other.size)
        assert (one[:common] != other[:common]).all()
        assert (one[:common] != np.uint64(0) - other[:common]).all()


def test_the_masked_zero_vector_uses_every_byte_about_equally_often() -> None:
    context = round_context(2, [(2**15 * 40, (0, 1))], method="wanda")
    played = SmallRound(context)
    played.deliver(played.gather_keys())
    lane = context.lanes[0]
    words = played.clients[0].mask(lane, np.zeros(lane.length, np.bool_))
    counts = np.bincount(words.view(np.uint8), minlength=256)
    expected = words.nbytes / 256
    # Chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6
    assert 150 < ((counts - expected) ** 2 / expected).sum() < 360
