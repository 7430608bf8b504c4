"""The custodian's folder: everything that it has to keep, for one charter.

signing-key.pem       Ed25519, for the charter and for counts
round-0001.secret     the CKKS key of the first round, which decrypts
round-0001.context    its public half, with which institutions encrypt
offer.json            what a charter is made from; written last, so that a folder without it was never finished
journal               which charter the keys are for, and what was decrypted

Offer and public contexts are for everybody, the rest is the custodian's alone; so that no slip gives it away, the whole
folder is. The first line of the journal names the offer, so that a journal that is lost, or of another folder, is
noticed: a custodian that forgot what it decrypted would decrypt again. An older copy of the same journal can't be
noticed; never restore one.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from fedspallm_secure import charter as agreement
from fedspallm_secure.charter import load_key, save_key
from fedspallm_secure.custodian.office import Offer, Office
from fedspallm_secure.errors import CharterError, ConfigError, LocalProtocolError, StorageError
from fedspallm_secure.messages import Identity, canonical, digest
from fedspallm_secure.reading import faults
from fedspallm_secure.votes import KeyPair, PublicContext, SecretContext, choose_parameters, make_key_pair
from fedspallm_secure.workspace import FileJournal, make_folder, sync_folder, write_whole

__all__ = ["OFFER", "holds_keys", "load_contexts", "load_offer", "make_keys", "open_office"]

OFFER = "offer.json"
"""The offer's name in the folder."""

_SIGNING_KEY = "signing-key.pem"
_JOURNAL = "journal"
_OFFERED = "custodian's offer"
_OWNER_ONLY = 0o600
_NEW_KEYS = "Have new keys made with `fedspallm custodian keygen`, and a new charter from them."


def make_keys(folder: Path, name: str, institutions: int, rounds: int, key: Ed25519PrivateKey) -> Offer:
    """Make a custodian's folder, all or nothing.

    Args:
        folder: that is not there yet.
        name: the custodian's.
        institutions: how many the keys are for.
        rounds: how many keys.
        key: signs the charter and counts; kept in the folder.

    Returns:
        The offer in it.

    Raises:
        ConfigError: there is such a folder, the name is none, or TenSEAL is not installed.
        CharterError: no parameters hold the votes of so many institutions.
        StorageError: the disk refuses.
    """
    signer = Identity(name, key)
    try:
        agreement.Custodian(name=name, public_key=signer.public)
    except ValidationError as error:
        raise ConfigError(f"{name!r} is no custodian's name: {faults(error)}.", "Choose another.") from error
    todo = "Free space or choose another folder."
    try:
        make_folder(folder.absolute().parent)
        folder.mkdir(mode=0o700)
        sync_folder(folder.absolute().parent)
    except FileExistsError as error:
        raise ConfigError(f"There is {folder} already.", "Choose another folder; keys are not replaced.") from error
    except OSError as error:
        raise StorageError(f"The folder {folder} can't be made: {error}.", todo) from error
    try:
        parameters = choose_parameters(institutions)
        pairs = [make_key_pair(parameters) for _ in range(rounds)]
        offer = Offer.of(signer, institutions, pairs)
        save_key(key, folder / _SIGNING_KEY)
        for number, pair in enumerate(pairs):
            write_whole(_secret(folder, number), pair.secret, todo, _OWNER_ONLY)
            write_whole(_context(folder, number), pair.public, todo, _OWNER_ONLY)
        with FileJournal(folder / _JOURNAL) as journal:
            journal.once(_OFFERED, digest(offer))
        write_whole(folder / OFFER, canonical(offer), todo, _OWNER_ONLY)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return offer


