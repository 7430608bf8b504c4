"""An institution, its budget, and uses of its data: for the tests of the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspallm_secure.messages import Identity
from fedspallm_secure.privacy import Budget, Ledger, Release, Use, variance_for

HOSPITAL = Identity("hospital", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
BANK = Identity("bank", Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
BUDGET = Budget(epsilon="8", delta="0.000001")
BOUND = 20_000


def release(name: str = "layer 0", multiplier: float = 10.0, inputs: int = 8) -> Release:
    """A diagonal with this noise multiplier."""
    variance = variance_for(multiplier, BOUND)
    return Release(name=name, kind="diagonal", inputs=inputs, bound=BOUND, exponent=-9, variance=variance)


def use(releases: Iterable[Release] = (release(),), run: int = 0) -> Use:
    """All of the noise is the institution's own."""
    return Use(
        data="discharge letters of 2023, 400 windows",
        run=f"{run:064x}",
        round=0,
        method="wanda",
        institutions=1,
        colluders=0,
        dropouts=0,
        releases=tuple(releases),
        not_covered=("telemetry",),
    )


def opened(path: Path) -> Ledger:
    """The hospital's ledger."""
    return Ledger(path, HOSPITAL, BUDGET)
