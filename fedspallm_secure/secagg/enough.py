"""Whether enough of a group are there to open a sum, and lie so that its mask graph can't have parted.

Both ends ask it at every step: the server before it goes on without those that are missing, a client before it believes
that the server may.
"""

from __future__ import annotations

from collections.abc import Collection

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.groups import Group

__all__ = ["check_enough"]


def check_enough(context: RoundContext, group: Group, present: Collection[int], did: str, todo: str) -> None:
    """In a group a quorum must be there and, where the graph is sparse, a threshold in every two stretches of the ring.

    Args:
        context: of the round.
        group: one of its groups.
        present: roster indices of who is there; who is not of the group does not count.
        did: what they did that others did not, for the error's text.
        todo: what to do now, for the same.

    Raises:
        RemoteProtocolError: too few.
    """
    there = set(group.cohort).intersection(present)
    whose = f"lane {group.lanes[0].name}'s cohort"
    absent = ", ".join(context.names(set(group.cohort) - there))
    if len(there) < group.quorum:
        raise RemoteProtocolError(
            f"{len(there)} of the {len(group.cohort)} institutions of {whose} {did}; {group.quorum} are needed. "
            f"Missing: {absent}.",
            todo,
        )
    thin = group.thin(there)
    if thin is not None:
        raise RemoteProtocolError(
            f"Of {whose}, {thin} institutions of two stretches of the ring {did}; {group.threshold} are needed, or the "
            f"mask graph may have parted. Missing, there or elsewhere: {absent}.",
            todo,
        )
