"""The custodian in one round: it reads the log, believes what a quorum confirmed, and counts each lane once.

What it is shown may be forged, so it takes the log apart as an auditor would:

1. the log is the one that everybody's signed messages speak of, up to the survivors: a quorum of every cohort confirmed
   them, and with them the log before;
2. digests of ciphertexts count only if their owner signed them before that. Who sent its own after it saw another's is
   too late, so nobody can have copied anybody's votes;
3. whose votes are counted follows: who stands among the survivors and released its ciphertexts, as the server collected
   them;
4. sums are made here, of those ciphertexts, and looked at once (`votes.Custodian`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fedspallm_secure.charter import CkksVotes
from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import (
    Collected,
    Confirmed,
    Counted,
    CountedLane,
    Encrypted,
    Envelope,
    LaneBlob,
    Message,
    Release,
    Signer,
    Survivors,
    digest,
    open_envelope,
)
from fedspallm_secure.rounds.plan import RoundPlan
from fedspallm_secure.secagg import Lane, Participation, check_encrypted, check_every_quorum
from fedspallm_secure.tlog import Chain, HeldLog, origin_of
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import Contribution, Custodian, VotesLane

__all__ = ["count_votes"]

_TODO = "Nothing was decrypted. The server must explain what it shows; keep it as evidence."


def count_votes(
    plan: RoundPlan,
    signer: Signer,
    custodian: Custodian,
    log: Iterable[Envelope],
    blobs: BlobStore,
    progress: Callable[[int, int], None] = lambda done, lanes: None,
) -> Envelope:
    """Count the votes of a round.

    Args:
        plan: of the round.
        signer: the custodian's name and signing key.
        custodian: holds the round's CKKS key.
        log: the run's, in order, up to the server's `collected` of this round.
        blobs: where ciphertexts are, and counts go.
        progress: called with (lanes counted, lanes in all).

    Returns:
        What to send to the server.

    Raises:
        RemoteProtocolError: what the log says is not what the protocol asks for before votes are counted.
        LocalProtocolError: the journal knows the lane as counted for other contributors.
        StorageError: a payload is missing or damaged, or can't be written.
    """
    chain = Chain()
    case = _read(plan, log, signer.name, chain)
    lanes = []
    for lane in plan.context.lanes:
        lanes.append(_count(plan, custodian, lane, case, blobs))
        progress(len(lanes), len(plan.context.lanes))
    counted = Counted(
        charter=plan.context.digest,
        round=plan.context.round,
        sender=signer.name,
        survivors=case.survivors,
        contributors=plan.context.names(case.contributors),
        lanes=tuple(lanes),
    )
    return chain.seal(counted, signer)


@dataclass(frozen=True)
class _Case:
    """What the log says.

    Attributes:
        survivors: digest of the confirmed message.
        contributors: roster indices.
        ciphertexts: roster index -> lane's name -> its ciphertexts.
    """

    survivors: str
    contributors: frozenset[int]
    ciphertexts: dict[int, dict[str, LaneBlob]]


def _read(plan: RoundPlan, log: Iterable[Envelope], own: str, chain: Chain) -> _Case:
    """Take the log apart, and leave in `chain` what the custodian says of it."""
    held = HeldLog(origin_of(plan.context.digest))
    messages = _opened(plan, log, held)
    at, survivors = _survivors(plan, messages)  # 1
    if survivors.log != held.head(at):
        raise RemoteProtocolError("The survivors were confirmed in another log than this one.", _TODO)
    chosen = digest(survivors)
    participation = Participation(plan.context).with_survivors(survivors, None, (), ())
    after = [message for message in messages[at + 1 :] if message.round == plan.context.round]
    _check_confirmed(plan, after, chosen, participation)
    contributors = _collected(plan, messages, after, chosen, participation, held)  # 3
    chain.seen = held.head()
    place = held.own(own)
    chain.prev = None if place is None else place.leaf
    return _Case(chosen, contributors, _committed(plan, messages[:at], contributors))  # 2


def _opened(plan: RoundPlan, log: Iterable[Envelope], held: HeldLog) -> list[Message]:
    """Every entry's message, all under this charter, and the entries in `held`."""
    messages = []
    for envelope in log:
        message = open_envelope(envelope, plan.charter.keys)
        if message.charter != plan.context.digest:
            raise RemoteProtocolError(f"{message.sender!r} speaks of charter {message.charter}.", _TODO)
        held.append(envelope)
        messages.append(message)
    return messages


