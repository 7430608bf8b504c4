"""A secret of 32 bytes in shares, of which any t give it back and t - 1 say nothing (Shamir 1979).

    f(x) = secret + c_1 x + ... + c_(t-1) x^(t-1)   (mod p),   holder h keeps f(h + 1),   secret = f(0)

p = 2^256 + 297 is the smallest prime above every secret. f is read from shares in the barycentric form of Lagrange's
formula (Berrut and Trefethen 2004), and fractions are added before they are divided: one modular inverse a value.

Shares carry no proof. Whoever puts a secret together holds a commitment to it (a public key, or a digest) and compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.secagg.keys import Entropy

__all__ = ["PRIME", "SHARE_BYTES", "combine", "robust_combine", "split"]

PRIME = 2**256 + 297
SHARE_BYTES = 33

_SECRET_BYTES = 32
_COEFFICIENT_BYTES = 64  # reduced mod p, it is less than 2^-255 away from uniform


def split(secret: bytes, threshold: int, holders: Sequence[int], entropy: Entropy) -> dict[int, bytes]:
    """Share a secret out.

    Args:
        secret: 32 bytes.
        threshold: t, how many shares give the secret back.
        holders: their indices, each once.
        entropy: source of the coefficients c_1 ... c_(t-1), in this order.

    Returns:
        Holder's index -> its share, 33 bytes big-endian, in the order of `holders`.

    Raises:
        LocalProtocolError: a secret of another length, a threshold that the holders can't meet, or a holder who is
            named twice or has no point.
    """
    if len(secret) != _SECRET_BYTES:
        raise LocalProtocolError(f"A secret of {len(secret)} bytes came; it must have 32.", "Our own fault.")
    if not 1 <= threshold <= len(holders):
        raise LocalProtocolError(
            f"{threshold} of {len(holders)} shares can't be a threshold.", "Share with more holders, or ask for fewer."
        )
    if len(set(holders)) != len(holders):
        raise LocalProtocolError(f"A holder is named twice among {sorted(holders)}.", "Give each holder one share.")
    _check_indices(holders)
    drawn = (int.from_bytes(entropy(_COEFFICIENT_BYTES), "big") % PRIME for _ in range(threshold - 1))
    coefficients = [int.from_bytes(secret, "big"), *drawn]
    shares = {}
    for holder in holders:
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * (holder + 1) + coefficient) % PRIME
        shares[holder] = value.to_bytes(SHARE_BYTES, "big")
    return shares


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The secret, from exactly these shares.

    Args:
        shares: holder's index -> its share; as many as the threshold, or more.

    Returns:
        32 bytes, which are not the secret if a share is wrong or too few came: compare with its commitment.

    Raises:
        RemoteProtocolError: no shares, a share that is no number below p, or shares that belong to no secret.
        LocalProtocolError: a holder's index that has no point.
    """
    _check_indices(shares)
    points = _points(shares)
    if len(points) != len(shares) or not shares:
        malformed = sorted(set(shares) - {point - 1 for point in points})
        raise RemoteProtocolError(
            f"Shares of 33 bytes below the prime are due; of {len(shares)}, those of {malformed} are not.",
            "Leave them out and ask those holders; more than the threshold of others will do.",
        )
    secret = _Polynomial(points).secret()
    if secret is None:
        raise RemoteProtocolError(
            f"The shares of {sorted(shares)} belong to no secret of 32 bytes.",
            "One of them is wrong, or there are too few; try others.",
        )
    return secret


