"""A mask is AES-256-CTR from counter zero, word by word, and what is added can be subtracted."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from fedspallm_secure.secagg.keystream import apply_keystream

_KEY = bytes(range(32))
_PIECE = 2**14  # words that are masked at a time
_LENGTHS = [0, 1, 2, 3, 1001, _PIECE - 1, _PIECE, _PIECE + 1, 2 * _PIECE + 3, 2**17 + 1]


def _reference(length: int) -> NDArray[np.uint64]:
    """The keystream in one call, over one long string of zeros."""
    encryptor = Cipher(AES(_KEY), CTR(bytes(16))).encryptor()
    return np.frombuffer(encryptor.update(bytes(8 * length)), "<u8")


def test_the_first_words_are_those_of_a_published_vector() -> None:
    # AES-256 of the zero block under the zero key: H of test case 13 in the specification of GCM (McGrew and Viega)
    words = np.zeros(2, np.uint64)
    apply_keystream(words, bytes(32), subtract=False)
    assert words.astype("<u8").tobytes().hex() == "dc95c078a2408989ad48a21492842087"


@pytest.mark.parametrize("length", _LENGTHS)
def test_masks_are_the_cipher_s_keystream_across_the_border_of_a_piece(length: int) -> None:
    added = np.zeros(length, np.uint64)
    apply_keystream(added, _KEY, subtract=False)
    assert np.array_equal(added, _reference(length))
    subtracted = np.zeros(length, np.uint64)
    apply_keystream(subtracted, _KEY, subtract=True)
    assert np.array_equal(subtracted, np.uint64(0) - _reference(length))


@pytest.mark.parametrize("length", _LENGTHS)
def test_subtracting_what_was_added_gives_the_words_back(length: int) -> None:
    words = np.random.default_rng(length).integers(0, 2**64, length, np.uint64)
    worked = words.copy()
    apply_keystream(worked, _KEY, subtract=False)
    assert length < 2 or not np.array_equal(worked, words)
    apply_keystream(worked, _KEY, subtract=True)
    assert np.array_equal(worked, words)


def test_a_shorter_lane_has_the_first_words_of_the_same_stream() -> None:
    assert np.array_equal(_reference(_PIECE + 9)[:7], _reference(7))
    words = np.zeros(7, np.uint64)
    apply_keystream(words, _KEY, subtract=False)
    assert np.array_equal(words, _reference(_PIECE + 9)[:7])


def test_another_key_is_another_stream_in_every_word() -> None:
    words = np.zeros(5000, np.uint64)
    apply_keystream(words, bytes(31) + b"\x01", subtract=False)
    assert (words != _reference(5000)).all()
