"""Where fetched models and texts are kept unless the command line says otherwise."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CACHE"]

CACHE = Path.home() / ".cache" / "fedspallm-secure"
