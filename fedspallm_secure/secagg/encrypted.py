"""What is refused of encrypted votes, by whoever can see it: the server, an institution, the custodian, an auditor.

Nothing here looks into a ciphertext: that is `votes`, which knows nothing of messages.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Counted, Encrypted, Sums
from fedspallm_secure.secagg.context import RoundContext, check_lanes
from fedspallm_secure.secagg.participation import Participation

__all__ = ["check_counted", "check_encrypted", "open_counted"]

_TODO = "Send nothing more in this run; the server and the custodian must say what they hold."


def check_encrypted(context: RoundContext, index: int, message: Encrypted, seen: Mapping[str, int]) -> dict[str, int]:
    """Refuse lanes that are not the sender's, or ciphertexts that somebody sent before.

    A copy would count its owner's votes twice, and so tell them apart from the others'.

    Args:
        context: of the round.
        index: the sender's roster index.
        message: what it signed.
        seen: digest -> roster index of whose ciphertexts it names.

    Returns:
        `seen` with the new digests.

    Raises:
        RemoteProtocolError: as said.
    """
    lanes = context.lanes_of(index)
    due = [lane.ciphertext_words for lane in lanes]
    check_lanes(message.lanes, lanes, due, repr(message.sender), RemoteProtocolError)
    for blob in message.lanes:
        owner = seen.get(blob.blob, index)
        if owner != index:
            raise RemoteProtocolError(
                f"{message.sender!r} sent for lane {blob.lane} the ciphertexts of {context.roster[owner]!r}.",
                "The message was ignored. It copies somebody else's votes without knowing them.",
            )
    return {**seen, **{blob.blob: index for blob in message.lanes}}


def check_counted(context: RoundContext, message: Counted, survivors: str, contributors: Participation | None) -> None:
    """Refuse counts that are not the custodian's, of all lanes, and of these votes.

    Args:
        context: of the round.
        message: what came.
        survivors: digest of the confirmed `survivors` of votes.
        contributors: where whose votes are to be counted is known; None for somebody who takes the custodian's word.

    Raises:
        RemoteProtocolError: as said.
    """
    custodian = context.charter.custodian
    if custodian is None or message.sender != custodian.name:
        raise RemoteProtocolError(f"{message.sender!r} is not the charter's custodian.", _TODO)
    if message.survivors != survivors:
        raise RemoteProtocolError("The custodian counted votes for other survivors than those confirmed.", _TODO)
    if contributors is not None and message.contributors != context.names(contributors.contributors("votes")):
        raise RemoteProtocolError("The custodian counted the votes of others than those whose ciphertexts came.", _TODO)
    due = [lane.votes.words(lane.length) for lane in context.lanes]
    check_lanes(message.lanes, context.lanes, due, "The custodian", RemoteProtocolError)


def open_counted(context: RoundContext, published: Sums, survivors: str) -> Counted:
    """The custodian's word for published counts.

    Raises:
        RemoteProtocolError: there is none, or it is for other counts than those.
    """
    counted = None if published.counted is None else context.open(published.counted)
    if not isinstance(counted, Counted):
        raise RemoteProtocolError("The published counts come without the custodian's word.", _TODO)
    check_counted(context, counted, survivors, None)
    if published.lanes != tuple(one.counts for one in counted.lanes):
        raise RemoteProtocolError("The published counts are not those that the custodian signed.", _TODO)
    return counted
