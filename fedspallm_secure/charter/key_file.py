"""A signing key in a file: an Ed25519 private key as PEM (RFC 8410, PKCS #8), readable by its owner alone.

A key that is written is never written over: whoever loses one can't sign for its next roster.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from fedspallm_secure.errors import ConfigError, StorageError

__all__ = ["load_key", "save_key"]


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read a signing key.

    Raises:
        ConfigError: the file can't be read, or holds no unencrypted Ed25519 private key.
    """
    todo = "Give a key file that `fedspallm roster keygen` made, or another Ed25519 key as unencrypted PKCS #8 PEM."
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"The key {path} can't be read: {error}.", "Give the path of a key file.") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} holds no private key that can be read.", todo) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds a private key of another kind than Ed25519.", todo)
    return key


def save_key(key: Ed25519PrivateKey, path: Path) -> None:
    """Write a signing key with mode 0600, all or nothing, where no file is yet.

    Raises:
        ConfigError: there is one.
        StorageError: the disk refuses.
    """
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # A temporary file is its owner's alone from the start, and a link, unlike a rename, takes nobody's place.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as aside:
            aside.write(data)
            aside.flush()
            os.fsync(aside.fileno())
            os.link(aside.name, path)
    except FileExistsError as error:
        raise ConfigError(f"There is a file {path} already.", "Choose another name; a key is not replaced.") from error
    except OSError as error:
        raise StorageError(
            f"The key {path} can't be written: {error}.", "Free space or choose another folder."
        ) from error
