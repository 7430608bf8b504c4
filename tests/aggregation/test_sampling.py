"""Layer sampling covers every layer, keeps every quota, and is drawn from the beacon alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from fractions import Fraction
from math import ceil, floor, sqrt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedspallm_secure.aggregation import sample_layers
from fedspallm_secure.errors import CharterError

_SHARES = st.lists(st.fractions(Fraction(1, 50), 1, max_denominator=50), min_size=1, max_size=9)
_BEACONS = st.binary(min_size=32, max_size=32)


@given(_SHARES, st.integers(1, 12), _BEACONS, st.integers(0, 5))
def test_quotas_are_exact_layers_distinct_and_cohorts_balanced(
    shares: list[Fraction], layers: int, beacon: bytes, round_index: int
) -> None:
    quotas = [floor(share * layers) for share in shares]
    guaranteed = sum(quotas) // layers
    cohorts = sample_layers(shares, layers, guaranteed, beacon, round_index)
    assert len(cohorts) == layers
    assert all(list(cohort) == sorted(set(cohort)) for cohort in cohorts)
    counted = Counter(client for cohort in cohorts for client in cohort)
    assert [counted[client] for client in range(len(shares))] == quotas
    balanced = (floor(Fraction(sum(quotas), layers)), ceil(Fraction(sum(quotas), layers)))
    assert all(len(cohort) in balanced for cohort in cohorts)
    assert min(len(cohort) for cohort in cohorts) >= guaranteed
    assert cohorts == sample_layers(shares, layers, guaranteed, beacon, round_index)


@given(_SHARES, st.integers(1, 12), _BEACONS)
def test_capacities_that_cannot_cover_a_layer_are_refused_with_the_numbers(
    shares: list[Fraction], layers: int, beacon: bytes
) -> None:
    given_ = sum(floor(share * layers) for share in shares)
    minimum = given_ // layers + 1
    with pytest.raises(
        CharterError, match=rf"give {given_} .* {layers} layers .* {minimum} .* need {minimum * layers}"
    ):
        sample_layers(shares, layers, minimum, beacon, 0)


@pytest.mark.parametrize("share", [Fraction(0), Fraction(-1, 2), Fraction(11, 10)])
def test_a_share_outside_0_to_1_is_refused_by_the_client_s_index(share: Fraction) -> None:
    with pytest.raises(CharterError, match=f"Client 1 has capacity {share}"):
        sample_layers([Fraction(1), share], 4, 1, bytes(32), 0)


@given(_BEACONS, _BEACONS)
def test_another_round_and_another_beacon_draw_other_cohorts(beacon: bytes, other: bytes) -> None:
    assume(beacon != other)
    shares = [Fraction(1, 2)] * 12
    drawn = sample_layers(shares, 32, 6, beacon, 0)
    assert drawn != sample_layers(shares, 32, 6, beacon, 1)
    assert drawn != sample_layers(shares, 32, 6, other, 0)


def test_each_layer_is_equally_likely_for_each_client() -> None:
    shares = [Fraction(1, 6), Fraction(2, 6), Fraction(3, 6), Fraction(5, 6), Fraction(1)]
    layers, draws = 6, 2_000
    counted: Counter[tuple[int, int]] = Counter()
    for draw in range(draws):
        cohorts = sample_layers(shares, layers, 2, hashlib.sha256(b"%d" % draw).digest(), 0)
        counted.update((client, layer) for layer, cohort in enumerate(cohorts) for client in cohort)
    for client, share in enumerate(shares):
        deviation = sqrt(draws * share * (1 - share))
        for layer in range(layers):
            assert abs(counted[client, layer] - draws * share) <= 4.5 * deviation