def _survivors(plan: RoundPlan, messages: Sequence[Message]) -> tuple[int, Survivors]:
    """Where the server named the survivors of this round's votes."""
    server, number = plan.charter.server, plan.context.round
    named = [
        (at, message)
        for at, message in enumerate(messages)
        if isinstance(message, Survivors) and (message.sender, message.round, message.sum) == (server, number, "votes")
    ]
    if len(named) != 1:
        raise RemoteProtocolError(f"The log names the survivors of votes {len(named)} times; once is due.", _TODO)
    return named[0]


def _collected(
    plan: RoundPlan,
    messages: Sequence[Message],
    after: Sequence[Message],
    chosen: str,
    participation: Participation,
    held: HeldLog,
) -> frozenset[int]:
    """Whose votes are to be counted: survivors that released them, as the server said once."""
    context = plan.context
    released = {
        context.indices[message.sender]
        for message in after
        if isinstance(message, Release) and message.sender in context.indices and message.survivors == chosen
    }
    server = plan.charter.server
    collected = [message for message in after if isinstance(message, Collected) and message.sender == server]
    if len(collected) != 1 or collected[0].survivors != chosen:
        raise RemoteProtocolError("The server did not say, or not once, whose ciphertexts came.", _TODO)
    contributors = participation.with_collected(collected[0].contributors, None).contributors("votes")
    if not contributors <= released:
        silent = ", ".join(context.names(contributors - released))
        raise RemoteProtocolError(f"{silent} did not release the ciphertexts that are to be counted.", _TODO)
    end = messages.index(collected[0])
    if collected[0].log != held.head(end):
        raise RemoteProtocolError("The ciphertexts were collected in another log than this one.", _TODO)
    return contributors


def _check_confirmed(plan: RoundPlan, after: Sequence[Message], chosen: str, participation: Participation) -> None:
    for message in after:
        if isinstance(message, Confirmed) and message.sender == plan.charter.server and message.survivors == chosen:
            check_every_quorum(plan.context, message, participation.contributors("votes"))
            return
    raise RemoteProtocolError("The survivors of votes are not confirmed.", _TODO)


def _committed(
    plan: RoundPlan, before: Sequence[Message], contributors: frozenset[int]
) -> dict[int, dict[str, LaneBlob]]:
    """What each contributor signed before the survivors were named."""
    context = plan.context
    seen: dict[str, int] = {}
    found: dict[int, dict[str, LaneBlob]] = {}
    for message in before:
        if isinstance(message, Encrypted) and message.round == context.round and message.sender in context.indices:
            index = context.indices[message.sender]
            if index in found:
                raise RemoteProtocolError(f"{message.sender!r} signed its ciphertexts twice.", _TODO)
            seen = check_encrypted(context, index, message, seen)
            found[index] = {blob.lane: blob for blob in message.lanes}
    missing = contributors - found.keys()
    if missing:
        names = ", ".join(context.names(missing))
        raise RemoteProtocolError(f"{names} signed no ciphertexts before the survivors were named.", _TODO)
    return found


def _count(plan: RoundPlan, custodian: Custodian, lane: Lane, case: _Case, blobs: BlobStore) -> CountedLane:
    context, ckks, backend = plan.context, plan.ckks, plan.charter.votes
    assert ckks is not None  # or there would be no custodian
    assert isinstance(backend, CkksVotes)
    key = backend.contexts[context.round]

    def contribution(index: int) -> Contribution:
        blob = case.ciphertexts[index][lane.name].blob
        name = context.roster[index]
        return Contribution(name, key, blob, lambda: blobs.stream(blob, ckks.words))

    votes = VotesLane(
        charter=context.digest,
        round=context.round,
        name=lane.name,
        length=lane.length,
        cohort=frozenset(context.names(lane.cohort)),
        minimum=context.group_of[lane.name].quorum,
    )
    contributors = sorted(case.contributors.intersection(lane.cohort))
    found = custodian.counts(votes, [contribution(index) for index in contributors])
    words = lane.votes.pack(found.counts)
    return CountedLane(lane=lane.name, words=words.size, blob=blobs.put(words), ciphertexts=found.sum_digest)
