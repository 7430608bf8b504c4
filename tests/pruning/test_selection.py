"""Selection is exact, orders ties by index, and never forgets a zero."""

from __future__ import annotations

from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.charter import NM, Unstructured
from fedspallm_secure.pruning.selection import (
    GONE,
    pruned_in_groups,
    pruned_in_rows,
    pruned_in_tensor,
    smallest,
    spread,
)

_SPARSITIES = st.fractions(min_value=Fraction(1, 50), max_value=Fraction(49, 50), max_denominator=50)


@st.composite
def _scores(draw: st.DrawFn, group: int = 1) -> torch.Tensor:
    """Few distinct scores, so that ties are everywhere, and some weights that are gone already."""
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 4)) * group
    values = draw(st.lists(st.sampled_from([GONE, 0.0, 1.0, 2.0]), min_size=rows * columns, max_size=rows * columns))
    return torch.tensor(values).view(rows, columns)


@given(st.lists(st.integers(0, 9), max_size=8).flatmap(lambda s: st.tuples(st.just(s), st.integers(0, sum(s)))))
def test_spread_adds_up_and_no_part_exceeds_its_size(case: tuple[list[int], int]) -> None:
    sizes, total = case
    parts = spread(total, sizes)
    assert sum(parts) == total
    assert all(0 <= part <= size for part, size in zip(parts, sizes, strict=True))


@given(_scores(), st.data())
def test_smallest_is_a_stable_sort_cut_at_the_count(scores: torch.Tensor, data: st.DataObject) -> None:
    rows, columns = scores.shape
    counts = torch.tensor(data.draw(st.lists(st.integers(0, columns), min_size=rows, max_size=rows)))
    mask = smallest(scores, counts)
    for row, chosen, count in zip(scores.tolist(), mask, counts.tolist(), strict=True):
        order = sorted(range(columns), key=row.__getitem__)
        assert chosen.nonzero().flatten().tolist() == sorted(order[:count])


@given(_scores(), _SPARSITIES)
def test_the_tensor_has_the_exact_number_unless_more_were_gone(scores: torch.Tensor, sparsity: Fraction) -> None:
    pattern = Unstructured(sparsity)
    gone = scores == GONE
    for mask in (pruned_in_tensor(scores, pattern), pruned_in_rows(scores, pattern)):
        assert mask.sum() == max(pattern.zeros(scores.numel()), int(gone.sum()))
        assert mask[gone].all()


@given(_scores(group=4), st.integers(1, 3))
def test_every_group_keeps_at_most_n(scores: torch.Tensor, kept: int) -> None:
    mask = pruned_in_groups(scores, NM(kept, 4)).view(-1, 4)
    gone = (scores == GONE).view(-1, 4)
    assert mask[gone].all()
    assert torch.equal(mask.sum(dim=1), gone.sum(dim=1).clamp(min=4 - kept))


def test_two_rows_of_equal_size_differ_by_at_most_one_zero() -> None:
    mask = pruned_in_rows(torch.rand(7, 9), Unstructured(Fraction(1, 2)))
    counts = mask.sum(dim=1)
    assert counts.max() - counts.min() == 1
    assert counts.sum() == 31
