"""Opacus, loaded when it is first needed: it brings torch, and a ledger is kept and read without both."""

from __future__ import annotations

from typing import Any

from fedspallm_secure.errors import ConfigError

__all__ = ["prv_accountant"]


def prv_accountant() -> Any:
    """A new `opacus.accountants.PRVAccountant`.

    Raises:
        ConfigError: Opacus is not installed.
    """
    try:
        from opacus.accountants import PRVAccountant
    except ImportError as error:
        raise ConfigError(
            "Checking the privacy accounting needs Opacus, which is not installed.",
            "Run pip install 'fedspallm-secure[dp]'.",
        ) from error
    return PRVAccountant()
