"""CKKS without chance, in place of TenSEAL's: keys and ciphertexts that follow from keys that the vectors give away.

TenSEAL draws its own randomness, so nobody could make its ciphertexts again. These are as good for whoever has the
secret key, and tell as much to whoever has it not. `tests/protocol` holds what is written here to what SEAL does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.secagg.keystream import apply_keystream
from fedspallm_secure.votes import CkksParameters, choose_parameters
from fedspallm_secure.votes.packing import pack_votes

__all__ = ["FixedEncryptor", "FixedKey", "context_of", "key_of", "payload", "stream_of"]

_PSI = 116777451583545
"""Of the 2 N-th primitive roots of unity modulo q, the smallest."""

_LARGEST_NOISE = 21


def key_of(run: str, number: int) -> str:
    """Of the key of a round, as 64 hexadecimal digits: in vectors alone, it follows from the names."""
    return hashlib.sha256(f"CKKS key of {run} {number}".encode()).hexdigest()


def context_of(run: str, number: int) -> bytes:
    """What stands for a public context. Nobody looks into it here."""
    return f"public CKKS context of {run} {number}".encode()


def stream_of(run: str, number: int, who: str, lane: str) -> str:
    """What an institution's ciphertexts of a lane are drawn from, as 64 hexadecimal digits."""
    return hashlib.sha256(f"ciphertexts of {run} {number} {who} {lane}".encode()).hexdigest()


class FixedKey:
    """A secret key; it decrypts as `votes.Decryptor` does.

    Args:
        parameters: of the charter.
        key: as `key_of`.
    """

    def __init__(self, parameters: CkksParameters, key: str) -> None:
        self.parameters = parameters
        self.key = key
        small = (_stream(key, parameters.ring) % np.uint64(3)).astype(np.int64) - 1
        self.values = _transformed(small.astype(object), parameters.q)

    def decrypt(self, words: NDArray[np.uint64]) -> NDArray[np.float64]:
        """The numbers of a ciphertext, or of a sum, approximately; as `votes.Decryptor.decrypt`."""
        q, ring = self.parameters.q, self.parameters.ring
        c0, c1 = np.split(words.astype(object), 2)
        m = _restored((c0 + c1 * self.values) % q, q)
        centred = np.array([x - q if x > q // 2 else x for x in m], np.float64)
        values = np.fft.ifft(centred * np.exp(1j * np.pi * np.arange(ring) / ring)) * ring
        slots = values[self._slots] / self.parameters.scale
        return np.concatenate([slots.real, slots.imag])

    def encrypt(self, stream: str, votes: NDArray[np.bool_]) -> Iterator[NDArray[np.uint64]]:
        """A lane's ciphertexts, drawn from `stream`, 64 hexadecimal digits."""
        parameters, ring, q = self.parameters, self.parameters.ring, self.parameters.q
        drawn = _stream(stream, parameters.words * parameters.ciphertexts(votes.size))
        for number, start in enumerate(range(0, votes.size, parameters.votes)):
            c1, noise = np.split(drawn[parameters.words * number :][: parameters.words], 2)
            c1 = c1 % np.uint64(q)
            e = (noise % np.uint64(2 * _LARGEST_NOISE + 1)).astype(np.int64) - _LARGEST_NOISE
            real, imaginary = np.split(pack_votes(parameters, votes[start : start + parameters.votes]), 2)
            values = np.zeros(ring, np.complex128)
            values[self._slots], values[ring - 1 - self._slots] = real + 1j * imaginary, real - 1j * imaginary
            turned = np.fft.fft(values) * np.exp(-1j * np.pi * np.arange(ring) / ring)
            m = np.rint(turned.real * parameters.scale / ring).astype(np.int64)
            hidden = _transformed((m + e).astype(object), q)
            c0 = (hidden - c1.astype(object) * self.values) % q
            yield np.concatenate([c0.astype(np.uint64), c1])

    @cached_property
    def _slots(self) -> NDArray[np.int64]:
        """Of each slot, which of the odd powers of zeta it is the value at."""
        ring = self.parameters.ring
        return np.array([(pow(3, j, 2 * ring) - 1) // 2 for j in range(ring // 2)])


class FixedEncryptor:
    """Encrypts one lane after the other, as `votes.Encryptor` does.

    Args:
        key: of the round.
        streams: of the lanes, in the order in which they are encrypted.
    """

    def __init__(self, key: FixedKey, streams: Sequence[str]) -> None:
        self._key = key
        self._streams = iter(streams)

    def encrypt(self, votes: NDArray[np.bool_]) -> Iterator[NDArray[np.uint64]]:
        """The next lane's."""
        return self._key.encrypt(next(self._streams), votes)


def payload(given: str | Mapping[str, Any]) -> bytes:
    """A payload as vectors have it: its bytes in hexadecimal, equal words in a row, or how ciphertexts are made."""
    if isinstance(given, str):
        return bytes.fromhex(given)
    if "runs" in given:
        return b"".join(number * bytes.fromhex(word)[::-1] for word, number in given["runs"])
    return _ciphertexts(json.dumps(given, sort_keys=True))


@cache
def _ciphertexts(text: str) -> bytes:
    given = json.loads(text)
    key = FixedKey(choose_parameters(given["clients"]), given["secret"])
    votes = np.array([bit == "1" for bit in given["votes"]], np.bool_)
    return b"".join(words.astype("<u8").tobytes() for words in key.encrypt(given["stream"], votes))


def _stream(key: str, words: int) -> NDArray[np.uint64]:
    stream = np.zeros(words, np.uint64)
    apply_keystream(stream, bytes.fromhex(key), subtract=False)
    return stream


@cache
def _roots(psi: int, q: int, ring: int) -> NDArray[Any]:
    bits = ring.bit_length() - 1
    return np.array([pow(psi, int(f"{i:0{bits}b}"[::-1], 2), q) for i in range(ring)], object)


def _transformed(a: NDArray[Any], q: int) -> NDArray[Any]:
    """Coefficients as values at odd powers of psi, in bit-reversed order (SEAL 4, `util/dwthandler.h`)."""
    roots = _roots(_PSI, q, a.size)
    blocks = 1
    while blocks < a.size:
        x, y = np.moveaxis(a.reshape(blocks, 2, -1), 1, 0)
        y = y * roots[blocks : 2 * blocks, None] % q
        a = np.stack([(x + y) % q, (x - y) % q], axis=1).reshape(-1)
        blocks *= 2
    return a


def _restored(values: NDArray[Any], q: int) -> NDArray[Any]:
    roots = _roots(pow(_PSI, -1, q), q, values.size)
    blocks = values.size // 2
    while blocks:
        x, y = np.moveaxis(values.reshape(blocks, 2, -1), 1, 0)
        values = np.stack([(x + y) % q, (x - y) * roots[blocks : 2 * blocks, None] % q], axis=1).reshape(-1)
        blocks //= 2
    return values * pow(values.size, -1, q) % q
