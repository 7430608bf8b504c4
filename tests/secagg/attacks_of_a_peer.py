"""What a dishonest institution, i4, does: rounds played up to its message, and who gets that."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from fedspallm_secure.messages import Envelope, GroupKeys, Revealed
from fedspallm_secure.secagg import Client, Server, ServerState
from tests.secagg.plans_on_keys import like
from tests.secagg.small_round import attestation, entropy, identity, resealed
from tests.secagg.watched_round import CONTEXT, WatchedRound, votes

__all__ = ["ATTACKS", "LIAR", "VICTIM", "proving", "sharing", "unmasking", "voting"]

LIAR = 4
"""Roster index of the dishonest institution."""

VICTIM = 0
"""Whom it is dishonest to, if it is to one."""

Attack = Callable[[], tuple[WatchedRound, Client | Server, Envelope]]

ATTACKS: dict[str, Attack] = {}
"""What it does -> the round so far, the machine that hears of it next, and what that hears."""


def _attack(name: str) -> Callable[[Attack], Attack]:
    def named(attack: Attack) -> Attack:
        ATTACKS[name] = attack
        return attack

    return named


# Keys.


def _advertising(**changes: Any) -> tuple[WatchedRound, Server, Envelope]:
    """All others advertised; what i4 sends then."""
    played = WatchedRound()
    for client in played.clients[:LIAR]:
        played.server.receive(client.advertise())
    true = played.clients[LIAR].advertise()
    body: Any = CONTEXT.open(true)
    changed = {name: change(body, played) for name, change in changes.items()}
    return played, played.server, resealed(CONTEXT, true, **changed)


def _first_group(**keys: str | None) -> Callable[[Any, WatchedRound], tuple[GroupKeys, ...]]:
    """Other keys in the first group."""
    return lambda body, _: (body.groups[0].model_copy(update=keys), *body.groups[1:])


@_attack("advertise another's keys")
def _another_s_keys() -> tuple[WatchedRound, Server, Envelope]:
    return _advertising(groups=lambda _, played: played.clients[VICTIM]._exchange.advertisement.groups)


@_attack("advertise one key for channel and mask")
def _one_key_for_two() -> tuple[WatchedRound, Server, Envelope]:
    return _advertising(channel=lambda body, _: body.groups[0].votes)


@_attack("advertise a key that shares no secret")
def _small_order() -> tuple[WatchedRound, Server, Envelope]:
    return _advertising(groups=_first_group(values="00" * 32))


@_attack("advertise a key that is none")
def _not_canonical() -> tuple[WatchedRound, Server, Envelope]:
    return _advertising(channel=lambda body, _: "ff" * 32)


@_attack("advertise no key for a group")
def _no_key() -> tuple[WatchedRound, Server, Envelope]:
    return _advertising(groups=_first_group(values=None))


@_attack("advertise twice")
def _twice() -> tuple[WatchedRound, Server, Envelope]:
    played = WatchedRound()
    played.server.receive(played.clients[LIAR].advertise())
    return played, played.server, WatchedRound(seed="other").clients[LIAR].advertise()


# Shares.


def sharing(**changes: Any) -> tuple[WatchedRound, Envelope]:
    """All others shared; what i4 sends then."""
    played = WatchedRound()
    answers = played.deliver(played.advertise())
    for index in range(LIAR):
        played.server.receive(_sent(answers[index]))
    true = _sent(answers[LIAR])
    body: Any = CONTEXT.open(true)
    return played, resealed(CONTEXT, true, **{name: change(body) for name, change in changes.items()})


def _sent(envelope: Envelope | None) -> Envelope:
    assert envelope is not None
    return envelope


def _for_the_victim(played: WatchedRound, envelope: Envelope) -> tuple[WatchedRound, Client, Envelope]:
    """The server takes what i4 sealed and passes it on to i0."""
    deliveries = played.server.receive(envelope)
    return played, played.clients[VICTIM], next(one.envelope for one in deliveries if one.to == "i0")


@_attack("leave a peer without shares")
def _left_out() -> tuple[WatchedRound, Server, Envelope]:
    played, envelope = sharing(sealed=lambda body: {name: body.sealed[name] for name in ("i1", "i2", "i3")})
    return played, played.server, envelope


@_attack("commit to no seed")
def _no_commitment() -> tuple[WatchedRound, Server, Envelope]:
    played, envelope = sharing(commitments=lambda body: body.commitments[:1])
    return played, played.server, envelope


@_attack("seal noise for a peer")
def _noise_for_a_peer() -> tuple[WatchedRound, Client, Envelope]:
    noise = base64.b64encode(entropy("noise")(280)).decode()
    return _for_the_victim(*sharing(sealed=lambda body: body.sealed | {"i0": noise}))


@_attack("seal for one peer what is another's")
def _another_s_shares() -> tuple[WatchedRound, Client, Envelope]:
    return _for_the_victim(*sharing(sealed=lambda body: body.sealed | {"i0": body.sealed["i2"]}))


# Lanes and confirmations.


def voting() -> tuple[WatchedRound, Envelope]:
    """All others voted; what i4 truly sends."""
    played = WatchedRound()
    played.exchange()
    for index in range(LIAR):
        played.server.receive(played.masked(index, votes))
    return played, played.masked(LIAR, votes)


@_attack("send lanes in another order")
def _permuted() -> tuple[WatchedRound, Server, Envelope]:
    played, true = voting()
    body: Any = CONTEXT.open(true)
    return played, played.server, resealed(CONTEXT, true, lanes=body.lanes[::-1])


@_attack("send a lane too many words")
def _too_many_words() -> tuple[WatchedRound, Server, Envelope]:
    played, true = voting()
    body: Any = CONTEXT.open(true)
    longer = body.lanes[0].model_copy(update={"words": body.lanes[0].words + 1})
    return played, played.server, resealed(CONTEXT, true, lanes=(longer, *body.lanes[1:]))


@_attack("speak for a peer")
def _for_a_peer() -> tuple[WatchedRound, Server, Envelope]:
    played, true = voting()
    return played, played.server, resealed(CONTEXT, true, identity("i4"), sender="i0")


@_attack("say again what a peer said")
def _said_again() -> tuple[WatchedRound, Server, Envelope]:
    played = WatchedRound()
    played.exchange()
    said = played.masked(VICTIM, votes)
    played.server.receive(said)
    return played, played.server, said


def _confirming(missing: tuple[int, ...] = ()) -> tuple[WatchedRound, list[Envelope]]:
    """The server asked for confirmations."""
    played = WatchedRound()
    played.exchange()
    answers = played.deliver(played.mask(votes, missing), missing)
    return played, [_sent(answer) for answer in answers.values()]


@_attack("confirm other survivors")
def _other_survivors() -> tuple[WatchedRound, Server, Envelope]:
    played, _ = _confirming()
    return played, played.server, played.confirm(LIAR, played.survivors("i0", "i1", "i2", "i4"))


@_attack("come back after it vanished")
def _back() -> tuple[WatchedRound, Server, Envelope]:
    played, _ = _confirming((LIAR,))
    return played, played.server, played.confirm(LIAR, played.survivors("i0", "i1", "i2", "i3"))


@_attack("send its lanes late")
def _late() -> tuple[WatchedRound, Server, Envelope]:
    played, _ = _confirming((LIAR,))
    return played, played.server, played.masked(LIAR, votes)


# Handing out shares.


def unmasking(missing: tuple[int, ...] = ()) -> tuple[WatchedRound, dict[int, Envelope]]:
    """The server asked for shares; what each truly hands out."""
    played, confirms = _confirming(missing)
    answers = played.deliver(played.gather(dict(enumerate(confirms))), missing)
    return played, {index: _sent(answer) for index, answer in answers.items()}


def _handed_out(change: Callable[[Revealed], Mapping[str, Any]]) -> tuple[WatchedRound, Server, Envelope]:
    played, true = unmasking()
    body: Any = CONTEXT.open(true[LIAR])
    groups = tuple(revealed.model_copy(update=change(revealed)) for revealed in body.groups)
    return played, played.server, resealed(CONTEXT, true[LIAR], groups=groups)


@_attack("hand out both shares of a peer")
def _both_shares() -> tuple[WatchedRound, Server, Envelope]:
    return _handed_out(lambda revealed: {"keys": {"i0": "0" * 66}})


@_attack("hand out a survivor's key instead")
def _key_instead() -> tuple[WatchedRound, Server, Envelope]:
    def change(revealed: Revealed) -> Mapping[str, Any]:
        seeds = dict(revealed.seeds)
        return {"keys": {"i0": seeds.pop("i0")}, "seeds": seeds}

    return _handed_out(change)


@_attack("hand out nothing")
def _nothing_handed_out() -> tuple[WatchedRound, Server, Envelope]:
    return _handed_out(lambda revealed: {"seeds": {}})


# Proofs.


def proving(played: WatchedRound, index: int) -> Envelope:
    played.check(index, votes)
    return played.clients[index].prove()


@_attack("prove more groups than it is in")
def _too_many_groups() -> tuple[WatchedRound, Server, Envelope]:
    played = WatchedRound()
    played.exchange()
    played.sum(votes)
    true = proving(played, LIAR)
    body: Any = CONTEXT.open(true)
    return played, played.server, resealed(CONTEXT, true, products=(*body.products, body.products[0]))


@_attack("vouch as if it were the witness")
def _false_witness() -> tuple[WatchedRound, Server, Envelope]:
    played = WatchedRound(like(witness="auditor"))
    played.exchange()
    published = played.sum(votes)
    played.prove(votes, [3])
    assert played.server.state is ServerState.COUNT_WITNESS
    return played, played.server, attestation(published, "i4")


@_attack("be the server")
def _as_the_server() -> tuple[WatchedRound, Client, Envelope]:
    played = WatchedRound()
    true = played.advertise()[0].envelope
    return played, played.clients[VICTIM], resealed(CONTEXT, true, identity("i4"), sender="i4")
