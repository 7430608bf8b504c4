"""A server that knows the ring of a large cohort can't name drop-outs so that the sum of a few is opened.

A hundred institutions are joined to 28 each, six holders open a secret, and the charter bears 30 drop-outs. A server
that calls two stretches of 14 vanished, with eight institutions between them, still has a quorum. The eight share masks
with nobody else who is left, and hold enough shares of each other's secrets.
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


def _run(start: int, length: int) -> set[int]:
    ring = _CONTEXT.groups[0].ring
    return {ring[(start + step) % _N] for step in range(length)}


_BETWEEN = _run(14, 8)
_CUT = _run(0, 14) | _run(22, 14)


def test_the_cut_is_what_this_page_says() -> None:
    group = _CONTEXT.groups[0]
    assert {len(joined) for joined in group.neighbours.values()} == {2 * _HALF}
    assert group.quorum == _N - 30 < _N - len(_CUT)
    for member in _BETWEEN:
        left = set(group.neighbours[member]) - _CUT
        assert left == _BETWEEN - {member}
        assert len(left) >= group.threshold == 6


def test_who_is_told_of_survivors_that_part_the_ring_confirms_nothing() -> None:
    played = SmallRound(_CONTEXT)
    played.exchange()
    survivors = played.mask(_votes)
    left = set(range(_N)) - _CUT
    forged = resealed(_CONTEXT, survivors[0].envelope, survivors=_CONTEXT.names(left))
    for index in left:
        client = played.clients[index]
        before = snapshot(client)
        with pytest.raises(RemoteProtocolError, match=r"0 institutions of two stretches of the ring .* 6 are needed"):
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
    around, elsewhere = sorted(_CUT), set(range(_N)) - _CUT
    assert _named(elsewhere.union(around[:6])).contributors("votes") == elsewhere.union(around[:6])
    with pytest.raises(RemoteProtocolError, match="5 institutions of two stretches of the ring"):
        _named(elsewhere.union(around[:5]))


def test_a_server_does_not_go_on_where_the_ring_would_part_and_names_the_missing() -> None:
    played = SmallRound(_CONTEXT)
    played.exchange()
    names = ", ".join(_CONTEXT.names(_CUT))
    says = rf"0 institutions of two stretches of the ring sent their votes; 6 are needed, .* Missing, .*: {names}."
    with pytest.raises(RemoteProtocolError, match=says):
        played.mask(_votes, _CUT)
    assert played.server.state is ServerState.VOTES


def test_as_many_who_vanish_elsewhere_stop_nothing() -> None:
    played = SmallRound(_CONTEXT)
    played.exchange()
    gone = set(_CONTEXT.groups[0].ring[::4][:25])
    published = played.published(played.sum(_votes, mask=gone))
    counts = _CONTEXT.lanes[0].votes.unpack(published["lane0"], 3)
    left = [index for index in range(_N) if index not in gone]
    assert counts.tolist() == [sum(index % 2 for index in left), len(left), 0]
