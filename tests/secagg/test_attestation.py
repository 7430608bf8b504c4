"""Where a proof is missing, the word of the charter's witness stands in, and nobody else's does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Attested, Envelope, Identity, SumName, Sums, Unproven, digest, seal
from fedspallm_secure.secagg import ClientState, Lane, ServerState
from tests.messages.example_messages import EXAMPLES
from tests.secagg.small_round import SmallRound, attestation, identity, resealed, round_context, snapshot

_SUMS: list[SumName] = ["votes", "values"]
_AFTER = {"votes": ClientState.CHECKED, "values": ClientState.DONE}


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    return np.ones(lane.length, np.bool_)


def _values(index: int, lane: Lane) -> NDArray[np.uint32]:
    return np.full(lane.length, index, np.uint32)


def _unproved(name: SumName, witness: str | None) -> SmallRound:
    """A sum of three institutions, whose proofs came from all but i2; the deadline passed."""
    played = SmallRound(round_context(3, [(9, (0, 1, 2))], dropouts=1, witness=witness))
    played.exchange()
    if name == "values":
        played.sum(_votes)
        played.deliver(played.prove(_votes))
        played.know_eligible([9])
    digits = _votes if name == "votes" else _values
    played.sum(digits)
    for index in (0, 1):
        played.check(index, digits)
        played.server.receive(played.clients[index].prove())
    return played


@pytest.mark.parametrize("name", _SUMS)
@pytest.mark.parametrize("witness", ["auditor", "i1"])
def test_the_witness_s_word_is_accepted_by_the_server_and_by_every_client(witness: str, name: SumName) -> None:
    played = _unproved(name, witness)
    assert played.server.close() == []
    assert played.server.missing() == (witness,)
    deliveries = played.server.receive(attestation(played.clients[0].published, witness))
    assert [delivery.to for delivery in deliveries] == ["i0", "i1", "i2"]
    played.deliver(deliveries, [2])
    assert {client.state for client in played.clients[:2]} == {_AFTER[name]}
    assert all(client.participation.accepted(name) for client in played.clients[:2])
    assert played.server.participation.accepted(name)


@pytest.mark.parametrize("name", _SUMS)
@pytest.mark.parametrize("witness", ["auditor", None])
def test_without_anybody_s_word_the_sum_is_unproven_and_the_round_over(witness: str | None, name: SumName) -> None:
    played = _unproved(name, witness)
    deliveries = played.server.close() if witness is None else [*played.server.close(), *played.server.close()]
    message = played.context.open(deliveries[0].envelope)
    assert isinstance(message, Unproven)
    assert message.missing == ("i2",)
    played.deliver(deliveries, [2])
    assert played.server.state is ServerState.DONE
    assert {client.state for client in played.clients[:2]} == {ClientState.DONE}
    assert not any(client.participation.accepted(name) for client in played.clients)
    assert not played.server.participation.accepted(name)


_NOT_THE_WITNESS = "is not the charter's witness, or attested nothing"
_OTHER_SUMS = "The witness attested other sums than those that were published to us"


def _resaid(signer: Identity | None = None, **changes: Any) -> Callable[[SmallRound, Envelope], Envelope]:
    return lambda played, true: resealed(played.context, true, signer, **changes)


# What is said in place of the witness's word, and what its refusal says.
WORDS: dict[str, tuple[Callable[[SmallRound, Envelope], Envelope], str]] = {
    "an institution's": (_resaid(identity("i0"), sender="i0"), f"'i0' {_NOT_THE_WITNESS}"),
    "the server's": (_resaid(identity("server"), sender="server"), f"'server' {_NOT_THE_WITNESS}"),
    "a stranger's": (_resaid(identity("eve"), sender="eve"), "The signer 'eve' is not in the charter"),
    "signed by another key": (
        _resaid(Identity("auditor", identity("i0").key)),
        "The signature of 'auditor' does not hold",
    ),
    "of no sums": (_resaid(sums="0" * 64), _OTHER_SUMS),
    "of the other sum": (
        lambda played, true: _resaid(sum="values" if _sum(played) == "votes" else "votes")(played, true),
        _OTHER_SUMS,
    ),
    "of another attempt": (_resaid(attempt=1), _OTHER_SUMS),
    "of sums that say the same in another attempt": (
        lambda played, true: _resaid(
            sums=digest(played.clients[0].published.model_copy(update={"attempt": 1})), attempt=1
        )(played, true),
        _OTHER_SUMS,
    ),
    "of sums with another lane": (
        lambda played, true: _resaid(sums=digest(played.clients[0].published.model_copy(update={"lanes": ()})))(
            played, true
        ),
        _OTHER_SUMS,
    ),
    "of another round": (_resaid(round=1), "'auditor' speaks of round 1, not 0"),
    "of another charter": (_resaid(charter="0" * 64), "'auditor' speaks of charter 0000"),
}


def _sum(played: SmallRound) -> SumName:
    return played.clients[0].published.sum


def _attested(played: SmallRound, word: Envelope) -> Envelope:
    """What the server passes on."""
    sums = played.clients[0].published
    header = sums.model_dump(include={"charter", "round", "sender", "sum", "attempt"})
    return seal(Attested(**header, attestation=word), identity("server"))


@pytest.mark.parametrize("name", _SUMS)
@pytest.mark.parametrize("word", WORDS)
def test_any_other_word_is_refused_by_the_server_and_by_a_client(word: str, name: SumName) -> None:
    make, says = WORDS[word]
    played = _unproved(name, "auditor")
    played.server.close()
    true = attestation(played.clients[0].published, "auditor")
    said = make(played, true)
    before = snapshot(played.server), snapshot(played.clients[0])
    with pytest.raises(RemoteProtocolError, match=says):
        played.server.receive(said)
    with pytest.raises(RemoteProtocolError, match=says):
        played.clients[0].receive(_attested(played, said))
    assert (snapshot(played.server), snapshot(played.clients[0])) == before
    played.deliver(played.server.receive(true), [2])
    assert played.clients[0].state is _AFTER[name]


@pytest.mark.parametrize("kind", ["model", "proof", "sums", "confirm"])
def test_another_kind_of_message_by_the_witness_vouches_for_nothing(kind: str) -> None:
    played = _unproved("votes", "auditor")
    played.server.close()
    head = {"charter": played.context.digest, "round": 0, "sender": "auditor"}
    said = seal(EXAMPLES[kind].model_copy(update=head), identity("auditor"))
    before = snapshot(played.server), snapshot(played.clients[0])
    with pytest.raises(RemoteProtocolError, match="'auditor' is not a client"):
        played.server.receive(said)
    with pytest.raises(RemoteProtocolError, match=f"'auditor' {_NOT_THE_WITNESS}"):
        played.clients[0].receive(_attested(played, said))
    assert (snapshot(played.server), snapshot(played.clients[0])) == before


def test_a_word_for_the_votes_is_not_passed_on_as_one_for_the_values() -> None:
    played = _unproved("votes", "auditor")
    word = _attested(played, attestation(played.clients[0].published, "auditor"))
    before = snapshot(played.clients[0])
    with pytest.raises(RemoteProtocolError, match=_OTHER_SUMS):
        played.clients[0].receive(resealed(played.context, word, sum="values"))
    assert snapshot(played.clients[0]) == before


def test_where_the_charter_names_no_witness_nobody_s_word_counts() -> None:
    played = _unproved("votes", None)
    for sender in ("i0", "i1", "i2", "server"):
        word = attestation(played.clients[0].published, sender)
        with pytest.raises(RemoteProtocolError, match=f"'{sender}' {_NOT_THE_WITNESS}"):
            played.clients[0].receive(_attested(played, word))
        with pytest.raises(RemoteProtocolError, match="A witness's word is not due in state 'gathering proofs of"):
            played.server.receive(word)
    with pytest.raises(RemoteProtocolError, match="The signer 'auditor' is not in the charter"):
        played.clients[0].receive(_attested(played, attestation(played.clients[0].published, "auditor")))


def test_the_witness_is_not_heard_while_proofs_are_still_gathered_or_when_they_were_enough() -> None:
    played = _unproved("votes", "auditor")
    word = attestation(played.clients[0].published, "auditor")
    with pytest.raises(RemoteProtocolError, match="A witness's word is not due in state 'gathering proofs of counts'"):
        played.server.receive(word)
    played.check(2, _votes)
    played.server.receive(played.clients[2].prove())
    with pytest.raises(RemoteProtocolError, match="A witness's word is not due in state 'checked'"):
        played.server.receive(word)


def test_a_client_that_was_shown_other_sums_does_not_take_the_word_for_the_true_ones() -> None:
    played = SmallRound(round_context(3, [(9, (0, 1, 2))], dropouts=1, witness="auditor"))
    played.exchange()
    played.gather(played.deliver(played.gather(played.deliver(played.mask(_votes)))))
    true = played.add()
    message = played.context.open(true[0].envelope)
    assert isinstance(message, Sums)
    false = played.store(played.context.lanes[0], np.ones(message.lanes[0].words, np.uint64))
    played.clients[0].receive(resealed(played.context, true[0].envelope, lanes=(false,)))
    played.check(0, _votes)
    played.clients[0].prove()
    with pytest.raises(RemoteProtocolError, match=_OTHER_SUMS):
        played.clients[0].receive(_attested(played, attestation(message, "auditor")))
    assert played.clients[0].state is ClientState.COUNTS_PROVED
