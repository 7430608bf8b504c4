"""The security checks of the whole package, each broken in one way."""

from __future__ import annotations

from tests.mutations.agreement import AGREEMENT
from tests.mutations.encrypted_votes import ENCRYPTED_VOTES
from tests.mutations.keys import KEYS
from tests.mutations.mutation import Mutation
from tests.mutations.pooled import POOLED
from tests.mutations.rosters import ROSTERS
from tests.mutations.sums import SUMS
from tests.mutations.transparency import TRANSPARENCY

__all__ = ["EVERY_CHECK", "FAST"]

EVERY_CHECK: tuple[Mutation, ...] = (
    *AGREEMENT,
    *ROSTERS,
    *KEYS,
    *SUMS,
    *ENCRYPTED_VOTES,
    *POOLED,
    *TRANSPARENCY,
)
"""In the order of the protocol: what is agreed and by whom, keys and shares, sums and what follows, encrypted votes,
pooled statistics, and the log."""

_FAST = (
    "a message may be of another round",
    "another attempt's keys are taken",
    "shares of another round open",
    "too few confirm",
    "another set of survivors is confirmed after a crash",
    "false sums pass",
)

FAST: tuple[Mutation, ...] = tuple(mutation for mutation in EVERY_CHECK if mutation.broken in _FAST)
"""A few that the ordinary tests break too."""
