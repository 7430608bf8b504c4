"""Packed digits add up digit by digit, for every packing that the gate lets through and no other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.charter.gate import LARGEST_ROSTER
from fedspallm_secure.errors import CharterError, RemoteProtocolError
from fedspallm_secure.secagg import Packing, diagonals_packing, values_packing, votes_packing

_CLIENTS = st.integers(1, 4096)
_LARGEST_Q = 2**23


def _digits(random: np.random.Generator, top: int, length: int, extremes: str) -> NDArray[np.uint64]:
    match extremes:
        case "all zero":
            return np.zeros(length, np.uint64)
        case "all top":
            return np.full(length, top, np.uint64)
        case _:
            return random.integers(0, top, length, np.uint64, endpoint=True)


@given(
    clients=_CLIENTS,
    bits=st.integers(1, 24),
    offset=st.integers(0, 2**24),
    digits=st.integers(1, 24),
    length=st.integers(0, 100),
    extremes=st.sampled_from(["all zero", "all top", "random"]),
    seed=st.integers(0, 2**32),
)
@example(clients=4096, bits=24, offset=0, digits=1, length=3, extremes="all top", seed=0)
def test_the_sum_of_packed_digits_unpacks_to_the_sums_of_digits(
    clients: int, bits: int, offset: int, digits: int, length: int, extremes: str, seed: int
) -> None:
    top = max(1, 2**bits - 1 - offset % 2 ** (bits - 1))
    assume((clients * top + 1) ** digits <= 2**64)
    packing = Packing(clients, top, digits)
    random = np.random.default_rng(seed)
    # At most 64 different clients, some of them counted more than once, so that n may be large.
    shares = np.bincount(random.integers(0, min(clients, 64), clients), minlength=1)
    words: NDArray[np.uint64] = np.zeros(packing.words(length), np.uint64)
    sums: NDArray[np.uint64] = np.zeros(length, np.uint64)
    for share in shares:
        own = _digits(random, top, length, extremes)
        np.add(words, packing.pack(own) * np.uint64(share), out=words)
        np.add(sums, own * np.uint64(share), out=sums)
    unpacked = packing.unpack(words, length)
    assert unpacked.dtype == packing.sum_dtype
    assert np.array_equal(unpacked, sums)


@pytest.mark.parametrize("length", [2**14 * 3, 2**14 * 3 + 1, 2**14 * 6 - 1])
def test_lanes_longer_than_a_block_of_work_lose_nothing_at_its_border(length: int) -> None:
    packing = values_packing(8, 3)
    random = np.random.default_rng(length)
    every = [_digits(random, packing.top, length, "random") for _ in range(8)]
    words: NDArray[np.uint64] = np.stack([packing.pack(own) for own in every]).sum(axis=0)
    assert np.array_equal(packing.unpack(words, length), np.sum(every, axis=0))


def test_digits_lie_in_planes_the_first_least_significant() -> None:
    packing = Packing(clients=2, top=7, digits=3)  # R = 15
    words = packing.pack(np.array([1, 2, 3, 4, 5, 6, 7], np.uint8))
    # Seven digits in three words: the planes are (1, 2, 3), (4, 5, 6) and (7, 0, 0).
    assert words.tolist() == [1 + 4 * 15 + 7 * 225, 2 + 5 * 15, 3 + 6 * 15]
    assert packing.unpack(words, 7).tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_votes_lie_as_bits_of_radix_n_plus_1() -> None:
    packing = Packing(clients=3, top=1, digits=2)  # R = 4
    assert packing.pack(np.array([True, False, True, True, True])).tolist() == [1 + 4, 4, 1]


@given(_CLIENTS, st.integers(1, 2**24), st.integers(1, 80))
@example(1, 1, 64)
@example(1, 1, 65)
@example(15, 1, 16)
@example(15, 1, 17)
@example(1, 2**32 - 1, 2)
@example(1, 2**32, 2)
@example(1, 2**64 - 2, 1)
@example(1, 2**64 - 1, 1)
def test_the_gate_refuses_exactly_what_could_overflow(clients: int, top: int, digits: int) -> None:
    largest_sum = sum(clients * top * (clients * top + 1) ** place for place in range(digits))
    # A radix that is no 64-bit word itself can't be divided by, so the one packing with R = 2^64 is out as well.
    if largest_sum < 2**64 and clients * top + 1 < 2**64:
        packing = Packing(clients, top, digits)
        full = np.full(digits, clients * top, np.uint64)
        assert packing.pack(full).tolist() == [largest_sum]
        assert packing.unpack(np.array([largest_sum], np.uint64), digits).tolist() == full.tolist()
    else:
        with pytest.raises(CharterError, match=f"{digits} digits of up to {top} from {clients} clients"):
            Packing(clients, top, digits)


@pytest.mark.parametrize(
    ("clients", "top", "digits"),
    [(0, 1, 1), (-1, 1, 1), (2, 0, 1), (2, 1, 0), (2, 1, -1), (2, 1, 2**53 - 1)],
)
def test_numbers_that_make_no_sense_are_refused_at_once(clients: int, top: int, digits: int) -> None:
    with pytest.raises(CharterError, match="do not fit"):
        Packing(clients, top, digits)


@given(_CLIENTS, st.integers(1, 32))
def test_values_packing_finds_the_largest_quantisation(clients: int, digits: int) -> None:
    def fits(Q: int) -> bool:
        return bool((2 * clients * Q + 1) ** digits <= 2**64)

    if not fits(1):
        with pytest.raises(CharterError, match="do not fit"):
            values_packing(clients, digits)
        return
    packing = values_packing(clients, digits)
    Q = packing.top // 2
    assert (packing.clients, packing.top, packing.digits) == (clients, 2 * Q, digits)
    assert fits(Q)
    assert Q == _LARGEST_Q or not fits(Q + 1)
    assert Q <= _LARGEST_Q


@pytest.mark.parametrize(("digits", "Q"), [(4, 4095), (5, 445), (6, 101), (7, 35)])
def test_eight_clients_get_the_quantisation_of_the_published_table(digits: int, Q: int) -> None:
    assert values_packing(8, digits).top == 2 * Q


@pytest.mark.parametrize("digits", [0, 65, 2**53 - 1])
def test_a_number_of_digits_that_no_word_holds_is_refused_at_once(digits: int) -> None:
    with pytest.raises(CharterError, match="Lower digits_per_word"):
        values_packing(8, digits)


@given(_CLIENTS)
@example(1)
def test_votes_packing_finds_the_most_digits(clients: int) -> None:
    packing = votes_packing(clients)
    assert (packing.clients, packing.top) == (clients, 1)
    assert (clients + 1) ** packing.digits <= 2**64 < (clients + 1) ** (packing.digits + 1)


@pytest.mark.parametrize("every", [range(1, 4097), [LARGEST_ROSTER]], ids=["up to 4096", "the largest roster"])
def test_diagonals_packing_is_the_finest_whose_digits_are_exact_and_whose_sums_can_be_checked(every: range) -> None:
    for clients in every:
        packing = diagonals_packing(clients)
        Q = packing.top // 2
        assert (packing.clients, packing.top, packing.digits) == (clients, 2 * Q, 1)
        assert clients * packing.top < 2**60  # what the check of a sum tells apart
        assert Q <= 2**51  # exact in float64, with its sign
        assert Q == 2**51 or clients * 2 * (Q + 1) >= 2**60
        assert packing.sum_dtype == np.uint64
    assert {diagonals_packing(clients).top for clients in (1, 8, 255)} == {2**52}
    assert diagonals_packing(256).top < 2**52


@given(_CLIENTS, st.lists(st.integers(0, 2**52), min_size=1, max_size=20))
@example(4096, [2**52])
def test_diagonals_add_up(clients: int, digits: list[int]) -> None:
    packing = diagonals_packing(clients)
    own = np.minimum(np.array(digits, np.uint64), np.uint64(packing.top))
    words = packing.pack(own) * np.uint64(clients)
    assert packing.unpack(words, own.size).tolist() == [clients * int(digit) for digit in own]
    words[-1] = packing.radix
    with pytest.raises(RemoteProtocolError, match="no sum of digits"):
        packing.unpack(words, own.size)


@given(st.integers(2, 4096), st.integers(1, 6), st.integers(0, 2**64 - 1), st.integers(1, 40))
@settings(max_examples=200)
def test_words_that_are_no_sum_of_digits_are_refused(clients: int, digits: int, word: int, length: int) -> None:
    assume((2 * clients + 1) ** digits <= 2**64)
    packing = values_packing(clients, digits)
    limit = packing.radix**digits
    assume(limit < 2**64)
    word = limit + word % (2**64 - limit)
    for index in range(packing.words(length)):
        words = packing.pack(np.full(length, packing.radix - 1, np.uint64))
        packing.unpack(words, length)
        words[index] = word
        with pytest.raises(RemoteProtocolError, match=f"not below {packing.radix}\\^{digits}"):
            packing.unpack(words, length)


def test_a_bad_word_in_a_later_block_is_refused_too() -> None:
    packing = votes_packing(4)
    words = np.zeros(2**14 + 5, np.uint64)
    words[-1] = 2**64 - 1
    with pytest.raises(RemoteProtocolError, match="no sum of digits"):
        packing.unpack(words, words.size * packing.digits)


def test_digits_past_the_end_of_a_lane_are_refused() -> None:
    packing = votes_packing(4)
    words = packing.pack(np.ones(packing.digits + 1, np.uint8))  # two words, the second one nearly empty
    packing.unpack(words, packing.digits + 1)
    with pytest.raises(RemoteProtocolError, match="goes past the end"):
        packing.unpack(packing.pack(np.ones(2 * packing.digits, np.uint8)), packing.digits + 1)
