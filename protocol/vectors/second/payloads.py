"""Payloads as the vectors have them: their bytes, equal words in a row, or how ciphertexts are made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from protocol.vectors.second import ckks
from protocol.vectors.second.encoding import canonical, parse
from protocol.vectors.second.published import blob_of

__all__ = ["payload", "recipe"]


def payload(given: str | Mapping[str, Any]) -> bytes:
    """The bytes of an entry of `blobs`."""
    if isinstance(given, str):
        return bytes.fromhex(given)
    if "runs" in given:
        return blob_of([int(word, 16) for word, number in given["runs"] for _ in range(number)])
    return _made(canonical(given))


def recipe(clients: int, secret: str, stream: str, votes: str) -> dict[str, Any]:
    """How a lane's ciphertexts are made."""
    return {"clients": clients, "secret": secret, "stream": stream, "votes": votes}


@cache
def _made(text: bytes) -> bytes:
    given = parse(text)
    secret = ckks.secret_key(bytes.fromhex(given["secret"]))
    votes = [int(bit) for bit in given["votes"]]
    return blob_of(ckks.encrypt(ckks.choose(given["clients"]), secret, bytes.fromhex(given["stream"]), votes))
