"""A ledger that was used before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.privacy.uses import opened, release, use


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with three uses."""
    path = tmp_path / "ledger.jsonl"
    with opened(path) as ledger:
        for run in range(3):
            ledger.spend(use([release(multiplier=20 + run)], run))
    return path
