"""Parameters follow from the number of clients, and whatever would not hold is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.errors import CharterError
from fedspallm_secure.votes import MARGIN, CkksParameters, choose_parameters


@given(clients=st.integers(1, 4096))
def test_a_sum_of_any_number_of_clients_fits_and_can_be_rounded(clients: int) -> None:
    parameters = choose_parameters(clients)
    largest = (clients + 1) ** parameters.digits
    assert 2 * (largest * parameters.scale) ** 2 * 4 <= parameters.q**2  # sqrt 2 B^v scale <= q / 2
    assert parameters.bound < MARGIN
    assert parameters.q.bit_length() + parameters.p.bit_length() <= 109


@given(clients=st.integers(1, 4096))
def test_one_vote_more_a_number_is_refused_at_every_scale(clients: int) -> None:
    parameters = choose_parameters(clients)
    for scale in (1, 2**10, *(2**bits for bits in range(14, 40)), parameters.scale):
        with pytest.raises(CharterError, match=r"do not fit|could come out"):
            replace(parameters, digits=parameters.digits + 1, scale=scale)


def test_eight_clients_put_twenty_four_votes_in_a_slot_at_less_than_two_bytes_a_vote() -> None:
    parameters = choose_parameters(8)
    assert 2 * parameters.digits == 24
    assert parameters.words * 8 / parameters.votes == pytest.approx(4 / 3)


def test_votes_a_number_fall_as_clients_rise() -> None:
    assert [choose_parameters(n).digits for n in (3, 8, 16, 64, 256, 4096)] == [19, 12, 9, 6, 4, 2]


def test_more_clients_than_a_number_can_count_are_refused() -> None:
    with pytest.raises(CharterError, match=r"could come out|do not fit"):
        choose_parameters(2**50)


@pytest.mark.parametrize(("ring", "q_bits", "p_bits"), [(2048, 30, 24), (4096, 60, 49), (8192, 60, 158)])
def test_a_bit_more_than_128_bit_security_allows_is_refused(ring: int, q_bits: int, p_bits: int) -> None:
    q, p, scale = 2**q_bits - 1, 2**p_bits - 1, 2 ** (q_bits - 8)
    with pytest.raises(CharterError, match="less than 128-bit security"):
        CkksParameters(3, ring, q, p + 1, 1, scale)
    assert CkksParameters(3, ring, q, p, 1, scale).ring == ring


def test_a_ring_that_the_table_does_not_know_is_refused() -> None:
    with pytest.raises(CharterError, match="No CKKS ring of degree 1024"):
        replace(choose_parameters(3), ring=1024)


@pytest.mark.parametrize("change", [{"clients": 0}, {"digits": 0}, {"scale": 0}])
def test_nothing_of_nobody_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(CharterError, match="do not fit"):
        replace(choose_parameters(3), **change)


def test_a_scale_too_small_for_the_noise_is_refused() -> None:
    parameters = choose_parameters(8)
    with pytest.raises(CharterError, match=r"could come out .* off"):
        replace(parameters, scale=parameters.scale // 8)


def test_a_special_prime_too_small_for_the_noise_is_refused() -> None:
    with pytest.raises(CharterError, match=r"could come out .* off"):
        replace(choose_parameters(8), p=2**10)
