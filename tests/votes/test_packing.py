"""Sums of packed votes unpack to counts, and what is no sum of votes is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.votes import choose_parameters
from fedspallm_secure.votes.packing import pack_votes, unpack_counts

_CLIENTS = st.sampled_from([1, 2, 3, 5, 8, 16, 64, 256, 4096])


def _unpacked(clients: int, sums: NDArray[np.float64], contributors: int, length: int) -> NDArray[np.uint16]:
    counts = np.empty(length, np.uint16)
    unpack_counts(choose_parameters(clients), sums, contributors, counts)
    return counts


@settings(max_examples=60)
@given(
    clients=_CLIENTS,
    part=st.floats(0.01, 1),
    density=st.sampled_from([0.0, 0.5, 1.0]),
    noise=st.floats(0, 0.2499),
    seed=st.integers(0, 2**32),
)
def test_the_rounded_sum_of_packed_votes_unpacks_to_the_counts(
    clients: int, part: float, density: float, noise: float, seed: int
) -> None:
    parameters, random = choose_parameters(clients), np.random.default_rng(seed)
    length, contributors = max(1, int(part * parameters.votes)), min(clients, 20)
    votes = random.random((contributors, length)) < density
    sums = np.sum([pack_votes(parameters, mine) for mine in votes], axis=0)
    sums += random.uniform(-noise, noise, sums.shape)
    assert np.array_equal(_unpacked(clients, sums, contributors, length), votes.sum(axis=0))


def test_everybodys_every_vote_is_the_largest_sum_and_unpacks() -> None:
    for clients in (1, 3, 8, 16, 64, 256, 4096):
        parameters = choose_parameters(clients)
        sums = clients * pack_votes(parameters, np.ones(parameters.votes, np.bool_))
        assert sums.max() == parameters.base**parameters.digits - 1
        assert np.all(_unpacked(clients, sums, clients, parameters.votes) == clients)


@pytest.mark.parametrize("off", [0.2501, -0.2501, 0.5, 7.3, float("nan")])
@pytest.mark.parametrize("place", [0, 4095])
def test_a_number_further_than_the_margin_from_a_whole_one_is_refused(off: float, place: int) -> None:
    sums = np.full(4096, 4.0)
    sums[place] += off
    with pytest.raises(RemoteProtocolError, match=r"further than 0\.25 from a whole number|too large"):
        _unpacked(8, sums, 8, 100)


@pytest.mark.parametrize("number", [-1.0, -1e15, 9.0**12, 2.0**60])
def test_a_negative_or_too_large_sum_is_refused(number: float) -> None:
    sums = np.zeros(4096)
    sums[3] = number
    with pytest.raises(RemoteProtocolError, match="negative or too large"):
        _unpacked(8, sums, 8, 4096 * 12)


def test_a_count_above_the_contributors_is_refused() -> None:
    sums = np.full(4096, 6.0)
    assert np.all(_unpacked(8, sums, 6, 4096) == 6)
    with pytest.raises(RemoteProtocolError, match="5 contributors can't reach"):
        _unpacked(8, sums, 5, 4096)


def test_votes_past_the_end_of_the_lane_are_refused() -> None:
    sums = np.zeros(4096)
    sums[100] = 1
    assert _unpacked(8, sums, 8, 101)[100] == 1
    with pytest.raises(RemoteProtocolError, match="can't reach"):
        _unpacked(8, sums, 8, 100)
