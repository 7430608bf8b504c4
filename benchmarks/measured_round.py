"""A round of secure sums with the real machines, in which everybody's processor time and bytes are counted apart.

One lane, no model. Messages cross as bytes: making and reading them is their sender's and their receiver's work. Masked
words cross beside them; their sender hashes them, and the server hashes them again and adds them to one running total,
as if it read them from a store. It hashes every message into its log, and does not write it; what a client is shown of
the log beside each message, a note and some hashes, is not counted. Time is that of the processor in the thread that
works, so that neither the machine's other programs count nor the other participants, who are in the same process.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import thread_time
from typing import Any, Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.charter import Base, Charter, Institution, Method, Parameters, Tensor, check_charter
from fedspallm_secure.messages import Envelope, Identity, LaneBlob, SumName, canonical
from fedspallm_secure.secagg import (
    Client,
    Delivery,
    Lane,
    RoundContext,
    Server,
    ServerState,
    values_packing,
    votes_packing,
)
from fedspallm_secure.tlog import HeldLog, origin_of
from fedspallm_secure.workspace import Journal

__all__ = ["ClientSide", "Cost", "MeasuredRound", "ServerSide", "Step", "one_lane"]

Step = Literal["exchange", "votes", "values", "check"]
"""Keys and shares; the two sums, from packing to unmasking; the check of what was published."""

Words = NDArray[np.uint64]

_CLIP = "1"


@dataclass
class Cost:
    """What one participant spent.

    Attributes:
        seconds: of its processor, by step.
        sent: bytes of messages and masked words.
        received: bytes of messages and published words.
    """

    seconds: dict[Step, float] = field(default_factory=lambda: defaultdict(float))
    sent: int = 0
    received: int = 0

    @contextmanager
    def clock(self, step: Step) -> Iterator[None]:
        """What happens in the block is this participant's work."""
        start = thread_time()
        yield
        self.seconds[step] += thread_time() - start

    def total(self, *steps: Step) -> float:
        """Seconds of several steps."""
        return sum(self.seconds[step] for step in steps)


def one_lane(
    clients: int, shape: tuple[int, int], method: Method, digits_per_word: int, colluders: int, dropouts: int
) -> RoundContext:
    """A round of one lane to which everybody contributes.

    Args:
        clients: institutions.
        shape: of the weight, outputs x inputs.
        method: "sparsegpt" has a values sum, the others have none.
        digits_per_word: of the values sum.
        colluders: c.
        dropouts: d.
    """
    rows, columns = shape
    names = [f"institution-{index}" for index in range(clients)]
    charter = Charter(
        run="benchmark",
        server="coordinator",
        server_key=_identity("coordinator").public,
        roster=tuple(Institution(name=name, public_key=_identity(name).public, capacity="1") for name in names),
        method=method,
        schedule=("0.5",),
        beacon="00" * 32,
        base=Base(
            layers=1,
            pruned=(Tensor(name="lane", layer=0, rows=rows, columns=columns, dtype="float32", digest="00" * 32),),
            rest={},
        ),
        parameters=Parameters(
            minimum_cohort=clients,
            minimum_contributors=colluders + 2,
            dropout_margin=0,
            colluders=colluders,
            dropouts=dropouts,
            digits_per_word=digits_per_word,
            clip=_CLIP,
        ),
    )
    check_charter(charter)
    everybody = tuple(range(clients))
    votes, values = votes_packing(clients), values_packing(clients, digits_per_word)
    return RoundContext(charter, 0, (Lane(0, "lane", rows * columns, everybody, votes, values),), "0" * 64)


class ServerSide:
    """The server with its running total.

    Args:
        context: of one lane.
    """

    def __init__(self, context: RoundContext) -> None:
        self._cost = Cost()
        self._lane = context.lanes[0]
        self._log = HeldLog(origin_of(context.digest))
        self._server = Server(context, _identity(context.charter.server), self._log)
        self._total = np.zeros(0, np.uint64)
        self._blobs: dict[str, str] = {}

    def cost(self) -> Cost:
        """What it spent so far; what it sent and received, its clients know."""
        return self._cost

    def published(self) -> Words:
        """The words of the last sum."""
        return self._total

    def receive(self, step: Step, packet: bytes, words: Words | None = None) -> list[tuple[str, bytes]]:
        """Take a client's message, with its masked words where it names some; what is to be sent now, to whom."""
        with self._cost.clock(step):
            envelope = Envelope.model_validate_json(packet)
            deliveries = self._server.receive(envelope)
            if words is not None:
                self._add(envelope.signatures[0].keyid, words)
            if self._server.state in (ServerState.ADDING_VOTES, ServerState.ADDING_VALUES):
                deliveries += self._publish()
            self._log.take_new()
            return _packets(deliveries)

    def close(self, step: Step) -> list[tuple[str, bytes]]:
        """Go on without those whose message did not come."""
        with self._cost.clock(step):
            deliveries = self._server.close()
            self._log.take_new()
            return _packets(deliveries)

    def know_eligible(self, step: Step, length: int) -> None:
        """As the server's own."""
        with self._cost.clock(step):
            self._server.know_eligible([length])

    def _add(self, name: str, words: Words) -> None:
        if not self._blobs:
            self._total = np.zeros_like(words)
        self._blobs[name] = _blob(words)
        self._total += words

    def _publish(self) -> list[Delivery]:
        added = {name: blob.blob for name, blob in self._server.contributions(self._lane)}
        assert added == self._blobs  # what was added is what was signed
        self._blobs = {}
        self._server.unmask(self._lane, self._total)
        return self._server.publish([_lane_blob(self._lane, self._total)])


