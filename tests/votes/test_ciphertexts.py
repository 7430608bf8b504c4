"""Whatever else than a lane's ciphertexts comes, it is refused by name before anything is added."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.votes import add_ciphertexts, check_ciphertexts, choose_parameters
from tests.votes.institutions import Institutions

_PARAMETERS = choose_parameters(8)
_LENGTH = 2 * _PARAMETERS.votes + 1  # three ciphertexts

Stream = list[NDArray[np.uint64]]


def _lane(seed: int = 0) -> Stream:
    random = np.random.default_rng(seed)
    return [random.integers(0, _PARAMETERS.q, _PARAMETERS.words, np.uint64) for _ in range(3)]


def _with(value: int, ciphertext: int, word: int) -> Callable[[Stream], Stream]:
    def change(stream: Stream) -> Stream:
        stream[ciphertext][word] = value
        return stream

    return change


def _in_the_clear(stream: Stream) -> Stream:
    stream[1][_PARAMETERS.ring :] = 0
    return stream


_DEFECTS: dict[str, tuple[Callable[[Stream], Stream], str]] = {
    "nothing": (lambda stream: [], "0 ciphertexts came; 3"),
    "one too few": (lambda stream: stream[:-1], "2 ciphertexts came; 3"),
    "one too many": (lambda stream: [*stream, stream[0]], "4 or more ciphertexts came; 3"),
    "without end": (lambda stream: stream * 1000, "4 or more ciphertexts came; 3"),
    "an empty one": (lambda stream: [stream[0], stream[1][:0], stream[2]], "ciphertext 2 has 0 words; 8192"),
    "a truncated one": (lambda stream: [*stream[:2], stream[2][:-1]], "ciphertext 3 has 8191 words; 8192"),
    "a long one": (lambda stream: [np.concatenate(stream)], "ciphertext 1 has 24576 words; 8192"),
    "of another ring": (lambda stream: [np.tile(one, 2) for one in stream], "ciphertext 1 has 16384 words; 8192"),
    "the prime itself": (_with(_PARAMETERS.q, 0, 0), "ciphertext 1 has words that are no residues"),
    "a word with all bits": (_with(2**64 - 1, 2, 8191), "ciphertext 3 has words that are no residues"),
    "votes in the clear": (_in_the_clear, "ciphertext 2 hides nothing"),
}


@pytest.mark.parametrize("defect", _DEFECTS)
def test_a_stream_with_a_defect_is_refused_with_its_senders_name(defect: str) -> None:
    change, words = _DEFECTS[defect]
    with pytest.raises(RemoteProtocolError, match=f"votes of 'north' can't be added: {words}"):
        list(check_ciphertexts(_PARAMETERS, _LENGTH, "north", iter(change(_lane()))))


@pytest.mark.parametrize("defect", _DEFECTS)
def test_a_sum_with_a_defective_stream_does_not_end_well_wherever_it_stands(defect: str) -> None:
    change, words = _DEFECTS[defect]
    for place in (0, 1):
        streams = [check_ciphertexts(_PARAMETERS, _LENGTH, "south", iter(_lane(7)))]
        streams.insert(place, check_ciphertexts(_PARAMETERS, _LENGTH, "north", iter(change(_lane()))))
        with pytest.raises(RemoteProtocolError, match=f"votes of 'north' can't be added: {words}"):
            list(add_ciphertexts(_PARAMETERS, _LENGTH, streams))


def test_a_stream_is_read_one_ciphertext_past_its_end_and_no_further() -> None:
    read = 0

    def endless() -> Iterator[NDArray[np.uint64]]:
        nonlocal read
        while True:
            read += 1
            yield _lane()[0]

    with pytest.raises(RemoteProtocolError, match="4 or more"):
        list(check_ciphertexts(_PARAMETERS, _LENGTH, "north", endless()))
    assert read == 4


def test_seals_own_bytes_are_no_ciphertext_of_ours(tmp_path: Path) -> None:
    encryptor = Institutions.of(8, tmp_path).encryptor
    next(encryptor.encrypt(np.ones(1, np.bool_)))
    raw = (tmp_path / "ciphertext.seal").read_bytes()
    words = np.frombuffer(raw[: len(raw) // 8 * 8], "<u8")
    with pytest.raises(RemoteProtocolError, match="words; 8192 are expected"):
        list(check_ciphertexts(_PARAMETERS, 1, "north", iter([words])))
    with pytest.raises(RemoteProtocolError, match="no residues"):
        list(check_ciphertexts(_PARAMETERS, 1, "north", iter([words[:8192]])))


@given(st.lists(st.integers(0, _PARAMETERS.q - 1), min_size=1, max_size=300))
def test_words_add_up_modulo_the_prime_for_any_number_of_clients(words: list[int]) -> None:
    streams = [iter([np.full(_PARAMETERS.words, word, np.uint64)]) for word in words]
    (total,) = add_ciphertexts(_PARAMETERS, 1, streams)
    assert np.all(total == sum(words) % _PARAMETERS.q)
