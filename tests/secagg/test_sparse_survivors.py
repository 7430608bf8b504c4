"""A server that knows the ring of a large cohort can't have some of it vanish so that the sum of a part is opened.

A hundred institutions, each joined to 28; the charter bears 30 drop-outs. To call the 28 around somebody vanished leaves
a quorum, and would leave that institution's votes alone under its self mask, for which enough holders might be found.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import LogHead, Survivors
from fedspallm_secure.secagg import ClientState, Lane, Participation, ServerState
from tests.secagg.small_round import SmallRound, resealed, round_context, snapshot

_N, _HALF = 100, 14


_CONTEXT = round_context(
    _N, [(3, range(_N))], method="wanda", minimum_contributors=7, minimum_cohort=_N, colluders=5, dropouts=30
)


def _votes(index: int, lane: Lane) -> NDArray[np.uint8]:
    return np.array([index % 2, 1, 0], np.uint8)


def _around(place: int) -> set[int]:
    """The neighbours of the member at a place: two stretches, with it between them."""
    ring = _CONTEXT.groups[0].ring
    return {ring[(place + sign * step) % _N] for step in range(1, _HALF + 1) for sign in (1, -1)}


def test_the_ring_is_the_one_that_this_page_speaks_of() -> None:
    group = _CONTEXT.groups[0]
    assert {len(joined) for joined in group.neighbours.values()} == {2 * _HALF}
    assert set(group.neighbours[group.ring[5]]) == _around(5)
    assert group.quorum == _N - 30 < _N - 2 * _HALF


def test_who_is_told_of_survivors_that_part_the_ring_confirms_nothing() -> None:
    played = SmallRound(_CONTEXT)
    played.exchange()
    survivors = played.mask(_votes)
    body = _CONTEXT.open(survivors[0].envelope)
    assert isinstance(body, Survivors)
    victim = _CONTEXT.groups[0].ring[5]
    left = [index for index in range(_N) if index not in _around(5)]
    assert victim in left
    forged = resealed(_CONTEXT, survivors[0].envelope, survivors=_CONTEXT.names(left))
    for index in (victim, left[0], left[-1]):
        client = played.clients[index]
        before = snapshot(client)
        with pytest.raises(RemoteProtocolError, match=r"two stretches of the ring hold 0 institutions .* 6 are needed"):
            client.receive(forged)
        assert snapshot(client) == before
        assert client.state is ClientState.VOTED


def _named(left: Collection[int]) -> Participation:
    """What an auditor makes of a server that names these survivors of everybody."""
    server = SmallRound(_CONTEXT).server
    message = Survivors(
        charter=_CONTEXT.digest,
        round=0,
        sender="server",
        sum="votes",
        attempt=0,
        participants=_CONTEXT.roster,
        survivors=_CONTEXT.names(left),
        gone=(),
        start=_CONTEXT.start,
        log=LogHead(size=0, root="0" * 64),
    )
    return server.participation.with_survivors(message, None, (), ())


def test_one_survivor_less_than_the_threshold_is_refused_and_the_threshold_is_enough() -> None:
    around = sorted(_around(5))
    elsewhere = set(range(_N)).difference(around)
    assert _named(elsewhere.union(around[:6])).contributors("votes") == elsewhere.union(around[:6])
    with pytest.raises(RemoteProtocolError, match="two stretches of the ring hold 5 institutions"):
        _named(elsewhere.union(around[:5]))


def test_a_server_does_not_go_on_where_the_ring_would_part_and_names_the_missing() -> None:
    played = SmallRound(_CONTEXT)
    played.exchange()
    missing = _around(5)
    names = ", ".join(_CONTEXT.names(missing))
    says = rf"0 institutions of two stretches of the ring sent their votes; 6 are needed. Missing, .*: {names}."
    with pytest.raises(RemoteProtocolError, match=says):
        played.mask(_votes, missing)
    assert played.server.state is ServerState.VOTES


def test_as_many_who_vanish_elsewhere_stop_nothing() -> None:
    played = SmallRound(_CONTEXT)
    played.exchange()
    gone = set(_CONTEXT.groups[0].ring[::4][:25])
    published = played.published(played.sum(_votes, mask=gone))
    counts = _CONTEXT.lanes[0].votes.unpack(published["lane0"], 3)
    left = [index for index in range(_N) if index not in gone]
    assert counts.tolist() == [sum(index % 2 for index in left), len(left), 0]
