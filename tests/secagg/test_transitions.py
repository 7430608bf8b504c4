"""In every state, every call for which the table has no step is refused and leaves the machine exactly as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import pytest

from fedspallm_secure.charter import Method
from fedspallm_secure.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, LaneBlob, Masked, SumName, Sums, digest, seal
from fedspallm_secure.secagg import Client, ClientState, RoundContext, Server, ServerState
from fedspallm_secure.secagg.states import CLIENT_STEPS, SERVER_STEPS, ClientStep, ServerStep
from tests.secagg.small_round import SmallRound, identity, round_context, snapshot

_METHODS: list[Method] = ["sparsegpt", "wanda"]


class _Script:
    """A round of two clients, and what is said in it when nobody errs."""

    def __init__(self, method: Method) -> None:
        self.context: RoundContext = round_context(2, [(9, (0, 1)), (4, (0, 1))], method=method)
        self.advertise = [client.advertise() for client in SmallRound(self.context).clients]
        self.advertised = SmallRound(self.context).gather_keys()
        self.eligible = [lane.length for lane in self.context.lanes]

    def blobs(self, name: SumName) -> tuple[LaneBlob, ...]:
        """Lanes of the right names and lengths."""
        return tuple(
            LaneBlob(lane=lane.name, words=lane.packing(name).words(lane.length), blob="0" * 64)
            for lane in self.context.lanes
        )

    def masked(self, index: int, name: SumName) -> Envelope:
        """What a client sends."""
        sender, charter = f"i{index}", digest(self.context.charter)
        body = Masked(charter=charter, round=0, sender=sender, sum=name, lanes=self.blobs(name))
        return seal(body, identity(sender))

    def sums(self, name: SumName) -> Envelope:
        """What the server publishes."""
        charter = digest(self.context.charter)
        return seal(
            Sums(charter=charter, round=0, sender="server", sum=name, lanes=self.blobs(name)), identity("server")
        )


_script = cache(_Script)


def _mask_all(client: Client) -> None:
    for lane in client.lanes:
        client.mask(lane, np.zeros(lane.length, np.bool_))


def _current(state: ClientState | ServerState) -> SumName:
    return "values" if state in (ClientState.VALUING, ServerState.ADDING_VALUES) else "votes"


# What a caller can do to a client, with arguments that are right where it is due, and the steps it may be.
_ClientCall = Callable[[Client, _Script], object]
CLIENT_CALLS: Mapping[str, tuple[_ClientCall, set[ClientStep]]] = {
    "advertise": (lambda client, script: client.advertise(), {ClientStep.SEND_ADVERTISE}),
    "receive advertised": (lambda client, script: client.receive(script.advertised), {ClientStep.GET_ADVERTISED}),
    "mask": (lambda client, script: _mask_all(client), {ClientStep.SEND_VOTES, ClientStep.SEND_VALUES}),
    "send": (
        lambda client, script: client.send(script.blobs(_current(client.state))),
        {ClientStep.SEND_VOTES, ClientStep.SEND_VALUES},
    ),
    "receive counts": (
        lambda client, script: client.receive(script.sums("votes")),
        {ClientStep.GET_COUNTS, ClientStep.GET_LAST_COUNTS},
    ),
    "know eligible": (lambda client, script: client.know_eligible(script.eligible), {ClientStep.KNOW_ELIGIBLE}),
    "receive sums": (lambda client, script: client.receive(script.sums("values")), {ClientStep.GET_SUMS}),
}
CLIENT_WAY = [
    *("advertise", "receive advertised", "mask", "send", "receive counts"),
    *("know eligible", "mask", "send", "receive sums"),
]

_GET_ADVERTISE = {ServerStep.GET_ADVERTISE, ServerStep.ALL_ADVERTISE}
_GET_VOTES = {ServerStep.GET_VOTES, ServerStep.ALL_VOTES}
_GET_VALUES = {ServerStep.GET_VALUES, ServerStep.ALL_VALUES}
_SEND = {ServerStep.SEND_COUNTS, ServerStep.SEND_LAST_COUNTS, ServerStep.SEND_SUMS}
_ServerCall = Callable[[Server, _Script], object]
SERVER_CALLS: Mapping[str, tuple[_ServerCall, set[ServerStep]]] = {
    "receive 0's advertise": (lambda server, script: server.receive(script.advertise[0]), _GET_ADVERTISE),
    "receive 1's advertise": (lambda server, script: server.receive(script.advertise[1]), _GET_ADVERTISE),
    "receive 0's votes": (lambda server, script: server.receive(script.masked(0, "votes")), _GET_VOTES),
    "receive 1's votes": (lambda server, script: server.receive(script.masked(1, "votes")), _GET_VOTES),
    "receive 0's values": (lambda server, script: server.receive(script.masked(0, "values")), _GET_VALUES),
    "receive 1's values": (lambda server, script: server.receive(script.masked(1, "values")), _GET_VALUES),
    "name contributions": (
        lambda server, script: server.contributions(script.context.lanes[0]),
        _SEND,
    ),
    "publish": (
        lambda server, script: server.publish(script.blobs(_current(server.state))),
        _SEND,
    ),
    "know eligible": (lambda server, script: server.know_eligible(script.eligible), {ServerStep.KNOW_ELIGIBLE}),
}
SERVER_WAY = [
    *("receive 0's advertise", "receive 1's advertise", "receive 0's votes", "receive 1's votes", "publish"),
    *("know eligible", "receive 0's values", "receive 1's values", "publish"),
]


def _client_in(state: ClientState, method: Method) -> Client | None:
    """A client that the legal way has led to `state`, or None: the method has no such state."""
    client = SmallRound(_script(method).context).clients[0]
    for call in CLIENT_WAY:
        if client.state in (state, ClientState.DONE):
            break
        CLIENT_CALLS[call][0](client, _script(method))
    return client if client.state is state else None


def _server_in(state: ServerState, method: Method) -> Server | None:
    """The same for the server."""
    server = SmallRound(_script(method).context).server
    for call in SERVER_WAY:
        if server.state in (state, ServerState.DONE):
            break
        SERVER_CALLS[call][0](server, _script(method))
    return server if server.state is state else None


CLIENT_CASES = [(method, state) for method in _METHODS for state in ClientState if _client_in(state, method)]
SERVER_CASES = [(method, state) for method in _METHODS for state in ServerState if _server_in(state, method)]


def test_the_legal_way_goes_through_every_state_and_the_calls_cover_every_step() -> None:
    assert [state for method, state in CLIENT_CASES if method == "sparsegpt"] == list(ClientState)
    assert [state for method, state in SERVER_CASES if method == "sparsegpt"] == list(ServerState)
    short = [state.value for method, state in CLIENT_CASES if method == "wanda"]
    assert short == ["start", "advertised", "voting", "voted", "done"]
    short = [state.value for method, state in SERVER_CASES if method == "wanda"]
    assert short == ["gathering keys", "gathering votes", "adding votes", "done"]
    assert set().union(*(steps for _, steps in CLIENT_CALLS.values())) == set(ClientStep)
    assert set().union(*(steps for _, steps in SERVER_CALLS.values())) == set(ServerStep)


@pytest.mark.parametrize("call", CLIENT_CALLS)
@pytest.mark.parametrize(("method", "state"), CLIENT_CASES)
def test_a_client_refuses_what_is_not_due_and_stays_as_it_was(method: Method, state: ClientState, call: str) -> None:
    client = _client_in(state, method)
    assert client is not None
    do, steps = CLIENT_CALLS[call]
    after = {CLIENT_STEPS[state, step] for step in steps if (state, step) in CLIENT_STEPS}
    if call == "send" and after:
        _mask_all(client)
    _try(client, lambda: do(client, _script(method)), call, {state} if call == "mask" and after else after)


@pytest.mark.parametrize("call", SERVER_CALLS)
@pytest.mark.parametrize(("method", "state"), SERVER_CASES)
def test_the_server_refuses_what_is_not_due_and_stays_as_it_was(method: Method, state: ServerState, call: str) -> None:
    server = _server_in(state, method)
    assert server is not None
    do, steps = SERVER_CALLS[call]
    after = {SERVER_STEPS[state, step] for step in steps if (state, step) in SERVER_STEPS}
    _try(server, lambda: do(server, _script(method)), call, {state} if "contributions" in call and after else after)


def _try(
    machine: Client | Server, do: Callable[[], object], call: str, after: set[ClientState] | set[ServerState]
) -> None:
    """The call leads to one of the states in `after`, or, if there is none, is refused by the right error."""
    if after:
        do()
        assert machine.state in after
        return
    before = snapshot(machine)
    fault: type[ProtocolError] = RemoteProtocolError if call.startswith("receive") else LocalProtocolError
    with pytest.raises(fault, match=f"is not due in state '{machine.state.value}'"):
        do()
    assert snapshot(machine) == before
