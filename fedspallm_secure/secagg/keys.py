"""The key schedule: from X25519 keys and seeds to the one key of every mask and every sealed share.

    secret = X25519(own private key, peer's public key)              (RFC 7748)
    key    = HKDF-SHA256(secret, salt = none, info = what for, 32 bytes)  (RFC 5869)

`info` names the charter, the round, the sum, the attempt, the lane and the ends, so that a key can do one thing in one
run, and a replayed advertisement opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import SumName

__all__ = [
    "ChannelContext",
    "Entropy",
    "MaskContext",
    "check_point",
    "derive",
    "ephemeral_key",
    "pair_mask_key",
    "public_key",
    "self_mask_key",
    "shared_secret",
]

Entropy = Callable[[int], bytes]
"""n -> n bytes nobody can predict; `os.urandom` in production."""

_PREFIX = b"fedspallm-secure/v1/"
_SUMS: dict[SumName, bytes] = {"votes": b"\x01", "values": b"\x02"}
_FIELD = 2**255 - 19
_ANY_SCALAR = X25519PrivateKey.from_private_bytes(bytes(31) + b"\x01")


@dataclass(frozen=True)
class MaskContext:
    """Which lane of which sum a mask is for.

    Attributes:
        charter: the charter's digest, 64 hexadecimal digits.
        round: index of the round.
        sum: which of the two sums.
        attempt: at that sum, from 0.
        lane: index of the lane in the charter.
    """

    charter: str
    round: int
    sum: SumName
    attempt: int
    lane: int

    def encode(self) -> bytes:
        """Charter (32 bytes), round, sum (1 byte), attempt, lane; numbers are 4 bytes, big-endian."""
        return bytes.fromhex(self.charter) + _u32(self.round) + _SUMS[self.sum] + _u32(self.attempt) + _u32(self.lane)


@dataclass(frozen=True)
class ChannelContext:
    """Which shares a sealed message carries.

    Attributes:
        charter: the charter's digest, 64 hexadecimal digits.
        round: index of the round.
        attempt: of the exchange.
        sender: roster index of whose secrets are shared.
        receiver: roster index of the holder.
    """

    charter: str
    round: int
    attempt: int
    sender: int
    receiver: int

    def encode(self) -> bytes:
        """Charter (32 bytes), round, attempt, sender, receiver; numbers are 4 bytes, big-endian."""
        numbers = (self.round, self.attempt, self.sender, self.receiver)
        return bytes.fromhex(self.charter) + b"".join(_u32(number) for number in numbers)


def ephemeral_key(entropy: Entropy) -> X25519PrivateKey:
    """A fresh private key."""
    return X25519PrivateKey.from_private_bytes(entropy(32))


def public_key(private: X25519PrivateKey) -> str:
    """Its public half, 64 hexadecimal digits."""
    return private.public_key().public_bytes_raw().hex()


def shared_secret(private: X25519PrivateKey, peer: str, name: str) -> bytes:
    """X25519 of our private key and the public key `peer` (64 hexadecimal digits) of the participant `name`.

    Raises:
        RemoteProtocolError: not in canonical form, or of small order.
    """
    raw = bytes.fromhex(peer)
    todo = "Do not go on with this roster; ask that institution."
    if int.from_bytes(raw, "little") >= _FIELD:
        raise RemoteProtocolError(f"{name!r} advertised an X25519 key that is not in canonical form.", todo)
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(raw))
    except ValueError as error:
        raise RemoteProtocolError(f"{name!r} advertised an X25519 key of small order.", todo) from error


def check_point(peer: str, name: str) -> None:
    """Refuse a public key that no honest client would advertise, without a key of our own.

    Raises:
        RemoteProtocolError: as `shared_secret` does.
    """
    shared_secret(_ANY_SCALAR, peer, name)


def pair_mask_key(secret: bytes, context: MaskContext, low: int, high: int) -> bytes:
    """The AES-256 key of the mask that the pair with roster indices low < high shares: `low` adds, `high` subtracts."""
    return derive(secret, b"pairwise-mask", context.encode() + _u32(low) + _u32(high))


def self_mask_key(seed: bytes, context: MaskContext, client: int) -> bytes:
    """The AES-256 key of the mask that the client with roster index `client` adds alone."""
    return derive(seed, b"self-mask", context.encode() + _u32(client))


def derive(secret: bytes, label: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 with `fedspallm-secure/v1/LABEL` and `info` as its info: 32 bytes.

    No label is a prefix of another one, and every info has a fixed length, so two uses never meet.
    """
    return HKDF(SHA256(), length=32, salt=None, info=_PREFIX + label + info).derive(secret)


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "big")
