"""A round whose server is dishonest and may have institutions on its side, and what all of them know in the end.

The adversary sees every message and holds every share that its institutions got. A secret is open to it as soon as that
makes a threshold of shares. What must never happen is said once, in `uncovered`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.messages import (
    Advertised,
    Again,
    Confirm,
    Confirmed,
    Envelope,
    LogHead,
    Message,
    Share,
    Shares,
    SumName,
    Survivors,
    Unmask,
    digest,
    seal,
)
from fedspallm_secure.secagg import Delivery, Lane, RoundContext
from tests.secagg.small_round import SmallRound, identity, round_context

__all__ = ["CONTEXT", "ELIGIBLE", "Opening", "WatchedRound", "values", "votes"]

CONTEXT = round_context(
    5, [(9, range(5)), (6, (0, 2, 3, 4))], colluders=1, dropouts=1, minimum_cohort=4, minimum_contributors=3
)
"""Five institutions, one of which may be on the server's side: four must agree in one lane, three in the other."""

ELIGIBLE = [5, 3]
"""Positions of each lane that take part in the values sum."""

Secret = Literal["seed", "key"]
Opening = tuple[SumName, int, int, int, Secret]
"""Sum, attempt, group, owner's roster index, and which of its two secrets."""


def votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    """A client's votes."""
    kept: NDArray[np.bool_] = (np.arange(lane.length) + index) % 3 > 0
    return kept


def values(index: int, lane: Lane) -> NDArray[np.uint32]:
    """A client's changes."""
    return (np.arange(ELIGIBLE[lane.index], dtype=np.uint32) * 7 + index) % 11


class WatchedRound(SmallRound):
    """A round in which everything that institutions send is kept, and the server says what it likes to whom it likes.

    Args:
        context: of the round.
        seed: of everybody's entropy.
        colluders: roster indices of those on the server's side.
    """

    def __init__(self, context: RoundContext = CONTEXT, seed: str = "seed", colluders: Collection[int] = (4,)) -> None:
        super().__init__(context, seed)
        self.colluders = frozenset(colluders)
        self.honest = tuple(index for index in range(len(context.roster)) if index not in self.colluders)
        self.sent: dict[str, Message] = {}
        self.envelopes: list[Envelope] = []

    def gather(self, answers: Mapping[int, Envelope | None]) -> list[Delivery]:
        """As always, and keep what was sent."""
        for envelope in answers.values():
            self._keep(envelope)
        return super().gather(answers)

    def deliver(self, deliveries: Sequence[Delivery], missing: Collection[int] = ()) -> dict[int, Envelope | None]:
        """As always, and keep what was answered."""
        answers = super().deliver(deliveries, missing)
        for envelope in answers.values():
            self._keep(envelope)
        return answers

    def tell(self, index: int, said: Envelope | Message) -> Envelope:
        """One client takes a message, which the server signs if nobody did; the answer, which is kept."""
        envelope = said if isinstance(said, Envelope) else self.signed(said)
        answer = self.clients[index].receive(envelope)
        self._keep(answer)
        assert answer is not None
        return answer

    def has_sent(self) -> set[str]:
        """What honest institutions said so far: "share 0" in the first exchange, "masked votes" and so on."""
        honest = (body for body in self.sent.values() if self.context.indices[body.sender] in self.honest)
        return {f"{body.kind} {getattr(body, 'sum', getattr(body, 'attempt', ''))}" for body in honest}

    def signed(self, message: Message) -> Envelope:
        """What the server says."""
        return seal(message, identity("server"))

    def advertised(self, attempt: int, advertisements: Collection[Envelope]) -> Advertised:
        """What the server may say: these advertised."""
        return Advertised(**self._header(), attempt=attempt, advertisements=tuple(advertisements))

    def shares(self, attempt: int, index: int, shared: Collection[Message]) -> Shares:
        """What these sealed for one client, passed on as it is."""
        name = self.context.roster[index]
        sealed = {body.sender: body.sealed[name] for body in shared if isinstance(body, Share) and body.sender != name}
        return Shares(**self._header(), attempt=attempt, to=name, sealed=sealed)

    def survivors(self, *names: str, of: SumName = "votes", **changes: Any) -> Survivors:
        """What the server may say: of all participants these survived."""
        said = {"sum": of, "attempt": 0, "participants": self.context.roster, "survivors": names, "gone": ()}
        return Survivors(
            **self._header() | {"start": self.context.start, "log": LogHead(size=1, root="00" * 32)} | said | changes
        )

    def confirm(self, index: int, survivors: Survivors) -> Envelope:
        """What an institution signs that confirms whatever the server likes."""
        header = survivors.model_dump(include={"charter", "round", "sum", "attempt"})
        name = self.context.roster[index]
        return seal(Confirm(**header, sender=name, survivors=digest(survivors)), identity(name))

    def confirmed(self, survivors: Survivors, signed: Collection[Envelope]) -> Confirmed:
        """What the server makes of confirmations."""
        header = survivors.model_dump(include={"charter", "round", "sender", "sum", "attempt"})
        signatures = {one.signatures[0].keyid: one.signatures[0].sig for one in signed}
        return Confirmed(**header, survivors=digest(survivors), signatures=signatures)

    def again(self, *gone: str, attempt: int = 1) -> Again:
        """What the server may say: the values are summed again without these."""
        return Again(**self._header(), attempt=attempt, gone=gone)

    def count(self) -> None:
        """An honest votes sum, until values are due."""
        self.exchange()
        self.sum(votes)
        self.deliver(self.prove(votes))
        self.know_eligible(ELIGIBLE)

    def opened(self) -> set[Opening]:
        """Which secrets of honest institutions are open to the adversary."""
        holders: dict[Opening, set[int]] = defaultdict(set)
        for unmask in self.sent.values():
            if not isinstance(unmask, Unmask):
                continue
            index = self.context.indices[unmask.sender]
            for group, revealed in zip(self.context.groups_of(index), unmask.groups, strict=True):
                for name in revealed.seeds:
                    holders[unmask.sum, unmask.attempt, group.index, self.context.indices[name], "seed"].add(index)
                for name in revealed.keys:
                    holders[unmask.sum, unmask.attempt, group.index, self.context.indices[name], "key"].add(index)
        return {
            opening
            for opening, there in holders.items()
            for group in [self.context.groups[opening[2]]]
            if opening[3] in self.honest
            and len(there | self.colluders.intersection(group.holders[opening[3]])) >= group.threshold
        }

    def uncovered(self) -> list[Opening]:
        """What must be empty: an honest institution's secret of which the other one is open too, for one sum; and what
        is open of one attempt at a sum while something of another attempt is.
        """
        opened = self.opened()
        both = [
            one
            for one, other in product(opened, opened)
            if one[:4] == other[:4] and one[4] != other[4]  # its self mask and its pairwise masks
        ]
        return both + [one for one, other in product(opened, opened) if one[0] == other[0] and one[1] != other[1]]

    def _header(self) -> dict[str, Any]:
        return {"charter": self.context.digest, "round": self.context.round, "sender": "server"}

    def _keep(self, envelope: Envelope | None) -> None:
        if envelope is not None:
            self.sent[envelope.payload] = self.context.open(envelope)
            self.envelopes.append(envelope)
