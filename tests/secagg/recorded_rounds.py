"""Rounds played to their ends and recorded, so that a machine can be led to any state that they go through."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.messages import Envelope, Sums
from fedspallm_secure.secagg import Client, Lane, RoundContext, Server
from tests.secagg.small_round import SmallRound, attestation, identity, round_context

__all__ = ["ROUNDS", "Call", "Recording", "Way", "recording"]

_LANES = [(9, (0, 1, 2, 3, 4)), (4, (0, 1, 2, 3, 4)), (5, (0, 2, 3, 4))]
_ELIGIBLE = [6, 4, 0]


@dataclass(frozen=True)
class Call:
    """One call of a machine's method.

    Attributes:
        name: of the method; of `receive`, the kind of message too.
        method: its name.
        arguments: it was called with.
    """

    name: str
    method: str
    arguments: tuple[Any, ...]

    def on(self, machine: Client | Server) -> object:
        """Call it again."""
        return getattr(machine, self.method)(*self.arguments)


Machine = TypeVar("Machine", Client, Server)


@dataclass(frozen=True)
class Way(Generic[Machine]):
    """What one machine was called with in a round.

    Attributes:
        context: of the round.
        fresh: makes the machine as it was at the start: the same calls lead it to the same states.
        calls: in order.
    """

    context: RoundContext
    fresh: Callable[[], Machine]
    calls: tuple[Call, ...]

    def before(self, position: int) -> Machine:
        """The machine as it was before that call."""
        machine = self.fresh()
        for call in self.calls[:position]:
            call.on(machine)
        return machine


@dataclass(frozen=True)
class Recording:
    """A whole round as the client i0, who stays to the end, and the server went through it."""

    client: Way[Client]
    server: Way[Server]


class _Recorder:
    """Stands before a machine and writes down what is done to it."""

    def __init__(self, machine: Client | Server, context: RoundContext) -> None:
        self.calls: list[Call] = []
        self._machine = machine
        self._context = context

    def __getattr__(self, method: str) -> Any:
        attribute = getattr(self._machine, method)
        if not callable(attribute) or method == "missing":
            return attribute

        def called(*arguments: Any) -> Any:
            name = self._kind(*arguments) if method == "receive" else method
            self.calls.append(Call(name, method, arguments))
            return attribute(*arguments)

        return called

    def _kind(self, envelope: Envelope) -> str:
        message = self._context.open(envelope)
        return f"receive {message.sum if isinstance(message, Sums) else message.kind}"


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    votes: NDArray[np.bool_] = (np.arange(lane.length) + index) % 3 > 0
    return votes


def _values(index: int, lane: Lane) -> NDArray[np.uint32]:
    return (np.arange(_ELIGIBLE[lane.index], dtype=np.uint32) + index) % 8


def _count(played: SmallRound) -> None:
    played.exchange()
    played.sum(_votes)


def _count_and_prove(played: SmallRound) -> None:
    _count(played)
    played.deliver(played.prove(_votes))
    played.know_eligible(_ELIGIBLE)


def _sum_and_prove(played: SmallRound, gone: Collection[int] = ()) -> None:
    played.sum(_values, mask=gone)
    played.deliver(played.prove(_values, gone))


def _attest(played: SmallRound, gone: Collection[int] = (4,)) -> None:
    """The charter's witness says that what was published last is true."""
    witness = played.context.charter.witness
    assert witness is not None
    played.deliver(played.server.receive(attestation(played.clients[0].published, witness.name)), gone)


def _nobody_vanishes(played: SmallRound) -> None:
    _count_and_prove(played)
    _sum_and_prove(played)


def _somebody_vanishes_before_it_votes(played: SmallRound) -> None:
    played.exchange(advertise=[1])
    played.sum(_votes, mask=[4])
    played.deliver(played.prove(_votes))
    played.know_eligible(_ELIGIBLE)
    _sum_and_prove(played, [1, 4])


def _somebody_vanishes_after_it_voted(played: SmallRound) -> None:
    played.exchange(share=[1])
    played.sum(_votes, confirm=[4])
    played.deliver(played.prove(_votes), [4])


def _values_again_and_again(played: SmallRound) -> None:
    _count_and_prove(played)
    for gone in ([4], [1, 4]):
        played.exchange_again(played.mask(_values, gone), gone)
        played.know_eligible(_ELIGIBLE)
    _sum_and_prove(played, gone)


def _witness_stands_in(played: SmallRound) -> None:
    _count(played)
    played.prove(_votes, [4])
    _attest(played)
    played.know_eligible(_ELIGIBLE)
    played.sum(_values, mask=[4])
    played.prove(_values, [1, 4])
    _attest(played, [1, 4])


