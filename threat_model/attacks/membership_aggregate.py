"""Was this text among one institution's calibration text? Asked of the published sums.

Adversary: whoever gets the counts of votes: the server, an institution, or a reader of the transcript.
What it does: what `membership_update` does to one institution's mask it does to the counts of all, with text of its own
for each of them.
Why it works on plain FedSpaLLM: counts are a function of private text like each mask; the other institutions' votes
blur it and do not hide it. It works on the same counts here, too, as long as no noise is asked for: a secure sum hides
the parts and not what the sum tells (threat_model/THREAT_MODEL.md, N1).
What stops it here: noise on the moments that each institution prunes from, where a run has an epsilon. It then holds
against every adversary, whatever it sees and computes, up to a bound that follows from epsilon alone (docs/privacy.md);
no rule of SPEC section 9.1 or any other asks for it.
"""

from __future__ import annotations

from pathlib import Path

from threat_model.attacks.attack import Attack, Trial
from threat_model.attacks.calibrated import TOLD_APART, CalibratedRun

__all__ = ["MEMBERSHIP_AGGREGATE"]

_EPSILON = "2"


def _on_plain(folder: Path) -> Trial:
    run = CalibratedRun(folder / "run")
    area = run.told_apart(run.counts(), institutions=len(run.config.institution))
    return Trial(
        area.low > TOLD_APART,
        f"area under the ROC curve {area}, from counts without noise, which are the same here where no epsilon is set",
    )


def _here(folder: Path) -> Trial:
    run = CalibratedRun(folder / "run", _EPSILON)
    area = run.told_apart(run.counts(), institutions=len(run.config.institution))
    return Trial(
        area.low > TOLD_APART,
        f"area under the ROC curve {area}, from counts of a run with an epsilon of {_EPSILON}, under which nobody gets "
        f"beyond {run.bound:.2f}",
    )


MEMBERSHIP_AGGREGATE = Attack(
    "membership_aggregate",
    "Where a run has an epsilon, the published sums do not tell which text an institution calibrated on.",
    _on_plain,
    _here,
)
