"""Two sums, with a client and without it, differ by what it sent.

Adversary: the server, when a client vanishes between votes and values.
What it does: it has the votes counted once more without that client, as denominators for those that are left.
Why it works on plain FedSpaLLM: denominators are recomputed for the clients whose weights came, so the difference of
the two counts is the client's mask; where the sums of weights were made before, it is its weights too.
What stops it here: denominators are votes, and votes are counted once: an institution confirms one set of survivors a
sum, and hands out shares for no other. A voter that vanished counts as "no change" (SPEC sections 9.3, 14 and 20.2).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.rounds.synthetic import Run, Setting
from threat_model.attacks.attack import Attack, Trial, exactly
from threat_model.attacks.naive import fixed_point, naive_sum
from threat_model.attacks.plain import uploads
from threat_model.attacks.stage import Stage

__all__ = ["DROPOUT_DIFFERENCE"]

_SETTING = Setting(layers=1, shapes=((96, 64),))
_VICTIM, _LEFT = "i4", ("i0", "i1", "i2", "i3")


def _on_plain(folder: Path) -> Trial:
    run = Run(_SETTING, folder)
    sent = uploads(run, run.prune(run.plan(), run.base))
    everybody, left = list(sent.values()), [sent[name] for name in _LEFT]
    votes = [naive_sum([upload.mask.astype(np.uint64) for upload in who], run.entropy) for who in (everybody, left)]
    sums = [naive_sum([fixed_point(upload.weight) for upload in who], run.entropy) for who in (everybody, left)]
    mask, truth = (votes[0] - votes[1]).astype(np.bool_), sent[_VICTIM]
    read = exactly((sums[0] - sums[1])[truth.mask], fixed_point(truth.weight)[truth.mask], f"of {_VICTIM}'s weights")
    right = np.count_nonzero(mask == truth.mask)
    return Trial(read.succeeded, f"{read.evidence}, and {right:,} of {mask.size:,} of its votes")


def _here(folder: Path) -> Trial:
    stage = Stage(Run(_SETTING, folder), silent={_VICTIM: "proofs votes"})
    stage.play(until="survivors votes")
    counted_again = stage.name_survivors(_LEFT)
    stage.play(until="proofs votes")
    recount = stage.say(counted_again.model_copy(update={"log": stage.log.head()}))
    for name in _LEFT:
        stage.tell(name, recount)
    refusal = stage.refusal
    stage.play()
    (lane,) = stage.plan.lanes
    counts = stage.published("votes", lane)
    assert counts is not None
    without = np.sum([stage.opened(name, "votes", lane) for name in _LEFT], axis=0, dtype=np.uint64)
    truth = stage.packed(_VICTIM, "votes", lane)
    read = exactly(stage.blobs.get(counts.blob) - without, truth, f"words of {_VICTIM}'s votes")
    ended = "the round went on without its changes" if stage.coordinator.model else "the round failed"
    return Trial(read.succeeded, f"{read.evidence}; {ended}; counting the votes of the others alone was {refusal}")


DROPOUT_DIFFERENCE = Attack(
    "dropout_difference",
    "When an institution vanishes between votes and values, its votes do not follow from what is summed without it.",
    _on_plain,
    _here,
)
