"""SparseGPT from a pooled moment prunes as local pruning does, and gives the same bits wherever it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.aggregation import MatrixQuantiser, prune_from_moment
from fedspallm_secure.charter import parse_pattern
from fedspallm_secure.errors import NumericalError
from fedspallm_secure.pruning.sparsegpt import sparsegpt

_DAMPING = Fraction(1, 100)
_CASES = [("0.5", 8), ("0.7", 20), ("1/3", 128), ("0.37", 7), ("0.5", 1), ("2:4", 8), ("1:4", 128), ("12:20", 8)]


def _inputs(seed: int, inputs: int, decades: float = 0, tokens: int = 200) -> NDArray[np.float64]:
    """X, float64 (tokens, inputs), correlated; sizes spread over so many decades."""
    rng = np.random.default_rng(seed)
    X: NDArray[np.float64] = rng.normal(size=(tokens, inputs)) @ rng.normal(size=(inputs, inputs))
    return X * 10 ** rng.uniform(0, decades, inputs)


def _weights(seed: int, *shapes: tuple[int, int]) -> list[NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def _moment(X: NDArray[np.float64]) -> NDArray[np.float64]:
    moment: NDArray[np.float64] = X.T @ X
    return np.maximum(moment, moment.T)


def _pruned(
    matrices: Sequence[NDArray[Any]], moment: NDArray[np.float64], pattern: str, block: int = 8
) -> list[NDArray[Any]]:
    return prune_from_moment(matrices, moment, parse_pattern(pattern), _DAMPING, block)


def _locally(
    matrices: Sequence[NDArray[Any]], moment: NDArray[np.float64], pattern: str, block: int = 8, dtype: Any = np.float64
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Weight and mask of local pruning, in this precision."""
    result = sparsegpt(
        [torch.from_numpy(matrix.astype(dtype)) for matrix in matrices],
        torch.from_numpy(moment.astype(dtype)),
        parse_pattern(pattern),
        damping=float(_DAMPING),
        block=block,
    )
    return [(weight.numpy(), kept.numpy()) for weight, kept in zip(result.weights, result.kept, strict=True)]


