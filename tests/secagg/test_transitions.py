"""In every state, every call for which the table has no step is refused and leaves the machine exactly as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fedspallm_secure.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from fedspallm_secure.secagg import Client, ClientState, Server, ServerState
from fedspallm_secure.secagg.states import CLIENT_STEPS, SERVER_STEPS, ClientStep, ServerStep, State, Step
from tests.secagg.recorded_rounds import ROUNDS, Call, Machine, Way, recording
from tests.secagg.small_round import identity, resealed, snapshot

_C, _S = ClientStep, ServerStep

# What can be done to a machine, and the steps that it may be.
CLIENT_CALLS: Mapping[str, set[ClientStep]] = {
    "advertise": {_C.SEND_ADVERTISE},
    "receive advertised": {_C.GET_ADVERTISED},
    "receive shares": {_C.GET_SHARES},
    "mask": {_C.SEND_VOTES, _C.SEND_VALUES},
    "send": {_C.SEND_VOTES, _C.SEND_VALUES},
    "send_encrypted": {_C.SEND_ENCRYPTED},
    "receive survivors": {_C.GET_SURVIVORS},
    "receive confirmed": {_C.GET_CONFIRMED, _C.GET_LEAVE},
    "release": {_C.SEND_RELEASE},
    "receive votes": {_C.GET_COUNTS},
    "receive values": {_C.GET_SUMS},
    "check": {_C.SEND_PROOF},
    "prove": {_C.SEND_PROOF},
    "receive proofs": {_C.GET_VERDICT, _C.GET_LAST_VERDICT},
    "receive attested": {_C.GET_VERDICT, _C.GET_LAST_VERDICT},
    "receive unproven": {_C.GET_UNPROVEN},
    "know_eligible": {_C.KNOW_ELIGIBLE},
    "receive again": {_C.GET_AGAIN},
}
_SEND_VERDICT = {_S.SEND_VERDICT, _S.SEND_LAST_VERDICT}
SERVER_CALLS: Mapping[str, set[ServerStep]] = {
    "receive advertise": {_S.GET_ADVERTISE, _S.SEND_ADVERTISED},
    "receive share": {_S.GET_SHARE, _S.SEND_SHARES},
    "receive masked": {_S.GET_MASKED, _S.SEND_SURVIVORS},
    "receive encrypted": {_S.GET_ENCRYPTED, _S.SEND_SURVIVORS},
    "receive confirm": {_S.GET_CONFIRM, _S.SEND_CONFIRMED, _S.ASK_RELEASE},
    "receive release": {_S.GET_RELEASE, _S.SEND_COLLECTED},
    "receive counted": {_S.GET_COUNTED},
    "receive unmask": {_S.GET_UNMASK, _S.UNMASK},
    "receive proof": {_S.GET_PROOF, *_SEND_VERDICT},
    "receive attest": _SEND_VERDICT,
    "close": {
        *(_S.SEND_ADVERTISED, _S.SEND_SHARES, _S.SEND_SURVIVORS, _S.SEND_AGAIN, _S.SEND_CONFIRMED, _S.UNMASK),
        *(_S.ASK_WITNESS, _S.SEND_UNPROVEN, _S.ASK_RELEASE, _S.SEND_COLLECTED),
    },
    "contributions": {_S.SEND_SUMS},
    "counted": {_S.SEND_SUMS},
    "unmask": {_S.SEND_SUMS},
    "publish": {_S.SEND_SUMS},
    "know_eligible": {_S.KNOW_ELIGIBLE},
}
_WITNESS = {after for (_, step), after in SERVER_STEPS.items() if step is _S.ASK_WITNESS}
_STAYS = {"mask", "check", "contributions", "counted", "unmask"}  # lane by lane; the step is another call's
_MASKED_VOTES = {"mask", "send", "receive masked"}
_ENCRYPTED_VOTES = {"send_encrypted", "receive encrypted"}

_Legal = Mapping[tuple[State, Step], State]
_Walk = list[tuple[State, str, State]]


def _of(name: str, side: str) -> tuple[Way[Any], Mapping[str, Any]]:
    """One side's way through a round, and what can be done to it."""
    return getattr(recording(name), side), CLIENT_CALLS if side == "client" else SERVER_CALLS


