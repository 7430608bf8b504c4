"""The two stretches of a ring that hold the fewest survivors are found, and survivors are refused for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.secagg.stretches import thinnest


@given(st.data())
def test_the_thinnest_two_stretches_are_those_of_all_pairs_that_are_apart(data: st.DataObject) -> None:
    n = data.draw(st.integers(4, 24))
    half = data.draw(st.integers(1, (n - 2) // 2))
    ring = data.draw(st.permutations(range(n)))
    present = data.draw(st.sets(st.integers(0, n + 3)))
    held = [sum(ring[(start + step) % n] in present for step in range(half)) for start in range(n)]
    pairs = [
        held[one] + held[other]
        for one in range(n)
        for other in range(n)
        if half < (other - one) % n < n - half  # somebody is between them on either side
    ]
    assert thinnest(ring, 2 * half, present) == min(pairs)


def test_a_member_s_neighbours_are_two_stretches() -> None:
    ring = range(12)
    assert thinnest(ring, 4, set(ring) - {10, 11, 1, 2}) == 0  # 0 is left alone
    assert thinnest(ring, 4, set(ring) - {11, 0, 1, 2}) == 1  # 10 or 3 remains beside any other two
