"""An institution encrypts under the charter's context or not at all; a custodian's key fits it or is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import tenseal

from fedspallm_secure.errors import CharterError, RemoteProtocolError, StorageError
from fedspallm_secure.votes import PublicContext, SecretContext, choose_parameters, make_key_pair
from tests.votes.institutions import key_pair

_PARAMETERS = choose_parameters(8)


def _load(data: bytes) -> PublicContext:
    return PublicContext(_PARAMETERS, data, hashlib.sha256(data).hexdigest())


def _context(ring: int = 4096, bits: tuple[int, ...] = (60, 49), scale: float = _PARAMETERS.scale) -> Any:
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, ring, coeff_mod_bit_sizes=list(bits), n_threads=1)
    context.global_scale = scale
    return context


def _bytes(
    context: Any, *, public: bool = True, secret: bool = False, galois: bool = False, relin: bool = False
) -> bytes:
    data: bytes = context.serialize(
        save_public_key=public, save_secret_key=secret, save_galois_keys=galois, save_relin_keys=relin
    )
    return data


def test_a_new_key_loads_on_both_sides() -> None:
    keys = make_key_pair(_PARAMETERS)
    public = PublicContext(_PARAMETERS, keys.public, keys.digest)
    assert SecretContext(keys.secret, public).public.digest == keys.digest
    assert make_key_pair(_PARAMETERS).digest != keys.digest


def test_a_key_pair_does_not_print_its_keys() -> None:
    assert repr(key_pair(8)) == "KeyPair()"


def test_another_context_than_the_charters_is_refused_by_its_digest() -> None:
    with pytest.raises(RemoteProtocolError, match=f"the charter names {key_pair(8).digest}"):
        PublicContext(_PARAMETERS, key_pair(3).public, key_pair(8).digest)


def test_a_secret_key_inside_is_refused() -> None:
    with pytest.raises(CharterError, match="more inside than an encryption key"):
        _load(_bytes(_context(), secret=True))


def test_a_relinearisation_key_is_refused() -> None:
    context = _context()
    assert context.has_relin_keys()  # TenSEAL makes one unasked
    with pytest.raises(CharterError, match="more inside than an encryption key"):
        _load(_bytes(context, relin=True))


def test_rotation_keys_are_refused_by_their_size() -> None:
    context = _context()
    context.generate_galois_keys()
    with pytest.raises(CharterError, match=r"has \d+ bytes; at most 262144"):
        _load(_bytes(context, galois=True))


def test_a_context_without_an_encryption_key_is_refused() -> None:
    with pytest.raises(CharterError, match="no encryption key"):
        _load(_bytes(_context(), public=False))


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (lambda: _context(8192), "ring 8192; the charter's is 4096"),
        (lambda: _context(4096, (58, 51)), "primes .* the charter's is"),
        (lambda: _context(4096, (36, 36, 37)), "primes .* the charter's is"),
        (lambda: _context(scale=2.0**20), r"scale 1048576\.0; the charter's is"),
        (
            lambda: tenseal.context(tenseal.SCHEME_TYPE.BFV, 4096, 1032193, [60, 49], n_threads=1),
            "scheme BFV; the charter's is CKKS",
        ),
    ],
)
def test_other_parameters_than_the_charters_are_refused_by_name(context: Any, words: str) -> None:
    with pytest.raises(CharterError, match=words):
        _load(_bytes(context()))


@pytest.mark.parametrize("data", [b"", b"\0", b"no context at all" * 99, key_pair(8).public[:-1]])
def test_bytes_that_are_no_context_are_refused(data: bytes) -> None:
    with pytest.raises(CharterError, match="CKKS context can't be loaded"):
        _load(data)


def test_a_context_with_flipped_bits_is_refused_or_has_the_charters_parameters_all_the_same() -> None:
    random, original, refused = np.random.default_rng(0), key_pair(8).public, 0
    places = [*range(120), *random.integers(120, len(original), 40).tolist()]
    for place in places:
        data = bytearray(original)
        data[place] ^= 1 << random.integers(8).item()
        try:
            _load(bytes(data))
        except CharterError:
            refused += 1
    assert refused > 20


def test_a_key_of_another_context_is_refused() -> None:
    public = PublicContext(_PARAMETERS, key_pair(8).public, key_pair(8).digest)
    with pytest.raises(StorageError, match="does not belong to the charter's CKKS context"):
        SecretContext(make_key_pair(_PARAMETERS).secret, public)
    with pytest.raises(CharterError, match="scale"):
        SecretContext(key_pair(3).secret, public)


def test_a_key_file_without_a_key_is_refused() -> None:
    public = PublicContext(_PARAMETERS, key_pair(8).public, key_pair(8).digest)
    with pytest.raises(StorageError, match="holds no secret key"):
        SecretContext(key_pair(8).public, public)
    with pytest.raises(StorageError, match="can't be loaded"):
        SecretContext(key_pair(8).secret[:-1], public)
