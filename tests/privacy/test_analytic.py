"""The price of Gaussian noise is the true one, rounded up, over the whole range that anybody asks for."""

from __future__ import annotations

from decimal import Decimal, localcontext
from math import inf, log, nan, sqrt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedspallm_secure.errors import ConfigError
from fedspallm_secure.privacy import delta_of, epsilon_of, multiplier_of
from fedspallm_secure.privacy.normal import tail
from tests.privacy.independent import delta_by_integration

_EPSILONS = st.floats(-3, 1.8).map(lambda power: 10**power)
_MUS = st.floats(-3.5, 1.2).map(lambda power: 10**power)
_DELTAS = st.floats(-12, -0.5).map(lambda power: 10**power)


@given(_EPSILONS, _MUS)
def test_delta_is_the_integral_and_never_below_it(epsilon: float, mu: float) -> None:
    exact = delta_by_integration(epsilon, mu)
    assume(exact > 1e-25)
    assert exact * (1 - 1e-11) <= delta_of(epsilon, mu) <= exact * (1 + 1e-6)


@given(_EPSILONS, _MUS)
def test_delta_is_not_below_the_formula_in_100_digits(epsilon: float, mu: float) -> None:
    with localcontext(prec=100):
        exact_epsilon, exact_mu = Decimal(epsilon), Decimal(mu)
        a = exact_mu / 2 - exact_epsilon / exact_mu
        b = a - exact_mu
        assume(b > -20)
        exact = (tail(-a) if a < 0 else 1 - tail(a)) - exact_epsilon.exp() * tail(-b)
        assume(exact > Decimal("1e-40"))
        assert exact <= Decimal(delta_of(epsilon, mu)) <= exact * (1 + Decimal("1e-5"))


@given(_DELTAS, _MUS)
def test_epsilon_is_the_smallest_at_which_the_integral_keeps_to_delta(delta: float, mu: float) -> None:
    epsilon = epsilon_of(delta, mu)
    if epsilon == 0:
        assert delta_by_integration(1e-9, mu) <= delta
    else:
        assert delta_by_integration(epsilon, mu) <= delta * (1 + 1e-11)
        assert delta_by_integration(epsilon * (1 - 1e-6), mu) > delta


@given(_EPSILONS, _DELTAS)
def test_the_multiplier_is_the_smallest_that_keeps_to_epsilon_and_delta(epsilon: float, delta: float) -> None:
    multiplier = multiplier_of(epsilon, delta)
    assert delta_by_integration(epsilon, 1 / multiplier) <= delta * (1 + 1e-11)
    assert delta_by_integration(epsilon, 1 / (multiplier * (1 - 1e-6))) > delta


@given(_EPSILONS, st.floats(1e-3, 5), st.floats(1.01, 3))
def test_more_epsilon_or_less_signal_needs_less_delta(epsilon: float, mu: float, factor: float) -> None:
    assume(delta_by_integration(epsilon, mu) > 1e-20)
    assert delta_of(epsilon * factor, mu) < delta_of(epsilon, mu) < delta_of(epsilon, mu * factor)


def test_balle_and_wangs_example_comes_out() -> None:
    # Their published program, for epsilon 1 and delta 10^-5, finds 3.730632; the classical formula asks for more.
    assert multiplier_of(1, 1e-5) == pytest.approx(3.730632, abs=1e-6)
    assert multiplier_of(1, 1e-5) < sqrt(2 * log(1.25 / 1e-5))


@pytest.mark.parametrize("mu", [1e-9, 1e-3, 1.0, 50.0])
def test_without_any_epsilon_delta_is_the_total_variation_distance(mu: float) -> None:
    from statistics import NormalDist

    assert delta_of(0, mu) == pytest.approx(2 * NormalDist().cdf(mu / 2) - 1, rel=1e-6)


def test_no_signal_costs_nothing_and_far_tails_do_not_overflow() -> None:
    assert delta_of(0, 0) == 0
    assert epsilon_of(1e-9, 0) == 0
    assert 0 < delta_of(700, 0.001) < 1e-300
    assert delta_of(1e-3, 1000) == 1


@pytest.mark.parametrize(("epsilon", "mu"), [(-1, 1), (1, -1), (nan, 1), (1, nan), (inf, 1), (1, inf)])
def test_what_is_no_epsilon_or_mu_is_refused(epsilon: float, mu: float) -> None:
    with pytest.raises(ConfigError, match="can't be computed"):
        delta_of(epsilon, mu)


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.5, nan])
def test_what_is_no_delta_is_refused(delta: float) -> None:
    with pytest.raises(ConfigError, match="can't be computed"):
        epsilon_of(delta, 1)
    with pytest.raises(ConfigError, match="can't be computed"):
        multiplier_of(1, delta)
