"""The signing keys of a run that waits for a custodian elsewhere, so that it can be started again under its charter.

The custodian signs one charter, and names in it are keys. A run that was stopped before any vote was encrypted goes on
with the keys that it had. Afterwards it can't: it has forgotten what it sent, and votes encrypted twice under one key
are what the custodian must never count. Then the custodian has to make new keys.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from fedspallm_secure.charter import load_key, save_key
from fedspallm_secure.custodian import Offer
from fedspallm_secure.errors import ConfigError, StorageError
from fedspallm_secure.messages import Identity, digest
from fedspallm_secure.workspace import make_folder, write_whole

__all__ = ["KeptKeys"]

_TODO = "Free space; then run again."


class KeptKeys:
    """Where a run keeps them.

    Args:
        work: the run's own folder; it need not be there yet.
        offer: the custodian's.

    Raises:
        ConfigError: votes were encrypted under the custodian's keys already.
    """

    def __init__(self, work: Path, offer: Offer) -> None:
        self._folder = work / "keys"
        self._spent = work / "custodian-keys-spent"
        self._offer = digest(offer)
        if self._spent.exists() and self._spent.read_text(encoding="utf-8") == self._offer:
            raise ConfigError(
                f"This run was stopped after votes were encrypted under the keys of the custodian {offer.name!r}, "
                "which serve no second attempt.",
                "Have it remove its folder and make new keys in that place; then start again.",
            )

    def of(self, fresh: Identity) -> Identity:
        """The same participant with the key that it had, if it had one.

        Raises:
            ConfigError: its file is damaged.
        """
        path = self._path(fresh.name)
        return Identity(fresh.name, load_key(path)) if path.exists() else fresh

    def keep(self, identities: Iterable[Identity]) -> None:
        """Write down keys, before the custodian sees a charter that names them.

        Raises:
            StorageError: the disk refuses.
        """
        try:
            make_folder(self._folder.parent)
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self._folder} can't be made: {error}.", _TODO) from error
        for identity in identities:
            if not self._path(identity.name).exists():
                save_key(identity.key, self._path(identity.name))

    def spend(self) -> None:
        """From now on votes are encrypted.

        Raises:
            StorageError: the disk refuses.
        """
        write_whole(self._spent, self._offer.encode(), _TODO)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.pem"
