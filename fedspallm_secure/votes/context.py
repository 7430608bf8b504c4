"""The custodian's key pair, and what an institution accepts as its public half.

A context is TenSEAL's: parameters and keys in one piece of bytes. The public one goes to everybody by its digest, which
the charter names. An institution believes the digest, then looks inside: exactly the chosen parameters, an encryption
key, and nothing else. TenSEAL has its own source of randomness; it can't be given another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from fedspallm_secure.errors import CharterError, RemoteProtocolError, StorageError
from fedspallm_secure.votes.library import REFUSALS, tenseal
from fedspallm_secure.votes.parameters import CkksParameters

__all__ = ["KeyPair", "PublicContext", "SecretContext", "make_key_pair"]

_LARGEST = 2**18  # bytes: two keys of two polynomials modulo q p are 2^17
_DO_NOT_SIGN = "Do not sign; ask the custodian for a context of the charter's parameters."


@dataclass(frozen=True)
class KeyPair:
    """A new key in two pieces.

    Attributes:
        secret: TenSEAL context with the secret key; the custodian's alone.
        public: TenSEAL context with the encryption key.
    """

    secret: bytes = field(repr=False)
    public: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the public context: the key's name, 64 hexadecimal digits."""
        return _digest(self.public)


def make_key_pair(parameters: CkksParameters) -> KeyPair:
    """A new key for these parameters. One charter has one; a key is never used for two.

    Raises:
        ConfigError: TenSEAL is not installed.
    """
    library = tenseal()
    context = library.context(
        library.SCHEME_TYPE.CKKS,
        parameters.ring,
        coeff_mod_bit_sizes=[parameters.q.bit_length(), parameters.p.bit_length()],
        n_threads=1,
    )
    context.global_scale = float(parameters.scale)
    _check_parameters(parameters, context)
    return KeyPair(_serialised(context, secret=True), _serialised(context, secret=False))


class PublicContext:
    """What institutions encrypt with.

    Args:
        parameters: of the charter.
        data: as `KeyPair.public`.
        digest: as the charter names it.

    Raises:
        RemoteProtocolError: `data` has another digest.
        CharterError: it is no context, has other parameters, a secret key, or keys that nobody needs.
        ConfigError: TenSEAL is not installed.
    """

    def __init__(self, parameters: CkksParameters, data: bytes, digest: str) -> None:
        if _digest(data) != digest:
            raise RemoteProtocolError(
                f"The CKKS context has digest {_digest(data)}; the charter names {digest}.",
                "Nothing was encrypted. Fetch the context again.",
            )
        if len(data) > _LARGEST:
            raise CharterError(
                f"The CKKS context has {len(data)} bytes; at most {_LARGEST} are expected.", _DO_NOT_SIGN
            )
        try:
            context = tenseal().context_from(data, 1)
        except REFUSALS as error:
            raise CharterError(f"The CKKS context can't be loaded: {error}.", _DO_NOT_SIGN) from error
        if context.has_secret_key() or context.has_galois_keys() or context.has_relin_keys():
            raise CharterError(
                "The CKKS context has more inside than an encryption key; with a secret key anybody could decrypt.",
                _DO_NOT_SIGN,
            )
        if not context.has_public_key():
            raise CharterError("The CKKS context has no encryption key.", _DO_NOT_SIGN)
        _check_parameters(parameters, context)
        self.parameters = parameters
        self.digest = digest
        self.context = context
        self.seal: Any = context.seal_context().data
        self.key: Any = context.public_key().data


class SecretContext:
    """What the custodian decrypts with.

    Args:
        data: as `KeyPair.secret`.
        public: the context that belongs to it, which the charter names.

    Raises:
        StorageError: it can't be loaded, holds no secret key, or does not open what the public context closes.
        CharterError: it has other parameters.
        ConfigError: TenSEAL is not installed.
    """

    def __init__(self, data: bytes, public: PublicContext) -> None:
        library = tenseal()
        todo = "Restore the custodian's key, or make a new one and agree on a new charter."
        try:
            context = library.context_from(data, 1)
        except REFUSALS as error:
            raise StorageError(f"The custodian's key can't be loaded: {error}.", todo) from error
        if not context.has_secret_key():
            raise StorageError("The custodian's key file holds no secret key.", todo)
        _check_parameters(public.parameters, context)
        opened = library.ckks_vector(public.context, [1.0, 0.0]).decrypt(context.secret_key())
        if [round(number) for number in opened] != [1, 0]:
            raise StorageError("The custodian's key does not belong to the charter's CKKS context.", todo)
        self.public = public
        self.seal: Any = context.seal_context().data
        self.key: Any = context.secret_key().data


def _check_parameters(parameters: CkksParameters, context: Any) -> None:
    found = context.seal_context().data.key_context_data().parms()
    primes = [modulus.value() for modulus in found.coeff_modulus()]
    for what, came, expected in (
        ("scheme", found.scheme().name, "CKKS"),
        ("ring", found.poly_modulus_degree(), parameters.ring),
        ("primes", primes, [parameters.q, parameters.p]),
        ("scale", _scale(context), parameters.scale),
    ):
        if came != expected:
            raise CharterError(f"The CKKS context has {what} {came}; the charter's is {expected}.", _DO_NOT_SIGN)


def _scale(context: Any) -> float | None:
    try:
        scale: float = context.global_scale
    except ValueError:  # none was set
        return None
    return scale


def _serialised(context: Any, *, secret: bool) -> bytes:
    data: bytes = context.serialize(
        save_public_key=not secret, save_secret_key=secret, save_galois_keys=False, save_relin_keys=False
    )
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