class ClientSide:
    """One client with its digits.

    Args:
        context: of one lane.
        name: its own.
        digits: its digits of a sum, made when they are needed: that is its work too.
    """

    def __init__(self, context: RoundContext, name: str, digits: Callable[[SumName], NDArray[Any]]) -> None:
        self.cost = Cost()
        self._lane = context.lanes[0]
        self._digits = digits
        with self.cost.clock("exchange"):
            self._client = Client(context, _identity(name), os.urandom, Journal())

    def advertise(self) -> bytes:
        """The first message."""
        with self.cost.clock("exchange"):
            return self._sent(self._client.advertise())

    def receive(self, step: Step, packet: bytes) -> bytes | None:
        """Take a message of the server; the answer that follows at once."""
        self.cost.received += len(packet)
        with self.cost.clock(step):
            answer = self._client.receive(Envelope.model_validate_json(packet))
            return None if answer is None else self._sent(answer)

    def know_eligible(self, step: Step, length: int) -> None:
        """As the client's own."""
        with self.cost.clock(step):
            self._client.know_eligible([length])

    def mask(self, name: SumName) -> tuple[bytes, Words]:
        """The masked lane and the message that names it."""
        with self.cost.clock(name):
            words = self._client.mask(self._lane, self._digits(name))
            packet = self._sent(self._client.send([_lane_blob(self._lane, words)]))
        self.cost.sent += words.nbytes
        return packet, words

    def prove(self, name: SumName, words: Words, length: int) -> bytes:
        """This client's part of the check of the published `words`."""
        self.cost.received += words.nbytes
        with self.cost.clock("check"):
            assert _blob(words) == self._client.published.lanes[0].blob
            sums = self._lane.packing(name).unpack(words, length)
            self._client.check(self._lane, sums, self._digits(name))
            return self._sent(self._client.prove())

    def _sent(self, envelope: Envelope) -> bytes:
        packet = canonical(envelope)
        self.cost.sent += len(packet)
        return packet


class MeasuredRound:
    """One server and all clients, step by step.

    Args:
        context: of one lane.
        server: of that context; it may live in another process.
        digits: (client's index, sum) -> its digits.
        gone: indices of those that vanish before they send a masked lane.
        progress: called with (clients done, clients in all) in every step anew.
    """

    def __init__(
        self,
        context: RoundContext,
        server: ServerSide,
        digits: Callable[[int, SumName], NDArray[Any]],
        gone: Collection[int] = (),
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.clients = {
            name: ClientSide(context, name, lambda of, index=index: digits(index, of))  # type: ignore[misc]
            for index, name in enumerate(context.roster)
        }
        self.left = [name for index, name in enumerate(context.roster) if index not in gone]
        self._server = server
        self._progress = progress
        self._published: list[tuple[str, bytes]] = []
        self._length = context.lanes[0].length

    def exchange(self) -> None:
        """Keys and shares, of everybody."""
        deliveries = self._gather("exchange", {name: client.advertise() for name, client in self.clients.items()})
        self._deliver("exchange", self._gather("exchange", self._deliver("exchange", deliveries)))

    def know_eligible(self, length: int) -> None:
        """From now on a sum has `length` digits."""
        self._length = length
        self._server.know_eligible("values", length)
        for name in self.left:
            self.clients[name].know_eligible("values", length)

    def sum(self, name: SumName) -> Words:
        """One sum, without those that are gone; what was published."""
        deliveries = list[tuple[str, bytes]]()
        for done, left in enumerate(self.left):
            packet, words = self.clients[left].mask(name)
            deliveries = self._server.receive(name, packet, words)
            self._progress(done + 1, len(self.left))
        survivors = deliveries or self._server.close(name)
        confirmed = self._gather(name, self._deliver(name, survivors))
        self._published = self._gather(name, self._deliver(name, confirmed))
        return self._server.published()

    def check(self, name: SumName, words: Words, judges: int | None = None) -> None:
        """Every client proves its part of the published words.

        Args:
            name: of the sum.
            words: as `sum` returned them.
            judges: how many, the first that are left, get all proofs and judge the sum; everybody where left out.
        """
        self._deliver("check", self._published)
        proofs = {}
        for done, left in enumerate(self.left):
            proofs[left] = self.clients[left].prove(name, words, self._length)
            self._progress(done + 1, len(self.left))
        self._deliver("check", self._gather("check", proofs)[:judges])

    def _gather(self, step: Step, answers: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
        deliveries = list[tuple[str, bytes]]()
        for packet in answers.values():
            deliveries = self._server.receive(step, packet)
        return deliveries

    def _deliver(self, step: Step, deliveries: Sequence[tuple[str, bytes]]) -> dict[str, bytes]:
        answers = {}
        for done, (to, packet) in enumerate(deliveries):
            answer = self.clients[to].receive(step, packet)
            if answer is not None:
                answers[to] = answer
            self._progress(done + 1, len(deliveries))
        return answers


def _identity(name: str) -> Identity:
    """Always the same key, so that all processes of a benchmark know it."""
    return Identity(name, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


def _packets(deliveries: Sequence[Delivery]) -> list[tuple[str, bytes]]:
    """An envelope that goes to many is made into bytes once."""
    packets: dict[int, bytes] = {}
    for delivery in deliveries:
        if id(delivery.envelope) not in packets:
            packets[id(delivery.envelope)] = canonical(delivery.envelope)
    return [(delivery.to, packets[id(delivery.envelope)]) for delivery in deliveries]


def _blob(words: Words) -> str:
    return hashlib.sha256(words.view(np.uint8).data).hexdigest()


def _lane_blob(lane: Lane, words: Words) -> LaneBlob:
    return LaneBlob(lane=lane.name, words=words.size, blob=_blob(words))
