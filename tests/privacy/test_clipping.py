"""No record moves a sum by more than the bound, exactly, whatever it holds."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fedspallm_secure.errors import ConfigError, DataError
from fedspallm_secure.privacy import (
    Clipping,
    clip_diagonal,
    clip_matrix,
    diagonal_length,
    matrix_length,
    public_clipping,
    public_scale,
    to_diagonal,
    to_matrix,
    whitened_diagonal,
    whitened_matrix,
)

_CLIPPINGS = st.builds(Clipping, st.integers(1, 2**26), st.integers(-60, 60))
_ANYTHING = st.floats(width=64) | st.floats(width=32) | st.sampled_from([np.inf, np.nan, 1e200, 5e-324, -0.0])
_SEEDS = st.integers(0, 2**32 - 1)


def _records(inputs: int) -> st.SearchStrategy[NDArray[np.float64]]:
    return arrays(np.float64, (inputs,), elements=_ANYTHING)


def _matrices(inputs: int) -> st.SearchStrategy[NDArray[np.float64]]:
    return arrays(np.float64, (inputs, inputs), elements=_ANYTHING)


def _square(values: NDArray[np.int64]) -> int:
    return sum(int(value) ** 2 for value in values)


def _symmetric_square(triangle: NDArray[np.int64], inputs: int) -> int:
    """Of the Frobenius norm, by the whole matrix."""
    matrix = np.zeros((inputs, inputs), object)
    matrix[np.triu_indices(inputs)] = [int(value) for value in triangle]
    return int((matrix**2).sum() + (np.triu(matrix, 1) ** 2).sum())


def _window(rng: np.random.Generator, inputs: int) -> NDArray[np.float32]:
    """Inputs of one record, some of them much larger than others."""
    return (rng.normal(size=(9, inputs)) * 10.0 ** rng.uniform(-2, 2, inputs)).astype(np.float32)


@given(_records(5), _CLIPPINGS)
def test_a_diagonal_is_never_longer_than_the_bound_whatever_it_holds(record: Any, clipping: Clipping) -> None:
    assert _square(clip_diagonal(record, clipping)) <= clipping.bound**2


@given(_matrices(4), _CLIPPINGS)
def test_a_matrix_is_never_longer_than_the_bound_whatever_it_holds(record: Any, clipping: Clipping) -> None:
    assert _symmetric_square(clip_matrix(record, clipping), 4) <= clipping.bound**2


@given(_records(5), arrays(np.float64, (5,), elements=st.floats(0, 1e30)), _CLIPPINGS)
def test_a_whitened_diagonal_is_never_longer_than_the_bound_whatever_it_and_the_public_text_hold(
    record: Any, public: Any, clipping: Clipping
) -> None:
    public[0] = 1.0
    with np.errstate(over="ignore"):
        single = record.astype(np.float32)
    for one in (record, single):
        assert _square(clip_diagonal(whitened_diagonal(one, public_scale(public)), clipping)) <= clipping.bound**2


@given(_matrices(4), arrays(np.float64, (4,), elements=st.floats(0, 1e30)), _CLIPPINGS)
def test_a_whitened_matrix_is_never_longer_than_the_bound_whatever_it_and_the_public_text_hold(
    record: Any, public: Any, clipping: Clipping
) -> None:
    public[0] = 1.0
    with np.errstate(over="ignore"):
        single = record.astype(np.float32)
    for one in (record, single):
        triangle = clip_matrix(whitened_matrix(one, public_scale(public)), clipping)
        assert _symmetric_square(triangle, 4) <= clipping.bound**2


@given(_SEEDS, st.integers(1, 6), st.integers(0, 6), st.integers(10, 2**20), st.integers(-20, 10))
def test_one_record_more_moves_the_whitened_sum_by_the_bound_at_most(
    seed: int, inputs: int, others: int, bound: int, exponent: int
) -> None:
    rng = np.random.default_rng(seed)
    clipping, scale = Clipping(bound, exponent), public_scale((_window(rng, inputs) ** 2).mean(0))
    windows = [_window(rng, inputs) for _ in range(others + 1)]
    diagonals = [clip_diagonal(whitened_diagonal((x**2).sum(0), scale), clipping) for x in windows]
    assert _square(sum(diagonals) - sum(diagonals[:-1], np.zeros(inputs, np.int64))) <= bound**2
    matrices = [clip_matrix(whitened_matrix(x.T @ x, scale), clipping) for x in windows]
    moved = sum(matrices) - sum(matrices[:-1], np.zeros(inputs * (inputs + 1) // 2, np.int64))
    assert _symmetric_square(np.asarray(moved), inputs) <= bound**2


@given(_SEEDS, st.integers(1, 8))
def test_the_public_text_itself_is_white(seed: int, inputs: int) -> None:
    x = _window(np.random.default_rng(seed), inputs).astype(np.float64)
    mean = (x**2).mean(0)
    scale = public_scale(mean)
    assert (scale >= mean).all()
    raised = scale > mean
    assert np.unique(scale[raised]).size <= 1
    assert (scale[raised] <= mean.mean() / 1000).all()
    assert whitened_diagonal(mean, scale)[~raised] == pytest.approx(1)
    whitened = whitened_matrix(x.T @ x, scale)
    assert whitened == pytest.approx(whitened.T)
    assert np.diagonal(whitened) == pytest.approx(whitened_diagonal((x**2).sum(0), scale))


@pytest.mark.parametrize("mean", [0.0, np.inf, np.nan])
def test_public_text_that_gives_no_scale_is_refused(mean: float) -> None:
    with pytest.raises(DataError, match="Mean squares of"):
        public_scale(np.full(3, mean))


@given(_SEEDS, st.integers(1, 300), st.integers(0, 30))
def test_a_record_that_has_just_the_length_of_the_bound_does_not_come_out_longer(
    seed: int, inputs: int, bits: int
) -> None:
    record = np.random.default_rng(seed).normal(size=inputs)
    length = diagonal_length(record)
    clipping = Clipping(2**15, int(np.ceil(np.log2(length))) - 15 - bits % 3)
    assert _square(clip_diagonal(record, clipping)) <= clipping.bound**2
    exact = public_clipping([length], Fraction(1))
    assert _square(clip_diagonal(record, exact)) <= exact.bound**2


@given(_SEEDS, st.integers(1, 6), st.integers(0, 6), st.integers(10, 2**20), st.integers(-20, 10))
def test_adding_or_removing_one_record_moves_the_sum_by_the_bound_at_most(
    seed: int, inputs: int, others: int, bound: int, exponent: int
) -> None:
    rng = np.random.default_rng(seed)
    clipping = Clipping(bound, exponent)
    windows = [_window(rng, inputs) for _ in range(others + 1)]
    without, with_it = windows[:-1], windows
    diagonals = [
        sum((clip_diagonal((x**2).sum(0), clipping) for x in data), np.zeros(inputs, np.int64))
        for data in (without, with_it)
    ]
    assert _square(diagonals[1] - diagonals[0]) <= bound**2
    triangle = np.zeros(inputs * (inputs + 1) // 2, np.int64)
    matrices = [sum((clip_matrix(x.T @ x, clipping) for x in data), triangle) for data in (without, with_it)]
    assert _symmetric_square(matrices[1] - matrices[0], inputs) <= bound**2


@given(_SEEDS, st.integers(1, 8))
def test_a_record_inside_the_bound_comes_back_to_less_than_a_step(seed: int, inputs: int) -> None:
    x = _window(np.random.default_rng(seed), inputs)
    matrix = x.T @ x
    clipping = public_clipping([2 * matrix_length(matrix)], Fraction(1))
    back = to_matrix(clip_matrix(matrix, clipping), inputs, clipping)
    assert (back == back.T).all()
    upper = np.triu_indices(inputs)
    assert (np.abs(back - matrix)[upper] < 2.0**clipping.exponent).all()
    diagonal = matrix.diagonal()
    assert (np.abs(to_diagonal(clip_diagonal(diagonal, clipping), clipping) - diagonal) < 2.0**clipping.exponent).all()


def test_a_record_beyond_the_bound_keeps_its_direction() -> None:
    record = np.array([3.0, 4.0, 0.0]) * 1e6
    clipping = Clipping(50_000, -3)
    assert np.abs(clip_diagonal(record, clipping) - [30_000, 40_000, 0]).max() <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_record_that_is_not_finite_counts_as_nothing_and_tells_nobody(bad: float) -> None:
    clipping = Clipping(1000, 0)
    assert not clip_diagonal(np.array([1.0, bad]), clipping).any()
    assert not clip_matrix(np.array([[1.0, bad], [bad, 2.0]]), clipping).any()


@given(_SEEDS, st.integers(1, 7))
def test_the_length_of_a_matrix_is_that_of_its_triangle_with_sqrt_2_off_the_diagonal(seed: int, inputs: int) -> None:
    x = _window(np.random.default_rng(seed), inputs).astype(np.float64)
    matrix = x.T @ x
    i, j = np.triu_indices(inputs)
    coordinates = matrix[i, j] * np.where(i == j, 1, np.sqrt(2))
    assert matrix_length(matrix) == pytest.approx(np.linalg.norm(matrix), rel=1e-12)
    assert diagonal_length(coordinates) == pytest.approx(np.linalg.norm(matrix), rel=1e-12)


@given(st.lists(st.floats(1e-30, 1e30), min_size=1), st.fractions(Fraction(1, 100), 1))
def test_a_public_bound_is_kept_by_the_share_of_public_records_that_was_asked_for(
    lengths: list[float], quantile: Fraction
) -> None:
    clipping = public_clipping(lengths, quantile)
    assert 2**14 <= clipping.bound <= 2**15
    bound = Fraction(clipping.bound) * Fraction(2) ** clipping.exponent
    inside = [Fraction(length) <= bound for length in lengths]
    assert sum(inside) >= quantile * len(lengths)
    step = Fraction(2) ** clipping.exponent
    assert sum(Fraction(length) <= bound - step for length in lengths) < quantile * len(lengths)


@pytest.mark.parametrize("lengths", [[], [0.0], [float("inf")], [float("nan")]])
def test_public_records_that_give_no_bound_are_refused(lengths: list[float]) -> None:
    with pytest.raises(DataError, match="public records"):
        public_clipping(lengths, Fraction(1))


@pytest.mark.parametrize(("bound", "exponent"), [(0, 0), (2**26 + 1, 0), (1, 501), (1, -501)])
def test_a_bound_that_doubles_can_t_keep_is_refused(bound: int, exponent: int) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        Clipping(bound, exponent)
