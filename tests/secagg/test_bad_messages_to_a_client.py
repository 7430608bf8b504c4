"""A server that lies, and institutions that do, are refused by every client, which then goes on with the truth."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Advertised, Again, Envelope, GroupKeys, Identity, seal
from fedspallm_secure.secagg import Client, ClientState, Lane, RoundContext
from fedspallm_secure.workspace import Journal
from tests.secagg.lies import ANY, ME, Lies, may_be_named
from tests.secagg.lies_about_keys import ADVERTISED, ADVERTISED_AGAIN, SHARES, SHARES_AGAIN
from tests.secagg.lies_about_sums import (
    AGAIN,
    CONFIRMED_VALUES,
    CONFIRMED_VOTES,
    COUNTS,
    SUMS,
    SURVIVORS_OF_VALUES,
    SURVIVORS_OF_VOTES,
    VERDICT_ON_COUNTS,
    VERDICT_ON_SUMS,
)
from tests.secagg.small_round import SmallRound, identity, resealed, round_context, snapshot
from tests.secagg.staged_round import STAGED, TO_CLIENTS, has_true_sums, scenes

LIES: dict[str, Lies] = {
    "advertised": ADVERTISED,
    "shares": SHARES,
    "survivors of votes": SURVIVORS_OF_VOTES,
    "confirmed votes": CONFIRMED_VOTES,
    "votes": COUNTS,
    "proofs of votes": VERDICT_ON_COUNTS,
    "again": AGAIN,
    "advertised again": ADVERTISED_AGAIN,
    "shares again": SHARES_AGAIN,
    "survivors of values": SURVIVORS_OF_VALUES,
    "confirmed values": CONFIRMED_VALUES,
    "values": SUMS,
    "proofs of values": VERDICT_ON_SUMS,
}


def _refuses(client: Client, envelope: Envelope, says: str, lie: str = "") -> None:
    before, text = snapshot(client), "it was taken"
    try:
        client.receive(envelope)
    except RemoteProtocolError as error:
        text = str(error)
    assert re.search(says, text), f"{lie}: {text}"
    assert snapshot(client) == before, lie


@pytest.mark.parametrize("stage", LIES)
def test_lies_are_refused_and_the_truth_taken_afterwards(stage: str) -> None:
    played = SmallRound(STAGED)
    client = played.clients[STAGED.indices[ME]]
    scene = next(scene for scene in scenes(played) if scene.stage == stage)
    true, state = scene.true(ME), client.state
    for lie, (make, says) in (ANY | LIES[stage]).items():
        _refuses(client, make(scene), says, lie)
    client.receive(true)
    assert client.state is not state


def test_a_round_in_which_every_lie_is_told_ends_with_the_true_sums() -> None:
    played = SmallRound(STAGED)
    client = played.clients[STAGED.indices[ME]]
    for scene in scenes(played):
        for lie, (make, says) in (ANY | LIES[scene.stage]).items() if scene.stage in LIES else ():
            _refuses(client, make(scene), says, lie)
    assert has_true_sums(scene)
    assert {client.state for client in played.clients[:3]} == {ClientState.DONE}


def test_there_are_lies_for_every_stage() -> None:
    assert tuple(LIES) == TO_CLIENTS


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    return np.ones(lane.length, np.bool_)


def _values(index: int, lane: Lane) -> NDArray[np.uint32]:
    return np.zeros(lane.length, np.uint32)


def _advertised(context: RoundContext, envelope: Envelope) -> tuple[Envelope, ...]:
    message = context.open(envelope)
    assert isinstance(message, Advertised)
    return message.advertisements


def test_somebody_in_none_of_our_groups_has_no_keys_for_us() -> None:
    played = SmallRound(STAGED)
    ours, other = (delivery.envelope for delivery in played.advertise()[:2])
    assert [STAGED.open(envelope).sender for envelope in _advertised(STAGED, other)] == ["i0", "i1", "i2", "i3"]
    _refuses(played.clients[0], other, may_be_named("senders of the advertisements"))
    played.clients[0].receive(ours)


def test_who_shared_nothing_with_us_takes_no_part() -> None:
    played = SmallRound(STAGED)
    played.exchange(share=[0])
    true = played.mask(_votes, [0])[0].envelope
    lie = resealed(STAGED, true, participants=("i0", "i1", "i2", "i3"))
    _refuses(played.clients[1], lie, "are not the institutions whose shares it passed on to us")
    played.clients[1].receive(true)


def _values_due() -> SmallRound:
    """Three institutions may send their values, under a charter with a margin of one."""
    context = round_context(3, [(70, (0, 1, 2))], dropouts=1, dropout_margin=1)
    played = SmallRound(context)
    played.exchange()
    played.sum(_votes)
    played.deliver(played.prove(_votes))
    played.know_eligible([70])
    return played


def _again(context: RoundContext, *gone: str) -> Envelope:
    return seal(Again(charter=context.digest, round=0, sender="server", attempt=1, gone=gone), identity("server"))


def test_the_values_are_not_repeated_while_the_margin_bears_who_is_missing() -> None:
    played = _values_due()
    true = played.mask(_values, [2])[0].envelope
    _refuses(played.clients[0], _again(played.context, "i2"), "only i2 is said to be gone, which the bar allows for")
    lie = resealed(played.context, true, survivors=("i0",))
    _refuses(played.clients[0], lie, "1 of the 3 institutions of lane lane0's cohort are there for values; 2 are")
    played.clients[0].receive(true)
    assert played.clients[0].state is ClientState.VALUES_CONFIRMED


def test_the_values_are_repeated_only_while_a_quorum_is_left() -> None:
    played = _values_due()
    played.mask(_values, [2])
    _refuses(
        played.clients[0],
        _again(played.context, "i1", "i2"),
        "1 of the 3 institutions of lane lane0's cohort are there for values; 2 are needed",
    )


def test_where_no_weight_changes_there_are_neither_keys_nor_proofs_for_values() -> None:
    context = round_context(3, [(70, (0, 1, 2))], dropouts=1, method="wanda")
    played = SmallRound(context)
    true = played.advertise()
    first, *others = _advertised(context, true[0].envelope)
    changed = resealed(context, others[-1], groups=(GroupKeys(votes="ab" * 32, values="cd" * 32),))
    lie = resealed(context, true[0].envelope, advertisements=(first, *others[:-1], changed))
    _refuses(played.clients[0], lie, "'i2' advertised not one key a group and sum")
    played.deliver(played.gather(played.deliver(true)))
    played.sum(_votes)
    verdict = played.prove(_votes)
    lie = resealed(context, verdict[0].envelope, sum="values")
    _refuses(played.clients[0], lie, "The server speaks of attempt 0 at values, which is not the one we are in")
    played.deliver(verdict)
    assert {client.state for client in played.clients} == {ClientState.DONE}


def test_a_round_is_entered_only_with_the_key_that_the_charter_names() -> None:
    for wrong in (Identity("i0", identity("i1").key), identity("stranger"), identity("server")):
        with pytest.raises(LocalProtocolError, match="is not in the charter's roster with this signing key"):
            Client(STAGED, wrong, bytes, Journal())
