"""The witness: it recomputes a sum from the masked lanes and the shares, and signs that it is true.

Institutions check sums themselves as long as every contributor sends its proof. When one vanished in between, the
charter may name somebody whose word stands in. A witness learns what the server knows, no institution's weights; it is
trusted not to sign a sum that it did not recompute.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import (
    Advertise,
    Again,
    Attest,
    Collected,
    Envelope,
    Masked,
    Message,
    Share,
    Signer,
    Sums,
    Survivors,
    Unmask,
    digest,
)
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.secagg import Participation, RoundContext, Unmasking
from fedspallm_secure.tlog import Chain
from fedspallm_secure.transcript import BlobStore

__all__ = ["attest_sum"]

_TODO = "Nothing was signed. The server must explain the difference."


def attest_sum(
    plan: RoundPlan, identity: Signer, log: Iterable[Envelope], blobs: BlobStore, chain: Chain | None = None
) -> Envelope:
    """Recompute the last sum that the server published, and vouch for it.

    Args:
        plan: of the round.
        identity: the witness's name and signing key.
        log: everything that was sent in the round, in order.
        blobs: the payloads.
        chain: what the witness says of the log, if it said something before.

    Returns:
        What to send to the server.

    Raises:
        RemoteProtocolError: evidence is missing, or another sum comes out.
        StorageError: a payload is missing or damaged.
    """
    context = plan.context
    messages = [context.open(envelope) for envelope in log]
    published = [m for m in messages if isinstance(m, Sums) and m.sender == plan.charter.server]
    if not published:
        raise RemoteProtocolError("The log holds no published sum.", _TODO)
    sums = published[-1]
    if sums.counted is not None:
        raise RemoteProtocolError("Encrypted votes are counted by the custodian; nobody else can decrypt them.", _TODO)
    _recompute(context, sums, messages, blobs)
    word = Attest(
        charter=context.digest,
        round=context.round,
        sender=identity.name,
        sum=sums.sum,
        attempt=sums.attempt,
        sums=digest(sums),
    )
    return (Chain() if chain is None else chain).seal(word, identity)


def _recompute(context: RoundContext, sums: Sums, messages: list[Message], blobs: BlobStore) -> None:
    """Compare every lane of `sums` with what the survivors sent."""
    participation = Participation(context)
    told = {m.sum for m in messages if isinstance(m, Survivors) and m.sender == context.charter.server}
    if not told >= {"votes", sums.sum}:
        raise RemoteProtocolError(f"The log does not say who survived the {sums.sum}, or the votes.", _TODO)
    for message in messages:
        if isinstance(message, Survivors) and message.sender == context.charter.server:
            participation = participation.with_survivors(message, None, (), ())
        if isinstance(message, Collected) and message.sender == context.charter.server:
            participation = participation.with_collected(message.contributors, None)
        if isinstance(message, Again) and message.sender == context.charter.server:
            participation = participation.with_gone(message, None)
    contributors = participation.contributors(sums.sum)
    in_sum = [
        message
        for message in messages
        if isinstance(message, Masked | Unmask) and (message.sum, message.attempt) == (sums.sum, sums.attempt)
    ]
    masked = {context.indices[m.sender]: m for m in in_sum if isinstance(m, Masked) and m.sender in context.indices}
    lanes = {index: {entry.lane: entry.blob for entry in m.lanes} for index, m in masked.items()}
    due = {index: {lane.name for lane in context.lanes_of(index)} for index in contributors}
    if any(lanes.get(index, {}).keys() != names for index, names in due.items()):
        raise RemoteProtocolError("The log lacks the lanes of an institution that is said to have contributed.", _TODO)
    if [blob.lane for blob in sums.lanes] != [lane.name for lane in context.lanes]:
        raise RemoteProtocolError("The published sum's lanes are not the round's, in the charter's order.", _TODO)
    unmasking = Unmasking(
        context,
        sums.sum,
        sums.attempt,
        {context.indices[m.sender]: m for m in messages if isinstance(m, Advertise) and m.attempt == sums.attempt},
        {context.indices[m.sender]: m for m in messages if isinstance(m, Share) and m.attempt == sums.attempt},
        participation.participants(sums.sum),
        contributors,
        {context.indices[m.sender]: m for m in in_sum if isinstance(m, Unmask)},
    )
    for lane, blob in zip(context.lanes, sums.lanes, strict=True):
        parts = [blobs.get(lanes[index][lane.name]) for index in sorted(contributors.intersection(lane.cohort))]
        if {part.size for part in parts} != {blob.words}:
            raise RemoteProtocolError(
                f"The published {sums.sum} of lane {lane.name} are not as many words as the institutions sent.", _TODO
            )
        total = np.zeros(blob.words, np.uint64)
        for part in parts:
            total += part
        unmasking.subtract_masks(lane, total)
        if not np.array_equal(total, blobs.get(blob.blob)):
            raise RemoteProtocolError(
                f"The published {sums.sum} of lane {lane.name} are not the sum of what the institutions sent.", _TODO
            )
