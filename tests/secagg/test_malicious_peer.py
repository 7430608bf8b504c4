"""A dishonest institution is found out by the honest server or its honest peers, and mostly by name.

What it sends is signed with its own key: the charter lets it in. In all of this the server does what it should.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, Identity, digest
from fedspallm_secure.secagg import Client, ServerState
from fedspallm_secure.secagg.keys import ephemeral_key
from tests.secagg.attacks_of_a_peer import ATTACKS, LIAR, VICTIM, proving, sharing, unmasking, voting
from tests.secagg.small_round import entropy, identity, resealed, snapshot
from tests.secagg.watched_round import CONTEXT, WatchedRound, votes

# What i4 does -> what the one says that it does it to.
REFUSED: dict[str, str] = {
    "advertise another's keys": "'i4' advertised a key that is in use already",
    "advertise one key for channel and mask": "'i4' advertised a key that is in use already",
    "advertise a key that shares no secret": "'i4' advertised an X25519 key of small order",
    "advertise a key that is none": "'i4' advertised an X25519 key that is not in canonical form",
    "advertise no key for a group": "'i4' advertised not one key a group and sum",
    "advertise twice": "'i4' sent this step's message twice",
    "leave a peer without shares": "'i4' did not seal shares of this exchange for each peer that advertised",
    "commit to no seed": "'i4' committed to not one seed a group and sum",
    "seal noise for a peer": "'i4''s were not sealed by it for this client in this exchange",
    "seal for one peer what is another's": "'i4''s were not sealed by it for this client in this exchange",
    "send lanes in another order": "'i4' named 2 lanes that are not the 2 due",
    "send a lane too many words": "'i4' announced 2 words for lane lane0; 1 are due",
    "speak for a peer": "'i4' signed a message in the name of 'i0'",
    "say again what a peer said": "'i0' sent this step's message twice",
    "confirm other survivors": "'i4' confirmed other survivors than those it was told of",
    "come back after it vanished": "'i4' takes no part in this step",
    "send its lanes late": "'i4' sent 'masked', which is not due",
    "hand out both shares of a peer": "'i4' handed out other shares than those of the survivors' seeds",
    "hand out a survivor's key instead": "'i4' handed out other shares than those of the survivors' seeds",
    "hand out nothing": "'i4' handed out other shares than those of the survivors' seeds",
    "prove more groups than it is in": "'i4' proved another number of groups than it is in",
    "vouch as if it were the witness": "'i4' is not the charter's witness",
    "be the server": "'i4' sent what only the server 'server' may send",
}


@pytest.mark.parametrize("attack", REFUSED)
def test_what_a_dishonest_institution_does_is_refused_for_what_it_is_and_leaves_no_trace(attack: str) -> None:
    played, machine, envelope = ATTACKS[attack]()
    before = snapshot(machine)
    with pytest.raises(RemoteProtocolError, match=REFUSED[attack]):
        machine.receive(envelope)
    assert snapshot(machine) == before
    assert not played.uncovered()


def test_every_attack_is_played() -> None:
    assert list(ATTACKS) == list(REFUSED)


_DOES_NOT_GIVE = "The shares of 'i4''s secret for lane lane0 do not give what it committed to"


def test_a_dealer_whose_shares_give_another_key_than_it_advertised_is_named_when_it_vanishes() -> None:
    played = WatchedRound()
    advertised = played.advertise()
    played.clients[LIAR]._exchange._keys[0, "votes"] = ephemeral_key(entropy("another"))
    played.deliver(played.gather(played.deliver(advertised)))
    with pytest.raises(RemoteProtocolError, match=_DOES_NOT_GIVE):
        played.sum(votes, mask=[LIAR])
    assert played.server.state is ServerState.VOTES_UNMASK


def test_a_dealer_that_commits_to_another_seed_than_it_shared_is_named() -> None:
    played, true = sharing(
        commitments=lambda body: (
            body.commitments[0].model_copy(update={"votes": digest(body)}),
            *body.commitments[1:],
        )
    )
    played.deliver(played.server.receive(true))
    with pytest.raises(RemoteProtocolError, match=_DOES_NOT_GIVE):
        played.sum(votes)
    assert played.server.state is ServerState.VOTES_UNMASK


def _with_a_wrong_share(true: Envelope) -> Envelope:
    """i4 hands out another share of i0's seed."""
    body: Any = CONTEXT.open(true)
    first = body.groups[0]
    wrong = f"{int(first.seeds['i0'], 16) ^ 1:066x}"
    changed = first.model_copy(update={"seeds": first.seeds | {"i0": wrong}})
    return resealed(CONTEXT, true, groups=(changed, *body.groups[1:]))


