"""How much privacy Gaussian noise costs, exactly: the analytic Gaussian mechanism.

Noise N(0, sigma^2 I) on a vector that one record moves by at most C in the l2 norm, with mu = C / sigma, is
(epsilon, delta)-private for no smaller delta than (Balle, Wang 2018, arXiv 1805.06530, theorem 8)

    delta(epsilon) = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu).

Several such releases together, each of which may depend on the results of those before it, lose exactly as much as one
with mu^2 = mu_1^2 + mu_2^2 + ... (Dong, Roth, Su 2019, arXiv 1905.02383, corollaries 1 and 2).

The two terms can agree in nearly all their digits, and e^epsilon overflows. With a = mu/2 - epsilon/mu, b = a - mu, the
normal density phi and Mills' ratio R(x) = Phi(-x) / phi(x), e^epsilon phi(b) is phi(a), so

    delta = phi(a) (R(-a) - R(-b))   where a <= 0,       delta = Phi(a) - phi(a) R(-b)   elsewhere.

What comes out is rounded towards less privacy: delta and epsilon are never below their true values.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erfc, exp, inf, isfinite, nextafter, pi, sqrt
from sys import float_info

from fedspallm_secure.errors import ConfigError

__all__ = ["delta_of", "epsilon_of", "multiplier_of"]

_ROUNDING = 2.0**-50  # eight units of a double, for each part of the formula
_FRACTION_FROM = 5.0
_FRACTION_TERMS = 60
_HALVINGS = 100


def delta_of(epsilon: float, mu: float) -> float:
    """The smallest delta with which noise is (epsilon, delta)-private, rounded up.

    Args:
        epsilon: at least 0.
        mu: sensitivity over standard deviation of the noise, at least 0.

    Raises:
        ConfigError: one of them is negative or not finite.
    """
    _check(epsilon >= 0 and mu >= 0 and isfinite(epsilon) and isfinite(mu), f"epsilon {epsilon} and mu {mu}")
    if mu == 0:
        return 0.0
    a, b = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
    density = exp(-a * a / 2) / sqrt(2 * pi)
    second = density * _mills(-b)
    if a > 0:
        first = erfc(-a / sqrt(2)) / 2
        delta = first - second
    else:
        first = density * _mills(-a)
        delta = density * (_mills(-a) - _mills(-b))
    # a and b are off by a unit of b at most: that moves the density by a factor of a b units, R by less than its own.
    error = (first + second) * (b * b + 32) * _ROUNDING
    return min(1.0, delta + error + float_info.min)


def epsilon_of(delta: float, mu: float) -> float:
    """The smallest epsilon with which noise is (epsilon, delta)-private, rounded up.

    Args:
        delta: above 0 and below 1.
        mu: sensitivity over standard deviation of the noise, at least 0.

    Raises:
        ConfigError: one of them is out of its range.
    """
    _check(0 < delta < 1 and 0 <= mu < inf, f"delta {delta} and mu {mu}")
    return _least(lambda epsilon: delta_of(epsilon, mu) <= delta)


def multiplier_of(epsilon: float, delta: float) -> float:
    """The smallest noise multiplier sigma / C that makes one release (epsilon, delta)-private, rounded up.

    k releases need sqrt(k) times as much each.

    Args:
        epsilon: above 0.
        delta: above 0 and below 1.

    Raises:
        ConfigError: one of them is out of its range.
    """
    _check(0 < epsilon < inf and 0 < delta < 1, f"epsilon {epsilon} and delta {delta}")
    return _least(lambda multiplier: multiplier > 0 and delta_of(epsilon, 1 / multiplier) <= delta)


def _least(holds: Callable[[float], bool]) -> float:
    """Where `holds`, which is False up to some number and True from there on, begins to; at least 0."""
    if holds(0.0):
        return 0.0
    high = 1.0
    while not holds(high):
        high *= 2
    low = high / 2 if high > 1 else 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if holds(middle) else (middle, high)
    return nextafter(high, inf)


def _mills(x: float) -> float:
    """R(x) = Phi(-x) / phi(x), x >= 0: from erfc, and further out as 1/(x + 1/(x + 2/(x + 3/(x + ...))))."""
    if x < _FRACTION_FROM:
        return sqrt(pi / 2) * exp(x * x / 2) * erfc(x / sqrt(2))
    below = x
    for term in range(_FRACTION_TERMS, 0, -1):
        below = x + term / below
    return 1 / below


def _check(holds: bool, given: str) -> None:
    if not holds:
        raise ConfigError(
            f"Privacy can't be computed for {given}.", "Give an epsilon above 0 and a delta between 0 and 1."
        )