def _assert_equal_to_local_pruning(
    new: Sequence[NDArray[Any]], expected: Sequence[tuple[NDArray[Any], NDArray[Any]]], tolerance: float
) -> None:
    for weight, (theirs, kept) in zip(new, expected, strict=True):
        assert np.array_equal(weight != 0, kept)
        assert not np.signbit(weight[~kept]).any()
        np.testing.assert_allclose(weight, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize(("pattern", "block"), _CASES)
@pytest.mark.parametrize("decades", [0, 3])
@pytest.mark.parametrize("inputs", [20, 100])
def test_masks_and_weights_are_local_prunings(pattern: str, block: int, decades: int, inputs: int) -> None:
    matrices = _weights(1, (7, inputs), (1, inputs), (12, inputs))
    moment = _moment(_inputs(0, inputs, decades))
    new = _pruned(matrices, moment, pattern, block)
    # In float64 nothing but float32's rounding of the result is left.
    _assert_equal_to_local_pruning(new, _locally(matrices, moment, pattern, block), 1e-7)
    _assert_equal_to_local_pruning(new, _locally(matrices, moment, pattern, block, np.float32), 1e-4)


@pytest.mark.parametrize("pattern", ["0.5", "2:4"])
def test_of_ill_conditioned_inputs_too(pattern: str) -> None:
    # Half as many tokens as inputs, sizes over six decades: the damping alone makes it positive definite.
    matrices = _weights(1, (24, 160))
    moment = _moment(_inputs(0, 160, 6, tokens=80))
    assert np.linalg.cond(moment) > 1e12
    new = _pruned(matrices, moment, pattern, 64)
    _assert_equal_to_local_pruning(new, _locally(matrices, moment, pattern, 64), 1e-7)
    ((theirs, kept),) = _locally(matrices, moment, pattern, 64, np.float32)
    assert np.mean((new[0] != 0) != kept) <= 0.005
    assert np.linalg.norm(new[0] - theirs) <= 0.02 * np.linalg.norm(theirs)


@given(st.integers(0, 2**32 - 1), st.sampled_from(_CASES))
def test_ties_go_where_local_pruning_has_them_go(seed: int, case: tuple[str, int]) -> None:
    # Inputs that nothing goes with leave the weights as they are: small integers, many of equal score.
    W = np.random.default_rng(seed).integers(-3, 4, (5, 20)).astype(np.float32)
    new = _pruned([W], np.eye(20), *case)
    _assert_equal_to_local_pruning(new, _locally([W], np.eye(20), *case), 0)


@pytest.mark.parametrize("pattern", ["0.5", "2:4"])
def test_dead_inputs_and_weights_pruned_before_are_as_in_local_pruning(pattern: str) -> None:
    X = _inputs(0, 40)
    X[:, [3, 11, 39]] = 0
    matrices = _weights(1, (12, 40), (9, 40))
    matrices[0][:, 12:20] = 0
    matrices[1][np.random.default_rng(2).random((9, 40)) < 0.3] = -0.0
    new = _pruned(matrices, _moment(X), pattern)
    _assert_equal_to_local_pruning(new, _locally(matrices, _moment(X), pattern), 1e-7)
    (gone,) = _pruned(matrices[1:], np.zeros((40, 40)), pattern)
    assert gone.tobytes() == np.zeros((9, 40), np.float32).tobytes()


@pytest.mark.parametrize(("pattern", "block"), [("0.5", 32), ("2:4", 32)])
def test_matrices_that_share_an_input_come_out_bit_for_bit_as_they_do_alone(pattern: str, block: int) -> None:
    matrices = _weights(1, (30, 100), (1, 100), (70, 100))
    moment = _moment(_inputs(0, 100))
    together = _pruned(matrices, moment, pattern, block)
    alone = [_pruned([matrix], moment, pattern, block)[0] for matrix in matrices]
    assert [weight.tobytes() for weight in together] == [weight.tobytes() for weight in alone]


@pytest.mark.parametrize("power", [-401, -1, 1, 2, 200])
def test_a_power_of_two_in_the_moment_changes_no_bit(power: int) -> None:
    matrices, moment = _weights(1, (12, 60)), _moment(_inputs(0, 60, 2))
    (new,) = _pruned(matrices, moment, "0.5")
    assert _pruned(matrices, np.ldexp(moment, power), "0.5")[0].tobytes() == new.tobytes()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_weights_come_back_in_their_own_dtype(dtype: Any) -> None:
    (W,) = _weights(1, (12, 40))
    W = W.astype(dtype)
    (new,) = _pruned([W], _moment(_inputs(0, 40)), "0.5")
    (exact,) = _pruned([W.astype(np.float64)], _moment(_inputs(0, 40)), "0.5")
    assert new.dtype == dtype
    assert new.flags.c_contiguous
    assert new.tobytes() == (exact if dtype is np.float64 else exact.astype(np.float32).astype(dtype)).tobytes()


@pytest.mark.parametrize("pattern", ["0.5", "2:4"])
def test_institutions_moments_in_any_order_give_the_same_bits(pattern: str) -> None:
    texts = [_inputs(seed, 48, 2, tokens) for seed, tokens in enumerate((100, 60, 140))]
    moments = [_moment(X).astype(np.float32) for X in texts]
    matrices = _weights(1, (12, 48))
    quantiser = MatrixQuantiser(2**20, np.stack(moments).astype(np.float64).sum(axis=0).diagonal())
    found = set()
    for order in permutations(range(3)):
        sums = np.zeros(quantiser.length, np.uint64)
        for index in order:
            sums += quantiser.encode(moments[index])
        (new,) = _pruned(matrices, quantiser.decode(sums, 3), pattern)
        found.add(new.tobytes())
    assert len(found) == 1
    ((theirs, kept),) = _locally(matrices, _moment(np.concatenate(texts)), pattern)
    assert np.mean((new != 0) != kept) <= 0.005
    assert np.linalg.norm(new - theirs) <= 0.02 * np.linalg.norm(theirs)


def test_what_can_not_be_pruned_is_refused() -> None:
    (W,) = _weights(1, (3, 4))
    with pytest.raises(NumericalError, match="not positive definite"):
        _pruned([W], np.eye(4) + 1e9 * (np.ones((4, 4)) - np.eye(4)), "0.5")
    with pytest.raises(NumericalError, match="moment has entries that are not finite"):
        _pruned([W], np.full((4, 4), np.inf), "0.5")
    for bad in (np.nan, np.inf):
        with pytest.raises(NumericalError, match="weight is not finite"):
            _pruned([np.full((3, 4), bad, np.float16)], np.eye(4), "0.5")
    # Two inputs that go together: what the first one's weight did, the second one's has to do too.
    together = np.array([[1.0, 0.999], [0.999, 1.0]])
    with pytest.raises(NumericalError, match="larger than float16"):
        _pruned([np.array([[60000, 65000]], np.float16)], together, "0.5")


_CASE = """
import hashlib
from fractions import Fraction
import ml_dtypes, numpy as np
from fedspallm_secure.aggregation import prune_from_moment
from fedspallm_secure.charter import parse_pattern

drawn = np.frombuffer(hashlib.shake_128(b"pooled SparseGPT").digest(2 * 130 * 72), "<i2").reshape(130, 72)
X = drawn[:90].astype(np.float64)
X[:, 10:20] += X[:, :10]
moment = (X.T @ X) / 3  # divided are integers that are exact
W = drawn[90:] / 2.0**10
matrices = [W.astype(ml_dtypes.bfloat16), W.astype(np.float32), W[::-1] / 3]
found = hashlib.sha256()
for pattern in ("0.5", "2:4"):
    for weight in prune_from_moment(matrices, moment, parse_pattern(pattern), Fraction(1, 100), 24):
        found.update(weight.tobytes())
print(found.hexdigest())
"""


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        # Where NumPy runs on x86: kernels of another processor, without fused multiply-adds.
        {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX2 FMA3"},
    ],
    ids=["as it is", "one thread", "two threads", "an old processor"],
)
def test_the_bits_are_the_same_wherever_it_runs(settings: dict[str, str]) -> None:
    run = [sys.executable, "-c", _CASE]
    done = subprocess.run(run, env=os.environ | settings, check=True, capture_output=True, text=True)
    # What it gave where it was written.
    assert done.stdout.strip() == "c0d2cebad76ea5d4596faec8c0f2c1155a4f501be11c92a68814fd645ae1da25"
