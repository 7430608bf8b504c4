"""Every legal step of a round of secure sums, in one table a role. What is not in the table is refused.

The diagrams in docs/states.md are drawn from these tables. Where the method changes no weight there is no values sum,
and the `last` verdict on the counts leads to DONE.

Encrypted votes take another way from VOTING to the counts: once their survivors are confirmed nobody hands out shares,
everybody its ciphertexts, and the custodian counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError

__all__ = ["CLIENT_STEPS", "SERVER_STEPS", "ClientState", "ClientStep", "ServerState", "ServerStep", "next_state"]


class ClientState(Enum):
    """Where a client is in a round."""

    START = "start"
    ADVERTISED = "advertised"
    SHARED = "shared"
    VOTING = "voting"
    VOTED = "voted"
    VOTES_CONFIRMED = "votes confirmed"
    VOTES_UNMASKED = "votes unmasked"
    RELEASING = "releasing"
    RELEASED = "released"
    COUNTED = "counted"
    COUNTS_PROVED = "counts proved"
    CHECKED = "checked"
    VALUING = "valuing"
    VALUED = "valued"
    ADVERTISED_AGAIN = "advertised again"
    SHARED_AGAIN = "shared again"
    VALUES_CONFIRMED = "values confirmed"
    VALUES_UNMASKED = "values unmasked"
    SUMMED = "summed"
    SUMS_PROVED = "sums proved"
    DONE = "done"


class ClientStep(Enum):
    """What a client does or gets; behind a comma, what it answers at once."""

    SEND_ADVERTISE = "send advertise"
    GET_ADVERTISED = "get advertised, send share"
    GET_SHARES = "get shares"
    SEND_VOTES = "send masked votes"
    SEND_ENCRYPTED = "send encrypted"
    GET_SURVIVORS = "get survivors, send confirm"
    GET_CONFIRMED = "get confirmed, send unmask"
    GET_LEAVE = "get confirmed, of encrypted votes"
    SEND_RELEASE = "send release"
    GET_COUNTS = "get sums of votes"
    SEND_PROOF = "send proof"
    GET_VERDICT = "get proofs or attested"
    GET_LAST_VERDICT = "get the last proofs or attested"
    GET_UNPROVEN = "get unproven"
    KNOW_ELIGIBLE = "know the eligible positions"
    SEND_VALUES = "send masked values"
    GET_AGAIN = "get again, send advertise"
    GET_SUMS = "get sums of values"


_C, _CS = ClientState, ClientStep

CLIENT_STEPS: Mapping[tuple[ClientState, ClientStep], ClientState] = {
    (_C.START, _CS.SEND_ADVERTISE): _C.ADVERTISED,
    (_C.ADVERTISED, _CS.GET_ADVERTISED): _C.SHARED,
    (_C.SHARED, _CS.GET_SHARES): _C.VOTING,
    (_C.VOTING, _CS.SEND_VOTES): _C.VOTED,
    (_C.VOTING, _CS.SEND_ENCRYPTED): _C.VOTED,
    (_C.VOTED, _CS.GET_SURVIVORS): _C.VOTES_CONFIRMED,
    (_C.VOTES_CONFIRMED, _CS.GET_CONFIRMED): _C.VOTES_UNMASKED,
    (_C.VOTES_UNMASKED, _CS.GET_COUNTS): _C.COUNTED,
    (_C.VOTES_CONFIRMED, _CS.GET_LEAVE): _C.RELEASING,
    (_C.RELEASING, _CS.SEND_RELEASE): _C.RELEASED,
    (_C.RELEASED, _CS.GET_COUNTS): _C.COUNTED,
    (_C.COUNTED, _CS.SEND_PROOF): _C.COUNTS_PROVED,
    (_C.COUNTS_PROVED, _CS.GET_VERDICT): _C.CHECKED,
    (_C.COUNTS_PROVED, _CS.GET_LAST_VERDICT): _C.DONE,
    (_C.COUNTS_PROVED, _CS.GET_UNPROVEN): _C.DONE,
    (_C.CHECKED, _CS.KNOW_ELIGIBLE): _C.VALUING,
    (_C.VALUING, _CS.SEND_VALUES): _C.VALUED,
    (_C.VALUED, _CS.GET_AGAIN): _C.ADVERTISED_AGAIN,
    (_C.ADVERTISED_AGAIN, _CS.GET_ADVERTISED): _C.SHARED_AGAIN,
    (_C.SHARED_AGAIN, _CS.GET_SHARES): _C.CHECKED,
    (_C.VALUED, _CS.GET_SURVIVORS): _C.VALUES_CONFIRMED,
    (_C.VALUES_CONFIRMED, _CS.GET_CONFIRMED): _C.VALUES_UNMASKED,
    (_C.VALUES_UNMASKED, _CS.GET_SUMS): _C.SUMMED,
    (_C.SUMMED, _CS.SEND_PROOF): _C.SUMS_PROVED,
    (_C.SUMS_PROVED, _CS.GET_VERDICT): _C.DONE,
    (_C.SUMS_PROVED, _CS.GET_UNPROVEN): _C.DONE,
}


class ServerState(Enum):
    """Where the server is in a round."""

    KEYS = "gathering keys"
    SHARES = "gathering shares"
    VOTES = "gathering votes"
    VOTES_CONFIRM = "gathering confirmations of votes"
    VOTES_UNMASK = "gathering shares of votes"
    RELEASES = "gathering ciphertexts"
    COUNTING = "waiting for the custodian"
    ADDING_VOTES = "adding votes"
    COUNT_PROOFS = "gathering proofs of counts"
    COUNT_WITNESS = "waiting for the witness of counts"
    CHECKED = "checked"
    VALUES = "gathering values"
    KEYS_AGAIN = "gathering keys again"
    SHARES_AGAIN = "gathering shares again"
    VALUES_CONFIRM = "gathering confirmations of values"
    VALUES_UNMASK = "gathering shares of values"
    ADDING_VALUES = "adding values"
    SUM_PROOFS = "gathering proofs of sums"
    SUM_WITNESS = "waiting for the witness of sums"
    DONE = "done"


class ServerStep(Enum):
    """What the server gets, once a client, or does, when all came or the deadline passed."""

    GET_ADVERTISE = "get advertise"
    SEND_ADVERTISED = "send advertised"
    GET_SHARE = "get share"
    SEND_SHARES = "send shares"
    GET_MASKED = "get masked lanes"
    GET_ENCRYPTED = "get encrypted"
    SEND_SURVIVORS = "send survivors"
    GET_CONFIRM = "get confirm"
    SEND_CONFIRMED = "send confirmed"
    ASK_RELEASE = "send confirmed, of encrypted votes"
    GET_RELEASE = "get release"
    SEND_COLLECTED = "send collected"
    GET_COUNTED = "get counted"
    GET_UNMASK = "get unmask"
    UNMASK = "reconstruct seeds and keys"
    SEND_SUMS = "send sums"
    GET_PROOF = "get proof"
    SEND_VERDICT = "send proofs or attested"
    SEND_LAST_VERDICT = "send the last proofs or attested"
    ASK_WITNESS = "ask the witness"
    SEND_UNPROVEN = "send unproven"
    KNOW_ELIGIBLE = "know the eligible positions"
    SEND_AGAIN = "send again"


_S, _SS = ServerState, ServerStep

SERVER_STEPS: Mapping[tuple[ServerState, ServerStep], ServerState] = {
    (_S.KEYS, _SS.GET_ADVERTISE): _S.KEYS,
    (_S.KEYS, _SS.SEND_ADVERTISED): _S.SHARES,
    (_S.SHARES, _SS.GET_SHARE): _S.SHARES,
    (_S.SHARES, _SS.SEND_SHARES): _S.VOTES,
    (_S.VOTES, _SS.GET_MASKED): _S.VOTES,
    (_S.VOTES, _SS.GET_ENCRYPTED): _S.VOTES,
    (_S.VOTES, _SS.SEND_SURVIVORS): _S.VOTES_CONFIRM,
    (_S.VOTES_CONFIRM, _SS.GET_CONFIRM): _S.VOTES_CONFIRM,
    (_S.VOTES_CONFIRM, _SS.SEND_CONFIRMED): _S.VOTES_UNMASK,
    (_S.VOTES_UNMASK, _SS.GET_UNMASK): _S.VOTES_UNMASK,
    (_S.VOTES_UNMASK, _SS.UNMASK): _S.ADDING_VOTES,
    (_S.VOTES_CONFIRM, _SS.ASK_RELEASE): _S.RELEASES,
    (_S.RELEASES, _SS.GET_RELEASE): _S.RELEASES,
    (_S.RELEASES, _SS.SEND_COLLECTED): _S.COUNTING,
    (_S.COUNTING, _SS.GET_COUNTED): _S.ADDING_VOTES,
    (_S.ADDING_VOTES, _SS.SEND_SUMS): _S.COUNT_PROOFS,
    (_S.COUNT_PROOFS, _SS.GET_PROOF): _S.COUNT_PROOFS,
    (_S.COUNT_PROOFS, _SS.SEND_VERDICT): _S.CHECKED,
    (_S.COUNT_PROOFS, _SS.SEND_LAST_VERDICT): _S.DONE,
    (_S.COUNT_PROOFS, _SS.ASK_WITNESS): _S.COUNT_WITNESS,
    (_S.COUNT_PROOFS, _SS.SEND_UNPROVEN): _S.DONE,
    (_S.COUNT_WITNESS, _SS.SEND_VERDICT): _S.CHECKED,
    (_S.COUNT_WITNESS, _SS.SEND_LAST_VERDICT): _S.DONE,
    (_S.COUNT_WITNESS, _SS.SEND_UNPROVEN): _S.DONE,
    (_S.CHECKED, _SS.KNOW_ELIGIBLE): _S.VALUES,
    (_S.VALUES, _SS.GET_MASKED): _S.VALUES,
    (_S.VALUES, _SS.SEND_AGAIN): _S.KEYS_AGAIN,
    (_S.KEYS_AGAIN, _SS.GET_ADVERTISE): _S.KEYS_AGAIN,
    (_S.KEYS_AGAIN, _SS.SEND_ADVERTISED): _S.SHARES_AGAIN,
    (_S.SHARES_AGAIN, _SS.GET_SHARE): _S.SHARES_AGAIN,
    (_S.SHARES_AGAIN, _SS.SEND_SHARES): _S.CHECKED,
    (_S.VALUES, _SS.SEND_SURVIVORS): _S.VALUES_CONFIRM,
    (_S.VALUES_CONFIRM, _SS.GET_CONFIRM): _S.VALUES_CONFIRM,
    (_S.VALUES_CONFIRM, _SS.SEND_CONFIRMED): _S.VALUES_UNMASK,
    (_S.VALUES_UNMASK, _SS.GET_UNMASK): _S.VALUES_UNMASK,
    (_S.VALUES_UNMASK, _SS.UNMASK): _S.ADDING_VALUES,
    (_S.ADDING_VALUES, _SS.SEND_SUMS): _S.SUM_PROOFS,
    (_S.SUM_PROOFS, _SS.GET_PROOF): _S.SUM_PROOFS,
    (_S.SUM_PROOFS, _SS.SEND_VERDICT): _S.DONE,
    (_S.SUM_PROOFS, _SS.ASK_WITNESS): _S.SUM_WITNESS,
    (_S.SUM_PROOFS, _SS.SEND_UNPROVEN): _S.DONE,
    (_S.SUM_WITNESS, _SS.SEND_VERDICT): _S.DONE,
    (_S.SUM_WITNESS, _SS.SEND_UNPROVEN): _S.DONE,
}

State = TypeVar("State", ClientState, ServerState)
Step = TypeVar("Step", ClientStep, ServerStep)


def next_state(steps: Mapping[tuple[State, Step], State], state: State, step: Step) -> State:
    """The state after `step`.

    Raises:
        RemoteProtocolError: a message that is not due now.
        LocalProtocolError: a step of our own that is not due now.
    """
    if (state, step) in steps:
        return steps[state, step]
    due = ", ".join(other.value for before, other in steps if before is state) or "nothing: the round is over"
    problem = f"To {step.value} is not due in state {state.value!r}; due: {due}."
    if step.value.startswith("get"):
        raise RemoteProtocolError(problem, "The message was ignored; ask its sender what it believes happened.")
    raise LocalProtocolError(problem, "This is a fault of the calling program.")
