"""Votes as digits of numbers, and sums of such numbers as counts.

Votes lie in planes, a ciphertext at a time: of a ciphertext's v N votes, number i holds the votes i, N + i, 2 N + i,
..., the first one least significant. The last ciphertext of a lane is filled up with zeros, which stay zero in sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.votes.parameters import MARGIN, CkksParameters

__all__ = ["pack_votes", "unpack_counts"]

_TODO = (
    "Nothing was published. Somebody encrypted something else than votes, or under another key; "
    "start anew, under another charter."
)


def pack_votes(parameters: CkksParameters, votes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """One ciphertext's votes as numbers.

    Args:
        parameters: of the lane.
        votes: bool, at most v N.

    Returns:
        float64, shape (N,), whole numbers below B^v.
    """
    planes = np.zeros((parameters.digits, parameters.ring), np.float64)
    planes.reshape(-1)[: votes.size] = votes
    numbers: NDArray[np.float64] = planes[-1]
    for plane in planes[-2::-1]:
        numbers *= parameters.base
        numbers += plane
    return numbers


def unpack_counts(
    parameters: CkksParameters, sums: NDArray[np.float64], contributors: int, counts: NDArray[Any]
) -> None:
    """One ciphertext's counts from its decrypted sum. The error never says how far off a number was.

    Args:
        parameters: of the lane.
        sums: float64, shape (N,), as decrypted.
        contributors: how many clients' votes were added.
        counts: where they go: any unsigned dtype that holds n, at most v N.

    Raises:
        RemoteProtocolError: a number is further than the margin from a whole one, or is no sum of votes.
    """
    whole = np.rint(sums)
    if not np.all(np.abs(sums - whole) <= MARGIN):  # what is not a number is refused too
        raise RemoteProtocolError(f"A decrypted sum is further than {MARGIN} from a whole number.", _TODO)
    if whole.min() < 0 or whole.max() >= parameters.base**parameters.digits:
        raise RemoteProtocolError("A decrypted sum is no sum of votes: it is negative or too large.", _TODO)
    rest = whole.astype(np.uint64)
    base = np.uint64(parameters.base)
    digits = np.empty((parameters.digits, parameters.ring), np.uint64)
    for plane in digits:
        quotient = rest // base
        plane[:] = rest - quotient * base
        rest = quotient
    found = digits.reshape(-1)
    if found.max() > contributors or found[counts.size :].any():
        raise RemoteProtocolError(f"A decrypted sum has a count that {contributors} contributors can't reach.", _TODO)
    counts[:] = found[: counts.size]
