"""From two X25519 keys to one keystream key a lane.

    secret = X25519(own private key, peer's public key)                                   (RFC 7748)
    key    = HKDF-SHA256(secret, salt = none, info = context of this very mask, 32 bytes)  (RFC 5869)

The context names the charter, the round, the sum, the lane and both ends, so that a key can mask one lane of one sum
of one run, and a replayed advertisement opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import SumName

__all__ = ["Entropy", "MaskContext", "ephemeral_key", "lane_key", "shared_secret"]

Entropy = Callable[[int], bytes]
"""n -> n bytes nobody can predict; `os.urandom` in production."""

_LABEL = b"fedspallm-secure/v1/pairwise-mask"
_SUMS: dict[SumName, bytes] = {"votes": b"\x01", "values": b"\x02"}


@dataclass(frozen=True)
class MaskContext:
    """What one pairwise mask is for.

    Attributes:
        charter: the charter's digest, 64 hexadecimal digits.
        round: index of the round.
        sum: which of the two sums.
        lane: index of the lane in the charter.
        low: the smaller of both ends' roster indices; it adds the mask.
        high: the larger one; it subtracts the mask.
    """

    charter: str
    round: int
    sum: SumName
    lane: int
    low: int
    high: int

    def encode(self) -> bytes:
        """HKDF's info: label, charter (32 bytes), round, sum (1 byte), lane, low, high (4 bytes each, big-endian)."""
        numbers = (self.lane, self.low, self.high)
        return b"".join(
            [
                _LABEL,
                bytes.fromhex(self.charter),
                self.round.to_bytes(4, "big"),
                _SUMS[self.sum],
                *(number.to_bytes(4, "big") for number in numbers),
            ]
        )


def ephemeral_key(entropy: Entropy) -> X25519PrivateKey:
    """A fresh private key."""
    return X25519PrivateKey.from_private_bytes(entropy(32))


def shared_secret(private: X25519PrivateKey, peer: str, name: str) -> bytes:
    """X25519 of our private key and the public key `peer` (64 hexadecimal digits) of the participant `name`.

    Raises:
        RemoteProtocolError: a point of small order, whose secret anybody could know.
    """
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(peer)))
    except ValueError as error:
        raise RemoteProtocolError(
            f"{name!r} advertised an X25519 key of small order.", "Do not go on with this roster; ask that institution."
        ) from error


def lane_key(secret: bytes, context: MaskContext) -> bytes:
    """The AES-256 key of one lane's pairwise mask."""
    return HKDF(SHA256(), length=32, salt=None, info=context.encode()).derive(secret)
