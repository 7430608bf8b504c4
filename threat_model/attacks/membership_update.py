"""Was this text among one institution's calibration text? Asked of what the institution sent.

Adversary: a server that keeps all that it is sent. It has candidate windows, the public model, and text of its own of
the same kind.
What it does: it prunes the public model with its own text, and looks of which inputs the institution kept more weights
than that; candidates that use these inputs more than others do were calibrated on. Half of the candidates were.
Why it works on plain FedSpaLLM: a mask keeps an input's weights the more often the larger the input is on the
calibration text, and clients upload their masks in the clear.
What stops it here: an institution's votes are under masks, and all that is opened is the sum over at least two honest
institutions (SPEC sections 7.3, 9.3 and 20.1). What the sum tells is another attack's: `membership_aggregate`.
"""

from __future__ import annotations

from pathlib import Path

from threat_model.attacks.attack import Attack, Trial
from threat_model.attacks.calibrated import TOLD_APART, VICTIM, CalibratedRun

__all__ = ["MEMBERSHIP_UPDATE"]


def _on_plain(folder: Path) -> Trial:
    run = CalibratedRun(folder / "run")
    area = run.told_apart(run.votes(), institutions=1)
    return Trial(area.low > TOLD_APART, f"area under the ROC curve {area}, from {VICTIM}'s mask")


def _here(folder: Path) -> Trial:
    run = CalibratedRun(folder / "run")
    area = run.told_apart(run.masked(), institutions=1)
    return Trial(area.low > TOLD_APART, f"area under the ROC curve {area}, from {VICTIM}'s votes as it sent them")


MEMBERSHIP_UPDATE = Attack(
    "membership_update",
    "A server does not tell from what one institution sends which text it calibrated on.",
    _on_plain,
    _here,
)
