"""The signatures without which nobody hands out a share: a quorum of every cohort confirmed the same survivors.

Any two quorums of a cohort share an honest member (2 quorum > n + c), and an honest member confirms once a sum. So all
who hand out shares do it for the same survivors, whatever the server tells whom.
"""

from __future__ import annotations

from collections.abc import Collection

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Confirm, Confirmed, check_signature
from fedspallm_secure.secagg.context import RoundContext

__all__ = ["check_quorum"]


def check_quorum(context: RoundContext, message: Confirmed, index: int, survivors: Collection[int]) -> None:
    """Refuse confirmations that are no quorum in a group of the client with roster index `index`.

    Signatures are verified until all of its groups have their quorum.

    Raises:
        RemoteProtocolError: a signature that does not hold, of nobody who survived, or too few.
    """
    todo = "No share was handed out; the server shows different institutions different survivors, or withholds some."
    wanted = {group.index: group.quorum for group in context.groups_of(index)}
    for name, signature in sorted(message.signatures.items()):
        signer = context.indices.get(name, -1)
        if signer not in survivors:
            raise RemoteProtocolError(f"{name!r} confirmed the survivors without being one.", todo)
        lacking = [group.index for group in context.groups_of(signer) if wanted.get(group.index, 0) > 0]
        if not lacking:
            continue
        confirm = Confirm(
            charter=context.digest,
            round=context.round,
            sender=name,
            sum=message.sum,
            attempt=message.attempt,
            survivors=message.survivors,
        )
        check_signature(confirm, signature, context.keys[name])
        for at in lacking:
            wanted[at] -= 1
    for group in context.groups_of(index):
        if wanted[group.index] > 0:
            raise RemoteProtocolError(
                f"{group.quorum - wanted[group.index]} members of lane {group.lanes[0].name}'s cohort confirmed the "
                f"survivors; {group.quorum} are needed.",
                todo,
            )
