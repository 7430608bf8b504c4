"""A round of secure sums in one process: the real machines, and a dictionary where the blobs lie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from random import Random
from typing import Any, Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.charter import (
    Base,
    Charter,
    CkksVotes,
    Custodian,
    Institution,
    MaskedVotes,
    Method,
    Parameters,
    Tensor,
    Witness,
)
from fedspallm_secure.messages import (
    Attest,
    Collected,
    Counted,
    CountedLane,
    Envelope,
    Frozen,
    Identity,
    LaneBlob,
    Message,
    Sums,
    digest,
    seal,
)
from fedspallm_secure.secagg import (
    Client,
    ClientState,
    Delivery,
    Entropy,
    Group,
    Lane,
    RoundContext,
    Server,
    ServerState,
    diagonals_packing,
    values_packing,
    votes_packing,
)
from fedspallm_secure.workspace import Journal

__all__ = [
    "Digits",
    "SmallRound",
    "Step",
    "attestation",
    "entropy",
    "identity",
    "resealed",
    "round_context",
    "snapshot",
]


def identity(name: str) -> Identity:
    """The participant `name`, always with the same key."""
    return Identity(name, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


def entropy(seed: str) -> Entropy:
    """Bytes that depend on `seed` alone."""
    return Random(seed).randbytes


def round_context(
    clients: int,
    lanes: Sequence[tuple[int, Sequence[int]]],
    *,
    method: Method = "sparsegpt",
    round_index: int = 0,
    digits_per_word: int = 4,
    witness: str | None = None,
    custodian: str | None = None,
    longest: Sequence[int | None] = (),
    **parameters: int,
) -> RoundContext:
    """A round of the institutions i0, i1, ... with lanes of (length, cohort).

    Args:
        clients: how many institutions.
        lanes: their lengths and cohorts.
        method: "sparsegpt" has a values sum, the others have none.
        round_index: of the round.
        digits_per_word: of the values sum.
        witness: its name, or None.
        custodian: its name, where votes are encrypted, or None.
        longest: of the first lanes, the most digits in the values sum where that is another number than in the votes
            sum; their votes are diagonals then.
        parameters: of the charter, where they differ from thresholds of two institutions that never vanish.
    """
    charter = Charter(
        run="test",
        server="server",
        server_key=identity("server").public,
        roster=tuple(
            Institution(name=f"i{index}", public_key=identity(f"i{index}").public, capacity="1")
            for index in range(clients)
        ),
        method=method,
        schedule=("0.5",) if custodian is None else ("0.5",) * (round_index + 1),
        beacon="b" * 64,
        base=Base(
            layers=len(lanes),
            pruned=tuple(
                Tensor(
                    name=f"lane{index}", layer=index, rows=1, columns=max(1, length), dtype="float32", digest="d" * 64
                )
                for index, (length, _) in enumerate(lanes)
            ),
            rest={},
        ),
        parameters=Parameters(
            **{
                "minimum_cohort": 2,
                "minimum_contributors": 2,
                "dropout_margin": 0,
                "colluders": 0,
                "dropouts": 0,
                "digits_per_word": digits_per_word,
            }
            | parameters,
            clip="1",
        ),
        votes=MaskedVotes()
        if custodian is None
        else CkksVotes(
            custodian=Custodian(name=custodian, public_key=identity(custodian).public),
            contexts=tuple(f"{number:064x}" for number in range(round_index + 1)),
        ),
        witness=None if witness is None else Witness(name=witness, public_key=identity(witness).public),
    )
    most = [*longest, *[None] * (len(lanes) - len(longest))]
    made = (
        Lane(
            index=index,
            name=f"lane{index}",
            length=length,
            cohort=tuple(cohort),
            votes=votes_packing(len(cohort)) if most[index] is None else diagonals_packing(len(cohort)),
            values=values_packing(len(cohort), digits_per_word),
            longest=most[index],
            ciphertext_words=0 if custodian is None else 2,
        )
        for index, (length, cohort) in enumerate(lanes)
    )
    return RoundContext(charter, round_index, tuple(made), "5" * 64)


def snapshot(machine: Client | Server) -> dict[str, Any]:
    """Everything a machine holds, however deep, so that it can be compared later on."""
    return {name: _picture(value) for name, value in vars(machine).items()}


_FIXED = (str, bytes, int, frozenset, Enum, Identity, RoundContext, Group, Lane)


def _picture(value: Any) -> Any:
    """Something that stays as it is when `value` changes, and is then no longer equal to a picture of it."""
    if isinstance(value, _FIXED):
        return value
    if isinstance(value, Frozen):
        return value.model_dump()
    if isinstance(value, dict):
        return {key: _picture(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_picture(member) for member in value]
    if isinstance(value, X25519PrivateKey):
        return value.private_bytes_raw()
    if isinstance(value, bytearray):
        return bytes(value)
    if type(value).__module__.startswith(("fedspallm_secure.", "tests.")):
        return {name: _picture(member) for name, member in vars(value).items()}
    return value.copy() if isinstance(value, set) else value


def resealed(context: RoundContext, envelope: Envelope, signer: Identity | None = None, **changes: Any) -> Envelope:
    """The message in `envelope` with fields changed, signed anew by its sender, or by `signer`."""
    message: Message = context.open(envelope).model_copy(update=changes)
    return seal(message, signer or identity(message.sender))


def attestation(sums: Sums, witness: str) -> Envelope:
    """What `witness` signs when it finds `sums` to be true; here it looks at nothing."""
    header = sums.model_dump(include={"charter", "round", "sum", "attempt"})
    return seal(Attest(**header, sender=witness, sums=digest(sums)), identity(witness))


Digits = Callable[[int, Lane], NDArray[Any]]
"""(roster index, lane) -> that client's digits."""