def robust_combine(
    shares: Mapping[int, bytes], threshold: int, correct: Callable[[bytes], bool]
) -> tuple[bytes, list[int]]:
    """The committed secret although some shares may be wrong, and whose shares disagree with it.

    Each `threshold` shares that follow one another, in ascending order of the holders and wrapping round, are tried.
    So one wrong share is always survived if one is to spare; two or more are if `threshold` right ones stand together.

    Liars who know each other's shares can bend a window's polynomial and keep its secret. Of the windows that give the
    secret, the one that most shares agree with therefore decides: w liars can blame nobody else if they leave such a
    window alone and at least threshold + 2 w - 1 shares came. And a dealer may have dealt a wrong share to an honest
    holder. A name here is a reason to look at signed messages, not a verdict.

    Args:
        shares: holder's index -> its share.
        threshold: t of the polynomial.
        correct: whether a secret is the one that was committed to.

    Returns:
        The secret, and the holders whose share is malformed or not on its polynomial, ascending.

    Raises:
        RemoteProtocolError: too few shares that are numbers below p, or none of the windows gives the secret.
        LocalProtocolError: a threshold below 1, or a holder's index that has no point.
    """
    if threshold < 1:
        raise LocalProtocolError(f"{threshold} shares can't be a threshold.", "Use the charter's threshold.")
    _check_indices(shares)
    points = _points(shares)
    if len(points) < threshold:
        raise RemoteProtocolError(
            f"{len(points)} of {len(shares)} shares are 33 bytes below the prime; {threshold} are needed.",
            "Ask more holders for theirs.",
        )
    best: tuple[bytes, list[int]] | None = None
    for window in _windows(sorted(points), threshold):
        f = _Polynomial({x: points[x] for x in window})
        secret = f.secret()
        if secret is None or not correct(secret):
            continue
        others = points.keys() - set(window)
        astray = sorted((shares.keys() - {x - 1 for x in points}) | {x - 1 for x in others if f(x) != points[x]})
        if best is None or len(astray) < len(best[1]):
            best = secret, astray
        if not astray:
            break
    if best is None:
        raise RemoteProtocolError(
            f"No {threshold} neighbouring shares of {sorted(shares)} give the committed secret.",
            "Several holders sent wrong shares, or the dealer did: ask more holders, or run without the dealer.",
        )
    return best


class _Polynomial:
    """The one of lowest degree through the given points: f(x) = prod_i (x - x_i) * sum_i y_i / ((x - x_i) w_i).

    Args:
        points: x -> y, at least one, all x different mod p.
    """

    def __init__(self, points: Mapping[int, int]) -> None:
        self._terms = [
            (x, y, math.prod(x - other for other in points if other != x) % PRIME) for x, y in points.items()
        ]

    def __call__(self, x: int) -> int:
        """f(x), for an x that is none of the points."""
        product, numerator, denominator = 1, 0, 1
        for x_i, y_i, w_i in self._terms:
            below = (x - x_i) * w_i % PRIME
            product = product * (x - x_i) % PRIME
            numerator = (numerator * below + y_i * denominator) % PRIME
            denominator = denominator * below % PRIME
        return product * numerator * pow(denominator, -1, PRIME) % PRIME

    def secret(self) -> bytes | None:
        """f(0), if it is one of 32 bytes."""
        value = self(0)
        return value.to_bytes(_SECRET_BYTES, "big") if value < 2 ** (8 * _SECRET_BYTES) else None


def _check_indices(holders: Iterable[int]) -> None:
    """Every holder needs a point of its own, and none may be 0, where the secret is."""
    for holder in holders:
        if not 0 <= holder < PRIME - 1:
            raise LocalProtocolError(f"No holder can have the index {holder}.", "Use the roster's indices, from 0.")


def _points(shares: Mapping[int, bytes]) -> dict[int, int]:
    """The points (x -> y) of those shares that are numbers below p."""
    return {
        holder + 1: int.from_bytes(share, "big")
        for holder, share in shares.items()
        if len(share) == SHARE_BYTES and int.from_bytes(share, "big") < PRIME
    }


def _windows(ordered: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    """Each `size` of `ordered` that follow one another on a ring, once."""
    ring = [*ordered, *ordered[: size - 1]]
    starts = len(ordered) if size < len(ordered) else 1
    return (ring[start : start + size] for start in range(starts))
