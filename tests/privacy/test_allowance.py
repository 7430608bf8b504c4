"""What was written down is released once, with the noise that was written down, and nothing else is."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest

from fedspallm_secure.errors import LocalProtocolError
from fedspallm_secure.privacy import Allowance, Release, add_noise, add_symmetric_noise, clip_diagonal, clip_matrix
from tests.privacy.independent import entropy_of
from tests.privacy.uses import release, use


def test_a_release_is_the_sum_with_the_noise_of_the_ledger_and_the_sum_stays_as_it_is() -> None:
    diagonal = release("diagonal", inputs=3)
    matrix = Release(name="matrix", kind="matrix", inputs=3, bound=20_000, exponent=0, variance=10**10)
    allowance = Allowance(use([diagonal, matrix]))
    total = clip_diagonal(np.array([1.0, 2.0, 3.0]), diagonal.clipping)
    expected = total.copy()
    add_noise(expected, Fraction(diagonal.variance), entropy_of(1))
    assert np.array_equal(allowance.release("diagonal", total, entropy_of(1)), expected)
    assert np.array_equal(total, [512, 1024, 1536])
    triangle = clip_matrix(np.full((3, 3), 7.0), matrix.clipping)
    expected = triangle.copy()
    add_symmetric_noise(expected, 3, Fraction(matrix.variance), entropy_of(2))
    assert np.array_equal(allowance.release("matrix", triangle, entropy_of(2)), expected)


def test_nothing_is_released_twice_and_nothing_that_was_not_written_down() -> None:
    allowance = Allowance(use([release("a"), release("b")]))
    total = np.zeros(8, np.int64)
    with pytest.raises(LocalProtocolError, match="'c' was released before, or is not in"):
        allowance.release("c", total, entropy_of(0))
    allowance.release("a", total, entropy_of(0))
    with pytest.raises(LocalProtocolError, match="'a' was released before"):
        allowance.release("a", total, entropy_of(1))
    allowance.release("b", total, entropy_of(2))


def test_a_sum_of_another_shape_or_of_doubles_is_refused_and_may_still_be_released_in_the_right_one() -> None:
    asked: list[int] = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return entropy_of(0)(count)

    allowance = Allowance(use([release(inputs=8)]))
    for shape in ((7,), (8, 8), (8, 1)):
        with pytest.raises(LocalProtocolError, match="8 whole numbers of 64 bits in the ledger, not int64 of shape"):
            allowance.release("layer 0", np.zeros(shape, np.int64), entropy)
    with pytest.raises(LocalProtocolError, match="not float64 of shape"):
        allowance.release("layer 0", np.zeros(8), entropy)  # type: ignore[arg-type]
    assert asked == []
    allowance.release("layer 0", np.zeros(8, np.int64), entropy)
    assert asked == [64]


def test_institutions_that_stay_and_are_honest_add_the_whole_noise_together() -> None:
    inputs, n, c, d = 20_000, 6, 1, 2
    shared = use([release(inputs=inputs)]).model_copy(update={"institutions": n, "colluders": c, "dropouts": d})
    total = np.zeros(inputs, np.int64)
    for institution in range(n - c - d):
        total = total + Allowance(shared).release("layer 0", np.zeros(inputs, np.int64), entropy_of(institution))
    assert total.var() / shared.releases[0].variance == pytest.approx(1, abs=4 * sqrt(2 / inputs))
