"""Numbers to ciphertexts and back: the only place where SEAL encrypts and decrypts.

TenSEAL's own vectors take real numbers only and leave half of each slot empty, so its binding of SEAL's encoder is
used, which takes complex ones. The first N / 2 of N numbers are real parts, the rest imaginary parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.votes.context import PublicContext, SecretContext
from fedspallm_secure.votes.library import sealapi
from fedspallm_secure.votes.packing import pack_votes
from fedspallm_secure.votes.seal_file import SealFile

__all__ = ["Decryptor", "Encryptor"]

_FILE = "ciphertext.seal"


class Encryptor:
    """What an institution does with its votes.

    Args:
        public: context of the charter.
        scratch: an existing folder of this process alone; one file of 64 KiB comes there, with nothing secret in it.
    """

    def __init__(self, public: PublicContext, scratch: Path) -> None:
        seal = sealapi()
        self._public = public
        self._encoder = seal.CKKSEncoder(public.seal)
        self._encryptor = seal.Encryptor(public.seal, public.key)
        self._plaintext, self._ciphertext = seal.Plaintext(), seal.Ciphertext()
        self._file = SealFile(public.parameters, scratch / _FILE)

    def encrypt(self, votes: NDArray[np.bool_]) -> Iterator[NDArray[np.uint64]]:
        """A lane's votes, encrypted a ciphertext at a time, so that memory does not grow with the lane.

        Args:
            votes: bool, shape (L,).

        Yields:
            uint64, shape (2 N,), below q.

        Raises:
            StorageError: the scratch folder can't be written.
        """
        step = self._public.parameters.votes
        for start in range(0, votes.size, step):
            yield self.encrypt_numbers(pack_votes(self._public.parameters, votes[start : start + step]))

    def encrypt_numbers(self, numbers: NDArray[np.float64]) -> NDArray[np.uint64]:
        """One ciphertext of N numbers.

        Args:
            numbers: float64, shape (N,).

        Returns:
            uint64, shape (2 N,), below q.

        Raises:
            StorageError: the scratch folder can't be written.
        """
        self.encrypt_into(self._ciphertext, numbers)
        return self._file.words(self._ciphertext)

    def encrypt_into(self, ciphertext: Any, numbers: NDArray[np.float64]) -> None:
        """The same, as SEAL's own object.

        Args:
            ciphertext: is overwritten.
            numbers: float64, shape (N,).
        """
        real, imaginary = np.split(numbers, 2)
        slots = (real + 1j * imaginary).tolist()
        self._encoder.encode(slots, float(self._public.parameters.scale), self._plaintext)
        self._encryptor.encrypt(self._plaintext, ciphertext)


class Decryptor:
    """What the custodian alone can do. What comes out is approximate and must not leave its process.

    Args:
        secret: context of the charter.
        scratch: an existing folder of this process alone; one file of 64 KiB comes there, with nothing secret in it.

    Raises:
        StorageError: the scratch folder can't be written.
    """

    def __init__(self, secret: SecretContext, scratch: Path) -> None:
        seal = sealapi()
        self._seal = secret.seal
        self._encoder = seal.CKKSEncoder(secret.seal)
        self._decryptor = seal.Decryptor(secret.seal, secret.key)
        self._plaintext = seal.Plaintext()
        self._file = SealFile(secret.public.parameters, scratch / _FILE)
        first = seal.Ciphertext()
        Encryptor(secret.public, scratch).encrypt_into(first, np.zeros(secret.public.parameters.ring))
        self._file.words(first)  # shows it what SEAL writes around the words

    def decrypt(self, words: NDArray[np.uint64]) -> NDArray[np.float64]:
        """The numbers of a ciphertext, or of a sum, approximately.

        Args:
            words: uint64, shape (2 N,), below q.

        Returns:
            float64, shape (N,).

        Raises:
            StorageError: the scratch folder can't be written.
        """
        self._decryptor.decrypt(self._file.ciphertext(self._seal, words), self._plaintext)
        slots = np.array(self._encoder.decode_complex(self._plaintext))
        return np.concatenate([slots.real, slots.imag])
