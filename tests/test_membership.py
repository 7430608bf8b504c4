"""Areas under the ROC curve are what their definition says, and scores point at members where something shows them."""

from __future__ import annotations

from math import inf, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.errors import DataError
from fedspallm_secure.evaluation import auc, auc_bound, error_scores, kept_scores

_SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=20)


@given(_SCORES, _SCORES)
def test_the_area_is_the_share_of_pairs_in_which_the_member_scores_higher_and_half_of_the_ties(
    members: list[int], others: list[int]
) -> None:
    pairs = [(member > other) + (member == other) / 2 for member in members for other in others]
    found = auc(np.array(members, float), np.array(others, float))
    assert found.value == pytest.approx(sum(pairs) / len(pairs))
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(_SCORES, _SCORES)
def test_exchanging_members_and_others_mirrors_area_and_interval(members: list[int], others: list[int]) -> None:
    one, other = (auc(np.array(a, float), np.array(b, float)) for a, b in ((members, others), (others, members)))
    assert (one.value, one.low, one.high) == pytest.approx((1 - other.value, 1 - other.high, 1 - other.low))


def test_the_interval_covers_the_true_area_about_95_times_in_100_and_does_not_shrink_to_a_point_at_1() -> None:
    rng = np.random.default_rng(0)
    for shift, size in ((0.0, 16), (1.0, 16), (2.0, 32)):
        truth = NormalDist().cdf(shift / sqrt(2))
        found = [auc(rng.normal(shift, size=size), rng.normal(size=size)) for _ in range(600)]
        assert 0.92 <= np.mean([area.low <= truth <= area.high for area in found]) <= 0.99
    certain = auc(np.arange(16.0) + 20, np.arange(16.0))
    assert certain.value == certain.high == 1
    assert 0.8 < certain.low < 0.9
    assert str(certain) == "1.00 (0.87 to 1.00)"


@pytest.mark.parametrize(("members", "others"), [([], [1.0]), ([1.0], []), ([float("nan")], [1.0])])
def test_no_area_is_made_of_nothing(members: list[float], others: list[float]) -> None:
    with pytest.raises(DataError, match="at least one each"):
        auc(np.array(members), np.array(others))


def test_the_bound_goes_from_a_guess_to_certainty_and_the_best_adversary_reaches_it() -> None:
    assert (auc_bound(0), auc_bound(inf)) == (0.5, 1.0)
    # Two records at right angles, each as long as one may be; noise of one of their lengths over mu.
    mu, trials = 1.3, 200_000
    noise = np.random.default_rng(0).normal(scale=1 / mu, size=(trials, 2))
    with_the_first = noise + np.array([1, 0])
    right = float(np.mean(with_the_first[:, 0] > with_the_first[:, 1]))
    assert right == pytest.approx(auc_bound(mu), abs=0.005)


def _text(rng: np.random.Generator, windows: int, inputs: int) -> np.ndarray:
    return np.exp(0.5 * rng.normal(size=(windows, inputs))) * np.exp(np.linspace(-3, 3, inputs))


def test_members_look_like_the_inputs_that_were_kept_more_than_expected() -> None:
    rng = np.random.default_rng(1)
    members, others, own, theirs = (_text(rng, 24, 300) for _ in range(4))
    candidates = np.concatenate([members, others])
    scores = kept_scores([candidates], [own], [np.log(members.sum(0))], [np.log(theirs.sum(0))])
    assert auc(scores[:24], scores[24:]).low > 0.8
    blind = kept_scores([candidates], [own], [np.log(_text(rng, 24, 300).sum(0))], [np.log(theirs.sum(0))])
    assert auc(blind[:24], blind[24:]).low < 0.5 < auc(blind[:24], blind[24:]).high


def test_a_score_does_not_depend_on_how_long_or_loud_a_window_is() -> None:
    rng = np.random.default_rng(2)
    candidates, own, kept, expected = _text(rng, 6, 40), _text(rng, 9, 40), rng.random(40), rng.random(40)
    one = kept_scores([candidates], [own], [kept], [expected])
    other = kept_scores([candidates * rng.uniform(1, 9, size=(6, 1))], [own * 7], [kept], [expected])
    assert np.allclose(one, other)
    assert (np.abs(one) <= 1 + 1e-12).all()


def test_what_never_varies_or_was_just_as_expected_says_nothing() -> None:
    own = np.ones((3, 5))
    assert kept_scores([_text(np.random.default_rng(0), 4, 5)], [own], [np.ones(5)], [np.zeros(5)]).tolist() == [0] * 4
    own = _text(np.random.default_rng(0), 4, 5)
    assert kept_scores([own], [own], [np.ones(5)], [np.ones(5)]).tolist() == [0] * 4


def test_an_error_smaller_than_expected_points_at_a_member() -> None:
    scores = error_scores(np.array([[1.0, 4.0], [2.0, 8.0]]), np.array([[2.0, 8.0], [2.0, 8.0]]))
    assert scores == pytest.approx([np.log(2), 0])
