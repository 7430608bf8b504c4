"""The ledger's epsilon is the true price, and Opacus, which computes it another way, agrees."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.errors import ConfigError, NumericalError
from fedspallm_secure.privacy import (
    Budget,
    Gaussian,
    Ledger,
    accounting,
    checked_epsilon,
    epsilon_together,
    multiplier_for,
    opacus_epsilon,
    variance_for,
)
from tests.privacy.independent import epsilon_by_integration
from tests.privacy.uses import BOUND, HOSPITAL, release, use

_WITHOUT_OPACUS = """
import sys
sys.modules["opacus"] = None  # as if it were not installed
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.privacy import Gaussian, checked_epsilon, epsilon_together
print(epsilon_together([Gaussian(10.0, 3)], 1e-6) > 0, "torch" in sys.modules)
try:
    checked_epsilon([Gaussian(10.0, 3)], 1e-6)
except ConfigError as error:
    print(error)
"""


@pytest.mark.parametrize("seed", range(20))
def test_the_epsilon_of_the_ledger_is_the_analytic_one_within_2_percent_and_never_below_it(
    seed: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed)
    delta = ("0.00001", "0.000001", "0.0000001", "0.000000001")[seed % 4]
    scale = 10 ** rng.uniform(0, 1.3)
    uses = [rng.uniform(1, 30, rng.integers(1, 6)) * scale for _ in range(rng.integers(1, 4))]
    with Ledger(tmp_path / "ledger.jsonl", HOSPITAL, Budget(epsilon="50", delta=delta)) as ledger:
        for multipliers in uses:
            ledger.spend(use([release(str(i), multiplier) for i, multiplier in enumerate(multipliers)]))
        text = ledger.account.epsilon
    multipliers = np.concatenate(uses)
    variances = [variance_for(multiplier, BOUND) for multiplier in multipliers]
    mu = sqrt(sum(Fraction(BOUND**2, variance) for variance in variances))
    exact = epsilon_by_integration(float(delta), mu)
    assert exact * (1 - 1e-11) <= float(text) <= 1.02 * exact
    releases = [Gaussian.of(variance, BOUND, 1) for variance in variances]
    assert checked_epsilon(releases, float(delta)) == pytest.approx(float(text), abs=1.1e-6)
    assert exact < opacus_epsilon(releases, float(delta)) < 1.02 * exact


@given(
    st.floats(-3, 1.5).map(lambda power: 10**power),
    st.floats(-12, -1).map(lambda power: 10**power),
    st.integers(1, 5000),
    st.integers(1, 2**26),
)
def test_releases_with_the_noise_that_was_asked_for_keep_to_the_budget_and_use_it_up(
    epsilon: float, delta: float, count: int, bound: int
) -> None:
    multiplier = multiplier_for(epsilon, delta, count)
    variance = variance_for(multiplier, bound)
    assert variance >= (Fraction(multiplier) * bound) ** 2 > variance - 1
    assert epsilon_together([Gaussian.of(variance, bound, count)], delta) <= epsilon
    assert epsilon_together([Gaussian(multiplier * (1 - 1e-5), count)], delta) > epsilon


@given(st.lists(st.tuples(st.floats(0.5, 100), st.integers(1, 50)), min_size=1, max_size=8))
def test_neither_order_nor_grouping_of_releases_matters(given_releases: list[tuple[float, int]]) -> None:
    releases = [Gaussian(*each) for each in given_releases]
    one_by_one = [Gaussian(release.multiplier, 1) for release in releases for _ in range(release.times)]
    price = epsilon_together(releases, 1e-6)
    assert epsilon_together(one_by_one[::-1], 1e-6) == pytest.approx(price, rel=1e-9)


def test_opacus_agrees_where_epsilon_is_small_and_where_delta_is() -> None:
    for releases, delta in (([Gaussian(3000.0, 40)], 1e-6), ([Gaussian(2.0, 1)], 1e-12), ([Gaussian(0.5, 2)], 1e-9)):
        assert checked_epsilon(releases, delta) == epsilon_together(releases, delta)


@pytest.mark.parametrize("error", [0.05, -0.01], ids=["above", "below"])
def test_a_difference_from_opacus_is_an_error(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "_OPACUS_ERROR", abs(error))
    releases = [Gaussian(4.0, 1)]
    if error < 0:  # as if the formula were given half of the noise
        monkeypatch.setattr(accounting, "_ROUNDING", 1.0)
    with pytest.raises(NumericalError, match=r"The formula gives an epsilon of .*, and Opacus"):
        checked_epsilon(releases, 1e-6)


def test_a_delta_that_opacus_can_t_do_is_refused_by_name() -> None:
    with pytest.raises(NumericalError, match="Opacus can't account for delta 1e-300"):
        opacus_epsilon([Gaussian(4.0, 1)], 1e-300)


def test_without_opacus_there_is_a_price_and_the_check_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_OPACUS], capture_output=True, text=True, timeout=60, check=True
    )
    price, missing = done.stdout.splitlines()
    assert price == "True False"
    assert missing.endswith("Run pip install 'fedspallm-secure[dp]'.")


@pytest.mark.parametrize("release_", [Gaussian(0.0, 1), Gaussian(-1.0, 1), Gaussian(1.0, 0), Gaussian(float("nan"), 1)])
def test_a_release_without_noise_has_no_price(release_: Gaussian) -> None:
    with pytest.raises(ConfigError, match="no finite price"):
        epsilon_together([release_], 1e-6)


def test_nothing_costs_nothing_and_no_releases_need_no_noise() -> None:
    assert epsilon_together([], 1e-6) == 0
    with pytest.raises(ConfigError, match="0 releases"):
        multiplier_for(1, 1e-6, 0)
