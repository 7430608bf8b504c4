"""A run with encrypted votes that is small enough to attack, and how an attack on it must end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedspallm_secure.errors import RemoteProtocolError
from tests.rounds.synthetic import Run, Setting

__all__ = ["FALSE", "FOUR", "MASKS", "play", "refused"]

FOUR = Setting(clients=4, layers=1, shapes=((6, 8),), minimum_cohort=4, dropouts=1, ckks=True)
MASKS = replace(FOUR, method="wanda")
FALSE = "'i0' found that the published votes are not the sum of what the institutions sent"
"""How counts end that the proofs do not fit."""


def play(run: Run) -> None:
    """One round."""
    run.round(run.plan(), run.base, run.prune(run.plan(), run.base))


def refused(run: Run, words: str, *not_said: str) -> None:
    """The round ends with these words, and before anybody said these."""
    with pytest.raises(RemoteProtocolError, match=words):
        play(run)
    assert set(not_said).isdisjoint(run.said(run.plan()))
