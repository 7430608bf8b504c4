"""SparseGPT agrees with a textbook rendering of it, and its edge cases do what the module says."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from fedspallm_secure.charter import NM, Pattern, Unstructured, parse_pattern
from fedspallm_secure.errors import NumericalError
from fedspallm_secure.pruning.magnitude import magnitude
from fedspallm_secure.pruning.sparsegpt import inverse_factor, sparsegpt

_HALF = Unstructured(Fraction(1, 2))


def _case(rows: int = 12, inputs: int = 20, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """W (rows, inputs), correlated X (tokens, inputs) and its Hessian, float32."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(rows, inputs, generator=generator)
    mixing = torch.randn(inputs, inputs, generator=generator)
    X = torch.randn(200, inputs, generator=generator) @ mixing
    return W, X, 2 / len(X) * X.T @ X


def _textbook(W: torch.Tensor, H: torch.Tensor, pattern: Pattern, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Optimal brain surgeon, one column after the other, with the inverse of the remaining columns' H each time."""
    W, H = W.double().clone(), H.double()
    rows, inputs = W.shape
    H = H + 0.01 * H.diagonal().mean() * torch.eye(inputs, dtype=torch.float64)
    kept = torch.ones(rows, inputs, dtype=torch.bool)
    for j in range(inputs):
        if isinstance(pattern, NM):
            if j % pattern.group == 0:
                columns = range(j, j + pattern.group)
                for row in range(rows):
                    costs = [(float(W[row, c] ** 2 / _remaining_inverse(H, c)[0, 0]), c) for c in columns]
                    for _, c in sorted(costs)[: pattern.group - pattern.kept]:
                        kept[row, c] = False
        elif j % block == 0:
            columns = range(j, min(j + block, inputs))
            wanted = pattern.zeros(rows * columns.stop) - pattern.zeros(rows * columns.start)
            all_costs = [
                (float(W[row, c] ** 2 / _remaining_inverse(H, c)[0, 0]), row, c) for c in columns for row in range(rows)
            ]
            for _, row, c in sorted(all_costs)[:wanted]:
                kept[row, c] = False
        inverse = _remaining_inverse(H, j)
        error = torch.where(kept[:, j], 0.0, W[:, j]) / inverse[0, 0]
        W[:, j:] -= error[:, None] * inverse[0]
    return W * kept, kept


def _remaining_inverse(H: torch.Tensor, j: int) -> torch.Tensor:
    inverse: torch.Tensor = torch.linalg.inv(H[j:, j:])
    return inverse


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("pattern", "block"), [("0.5", 8), ("0.7", 20), ("0.3", 128), ("2:4", 8), ("1:4", 128)])
def test_masks_and_weights_are_the_textbooks(pattern: str, block: int, seed: int) -> None:
    W, _, H = _case(seed=seed)
    expected, kept = _textbook(W, H, parse_pattern(pattern), block)
    result = sparsegpt([W], H, parse_pattern(pattern), damping=0.01, block=block)
    assert torch.equal(result.kept[0], kept)
    torch.testing.assert_close(result.weights[0].double(), expected, rtol=1e-3, atol=1e-4)
    assert result.damping_raises == 0


def test_the_factor_gives_the_inverse_of_the_damped_hessian() -> None:
    _, _, H = _case()
    U, raises = inverse_factor(H, 0.01)
    damped = H.double() + 0.01 * H.double().diagonal().mean() * torch.eye(20, dtype=torch.float64)
    torch.testing.assert_close((U.T @ U).double(), torch.linalg.inv(damped), rtol=1e-3, atol=1e-4)
    assert torch.equal(U, U.triu())
    assert raises == 0


@pytest.mark.parametrize("pattern", ["0.5", "2:4"])
def test_stacked_tensors_come_out_as_they_do_alone(pattern: str) -> None:
    W, _, H = _case()
    scaled = [W[:5], 10 * W[5:6], 0.1 * W[6:]]
    together = sparsegpt(scaled, H, parse_pattern(pattern), damping=0.01, block=8)
    for matrix, weight, kept in zip(scaled, together.weights, together.kept, strict=True):
        alone = sparsegpt([matrix], H, parse_pattern(pattern), damping=0.01, block=8)
        assert torch.equal(kept, alone.kept[0])
        torch.testing.assert_close(weight, alone.weights[0])