def _walk(way: Way[Machine]) -> _Walk[Any]:
    """The state before each call of a way, the call, and the state after it."""
    machine, walked = way.fresh(), []
    for call in way.calls:
        before = machine.state
        call.on(machine)
        walked.append((before, call.name, machine.state))
    return walked


def _taken(walk: _Walk[State], calls: Mapping[str, set[Step]], legal: _Legal[State, Step]) -> set[tuple[State, Step]]:
    """The table's steps that a way took. Nothing else may have changed a state."""
    taken = set()
    for before, call, after in walk:
        due = {step for step in calls[call] if (before, step) in legal}
        gets = {step for step in due if legal[before, step] is before}
        follows = {step for step in due if legal[before, step] is after} - gets
        if call in _STAYS:
            assert due
            assert before is after
        elif before is after:
            assert gets
            taken |= {(before, step) for step in gets}
        else:
            assert len(follows) == 1, f"{call} led from {before} to {after}"
            taken |= {(before, step) for step in gets | follows}
    return taken


def _is_due(call: str, state: ClientState | ServerState, encrypts: bool) -> bool:
    voting = state in (ClientState.VOTING, ServerState.VOTES)
    if voting and call in (_MASKED_VOTES if encrypts else _ENCRYPTED_VOTES):
        return False
    if isinstance(state, ClientState):
        return any((state, step) in CLIENT_STEPS for step in CLIENT_CALLS[call])
    asked = call != "receive attest" or state in _WITNESS
    return asked and any((state, step) in SERVER_STEPS for step in SERVER_CALLS[call])


def test_rounds_without_a_fault_take_every_step_of_both_tables_and_no_other() -> None:
    clients, servers = set[Any](), set[Any]()
    for name in ROUNDS:
        clients |= _taken(_walk(recording(name).client), CLIENT_CALLS, CLIENT_STEPS)
        servers |= _taken(_walk(recording(name).server), SERVER_CALLS, SERVER_STEPS)
    assert clients == set(CLIENT_STEPS)
    assert servers == set(SERVER_STEPS)


def test_every_state_and_every_step_has_its_place_in_the_tables() -> None:
    assert {ClientState.START, *CLIENT_STEPS.values()} == set(ClientState)
    assert {ServerState.KEYS, *SERVER_STEPS.values()} == set(ServerState)
    assert set().union(*CLIENT_CALLS.values()) == {step for _, step in CLIENT_STEPS} == set(ClientStep)
    assert set().union(*SERVER_CALLS.values()) == {step for _, step in SERVER_STEPS} == set(ServerStep)


@pytest.mark.parametrize("name", ROUNDS)
def test_every_round_ends_and_nothing_is_due_then(name: str) -> None:
    assert _walk(recording(name).client)[-1][2] is ClientState.DONE
    assert _walk(recording(name).server)[-1][2] is ServerState.DONE
    for encrypts in (False, True):
        assert not any(_is_due(call, ClientState.DONE, encrypts) for call in CLIENT_CALLS)
        assert not any(_is_due(call, ServerState.DONE, encrypts) for call in SERVER_CALLS)


def test_a_method_that_changes_no_weight_is_done_with_the_verdict_on_its_counts() -> None:
    states = [after.value for before, _, after in _walk(recording("wanda").client) if before is not after]
    before_votes = ["advertised", "shared", "voting"]
    assert states == [*before_votes, "voted", "votes confirmed", "votes unmasked", "counted", "counts proved", "done"]
    states = [after.value for before, _, after in _walk(recording("wanda").server) if before is not after]
    before_votes = ["gathering shares", "gathering votes", "gathering confirmations of votes"]
    assert states == [*before_votes, "gathering shares of votes", "adding votes", "gathering proofs of counts", "done"]


