"""Wanda and magnitude pruning keep the weights that their formulas rank highest."""

from __future__ import annotations

import torch

from fedspallm_secure.charter import parse_pattern
from fedspallm_secure.pruning.magnitude import magnitude
from fedspallm_secure.pruning.wanda import wanda


def _case() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(6, 8, generator=generator)
    X = torch.randn(40, 8, generator=generator) * torch.linspace(0.4, 2, 8)
    return W, X


def test_wanda_keeps_in_each_row_the_largest_weight_times_input_norm() -> None:
    W, X = _case()
    kept = wanda(W, X.square().mean(dim=0), parse_pattern("0.5"))
    metric = W.abs() * X.norm(dim=0)
    for row in range(6):
        assert set(kept[row].nonzero().flatten().tolist()) == set(metric[row].topk(4).indices.tolist())


def test_wanda_keeps_the_best_two_of_every_four() -> None:
    W, X = _case()
    kept = wanda(W, X.square().mean(dim=0), parse_pattern("2:4")).view(-1, 4)
    metric = (W.abs() * X.norm(dim=0)).view(-1, 4)
    for group in range(12):
        assert set(kept[group].nonzero().flatten().tolist()) == set(metric[group].topk(2).indices.tolist())


def test_magnitude_keeps_the_largest_weights_of_the_tensor() -> None:
    W, _ = _case()
    kept = magnitude(W, parse_pattern("0.75"))
    assert W[kept].abs().min() > W[~kept].abs().max()
    assert kept.sum() == 12


def test_a_zero_weight_is_pruned_before_any_other_and_counts() -> None:
    W, X = _case()
    W[0] = 0
    W[5, :3] = 0
    for kept in (wanda(W, X.square().mean(dim=0), parse_pattern("0.5")), magnitude(W, parse_pattern("0.5"))):
        assert not kept[W == 0].any()
        assert kept.sum() == 24


def test_more_zeros_than_asked_for_stay_and_none_is_added() -> None:
    W, X = _case()
    W[:5] = 0
    for kept in (wanda(W, X.square().mean(dim=0), parse_pattern("0.5")), magnitude(W, parse_pattern("0.5"))):
        assert torch.equal(kept, W != 0)