@pytest.mark.parametrize("pattern", ["1/2", "1/3", "0.71"])
@pytest.mark.parametrize("block", [1, 7, 128])
def test_each_tensor_has_the_exact_number_of_zeros(pattern: str, block: int) -> None:
    W, _, H = _case(rows=7, inputs=19)
    parsed = parse_pattern(pattern)
    result = sparsegpt([W[:3], W[3:]], H, parsed, damping=0.01, block=block)
    for weight, kept in zip(result.weights, result.kept, strict=True):
        assert (weight == 0).sum() == (~kept).sum() == parsed.zeros(weight.numel())
        assert not weight[~kept].signbit().any()


@pytest.mark.parametrize("block", [2, 6, 128])
def test_two_of_every_four_stay_whatever_the_block(block: int) -> None:
    W, _, H = _case()
    result = sparsegpt([W], H, NM(2, 4), damping=0.01, block=block)
    assert torch.equal((result.weights[0] != 0).view(-1, 4).sum(dim=1), torch.full((60,), 2))
    by_default = sparsegpt([W], H, NM(2, 4), damping=0.01, block=8)
    assert torch.equal(result.kept[0], by_default.kept[0])


def test_the_layers_output_is_nearer_than_with_magnitude_pruning() -> None:
    W, X, H = _case(rows=32, inputs=48)
    pruned = sparsegpt([W], H, _HALF, damping=0.01, block=16).weights[0]
    by_magnitude = W * magnitude(W, _HALF)
    assert (X @ (pruned - W).T).norm() < 0.8 * (X @ (by_magnitude - W).T).norm()


@pytest.mark.parametrize("pattern", ["0.5", "2:4"])
def test_a_dead_input_loses_its_weights_and_changes_no_others(pattern: str) -> None:
    W, X, _ = _case()
    X[:, [3, 11]] = 0
    result = sparsegpt([W], 2 / len(X) * X.T @ X, parse_pattern(pattern), damping=0.01, block=8)
    weight, kept = result.weights[0], result.kept[0]
    assert not kept[:, [3, 11]].any()
    assert (weight == 0).sum() == 120
    assert result.damping_raises == 0
    changed = W.clone()
    changed[:, [3, 11]] = 5
    again = sparsegpt([changed], 2 / len(X) * X.T @ X, parse_pattern(pattern), damping=0.01, block=8)
    assert torch.equal(again.weights[0], weight)


def test_a_tensor_whose_inputs_are_all_dead_loses_every_weight() -> None:
    W, _, _ = _case()
    result = sparsegpt([W], torch.zeros(20, 20), _HALF, damping=0.01, block=8)
    assert torch.equal(result.weights[0], torch.zeros_like(W))
    assert result.damping_raises == 0


@pytest.mark.parametrize("pattern", ["0.5", "2:4"])
def test_a_zero_weight_is_never_revived_and_counts_towards_the_quota(pattern: str) -> None:
    W, _, H = _case()
    first = sparsegpt([W], H, parse_pattern("3:4" if ":" in pattern else "0.3"), damping=0.01, block=8)
    second = sparsegpt(list(first.weights), H, parse_pattern(pattern), damping=0.01, block=8)
    assert not (second.kept[0] & ~first.kept[0]).any()
    assert (second.weights[0] == 0).sum() == 120


def test_zeros_gathered_in_one_block_leave_the_total_exact() -> None:
    W, _, H = _case()
    W[:, 12:] = 0
    weight = sparsegpt([W], H, _HALF, damping=0.01, block=8).weights[0]
    assert (weight == 0).sum() == 120
    W[:, 4:] = 0
    weight = sparsegpt([W], H, _HALF, damping=0.01, block=8).weights[0]
    assert torch.equal(weight == 0, W == 0)


def test_a_hessian_that_is_not_positive_definite_raises_the_damping_and_says_so() -> None:
    # Eigenvalues 3 and -1, mean diagonal 1: damping 0.01, 0.1 and 1 are too small, 10 is enough.
    H = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    result = sparsegpt([torch.tensor([[1.0, 3.0]])], H, _HALF, damping=0.01, block=128)
    assert result.damping_raises == 3
    assert torch.equal(result.kept[0], torch.tensor([[False, True]]))


def test_a_singular_hessian_of_too_few_tokens_still_gives_finite_weights() -> None:
    W, X, _ = _case()
    few = X[:3]
    result = sparsegpt([W], 2 / 3 * few.T @ few, _HALF, damping=1e-9, block=8)
    assert result.damping_raises > 0
    assert result.weights[0].isfinite().all()


def test_no_damping_at_all_helps_then_a_numerical_error_says_how_far_it_went() -> None:
    H = torch.tensor([[1.0, 1e9], [1e9, 1.0]])
    with pytest.raises(NumericalError, match="damping 100, after 4 raises"):
        sparsegpt([torch.ones(1, 2)], H, _HALF, damping=0.01, block=128)