def load_offer(path: Path) -> Offer:
    """Read an offer.

    Raises:
        ConfigError: the file can't be read, or is no offer in canonical form.
    """
    todo = f"Give the {OFFER} of a folder that `fedspallm custodian keygen` made."
    try:
        data = path.read_bytes()
        offer = Offer.model_validate_json(data)
    except OSError as error:
        raise ConfigError(f"The custodian's offer {path} can't be read: {error}.", todo) from error
    except ValidationError as error:
        raise ConfigError(f"{path} is no custodian's offer: {faults(error)}.", todo) from error
    if canonical(offer) != data:
        raise ConfigError(f"{path} is a custodian's offer in another form than canonical JSON.", todo)
    return offer


def holds_keys(folder: Path) -> bool:
    """Whether a folder with an offer is the custodian's own, not that of somebody who was given the offer."""
    return (folder / _SIGNING_KEY).exists()


def load_contexts(offer: Offer, folder: Path) -> list[bytes]:
    """The public contexts that lie beside an offer.

    Args:
        offer: names them.
        folder: where they lie.

    Raises:
        StorageError: one is missing, or is not the one that the offer names.
    """
    contexts = []
    for number, name in enumerate(offer.contexts):
        data = _read(_context(folder, number))
        if hashlib.sha256(data).hexdigest() != name:
            raise StorageError(
                f"{_context(folder, number)} is not the context that {OFFER} names for round {number + 1}.",
                "Copy it again from the custodian's folder.",
            )
        contexts.append(data)
    return contexts


@contextmanager
def open_office(folder: Path) -> Iterator[Office]:
    """The custodian of a folder, which nobody else opens meanwhile.

    Raises:
        ConfigError: there is no such folder, it is not finished, or TenSEAL is not installed.
        StorageError: something in it is missing or damaged, or another process has it open.
    """
    offer = load_offer(folder / OFFER)
    keys = [
        KeyPair(_read(_secret(folder, number)), public) for number, public in enumerate(load_contexts(offer, folder))
    ]
    signer = _signer(folder, offer)
    _check_pairs(folder, offer, keys)
    journal = folder / _JOURNAL
    if not journal.is_file():
        raise StorageError(f"{journal} is missing: what was decrypted can't be known.", _NEW_KEYS)
    with FileJournal(journal) as decisions, tempfile.TemporaryDirectory(prefix="fedspallm-") as scratch:
        _check_journal(decisions, offer)
        yield Office(signer, offer.institutions, keys, decisions, Path(scratch))


def _signer(folder: Path, offer: Offer) -> Identity:
    path = folder / _SIGNING_KEY
    todo = "Put the key file back from your copy of it."
    try:
        signer = Identity(offer.name, load_key(path))
    except ConfigError as error:
        raise StorageError(error.problem, todo) from error
    if signer.public != offer.public_key:
        raise StorageError(f"{path} is not the key of the custodian {offer.name!r} in {OFFER}.", todo)
    return signer


def _check_pairs(folder: Path, offer: Offer, keys: list[KeyPair]) -> None:
    """Refuse keys that will not decrypt, before a charter that names them is signed."""
    for number, (pair, name) in enumerate(zip(keys, offer.contexts, strict=True)):
        try:
            SecretContext(pair.secret, PublicContext(choose_parameters(offer.institutions), pair.public, name))
        except (StorageError, CharterError) as error:
            raise StorageError(f"{_secret(folder, number)} is of no use: {error.problem}", _NEW_KEYS) from error


def _check_journal(journal: FileJournal, offer: Offer) -> None:
    if not journal.path.stat().st_size:
        raise StorageError(f"{journal.path} is empty: what was decrypted can't be known.", _NEW_KEYS)
    try:
        journal.once(_OFFERED, digest(offer))
    except LocalProtocolError as error:
        raise StorageError(f"{journal.path} is the journal of other keys.", _NEW_KEYS) from error


def _secret(folder: Path, number: int) -> Path:
    return folder / f"round-{number + 1:04}.secret"


def _context(folder: Path, number: int) -> Path:
    return folder / f"round-{number + 1:04}.context"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error}.", "Put the file back from your copy of it.") from error
