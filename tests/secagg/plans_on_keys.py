"""What a dishonest server plans with keys and shares: rounds up to the message that should deceive i0, and that one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fedspallm_secure.messages import (
    Advertised,
    Envelope,
    Identity,
    Message,
    Shares,
    digest,
)
from fedspallm_secure.secagg import Delivery, RoundContext
from tests.secagg.small_round import identity, resealed, round_context
from tests.secagg.watched_round import CONTEXT, WatchedRound

__all__ = ["ON_KEYS", "OTHER_ROUND", "VICTIM", "Plans", "like", "shares_sent", "to"]

VICTIM = 0
"""Roster index of the institution that the plans are made for."""

Play = Callable[[], tuple[WatchedRound, Envelope | Message]]


class Plans(dict[str, Play]):
    """Plan -> the round so far, and what i0 is told next."""

    def named(self, name: str) -> Callable[[Play], Play]:
        """Put what follows among the plans."""

        def put(play: Play) -> Play:
            self[name] = play
            return play

        return put


ON_KEYS = Plans()


def like(**changes: Any) -> RoundContext:
    """CONTEXT but for some parameters of its charter, or its round."""
    parameters: dict[str, Any] = {"colluders": 1, "dropouts": 1, "minimum_cohort": 4, "minimum_contributors": 3}
    return round_context(5, [(lane.length, lane.cohort) for lane in CONTEXT.lanes], **parameters | changes)


OTHER_ROUND = like(round_index=1)
_OTHER_RUN = like(digits_per_word=5)
_LOWER_THRESHOLD = like(colluders=0)


def to(name: str, deliveries: Sequence[Delivery], context: RoundContext = CONTEXT) -> Any:
    """What is due to `name`, opened."""
    return context.open(next(delivery.envelope for delivery in deliveries if delivery.to == name))


# Keys.


def _advertised(context: RoundContext = CONTEXT, seed: str = "seed") -> tuple[WatchedRound, Any]:
    played = WatchedRound(context, seed)
    return played, to("i0", played.advertise(), context)


def _with(message: Any, index: int, other: Envelope) -> Advertised:
    """The advertisements with another one in a place."""
    listed = list(message.advertisements)
    listed[index] = other
    changed: Advertised = message.model_copy(update={"advertisements": tuple(listed)})
    return changed


@ON_KEYS.named("be an institution")
def _be_an_institution() -> tuple[WatchedRound, Message]:
    played, true = _advertised()
    mine = resealed(CONTEXT, true.advertisements[2], Identity("i2", identity("server").key), channel="ab" * 32)
    return played, _with(true, 2, mine)


@ON_KEYS.named("put an institution of its own on the roster")
def _other_roster() -> tuple[WatchedRound, Message]:
    played, true = _advertised()
    roster = list(CONTEXT.charter.roster)
    roster[2] = roster[2].model_copy(update={"public_key": identity("server").public})
    charter = CONTEXT.charter.model_copy(update={"roster": tuple(roster)})
    return played, true.model_copy(update={"charter": digest(charter)})


@ON_KEYS.named("bring in somebody who is not on the roster")
def _stranger() -> tuple[WatchedRound, Message]:
    played, true = _advertised()
    return played, _with(true, 2, resealed(CONTEXT, true.advertisements[2], identity("mallory"), sender="mallory"))


@ON_KEYS.named("ask for a lower threshold")
def _lower_threshold() -> tuple[WatchedRound, Message]:
    played, _ = _advertised()
    _, elsewhere = _advertised(_LOWER_THRESHOLD)
    return played, elsewhere


@ON_KEYS.named("use keys of another round again")
def _keys_of_another_round() -> tuple[WatchedRound, Message]:
    played, true = _advertised()
    _, elsewhere = _advertised(OTHER_ROUND)
    return played, _with(true, 2, elsewhere.advertisements[2])


@ON_KEYS.named("use keys of another run again")
def _keys_of_another_run() -> tuple[WatchedRound, Message]:
    played, true = _advertised()
    _, elsewhere = _advertised(_OTHER_RUN)
    return played, _with(true, 2, elsewhere.advertisements[2])


@ON_KEYS.named("use keys that an institution had before it started again")
def _keys_of_a_dead_process() -> tuple[WatchedRound, Message]:
    played, true = _advertised()
    _, earlier = _advertised(seed="before")
    return played, _with(true, 0, earlier.advertisements[0])


@ON_KEYS.named("leave an institution alone with its own")
def _alone_with_colluders() -> tuple[WatchedRound, Message]:
    played, true = _advertised()
    return played, true.model_copy(update={"advertisements": (true.advertisements[0], true.advertisements[4])})


# Shares.


def shares_sent(context: RoundContext = CONTEXT) -> tuple[WatchedRound, list[Delivery]]:
    played = WatchedRound(context)
    return played, played.gather(played.deliver(played.advertise()))


def _sealed(deliveries: Sequence[Delivery], changes: Mapping[str, str]) -> Message:
    """i0's shares, of which some are others."""
    true = to("i0", deliveries)
    message: Shares = true.model_copy(update={"sealed": true.sealed | changes})
    return message


@ON_KEYS.named("cross the shares for two institutions")
def _crossed_receivers() -> tuple[WatchedRound, Message]:
    played, deliveries = shares_sent()
    return played, _sealed(deliveries, {"i1": to("i2", deliveries).sealed["i1"]})


@ON_KEYS.named("cross the shares of two institutions")
def _crossed_senders() -> tuple[WatchedRound, Message]:
    played, deliveries = shares_sent()
    sealed = to("i0", deliveries).sealed
    return played, _sealed(deliveries, {"i1": sealed["i2"], "i2": sealed["i1"]})


@ON_KEYS.named("hand an institution its own shares back")
def _own_shares_back() -> tuple[WatchedRound, Message]:
    played, deliveries = shares_sent()
    return played, _sealed(deliveries, {"i1": to("i1", deliveries).sealed["i0"]})


@ON_KEYS.named("use shares of another round under the same keys")
def _shares_of_another_round() -> tuple[WatchedRound, Message]:
    played, _ = shares_sent()
    _, elsewhere = shares_sent(OTHER_ROUND)
    return played, to("i0", elsewhere, OTHER_ROUND).model_copy(update={"round": 0})


@ON_KEYS.named("use shares of another run under the same keys")
def _shares_of_another_run() -> tuple[WatchedRound, Message]:
    played, _ = shares_sent()
    _, elsewhere = shares_sent(_OTHER_RUN)
    return played, to("i0", elsewhere, _OTHER_RUN).model_copy(update={"charter": CONTEXT.digest})


@ON_KEYS.named("withhold so many shares that nobody could help")
def _withheld_shares() -> tuple[WatchedRound, Message]:
    played, deliveries = shares_sent()
    true = to("i0", deliveries)
    return played, true.model_copy(update={"sealed": {name: true.sealed[name] for name in ("i1", "i4")}})
