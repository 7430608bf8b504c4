"""The signatures without which nobody hands out a share: a quorum of every cohort confirmed the same survivors.

Any two quorums of a cohort share an honest member (2 quorum > n + c), and an honest member confirms once a sum. So all
who hand out shares do it for the same survivors, whatever the server tells whom. In a large cohort the quorum is larger
than it must be, and each client verifies a part of the signatures that nobody can foresee: see `spotcheck`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Confirm, Confirmed, check_signatures
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.groups import Group
from fedspallm_secure.secagg.keys import Entropy
from fedspallm_secure.secagg.spotcheck import drawn_by

__all__ = ["check_every_quorum", "check_quorum", "quorum_of"]


def quorum_of(context: RoundContext, names: Iterable[str], groups: Collection[Group]) -> tuple[list[str], list[Group]]:
    """Of clients' names, in the order in which they come, as many as give every group its quorum.

    Returns:
        Those names, and the groups that lack some all the same.
    """
    return _enough(context, names, groups, lambda group: group.quorum)


def check_quorum(
    context: RoundContext, message: Confirmed, index: int, survivors: Collection[int], entropy: Entropy
) -> None:
    """Refuse confirmations that are no quorum in a group of the client with roster index `index`.

    Args:
        context: of the round.
        message: the server's.
        index: the client's roster index.
        survivors: whom it confirmed.
        entropy: chooses the signatures to verify where not all are.

    Raises:
        RemoteProtocolError: a signature that does not hold, of nobody who survived, or too few.
    """
    todo = "No share was handed out; the server shows different institutions different survivors, or withholds some."
    for name in message.signatures:
        if context.indices.get(name, -1) not in survivors:
            raise RemoteProtocolError(f"{name!r} confirmed the survivors without being one.", todo)
    groups = context.groups_of(index)
    _, lacking = quorum_of(context, message.signatures, groups)
    if lacking:
        group = lacking[0]
        members = {context.roster[member] for member in group.cohort}
        raise RemoteProtocolError(
            f"{len(members & message.signatures.keys())} members of lane {group.lanes[0].name}'s cohort confirmed the "
            f"survivors; {group.quorum} are needed.",
            todo,
        )
    all_verified = all(group.sample == group.quorum for group in groups)
    order = sorted(message.signatures) if all_verified else drawn_by(entropy(32), message.signatures)
    names, _ = _enough(context, order, groups, lambda group: group.sample)
    _check_signatures(context, message, names)


def check_every_quorum(context: RoundContext, message: Confirmed, survivors: Collection[int]) -> None:
    """Refuse confirmations that are no quorum in each group of the round; all signatures are verified.

    Args:
        context: of the round.
        message: the server's.
        survivors: whom it confirmed.

    Raises:
        RemoteProtocolError: a signature that does not hold, of nobody who survived, or too few.
    """
    todo = "Nothing follows from it; the server shows different survivors to different people, or withholds some."
    names = [name for name in message.signatures if context.indices.get(name, -1) in survivors]
    _, lacking = quorum_of(context, names, context.groups)
    if lacking or len(names) != len(message.signatures):
        raise RemoteProtocolError("The survivors are not confirmed by a quorum of them in every cohort.", todo)
    _check_signatures(context, message, names)


def _check_signatures(context: RoundContext, message: Confirmed, names: Iterable[str]) -> None:
    confirm = Confirm(
        charter=context.digest,
        round=context.round,
        sender=message.sender,
        sum=message.sum,
        attempt=message.attempt,
        survivors=message.survivors,
    )
    check_signatures(confirm, ((name, message.signatures[name]) for name in names), context.keys)


def _enough(
    context: RoundContext, names: Iterable[str], groups: Collection[Group], needed: Callable[[Group], int]
) -> tuple[list[str], list[Group]]:
    lacking = {group.index: needed(group) for group in groups}
    chosen = []
    for name in names:
        helped = [group.index for group in context.groups_of(context.indices[name]) if lacking.get(group.index, 0) > 0]
        if helped:
            chosen.append(name)
        for index in helped:
            lacking[index] -= 1
    return chosen, [group for group in groups if lacking[group.index] > 0]
