"""A charter that every rule allows, and the same with single fields changed."""

from __future__ import annotations

import hashlib
from typing import Any

from fedspallm_secure.charter import (
    Base,
    Charter,
    CkksVotes,
    Custodian,
    Institution,
    Parameters,
    PooledInput,
    PooledNoise,
    PooledStatistics,
    Tensor,
)

__all__ = ["encrypted_votes", "example_charter", "example_digest", "example_parameters", "noise", "pooled_statistics"]


def example_digest(text: str) -> str:
    """64 hexadecimal digits that stand for `text`."""
    return hashlib.sha256(text.encode()).hexdigest()


def example_parameters(**changes: Any) -> Parameters:
    """Thresholds that four institutions meet without room to spare, but for `changes`."""
    fields: dict[str, Any] = {
        "minimum_cohort": 4,
        "minimum_contributors": 3,
        "dropout_margin": 1,
        "colluders": 1,
        "dropouts": 1,
        "digits_per_word": 6,
        "clip": "1.0",
    }
    return Parameters(**fields | changes)


def encrypted_votes(name: str = "custodian", key: str = "custodian", contexts: int = 2) -> CkksVotes:
    """A custodian's keys, as many as the example has rounds."""
    return CkksVotes(
        custodian=Custodian(name=name, public_key=example_digest(key)),
        contexts=tuple(example_digest(f"context {number}") for number in range(contexts)),
    )


def noise(columns: int) -> PooledNoise:
    """Of an input of so many numbers."""
    return PooledNoise(bound=20_000, variance=10**12, scale=tuple(range(1, columns + 1)))


def pooled_statistics(**changes: Any) -> PooledStatistics:
    """The example's two inputs, the first one's matrix kept back, but for `changes`."""
    fields: dict[str, Any] = {
        "exchange": "once",
        "inputs": tuple(
            PooledInput(tensors=(f"layer.{layer}.weight",), exponent=20, matrix=layer == 1) for layer in range(2)
        ),
        "damping": "0.01",
        "block": 128,
    }
    return PooledStatistics(**fields | changes)


def example_charter(**changes: Any) -> Charter:
    """Four institutions and a model of two layers with one pruned tensor each, but for `changes`."""
    fields: dict[str, Any] = {
        "run": "spring",
        "server": "server",
        "server_key": example_digest("server"),
        "roster": tuple(
            Institution(name=name, public_key=example_digest(name), capacity="1")
            for name in ("aachen", "berlin", "celle", "dresden")
        ),
        "method": "sparsegpt",
        "schedule": ("0.25", "0.5"),
        "beacon": example_digest("beacon"),
        "base": Base(
            layers=2,
            pruned=tuple(
                Tensor(
                    name=f"layer.{layer}.weight",
                    layer=layer,
                    rows=2,
                    columns=12,
                    dtype="float32",
                    digest=example_digest(f"weight {layer}"),
                )
                for layer in range(2)
            ),
            rest={"head.weight": example_digest("head")},
        ),
        "parameters": example_parameters(),
    }
    return Charter(**fields | changes)