def _witness_of_counts_is_silent(played: SmallRound) -> None:
    _count(played)
    played.prove(_votes, [4])
    played.deliver(played.server.close(), [4])


def _witness_of_sums_is_silent(played: SmallRound) -> None:
    _count_and_prove(played)
    played.sum(_values)
    played.prove(_values, [4])
    played.deliver(played.server.close(), [4])


def _nobody_proves_counts(played: SmallRound) -> None:
    _count(played)
    played.deliver(played.prove(_votes, [3, 4]), [3, 4])


def _nobody_proves_sums(played: SmallRound) -> None:
    _count_and_prove(played)
    played.sum(_values, unmask=[4])
    played.deliver(played.prove(_values), [4])


def _votes_alone(played: SmallRound) -> None:
    _count(played)
    played.deliver(played.prove(_votes))


def _votes_alone_with_the_witness(played: SmallRound) -> None:
    _count(played)
    played.prove(_votes, [4])
    _attest(played)


def _somebody_vanishes_before_it_releases(played: SmallRound) -> None:
    played.exchange()
    played.sum(_votes, unmask=[4])
    played.deliver(played.prove(_votes, [4]))
    played.know_eligible(_ELIGIBLE)
    _sum_and_prove(played, [4])


def _nobody_proves_encrypted_counts(played: SmallRound) -> None:
    """The charter's witness can't help."""
    played.exchange(advertise=[3])
    played.sum(_votes)
    played.deliver(played.prove(_votes, [4]), [4])


_ALL = [(length, (0, 1, 2, 3, 4)) for length, _ in _LANES]
_FULL = [36, 0, 5]
"""Most values of lanes that carry second moments; the last one is of votes."""


def _diagonals(index: int, lane: Lane) -> NDArray[Any]:
    if lane.longest is None:
        return _votes(index, lane)
    return np.arange(lane.length, dtype=np.uint64) * np.uint64(lane.votes.top // (lane.length + index))


def _matrices(index: int, lane: Lane) -> NDArray[np.uint32]:
    return (np.arange(_FULL[lane.index], dtype=np.uint32) + index) % 8


def _moments(played: SmallRound) -> None:
    played.exchange()
    played.sum(_diagonals)
    played.deliver(played.prove(_diagonals))
    played.know_eligible(_FULL)
    played.sum(_matrices, mask=[4])
    played.deliver(played.prove(_matrices, [4]))


_PLAIN = round_context(5, _LANES, dropouts=1)
_WITNESSED = round_context(5, _LANES, dropouts=1, dropout_margin=1, witness="auditor")
_ENCRYPTED = round_context(5, _LANES, dropouts=1, witness="auditor", custodian="custodian")

ROUNDS: Mapping[str, tuple[RoundContext, Callable[[SmallRound], None]]] = {
    "nobody vanishes": (_PLAIN, _nobody_vanishes),
    "somebody vanishes before it votes": (_PLAIN, _somebody_vanishes_before_it_votes),
    "somebody vanishes after it voted": (_PLAIN, _somebody_vanishes_after_it_voted),
    "values again and again": (_PLAIN, _values_again_and_again),
    "the witness stands in": (_WITNESSED, _witness_stands_in),
    "the witness of counts is silent": (_WITNESSED, _witness_of_counts_is_silent),
    "the witness of sums is silent": (_WITNESSED, _witness_of_sums_is_silent),
    "no proof of counts": (_PLAIN, _nobody_proves_counts),
    "no proof of sums": (_PLAIN, _nobody_proves_sums),
    "encrypted votes": (_ENCRYPTED, _somebody_vanishes_before_it_releases),
    "no proof of encrypted votes": (_ENCRYPTED, _nobody_proves_encrypted_counts),
    "encrypted votes, wanda": (
        round_context(5, _LANES, dropouts=1, method="wanda", custodian="custodian"),
        _votes_alone,
    ),
    "wanda": (round_context(5, _LANES, dropouts=1, method="wanda"), _votes_alone),
    "wanda with the witness": (
        round_context(5, _LANES, dropouts=1, method="wanda", witness="i3"),
        _votes_alone_with_the_witness,
    ),
    "moments": (round_context(5, _ALL, dropouts=1, dropout_margin=1, longest=_FULL[:2]), _moments),
}
"""Every way through the tables, by name."""


@cache
def recording(name: str) -> Recording:
    """One of ROUNDS, as it was played."""
    context, play = ROUNDS[name]
    played = SmallRound(context)
    client, server = _Recorder(played.clients[0], context), _Recorder(played.server, context)
    played.clients[0], played.server = cast(Client, client), cast(Server, server)
    play(played)
    return Recording(
        Way(context, lambda: SmallRound(context).clients[0], tuple(client.calls)),
        Way(context, lambda: Server(context, identity("server")), tuple(server.calls)),
    )
