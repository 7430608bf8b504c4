"""Shares on their way to their holder: AES-256-GCM under a key that only the two ends know and that is used once.

The key is derived from both ends' channel keys and from who sends to whom in which exchange, so that a ciphertext
handed to somebody else, or kept for another round, does not open. A key seals one message; its nonce is all zero
(NIST SP 800-38D: a nonce must not repeat under one key).
"""

from __future__ import annotations

import base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import decode_base64
from fedspallm_secure.secagg.keys import ChannelContext, derive

__all__ = ["open_sealed", "seal_for"]

_NONCE = bytes(12)


def seal_for(secret: bytes, context: ChannelContext, plaintext: bytes) -> str:
    """Encrypt `plaintext` for the context's receiver.

    Args:
        secret: X25519 of both ends' channel keys.
        context: enters key and associated data.
        plaintext: shares, in the order that both ends compute.

    Returns:
        Ciphertext and tag, base64.
    """
    key, aad = _key(secret, context), context.encode()
    return base64.b64encode(AESGCM(key).encrypt(_NONCE, plaintext, aad)).decode()


def open_sealed(secret: bytes, context: ChannelContext, sealed: str, name: str) -> bytes:
    """Decrypt what the participant `name` sealed.

    Raises:
        RemoteProtocolError: it is not what that participant sealed for this receiver in this exchange.
    """
    try:
        return AESGCM(_key(secret, context)).decrypt(_NONCE, decode_base64(sealed), context.encode())
    except (InvalidTag, ValueError) as error:
        raise RemoteProtocolError(
            f"The shares that came as {name!r}'s were not sealed by it for this client in this exchange.",
            "Do not go on; the server swapped or changed them, or that institution sealed something else.",
        ) from error


def _key(secret: bytes, context: ChannelContext) -> bytes:
    return derive(secret, b"share-channel", context.encode())
