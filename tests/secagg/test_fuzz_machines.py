"""Whatever comes in whatever state, a machine takes it, or refuses it with the one error and is as it was.

Every state is entered on the ways of recorded rounds. There, every field of every kind of message is changed, and the
messages that are due are changed over and over. Almost all changes are signed by whoever they are said to come from, so
that they reach the machine's own checks. What is taken nevertheless must be something that the machine can't judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from random import Random
from typing import Any, ClassVar

import pytest

from fedspallm_secure.errors import ProtocolError
from fedspallm_secure.messages import Envelope, Message
from fedspallm_secure.secagg import Client, ClientState, RoundContext, Server, ServerState
from tests.secagg.checkpoint import Checkpoint
from tests.secagg.recorded_rounds import ROUNDS, Way, recording
from tests.secagg.small_round import SmallRound, snapshot
from tests.secagg.tampering import NAMES, body_of, damaged, every_field, places, signed, tampered

Mutation = tuple[Any, Envelope]
"""The body that was changed, and an envelope with the changed one."""

_STATES: list[ClientState | ServerState] = [*ClientState, *ServerState]
_MUTATIONS = 2720
"""In each state, whatever is due there."""

_OPENED = 1100
"""So many of them at least have the right form, signature, charter and round."""


def _links(path: str = "") -> set[str]:
    """What a message says of the log: a machine never sees that, whoever holds it or has seen it judges."""
    return {f"{path}{link}" for link in ("prev", "seen", "seen/size", "seen/root")}


# What nobody can judge who gets it, by kind of message, so that a change of it may be taken; all else must be refused.
# Keys, seals, blobs, shares and proofs are judged later on, by what follows from them; who came, by those who did.
UNJUDGED: Mapping[str, set[str]] = {
    "advertise": {"sender", "channel", "groups/*/votes", "groups/*/values"} | _links(),
    "advertised": {
        *("advertisements", "advertisements/*/body/channel"),
        *("advertisements/*/body/groups/*/votes", "advertisements/*/body/groups/*/values"),
        *_links("advertisements/*/body/"),
    },
    "share": {"commitments/*/votes", "commitments/*/values", "sealed/*"} | _links(),
    "shares": {"sealed"},
    "again": {"gone", "gone/*"},
    "masked": {"sender", "lanes/*/blob"} | _links(),
    "survivors": {"survivors", "log/size", "log/root"},
    "encrypted": {"sender", "lanes/*/blob"} | _links(),
    "release": {"sender"} | _links(),
    "counted": {"lanes/*/blob", "lanes/*/ciphertexts"} | _links(),
    "confirm": {"sender"},
    "confirmed": {"signatures", "signatures/*"},
    "unmask": {"sender", "groups/*/seeds/*", "groups/*/keys/*"} | _links(),
    "sums": {
        *(
            "lanes/*/blob",
            "counted/body/contributors",
            "counted/body/contributors/*",
            "counted/body/lanes/*/ciphertexts",
        ),
        *_links("counted/body/"),
    },
    "proof": {"sender", "products/*/*"} | _links(),
    "proofs": _links("proofs/*/body/"),
    "attest": _links(),
    "attested": _links("attestation/body/"),
    "unproven": {"missing", "missing/*"},
}


@dataclass(frozen=True)
class _Point:
    """A place on a machine's way through a recorded round."""

    of_server: bool
    way: Way[Any]
    position: int

    @property
    def due(self) -> Envelope | None:
        """The message that comes there, if one does."""
        call = self.way.calls[self.position] if self.position < len(self.way.calls) else None
        return call.arguments[0] if call is not None and call.method == "receive" else None

    def machine(self) -> Client | Server:
        """The machine there; its context counts what it opens."""
        given = self.way.context
        context = _Watched(given.charter, given.round, given.lanes, given.start)
        fresh = SmallRound(context)
        machine = fresh.server if self.of_server else fresh.clients[0]
        for call in self.way.calls[: self.position]:
            call.on(machine)
        return machine


class _Watched(RoundContext):
    """A context that counts the messages that it found to belong to the round."""

    opened: ClassVar[int] = 0

    def open(self, envelope: Envelope) -> Message:
        """As always."""
        message = super().open(envelope)
        _Watched.opened += 1
        return message


@cache
def _points() -> Mapping[ClientState | ServerState, list[_Point]]:
    """For each state, the places where a machine is in it and another message is due than at those before.

    Lanes of second moments count as another message: their sums differ in length and in how they are packed.
    """
    found: dict[ClientState | ServerState, dict[tuple[str, bool, bool], _Point]] = {state: {} for state in _STATES}
    for name in ROUNDS:
        for way in (recording(name).client, recording(name).server):
            machine = way.fresh()
            moments = any(lane.longest is not None for lane in way.context.lanes)
            for position, call in enumerate((*way.calls, None)):
                last = isinstance(machine, Server) and len(machine.missing()) == 1
                label = "the end" if call is None else call.name, last, moments
                found[machine.state].setdefault(label, _Point(isinstance(machine, Server), way, position))
                if call is not None:
                    call.on(machine)
    return {state: list(points.values()) for state, points in found.items()}


