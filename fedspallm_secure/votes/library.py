"""TenSEAL, loaded when it is first needed: it is an optional install, and who only adds ciphertexts does without."""

from __future__ import annotations

from typing import Any

from fedspallm_secure.errors import ConfigError

__all__ = ["REFUSALS", "sealapi", "tenseal"]

REFUSALS = (RuntimeError, ValueError, IndexError, OverflowError, MemoryError)
"""What comes out of SEAL, through pybind11, when it does not like something."""


def tenseal() -> Any:
    """The module `tenseal`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import tenseal
        import tenseal.sealapi  # not loaded by the above, which returns objects of types that only it registers
        import zstandard  # noqa: F401  (installed with it; `seal_file` needs it)
    except ImportError as error:
        raise ConfigError(
            "Votes under CKKS need TenSEAL and zstandard, which are not installed.",
            "Run pip install 'fedspallm-secure[ckks]'.",
        ) from error
    return tenseal


def sealapi() -> Any:
    """TenSEAL's binding of SEAL itself.

    Raises:
        ConfigError: it is not installed.
    """
    return tenseal().sealapi
