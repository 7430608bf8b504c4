"""That everybody whom a charter names has signed it: the server, every institution, and the witness if there is one.

The signatures lie beside the charter, which so stays a file that people can read. They are those of a DSSE envelope
whose payload is the charter in canonical form.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from fedspallm_secure.charter.charter import Charter
from fedspallm_secure.errors import RemoteProtocolError, StorageError
from fedspallm_secure.messages import (
    Base64,
    Frozen,
    Name,
    Signer,
    canonical,
    decode_base64,
    pre_authentication_encoding,
)
from fedspallm_secure.reading import faults

__all__ = [
    "CHARTER_TYPE",
    "CharterSignature",
    "CharterSignatures",
    "check_charter_signatures",
    "load_charter_signatures",
    "sign_charter",
]

CHARTER_TYPE: Final = "application/vnd.fedspallm-secure.charter.v1+json"


class CharterSignature(Frozen):
    """One Ed25519 signature (RFC 8032) over the pre-authentication encoding, and who made it."""

    keyid: Name
    sig: Base64


class CharterSignatures(Frozen):
    """A DSSE envelope without its payload, which is the canonical form of the charter beside it."""

    payloadType: Literal["application/vnd.fedspallm-secure.charter.v1+json"] = CHARTER_TYPE  # noqa: N815
    signatures: tuple[CharterSignature, ...]


def sign_charter(charter: Charter, signers: Iterable[Signer]) -> CharterSignatures:
    """The signatures of `signers` under `charter`, in that order, each key once."""
    encoded = pre_authentication_encoding(CHARTER_TYPE, canonical(charter))
    each = {signer.name: signer for signer in signers}.values()
    return CharterSignatures(
        signatures=tuple(
            CharterSignature(keyid=signer.name, sig=base64.b64encode(signer.sign(encoded)).decode()) for signer in each
        )
    )


def load_charter_signatures(path: Path) -> CharterSignatures:
    """Read the signatures beside a charter. Whether they hold, `check_charter_signatures` says.

    Raises:
        StorageError: there are none, or not in canonical form.
    """
    todo = "Ask for the file as the participants signed it."
    try:
        data = path.read_bytes()
        signatures = CharterSignatures.model_validate_json(data)
    except OSError as error:
        raise StorageError(f"{path.name} can't be read: {error.strerror}.", "Ask for the whole transcript.") from error
    except ValidationError as error:
        raise StorageError(f"{path.name} holds no signatures: {faults(error)}.", todo) from error
    if canonical(signatures) != data:
        raise StorageError(f"{path.name} is not in canonical form.", todo)
    return signatures


def check_charter_signatures(charter: Charter, signed: CharterSignatures) -> None:
    """Refuse a charter that not everybody signed whom it names, each once.

    Raises:
        RemoteProtocolError: a signature is missing, does not hold, is of a stranger, or there twice.
    """
    todo = "Nobody is bound by this charter yet; ask those named for their signatures."
    names = [signature.keyid for signature in signed.signatures]
    for name in names:
        if name not in charter.keys or names.count(name) > 1:
            raise RemoteProtocolError(f"{name!r} signed the charter twice, or is not in it.", todo)
    missing = [name for name in charter.keys if name not in names]
    if missing:
        raise RemoteProtocolError(f"The charter is not signed by {', '.join(missing)}.", todo)
    encoded = pre_authentication_encoding(CHARTER_TYPE, canonical(charter))
    for signature in signed.signatures:
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(charter.keys[signature.keyid]))
            public.verify(decode_base64(signature.sig), encoded)
        except (InvalidSignature, ValueError) as error:
            raise RemoteProtocolError(
                f"The signature of {signature.keyid!r} under the charter does not hold.", todo
            ) from error