Step = Literal["advertise", "share", "mask", "confirm", "unmask", "prove"]
"""At which of its messages a client may be missing."""


class SmallRound:
    """One server and all clients, step by step; what a client does not send is simply never delivered.

    Where votes are encrypted, a ciphertext is two words drawn at random: no machine looks into one.

    Args:
        context: of the round.
        seed: of everybody's entropy.
    """

    def __init__(self, context: RoundContext, seed: str = "seed") -> None:
        self.context = context
        self.server = Server(context, identity("server"))
        self.journals = [Journal() for _ in context.roster]
        self.clients = [
            Client(context, identity(name), entropy(f"{seed} {name}"), journal)
            for name, journal in zip(context.roster, self.journals, strict=True)
        ]
        self.words: dict[str, NDArray[np.uint64]] = {}
        self.plain: dict[str, NDArray[np.uint64]] = {}  # digest of a lane's ciphertexts -> its votes, packed
        self.collected: Collected | None = None
        self._random = entropy(f"{seed} ciphertexts")
        self.lengths = {lane.name: lane.length for lane in context.lanes}

    def store(self, lane: Lane, words: NDArray[np.uint64]) -> LaneBlob:
        """Put words away under their digest."""
        blob = hashlib.sha256(words.tobytes()).hexdigest()
        self.words[blob] = words
        return LaneBlob(lane=lane.name, words=words.size, blob=blob)

    def gather(self, answers: Mapping[int, Envelope | None]) -> list[Delivery]:
        """Hand clients' messages to the server, and close the step if somebody's is missing."""
        state, deliveries = self.server.state, list[Delivery]()
        for envelope in answers.values():
            if envelope is not None:
                deliveries += self.server.receive(envelope)
        deliveries = self.server.close() if self.server.state is state else deliveries
        for delivery in deliveries:
            message = self.context.open(delivery.envelope)
            self.collected = message if isinstance(message, Collected) else self.collected
        return deliveries

    def answer(self, index: int, envelope: Envelope) -> Envelope | None:
        """Hand a message to one client; its answer, which is a release where that is due then."""
        client = self.clients[index]
        answer = client.receive(envelope)
        return client.release() if client.state is ClientState.RELEASING else answer

    def deliver(self, deliveries: Sequence[Delivery], missing: Collection[int] = ()) -> dict[int, Envelope | None]:
        """Hand the server's messages to the clients that are there; their answers."""
        answers: dict[int, Envelope | None] = {}
        for delivery in deliveries:
            index = self.context.indices[delivery.to]
            if index not in missing:
                answers[index] = self.answer(index, delivery.envelope)
        return answers

    def advertise(self, missing: Collection[int] = ()) -> list[Delivery]:
        """Everybody who is there advertises; what the server sends then."""
        return self.gather(
            {index: client.advertise() for index, client in enumerate(self.clients) if index not in missing}
        )

    def exchange(self, **missing: Collection[int]) -> None:
        """Keys and shares, until votes are due. `missing`: step -> who sends nothing in it or after it."""
        gone = set(missing.get("advertise", ()))
        deliveries = self.advertise(gone)
        gone |= set(missing.get("share", ()))
        self.deliver(self.gather(self.deliver(deliveries, gone)), gone)

    def exchange_again(self, again: Sequence[Delivery], missing: Collection[int] = ()) -> None:
        """What follows when the server's `again` is delivered: keys and shares, until positions are to be eligible."""
        advertised = self.gather(self.deliver(again, missing))
        self.deliver(self.gather(self.deliver(advertised, missing)), missing)

    def know_eligible(self, lengths: Sequence[int]) -> None:
        """Tell everybody for whom it is due how long the values' lanes are."""
        self.lengths = {lane.name: length for lane, length in zip(self.context.lanes, lengths, strict=True)}
        self.server.know_eligible(lengths)
        for client in self.clients:
            if client.state is ClientState.CHECKED:
                client.know_eligible(lengths)

    def masked(self, index: int, digits: Digits) -> Envelope:
        """One client masks all its lanes, or encrypts them where that is due; its message, not delivered yet."""
        client = self.clients[index]
        if client.state is ClientState.VOTING and self.context.encrypts_votes:
            return client.send_encrypted([self.encrypted(lane, digits(index, lane)) for lane in client.lanes])
        return client.send([self.store(lane, client.mask(lane, digits(index, lane))) for lane in client.lanes])

    def encrypted(self, lane: Lane, votes: NDArray[Any]) -> LaneBlob:
        """What stands for the ciphertexts of one lane's votes."""
        blob = self.store(lane, np.frombuffer(self._random(8 * lane.ciphertext_words), np.uint64))
        self.plain[blob.blob] = lane.votes.pack(votes)
        return blob

    def counted(self, **changes: Any) -> Envelope:
        """What an honest custodian says of what was collected, but for `changes`."""
        assert self.collected is not None
        custodian = self.context.charter.custodian
        assert custodian is not None
        contributors = [self.context.indices[name] for name in self.collected.contributors]
        lanes = []
        for lane in self.context.lanes:
            sent = [self.server._lanes[index][lane.name].blob for index in contributors if index in lane.cohort]
            total: NDArray[np.uint64] = np.sum([self.plain[blob] for blob in sent], axis=0, dtype=np.uint64)
            added = hashlib.sha256("".join(sent).encode()).hexdigest()
            lanes.append(CountedLane(**self.store(lane, total).model_dump(), ciphertexts=added))
        message = Counted(
            charter=self.context.digest,
            round=self.context.round,
            sender=custodian.name,
            survivors=self.collected.survivors,
            contributors=self.collected.contributors,
            lanes=tuple(lanes),
        )
        return seal(message.model_copy(update=changes), identity(custodian.name))

    def mask(self, digits: Digits, missing: Collection[int] = ()) -> list[Delivery]:
        """All for whom it is due, and who are there, send their lanes; what the server sends then."""
        due = [
            index
            for index, client in enumerate(self.clients)
            if client.state in (ClientState.VOTING, ClientState.VALUING) and index not in missing
        ]
        return self.gather({index: self.masked(index, digits) for index in due})

    def add(self) -> list[Delivery]:
        """The server adds up what came and takes the masks off; its messages, not delivered yet.

        Where votes are encrypted, the custodian counts them first.
        """
        if self.server.state is ServerState.COUNTING:
            self.server.receive(self.counted())
            counted = [self.server.counted(lane) for lane in self.context.lanes]
            return self.server.publish([lane.counts for lane in counted if lane is not None])
        sums = []
        for lane in self.context.lanes:
            contributions = [self.words[blob.blob] for _, blob in self.server.contributions(lane)]
            total: NDArray[np.uint64] = np.sum(contributions, axis=0, dtype=np.uint64)
            self.server.unmask(lane, total)
            sums.append(self.store(lane, total))
        return self.server.publish(sums)

    def sum(self, digits: Digits, **missing: Collection[int]) -> Sums:
        """A whole sum, from masking to the server's message, delivered. `missing`: step -> who is gone from it on."""
        gone = set(missing.get("mask", ()))
        survivors = self.mask(digits, gone)
        gone |= set(missing.get("confirm", ()))
        confirmed = self.gather(self.deliver(survivors, gone))
        gone |= set(missing.get("unmask", ()))
        self.gather(self.deliver(confirmed, gone))
        published = self.add()
        self.deliver(published, gone)
        message = self.context.open(published[0].envelope)
        assert isinstance(message, Sums)
        return message

    def prove(self, digits: Digits, missing: Collection[int] = ()) -> list[Delivery]:
        """All for whom it is due check the published sum and send their proofs; what the server sends then."""
        answers: dict[int, Envelope | None] = {}
        for index, client in enumerate(self.clients):
            if client.state in (ClientState.COUNTED, ClientState.SUMMED) and index not in missing:
                self.check(index, digits)
                answers[index] = client.prove()
        return self.gather(answers)

    def check(self, index: int, digits: Digits) -> None:
        """One client takes every lane of the published sum into its check."""
        client = self.clients[index]
        for lane, blob in zip(self.context.lanes, client.published.lanes, strict=True):
            packing = lane.packing(client.published.sum)
            own = digits(index, lane) if index in lane.cohort else None
            client.check(lane, packing.unpack(self.words[blob.blob], self.lengths[lane.name]), own)

    def published(self, message: Sums) -> Mapping[str, NDArray[np.uint64]]:
        """The words of each lane that the server published."""
        return {blob.lane: self.words[blob.blob] for blob in message.lanes}
