"""SPEC.md section 7: key agreement, the key schedule, masks, commitments, shares and sealing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from protocol.vectors.second.encoding import decode_base64
from protocol.vectors.second.refusal import CheckError, require

__all__ = [
    "MODULI",
    "PRIME",
    "agree",
    "channel_context",
    "channel_key",
    "checked_agree",
    "commitment",
    "deal",
    "hkdf",
    "keystream",
    "lane_context",
    "pair_key",
    "product_mask",
    "public_key",
    "reconstruct",
    "seal_shares",
    "self_key",
    "unseal",
    "vector_key",
]

PRIME = 2**256 + 297
MODULI = (2**61 - 1, 2**61 - 31)
_PREFIX = b"fedspallm-secure/v1/"


def u32(*numbers: int) -> bytes:
    """4 bytes each, big-endian."""
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def public_key(private: bytes) -> str:
    """The X25519 public key of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw().hex()


def agree(private: bytes, public: str) -> bytes:
    """X25519; ValueError for a public key that is not canonical or gives an all-zero result."""
    raw = bytes.fromhex(public)
    if int.from_bytes(raw, "little") >= 2**255 - 19:
        raise ValueError("not in canonical form")
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(raw))


def checked_agree(check: str, private: bytes, public: str) -> bytes:
    """X25519, with the check that a bad public key fails."""
    try:
        return agree(private, public)
    except ValueError as error:
        raise CheckError(check, str(error)) from error


def hkdf(secret: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 without salt, one block of 32 bytes (RFC 5869)."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def lane_context(charter: str, round_index: int, sum_name: str, attempt: int, lane: int) -> bytes:
    """Of which lane of which sum."""
    which = {"votes": b"\x01", "values": b"\x02"}[sum_name]
    return bytes.fromhex(charter) + u32(round_index) + which + u32(attempt, lane)


def channel_context(charter: str, round_index: int, attempt: int, sender: int, receiver: int) -> bytes:
    """Of what one dealer hands to one holder."""
    return bytes.fromhex(charter) + u32(round_index, attempt, sender, receiver)


def pair_key(secret: bytes, context: bytes, one: int, other: int) -> bytes:
    """Key of the mask that two clients share."""
    return hkdf(secret, _PREFIX + b"pairwise-mask" + context + u32(min(one, other), max(one, other)))


def self_key(seed: bytes, context: bytes, client: int) -> bytes:
    """Key of a client's self mask."""
    return hkdf(seed, _PREFIX + b"self-mask" + context + u32(client))


def channel_key(secret: bytes, context: bytes) -> bytes:
    """Key that seals shares."""
    return hkdf(secret, _PREFIX + b"share-channel" + context)


def vector_key(challenge: bytes, modulus: int, lane: int) -> bytes:
    """Key of the public vector r of a check."""
    return hkdf(challenge, _PREFIX + b"check/vector" + bytes([modulus]) + u32(lane))


def product_mask(secret: bytes, challenge: bytes, modulus: int, group: int, one: int, other: int) -> int:
    """What two clients add to and subtract from their products."""
    numbers = u32(group, min(one, other), max(one, other))
    return int.from_bytes(hkdf(secret, _PREFIX + b"check/mask" + bytes([modulus]) + numbers + challenge), "big")


def keystream(key: bytes, words: int) -> list[int]:
    """AES-256-CTR from a zero block, as words."""
    data = Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(8 * words))
    return list(struct.unpack(f"<{words}Q", data))


def commitment(seed: bytes) -> str:
    """Of a self mask's seed."""
    return hashlib.sha256(_PREFIX + b"seed-commitment" + seed).hexdigest()


def deal(secret: bytes, coefficients: Sequence[int], holders: Sequence[int]) -> dict[int, bytes]:
    """Shares of 32 bytes: holder's index -> 33 bytes."""
    terms = [int.from_bytes(secret, "big"), *coefficients]
    return {
        holder: (sum(term * (holder + 1) ** power for power, term in enumerate(terms)) % PRIME).to_bytes(33, "big")
        for holder in holders
    }


def reconstruct(shares: Mapping[int, bytes], threshold: int, committed: Callable[[bytes], bool]) -> bytes:
    """S17 and S18: the committed secret, from any `threshold` of the shares.

    Args:
        shares: holder's index -> 33 bytes.
        threshold: t.
        committed: whether a secret is the one that was committed to.
    """
    numbers = {holder: int.from_bytes(share, "big") for holder, share in shares.items()}
    sound = sorted(holder for holder, number in numbers.items() if number < PRIME)
    require("S17", len(sound) >= threshold, f"{len(sound)} shares of {threshold}")
    for chosen in combinations(sound, threshold):
        secret = _at_zero({holder: numbers[holder] for holder in chosen})
        if secret < 2**256 and committed(secret.to_bytes(32, "big")):
            return secret.to_bytes(32, "big")
    raise CheckError("S18")


def _at_zero(shares: Mapping[int, int]) -> int:
    """f(0) by Lagrange's formula."""
    total = 0
    for holder, share in shares.items():
        above = below = 1
        for other in shares.keys() - {holder}:
            above = above * (other + 1) % PRIME
            below = below * (other - holder) % PRIME
        total += share * above * pow(below, -1, PRIME)
    return total % PRIME


def seal_shares(secret: bytes, context: bytes, plaintext: bytes) -> str:
    """AES-256-GCM with a zero nonce, base64."""
    return base64.b64encode(AESGCM(channel_key(secret, context)).encrypt(bytes(12), plaintext, context)).decode()


def unseal(secret: bytes, context: bytes, sealed: str) -> bytes:
    """What was sealed; ValueError if it does not open."""
    try:
        return AESGCM(channel_key(secret, context)).decrypt(bytes(12), decode_base64(sealed), context)
    except InvalidTag as error:
        raise ValueError("does not open") from error
