"""Which keys an advertisement must hold, and which commitments go with its shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Advertise, GroupCommitments, GroupKeys, Share, SumName
from fedspallm_secure.secagg.context import RoundContext

__all__ = ["check_advertisement", "check_commitments", "sums_of"]

_TODO = "Do not go on with this roster; ask that institution what it runs."


def sums_of(context: RoundContext, attempt: int) -> tuple[SumName, ...]:
    """The sums that an exchange serves: both, or the votes alone where no weight changes, or a repeated values sum."""
    if attempt > 0:
        return ("values",)
    return ("votes", "values") if context.charter.changes_weights else ("votes",)


def check_advertisement(
    context: RoundContext, index: int, advertisement: Advertise, seen: Mapping[str, int]
) -> list[str]:
    """Refuse keys that are not one a group and sum of the exchange, or that somebody uses already.

    Args:
        context: of the round.
        index: the sender's roster index.
        advertisement: what it signed.
        seen: key -> roster index of whose it is, of the exchange so far.

    Returns:
        Its keys.

    Raises:
        RemoteProtocolError: as said.
    """
    sums = sums_of(context, advertisement.attempt)
    if not _one_each(advertisement.groups, len(context.groups_of(index)), sums):
        raise RemoteProtocolError(f"{advertisement.sender!r} advertised not one key a group and sum.", _TODO)
    found = [advertisement.channel, *(key for group in advertisement.groups for key in (group.votes, group.values))]
    keys = [key for key in found if key is not None]
    if len(set(keys)) != len(keys) or any(seen.get(key, index) != index for key in keys):
        raise RemoteProtocolError(f"{advertisement.sender!r} advertised a key that is in use already.", _TODO)
    return keys


def check_commitments(context: RoundContext, index: int, share: Share) -> None:
    """Refuse commitments that are not one a group and sum of the exchange.

    Raises:
        RemoteProtocolError: as said.
    """
    if not _one_each(share.commitments, len(context.groups_of(index)), sums_of(context, share.attempt)):
        raise RemoteProtocolError(
            f"{share.sender!r} committed to not one seed a group and sum.",
            _TODO,
        )


def _one_each(groups: Sequence[GroupKeys] | Sequence[GroupCommitments], due: int, sums: tuple[SumName, ...]) -> bool:
    return len(groups) == due and all(
        (group.votes is not None) is ("votes" in sums) and (group.values is not None) is ("values" in sums)
        for group in groups
    )
