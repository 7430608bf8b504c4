"""What people write, read: a TOML file of settings, and what is wrong with one in words that name the key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedspallm_secure.errors import ConfigError

__all__ = ["faults", "read_toml"]

_SHOWN = 5  # faults: who mistook the whole form is not helped by a hundred


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The plain values of a TOML file.

    Args:
        path: the file.
        what: it is, for the error's text.

    Raises:
        ConfigError: the file can't be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The {what} {path} can't be read: {error}.", "Give the path of a TOML file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.", "Correct that line.") from error


def faults(error: ValidationError) -> str:
    """Where something is not as expected, and what was expected: "pruning.windows: input should be ..."."""
    found = error.errors(include_url=False, include_input=False)
    told = [_dotted(item["loc"]) + _said(item["type"], item["msg"]) for item in found[:_SHOWN]]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "; ".join(told + more)


def _dotted(location: tuple[int | str, ...]) -> str:
    """Before what is wrong there; nothing where it is the whole."""
    # A key may be anything, also what would move a terminal's cursor.
    keys = ".".join(part if part.isprintable() else ascii(part) for part in map(str, location))
    return f"{keys}: " if location else ""


def _said(kind: str, message: str) -> str:
    return "there is no such key" if kind == "extra_forbidden" else message[0].lower() + message[1:]
