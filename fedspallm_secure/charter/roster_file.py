"""A roster in a file: the envelope's RFC 8785 form and a line feed, so that it has one form on every disk.

`protocol/SPEC.md` asks for no more than that, and `fedspallm roster show` lays it out for people.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from fedspallm_secure.charter.roster_chain import SignedRoster
from fedspallm_secure.errors import ConfigError, StorageError
from fedspallm_secure.messages import canonical
from fedspallm_secure.reading import faults

__all__ = ["load_roster", "save_roster"]


def load_roster(path: Path) -> SignedRoster:
    """Read a roster with its signatures. Neither is checked yet: `check_chain` does.

    Raises:
        ConfigError: the file can't be read, or is not the one form of a signed roster.
    """
    todo = "Ask whoever sent it for the file again, as a file: mail programs change lines of text."
    try:
        data = path.read_bytes()
        signed = SignedRoster.model_validate_json(data)
    except OSError as error:
        raise ConfigError(f"The roster {path} can't be read: {error}.", "Give the path of a roster.") from error
    except ValidationError as error:
        raise ConfigError(f"{path} is no signed roster: {faults(error)}.", todo) from error
    if canonical(signed) + b"\n" != data:
        raise ConfigError(f"{path} is a signed roster in another form than one line of canonical JSON.", todo)
    return signed


def save_roster(signed: SignedRoster, path: Path) -> None:
    """Write a roster, all or nothing, in place of what was there.

    Raises:
        StorageError: the disk refuses.
    """
    aside = path.with_name(path.name + ".partial")
    try:
        with aside.open("wb") as file:
            file.write(canonical(signed) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        raise StorageError(
            f"The roster {path} can't be written: {error}.", "Free space or choose another path; nothing was changed."
        ) from error
