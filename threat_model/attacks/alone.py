"""What a server reads off a sum of changes where one institution alone kept a position."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.secagg import Lane
from threat_model.attacks.attack import Trial, exactly
from threat_model.attacks.stage import Stage

__all__ = ["changes_of_one"]

_UNKNOWN = -1


def changes_of_one(stage: Stage, lane: Lane, counts: NDArray[Any]) -> Trial:
    """Take the other institutions' "no change" off every sum at a position with one vote.

    Args:
        stage: a round that is over, or that nobody went on with.
        lane: of one cohort.
        counts: the true ones, flat.
    """
    alone, Q = counts == 1, stage.outcome.averaged.quantiser(lane).Q
    truth, found = np.zeros(lane.length, np.int64), np.full(lane.length, _UNKNOWN)
    shape = stage.plan.tensors(lane)[0].rows, stage.plan.tensors(lane)[0].columns
    for index in lane.cohort:
        name = stage.plan.context.roster[index]
        kept = stage.votes(name, lane)
        truth[kept] = stage.changes(name, lane, np.ones(shape, np.bool_))[kept]
    published = stage.published("values", lane)
    if published is not None:
        eligible = stage.eligible(lane).reshape(-1)
        sums = stage.outcome.digits(lane, "values", published, int(np.count_nonzero(eligible)))
        found[eligible] = sums.astype(np.int64) - (stage.coordinator.participation.number(lane, "values") - 1) * Q
    return exactly(found[alone], truth[alone], "changes at positions that one institution alone kept")
