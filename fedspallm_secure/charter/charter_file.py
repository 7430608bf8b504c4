"""A charter as somebody hands it over: JSON in any layout, which means the same to everybody who reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedspallm_secure.charter.charter import Charter
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.reading import faults

__all__ = ["load_charter"]


def load_charter(path: Path) -> Charter:
    """Read a charter, canonical or laid out for people. Its rules are not checked yet: `check_charter` does.

    Raises:
        ConfigError: the file can't be read, is no charter, or names a member twice, so that two readers could see
            two charters.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The charter {path} can't be read: {error}.", "Give the path of a JSON file.") from error
    todo = "Ask whoever wrote it for the charter again; protocol/SPEC.md has its form."
    try:
        charter = Charter.model_validate_json(text)
        json.loads(text, object_pairs_hook=_without_repetition)
    except ValidationError as error:
        raise ConfigError(f"{path} is no charter: {faults(error)}.", todo) from error
    except ValueError as error:
        raise ConfigError(f"{path} is no charter: {error}.", todo) from error
    return charter


def _without_repetition(members: list[tuple[str, Any]]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for key, value in members:
        if key in named:
            raise ValueError(f"{key!r} is there twice")
        named[key] = value
    return named