@cache
def _kinds() -> Mapping[str, Any]:
    """A body of every kind of message and, of those of a sum, of either sum: "masked votes" and so on."""
    bodies: dict[str, Any] = {}
    for name in ROUNDS:
        for call in (*recording(name).client.calls, *recording(name).server.calls):
            if call.method == "receive":
                body = body_of(call.arguments[0])
                bodies.setdefault(f"{body['kind']} {body.get('sum', '')}".strip(), body)
    model = {"kind": "model", "charter": "0" * 64, "round": 0, "sender": "server", "model": "ab" * 32}
    return bodies | {"model": model}


def _in_charter(node: Any, charter: str) -> Any:
    """The same body for another run, down to what it cites."""
    if isinstance(node, list):
        return [_in_charter(member, charter) for member in node]
    if isinstance(node, dict):
        return {key: charter if key == "charter" else _in_charter(member, charter) for key, member in node.items()}
    return node


@cache
def _every_field_of_every_kind(charter: str) -> list[Mutation]:
    random = Random(charter)
    bodies = _honest(charter)
    return [(body, _by_its_sender(changed, body)) for body in bodies for changed in every_field(body, random)]


@cache
def _honest(charter: str) -> list[Any]:
    return [_in_charter(body, charter) for body in _kinds().values()]


def _by_its_sender(changed: Any, body: Any) -> Envelope:
    sender = changed.get("sender") if isinstance(changed, dict) else None
    return signed(changed, sender if sender in NAMES else body["sender"])


def _over_and_over(due: Envelope, random: Random) -> Iterator[Mutation]:
    """What is due, changed; one in ten outside the signature."""
    body = body_of(due)
    paths = places(body)[1:]
    while True:
        envelope = damaged(due, random)
        if random.random() < 0.9:
            envelope = _by_its_sender(tampered(body, paths, random), body)
        if envelope != due:
            yield body, envelope


def _not_due(machine: Client | Server, random: Random) -> Iterator[Mutation]:
    """Messages of the right sender, changed, where none of them is due."""
    honest = _honest(machine._context.digest)
    fit = [body for body in honest if (body["sender"] == "server") is isinstance(machine, Client)]
    at = [places(body)[1:] for body in fit]
    while True:
        chosen = random.randrange(len(fit))
        yield fit[chosen], _by_its_sender(tampered(fit[chosen], at[chosen], random), fit[chosen])


def _judged(machine: Client | Server, checkpoint: Checkpoint, body: Any, envelope: Envelope) -> None:
    """Hand a changed message to a machine, and make the machine what it was before if it was taken."""
    try:
        machine.receive(envelope)
    except ProtocolError:
        assert checkpoint.unchanged(), body_of(envelope)
        return
    assert not checkpoint.unchanged(), body_of(envelope)
    told = body_of(envelope)
    true = (other for other in (body, *_honest(machine._context.digest)) if other["kind"] == told["kind"])
    assert any(_differences(told, other) <= UNJUDGED[told["kind"]] for other in true), (body, told)
    checkpoint.restore()


def _differences(one: Any, other: Any, path: str = "") -> set[str]:
    """Where two bodies differ; a star stands for any place in a list and for anybody's name."""
    if one == other:
        return set()
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        steps = [("*" if key in NAMES else key, one[key], other[key]) for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        steps = [("*", *pair) for pair in zip(one, other, strict=True)]
    else:
        return {path}
    return set().union(*(_differences(first, second, f"{path}/{step}".strip("/")) for step, first, second in steps))


@pytest.mark.parametrize("state", _STATES, ids=lambda state: f"{type(state).__name__}-{state.value}")
def test_a_changed_message_is_taken_for_what_nobody_can_judge_or_refused_without_a_trace(
    state: ClientState | ServerState,
) -> None:
    points = _points()[state]
    done = opened = 0
    for number, point in enumerate(points):
        random = Random(f"{state} {number}")
        machine = point.machine()
        assert machine.state is state
        before, checkpoint = snapshot(machine), Checkpoint(machine)
        endless = _not_due(machine, random) if point.due is None else _over_and_over(point.due, random)
        fields = _every_field_of_every_kind(machine._context.digest) if number == 0 else []
        share = (_MUTATIONS - done) // (len(points) - number)
        for body, envelope in islice(chain(fields, endless), share):
            _Watched.opened = 0
            _judged(machine, checkpoint, body, envelope)
            done += 1
            opened += _Watched.opened > 0
        assert snapshot(machine) == before
        if point.due is not None:  # and the truth is taken as if nothing had happened
            assert machine.receive(point.due) == point.machine().receive(point.due)
    assert done == _MUTATIONS
    assert opened >= _OPENED


def test_all_states_together_see_a_hundred_thousand_changed_messages_and_open_forty_thousand() -> None:
    assert len(_STATES) * _MUTATIONS >= 100_000
    assert len(_STATES) * _OPENED >= 40_000


def test_a_checkpoint_sees_every_step_of_a_machine_and_takes_it_back() -> None:
    for state in _STATES:
        for point in _points()[state]:
            if point.due is not None:
                machine = point.machine()
                before, checkpoint = snapshot(machine), Checkpoint(machine)
                answer = machine.receive(point.due)
                assert not checkpoint.unchanged()
                checkpoint.restore()
                assert snapshot(machine) == before
                assert machine.receive(point.due) == answer
