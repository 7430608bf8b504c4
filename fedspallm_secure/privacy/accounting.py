"""What releases with Gaussian noise cost together, and how much noise a budget asks for.

No release here is of a random sample of the records, so the composition is one Gaussian, and the formula of `analytic`
is the exact price: no accountant can show a smaller one. It is rounded up and needs nothing but doubles, so whoever
reads a ledger can compute it again. That is the number a ledger takes.

Opacus comes to the same price another way: its PRVAccountant (Gopi, Lee, Wutschitz 2021, arXiv 2106.02848) adds up
discretised privacy losses and returns an upper bound, which lies above the exact price by the error it is asked for,
1 % here. So a mistake in the formula would show. Its RDPAccountant is no check of that kind: Rényi bounds lie above by
5 % and more.

The law of the numbers that are drawn is not quite the ideal one: at most 2^-224 a number and institution are missing
(`noise`). In delta that counts 1 + e^epsilon times, as either of two neighbours may have it. For 2^45 numbers, 2^16
institutions and an epsilon of 50 it is below 2^-90. A share of 2^-30 of delta is kept for it, which is more as long as
delta is 10^-15 at least.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, fsum, nextafter, sqrt

from fedspallm_secure.errors import ConfigError, NumericalError
from fedspallm_secure.privacy.analytic import epsilon_of, multiplier_of
from fedspallm_secure.privacy.library import prv_accountant

__all__ = [
    "LARGEST_EPSILON",
    "MOST_NUMBERS",
    "SMALLEST_DELTA",
    "Gaussian",
    "checked_epsilon",
    "epsilon_together",
    "multiplier_for",
    "opacus_epsilon",
    "variance_for",
]

LARGEST_EPSILON = 50
SMALLEST_DELTA = Fraction(1, 10**15)
MOST_NUMBERS = 2**45
"""For which the share of delta that is kept for the sampling is enough."""

_KEPT = 2.0**-30
_ROUNDING = 2.0**-48
_HEADROOM = 2.0**-40
_OPACUS_ERROR = 0.01
_SMALLEST_ERROR = 1e-4  # of epsilon: Opacus' memory grows as the error falls
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Gaussian:
    """Releases with the same noise.

    Attributes:
        multiplier: standard deviation of the noise over the sensitivity, above 0.
        times: how many, at least 1.
    """

    multiplier: float
    times: int

    @classmethod
    def of(cls, variance: int, bound: int, times: int) -> Gaussian:
        """Noise of this variance on sums that a record moves by `bound` at most; the multiplier is rounded down."""
        return cls(nextafter(sqrt(variance) / bound, 0), times)


def epsilon_together(releases: Iterable[Gaussian], delta: float) -> float:
    """The epsilon of all releases together at `delta`, rounded up: the number that a ledger takes.

    Raises:
        ConfigError: delta is not between 0 and 1, or there is a release without noise.
    """
    return epsilon_of(delta * (1 - _KEPT), _mu(releases))


def opacus_epsilon(releases: Sequence[Gaussian], delta: float) -> float:
    """Opacus' upper bound of the same, 1 % above it (0.0001 where epsilon is below 0.01).

    Raises:
        ConfigError: Opacus is not installed, or as above.
        NumericalError: its numbers do not do for so small a delta.
    """
    accountant = prv_accountant()
    accountant.history = [(release.multiplier, 1.0, release.times) for release in releases]
    error = max(_OPACUS_ERROR * epsilon_together(releases, delta), _SMALLEST_ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it takes the logarithm of 1 - sample rate, which is 0
        try:
            return float(accountant.get_epsilon(delta, eps_error=error))
        except (ValueError, RuntimeError) as refusal:
            raise NumericalError(
                f"Opacus can't account for delta {delta:g}: {refusal}.", "Check with a larger delta."
            ) from refusal


def checked_epsilon(releases: Sequence[Gaussian], delta: float) -> float:
    """`epsilon_together`, once Opacus has come to the same.

    Raises:
        ConfigError: as above.
        NumericalError: Opacus finds less, or more than 2 % (or 0.0002) more.
    """
    epsilon, bound = epsilon_together(releases, delta), opacus_epsilon(releases, delta)
    if not epsilon <= bound <= epsilon + max(_TOLERANCE * epsilon, 2 * _SMALLEST_ERROR):
        raise NumericalError(
            f"The formula gives an epsilon of {epsilon:.6f}, and Opacus {bound:.6f}.",
            "One of them is wrong: release nothing, and report it.",
        )
    return epsilon


def multiplier_for(epsilon: float, delta: float, releases: int) -> float:
    """The noise multiplier with which so many releases together cost `epsilon` at `delta` and no more.

    Args:
        epsilon: above 0.
        delta: above 0 and below 1.
        releases: at least 1.

    Raises:
        ConfigError: one of them is out of its range.
    """
    if releases < 1:
        raise ConfigError(f"{releases} releases need no noise.", "Give how many releases there are to be.")
    return multiplier_of(epsilon, delta * (1 - _KEPT)) * sqrt(releases) * (1 + _HEADROOM)


def variance_for(multiplier: float, bound: int) -> int:
    """The least whole variance that is `multiplier` times `bound` squared, or more, in steps squared."""
    return ceil((Fraction(multiplier) * bound) ** 2)


def _mu(releases: Iterable[Gaussian]) -> float:
    """Sensitivity over standard deviation of the one release that costs as much, rounded up."""
    given = list(releases)
    for release in given:
        if not (release.multiplier > 0 and release.times >= 1):
            raise ConfigError(
                f"{release.times} releases with a noise multiplier of {release.multiplier} have no finite price.",
                "Release each sum with noise, or not at all.",
            )
    return sqrt(fsum(release.times / release.multiplier**2 for release in given)) * (1 + _ROUNDING)
