"""A lane's votes as they travel: nothing but the residues, so that nothing else has to be believed.

A ciphertext is two polynomials modulo q, in the order in which SEAL keeps them (number-theoretic transform, c0 before
c1): 2 N words of 64 bits, little-endian in files. A lane is its ciphertexts one after the other. Ring, prime, scale and
votes a slot follow from the charter, and so does the length to the byte; there is no header to lie in and nothing to
decompress. What remains to be checked is the length and that every word is below q.

SEAL's own files are not sent: of those with up to four bits flipped a third still load, and their parser would stand
open to whoever can sign. To add is to add words modulo q, which needs no library, and equal sums have equal bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.votes.parameters import CkksParameters

__all__ = ["add_ciphertexts", "check_ciphertexts", "sum_digest"]

_TODO = "Nothing was added. Ask its sender for votes of this charter and lane."


def check_ciphertexts(
    parameters: CkksParameters, length: int, sender: str, stream: Iterable[NDArray[np.uint64]]
) -> Iterator[NDArray[np.uint64]]:
    """One client's ciphertexts, each checked before it is given on.

    That they are the ones that the client signed, the stream itself has to know.

    Args:
        parameters: of the lane.
        length: votes of the lane.
        sender: named in errors.
        stream: uint64, 2 N words each.

    Yields:
        The ciphertexts, one at a time.

    Raises:
        RemoteProtocolError: too few, too many, words that are missing or no residues, or votes in the clear.
    """
    expected, came = parameters.ciphertexts(length), 0
    for ciphertext in stream:
        came += 1
        if came > expected:
            break
        if ciphertext.shape != (parameters.words,):
            raise _refused(sender, f"ciphertext {came} has {ciphertext.size} words; {parameters.words} are expected")
        if ciphertext.max() >= parameters.q:
            raise _refused(sender, f"ciphertext {came} has words that are no residues of the charter's prime")
        if not ciphertext[parameters.ring :].any():
            raise _refused(sender, f"ciphertext {came} hides nothing")
        yield ciphertext
    if came != expected:
        more = "or more " if came > expected else ""
        raise _refused(sender, f"{came} {more}ciphertexts came; {expected} are expected")


def add_ciphertexts(
    parameters: CkksParameters, length: int, streams: Sequence[Iterator[NDArray[np.uint64]]]
) -> Iterator[NDArray[np.uint64]]:
    """The homomorphic sum, a ciphertext at a time, so that memory does not grow with the lane.

    Args:
        parameters: of the lane.
        length: votes of the lane.
        streams: one a client, at least one, from `check_ciphertexts`.

    Yields:
        uint64, shape (2 N,), below q: the same words whoever adds, in whatever order.

    Raises:
        RemoteProtocolError: as the streams do.
    """
    q = np.uint64(parameters.q)
    for _ in range(parameters.ciphertexts(length)):
        total = next(streams[0]).copy()
        for stream in streams[1:]:
            total += next(stream)  # below 2^61
            np.minimum(total, total - q, out=total)  # what would be negative wraps, and is the larger one
        yield total
    for stream in streams:
        next(stream, None)  # runs its last checks


def sum_digest(ciphertexts: Iterable[NDArray[np.uint64]]) -> str:
    """SHA-256 of ciphertexts as little-endian words, 64 hexadecimal digits: what those who add compare."""
    digest = hashlib.sha256()
    for ciphertext in ciphertexts:
        digest.update(ciphertext.astype("<u8", copy=False).data)
    return digest.hexdigest()


def _refused(sender: str, what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"The votes of {sender!r} can't be added: {what}.", _TODO)
