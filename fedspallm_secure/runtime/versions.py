"""What a run's numbers depend on besides its configuration."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["versions_of"]

_PACKAGES = ("fedspallm-secure", "torch", "transformers", "numpy", "cryptography")


def versions_of(threads: int) -> dict[str, str]:
    """Package -> version, and the number of torch's threads, in whose number sums are split."""
    return {name: version(name) for name in _PACKAGES} | {"torch threads": str(threads)}