def test_encrypted_votes_are_confirmed_before_anybody_releases_them_and_counted_after_that() -> None:
    states = [after.value for before, _, after in _walk(recording("encrypted votes, wanda").client) if before != after]
    before_votes = ["advertised", "shared", "voting"]
    released = ["voted", "votes confirmed", "releasing", "released"]
    assert states == [*before_votes, *released, "counted", "counts proved", "done"]
    states = [after.value for before, _, after in _walk(recording("encrypted votes, wanda").server) if before != after]
    before_votes = ["gathering shares", "gathering votes", "gathering confirmations of votes"]
    counting = ["gathering ciphertexts", "waiting for the custodian", "adding votes"]
    assert states == [*before_votes, *counting, "gathering proofs of counts", "done"]


def _call(side: str, name: str, way: Way[Any]) -> Call:
    """That call with what it had in this round, or with what it had in another one, said for this one."""
    recorded = [call for call in way.calls if call.name == name]
    if recorded:
        return recorded[-1]
    ways = (_of(other, side)[0] for other in ROUNDS)
    other, call = next((other, call) for other in ways for call in other.calls if call.name == name)
    if call.method != "receive":
        return call
    sender = other.context.open(call.arguments[0]).sender
    if sender not in way.context.keys:
        sender = "i3"  # where the charter names no witness or custodian, somebody speaks all the same
    said = resealed(other.context, call.arguments[0], identity(sender), sender=sender, charter=way.context.digest)
    return Call(name, "receive", (said,))


def _refuses(machine: Client | Server, refused: list[Call]) -> None:
    """Each call is refused as the fault of who made it, and nothing in the machine changed."""
    state, before = machine.state.value, snapshot(machine)
    for call in refused:
        fault: type[ProtocolError] = RemoteProtocolError if call.method == "receive" else LocalProtocolError
        said = f"not due in state '{state}'"
        if call.method == "close":
            said = f"In state '{state}' nobody is waited for|custodian has not counted"
            fault = ProtocolError
        elif machine.state is ClientState.VOTING and call.method in _MASKED_VOTES | _ENCRYPTED_VOTES:
            said = "The charter wants (encrypted|masked) votes"
        with pytest.raises(fault, match=said):
            call.on(machine)
        assert snapshot(machine) == before, f"{call.name} changed the machine"


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("name", ROUNDS)
def test_what_is_not_due_is_refused_in_every_state_and_what_is_due_is_taken_afterwards(name: str, side: str) -> None:
    way, calls = _of(name, side)
    machine, seen = way.fresh(), set()
    for call in way.calls:
        if machine.state not in seen:
            encrypts = way.context.encrypts_votes
            not_due = [other for other in calls if not _is_due(other, machine.state, encrypts)]
            _refuses(machine, [_call(side, other, way) for other in not_due])
        seen.add(machine.state)
        call.on(machine)
    _refuses(machine, [_call(side, other, way) for other in calls])


_CHANGES: Mapping[str, Callable[[Any, Any], object]] = {
    "a byte of a seed": lambda client, _: next(iter(client._exchange._seeds.values())).reverse(),
    "a key": lambda client, _: client._exchange._keys.popitem(),
    "a share that it holds": lambda client, _: client._exchange._shares.popitem(),
    "its exchanges": lambda client, _: client._exchanges.clear(),
    "a decision": lambda client, _: client._journal.once("another", "decision"),
    "who took part": lambda client, _: client._participation._participants.clear(),
    "an inner product": lambda client, _: client._check._sums[0].reverse(),
    "what was published": lambda client, _: setattr(client, "_published", None),
    "whose message came": lambda _, server: server._came.update({0: None}),
    "who survived": lambda _, server: server._participation._survivors.clear(),
    "an advertisement": lambda _, server: server._exchange.advertised.clear(),
    "what was sealed": lambda _, server: server._exchange.shared[0].sealed.clear(),
    "a seed that was opened": lambda _, server: server._unmasking._seeds.popitem(),
}


@pytest.mark.parametrize("what", _CHANGES)
def test_a_snapshot_shows_a_change_anywhere_in_a_machine(what: str) -> None:
    way = recording("nobody vanishes")
    client, server = way.client.before(len(way.client.calls)), way.server.before(len(way.server.calls))
    before = snapshot(client), snapshot(server)
    assert (snapshot(client), snapshot(server)) == before
    _CHANGES[what](client, server)
    assert (snapshot(client), snapshot(server)) != before