def test_a_wrong_share_is_survived_and_its_sender_known_if_there_is_one_to_spare() -> None:
    played, true = unmasking()
    true[LIAR] = _with_a_wrong_share(true[LIAR])
    played.gather(true)
    assert played.server._unmasking is not None
    assert played.server._unmasking.liars == {LIAR}
    played.deliver(played.add())
    played.deliver(played.prove(votes))
    assert played.server.state is ServerState.CHECKED


def test_a_wrong_share_without_one_to_spare_is_refused_with_the_name_of_whose_secret_is_lost() -> None:
    played, true = unmasking((3,))
    last = _with_a_wrong_share(true.pop(LIAR))
    for envelope in true.values():
        played.server.receive(envelope)
    before = snapshot(played.server)
    with pytest.raises(RemoteProtocolError, match="The shares of 'i0''s secret for lane lane0 do not give what it"):
        played.server.receive(last)
    assert snapshot(played.server) == before


def _counted(played: WatchedRound, lanes: Envelope) -> None:
    """i4 sends these lanes, and the round goes on to the published counts."""
    survivors = played.server.receive(lanes)
    played.gather(played.deliver(played.gather(played.deliver(survivors))))
    played.deliver(played.add())


def test_lanes_of_noise_are_no_sum_of_digits() -> None:
    played, true = voting()
    noise = [np.frombuffer(entropy(lane.name)(8), np.uint64) for lane in CONTEXT.lanes]
    blobs = tuple(played.store(lane, words) for lane, words in zip(CONTEXT.lanes, noise, strict=True))
    _counted(played, resealed(CONTEXT, true, lanes=blobs))
    for index in played.honest:
        with pytest.raises(RemoteProtocolError, match="A word is no sum of digits"):
            played.check(index, votes)


def test_a_peer_s_lanes_sent_as_one_s_own_are_no_sum_of_digits() -> None:
    played, true = voting()
    victims = next(body for body in played.server._bodies().values() if body.sender == "i0")
    _counted(played, resealed(CONTEXT, true, lanes=victims.lanes))
    for index in played.honest:
        with pytest.raises(RemoteProtocolError, match="A word is no sum of digits"):
            played.check(index, votes)


def test_a_false_proof_makes_everybody_refuse_the_counts() -> None:
    played = WatchedRound()
    played.exchange()
    played.sum(votes)
    answers = {index: proving(played, index) for index in range(5)}
    body: Any = CONTEXT.open(answers[LIAR])
    products = (("0" * 16, body.products[0][1]), *body.products[1:])
    answers[LIAR] = resealed(CONTEXT, answers[LIAR], products=products)
    for delivery in played.gather(dict(answers)):
        with pytest.raises(RemoteProtocolError, match=f"'{delivery.to}' found that the published votes are not the"):
            played.clients[CONTEXT.indices[delivery.to]].receive(delivery.envelope)
    assert "masked values" not in played.has_sent()


@pytest.mark.parametrize("digit", [2, 255])
def test_an_institution_can_t_vote_more_than_once_by_mistake(digit: int) -> None:
    played = WatchedRound()
    played.exchange()
    client, lane = played.clients[LIAR], CONTEXT.lanes[0]
    before = snapshot(client)
    with pytest.raises(LocalProtocolError, match="Lane lane0 holds digits outside 0 to 1"):
        client.mask(lane, np.full(lane.length, digit, np.uint8))
    assert snapshot(client) == before


def test_two_vectors_are_never_hidden_by_one_keystream() -> None:
    played = WatchedRound()
    played.exchange()
    client, lane = played.clients[LIAR], CONTEXT.lanes[0]
    client.mask(lane, votes(LIAR, lane))
    with pytest.raises(LocalProtocolError, match="Lane lane0 is not this client's, or was masked already"):
        client.mask(lane, votes(VICTIM, lane))


def test_who_is_not_in_the_charter_with_its_key_has_no_machine() -> None:
    for wrong in (identity("mallory"), Identity("i0", identity("i4").key), identity("server")):
        with pytest.raises(LocalProtocolError, match="is not in the charter's roster with this signing key"):
            Client(CONTEXT, wrong, entropy("x"), WatchedRound().journals[0])
