"""One round, halted before every message that is handed over, so that something else can be said there first.

Four institutions in two groups; i3 vanishes from the values, which are then summed again without it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.messages import Envelope, Identity, SumName, Sums
from fedspallm_secure.secagg import Delivery, Lane, RoundContext
from tests.secagg.small_round import Digits, SmallRound, resealed, round_context

__all__ = ["STAGED", "TO_CLIENTS", "TO_THE_SERVER", "Scene", "has_true_sums", "scenes"]

STAGED: RoundContext = round_context(4, [(70, (0, 1, 2)), (9, (0, 1, 2)), (30, (1, 2, 3))], dropouts=1)

_ELIGIBLE = [20, 0, 8]
_GONE = [3]
_SUMS: tuple[SumName, ...] = ("votes", "values")

TO_THE_SERVER = (
    *("advertise", "share", "masked votes", "confirm votes", "unmask votes", "proof of votes", "masked values"),
    *("advertise again", "share again", "masked values again", "confirm values", "unmask values", "proof of values"),
)
TO_CLIENTS = (
    *("advertised", "shares", "survivors of votes", "confirmed votes", "votes", "proofs of votes", "again"),
    *("advertised again", "shares again", "survivors of values", "confirmed values", "values", "proofs of values"),
)


@dataclass(frozen=True)
class Scene:
    """What is about to be handed over.

    Attributes:
        played: the round so far.
        stage: one of TO_THE_SERVER or TO_CLIENTS.
        said: stage up to this one -> sender's or receiver's name -> what it truly sent or is due.
    """

    played: SmallRound
    stage: str
    said: Mapping[str, Mapping[str, Envelope]]

    def true(self, name: str) -> Envelope:
        """What `name` truly sent, or is due."""
        return self.said[self.stage][name]

    def message(self, name: str) -> Any:
        """The same, opened."""
        return STAGED.open(self.true(name))

    def changed(self, name: str, signer: Identity | None = None, **changes: Any) -> Envelope:
        """The same with fields changed, signed anew by its sender, or by `signer`."""
        return resealed(STAGED, self.true(name), signer, **changes)

    def index(self, name: str) -> int:
        """Its roster index."""
        return STAGED.indices[name]


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    votes: NDArray[np.bool_] = np.arange(lane.length) % (index + 2) == 0
    return votes


def _values(index: int, lane: Lane) -> NDArray[np.uint32]:
    return (np.arange(_ELIGIBLE[lane.index], dtype=np.uint32) * 99 + index) % (lane.values.top + 1)


def _digits(name: SumName) -> Digits:
    return _votes if name == "votes" else _values


def has_true_sums(scene: Scene) -> bool:
    """Whether both sums were published, and are what comes out in the plain."""
    right = True
    for name in _SUMS:
        published = STAGED.open(scene.said[name]["i0"])
        assert isinstance(published, Sums)
        for lane, blob in zip(STAGED.lanes, published.lanes, strict=True):
            members = [index for index in lane.cohort if name == "votes" or index not in _GONE]
            plain = np.sum([_digits(name)(index, lane) for index in members], axis=0, dtype=np.int64)
            digits = lane.packing(name).unpack(scene.played.words[blob.blob], plain.size)
            right = right and np.array_equal(digits, plain)
    return right


_Play = Generator[Scene, None, list[Delivery]]


class _Staged:
    """The round, and what was said in it."""

    def __init__(self, played: SmallRound) -> None:
        self.played = played
        self.said: dict[str, Mapping[str, Envelope]] = {}

    def to_the_server(self, stage: str, answers: Mapping[int, Envelope | None]) -> _Play:
        """Halt, and hand over what clients send; what the server answers."""
        names = STAGED.roster
        self.said[stage] = {names[index]: answer for index, answer in answers.items() if answer is not None}
        yield Scene(self.played, stage, self.said)
        return self.played.gather(answers)

    def to_clients(
        self, stage: str, deliveries: Sequence[Delivery]
    ) -> Generator[Scene, None, dict[int, Envelope | None]]:
        """Halt, and hand over what the server sends; what clients answer."""
        self.said[stage] = {delivery.to: delivery.envelope for delivery in deliveries}
        yield Scene(self.played, stage, self.said)
        return self.played.deliver(deliveries)

    def exchange(self, answers: Mapping[int, Envelope | None], again: str = "") -> Iterator[Scene]:
        """Keys and shares."""
        advertised = yield from self.to_the_server(f"advertise{again}", answers)
        answers = yield from self.to_clients(f"advertised{again}", advertised)
        shares = yield from self.to_the_server(f"share{again}", answers)
        yield from self.to_clients(f"shares{again}", shares)

    def sum(self, name: SumName, survivors: Sequence[Delivery]) -> Iterator[Scene]:
        """From the survivors to the verdict."""
        answers = yield from self.to_clients(f"survivors of {name}", survivors)
        confirmed = yield from self.to_the_server(f"confirm {name}", answers)
        answers = yield from self.to_clients(f"confirmed {name}", confirmed)
        yield from self.to_the_server(f"unmask {name}", answers)
        yield from self.to_clients(name, self.played.add())
        proofs: dict[int, Envelope | None] = {}
        for receiver in self.said[name]:
            index = STAGED.indices[receiver]
            self.played.check(index, _digits(name))
            proofs[index] = self.played.clients[index].prove()
        verdict = yield from self.to_the_server(f"proof of {name}", proofs)
        yield from self.to_clients(f"proofs of {name}", verdict)

    def masked(self, indices: Sequence[int], name: SumName) -> dict[int, Envelope | None]:
        """Clients' lanes."""
        return {index: self.played.masked(index, _digits(name)) for index in indices}


def scenes(played: SmallRound) -> Iterator[Scene]:
    """Play the round of STAGED; it goes on with the truth whenever the next scene is asked for."""
    staged = _Staged(played)
    yield from staged.exchange({index: client.advertise() for index, client in enumerate(played.clients)})
    survivors = yield from staged.to_the_server("masked votes", staged.masked(range(4), "votes"))
    yield from staged.sum("votes", survivors)
    played.know_eligible(_ELIGIBLE)
    again = yield from staged.to_the_server("masked values", staged.masked(range(3), "values"))
    answers = yield from staged.to_clients("again", again)
    yield from staged.exchange(answers, " again")
    played.know_eligible(_ELIGIBLE)
    survivors = yield from staged.to_the_server("masked values again", staged.masked(range(3), "values"))
    yield from staged.sum("values", survivors)
