"""Every legal step of a round of secure sums, in one table a role. What is not in the table is refused.

A client:  START -advertise-> ADVERTISED -advertised-> VOTING -votes-> VOTED -counts-> COUNTED
           -eligible-> VALUING -values-> VALUED -sums-> DONE
The server: KEYS -advertised-> VOTES -all votes-> ADDING_VOTES -counts-> COUNTED
           -eligible-> VALUES -all values-> ADDING_VALUES -sums-> DONE

Where the method changes no weight there is no values sum, and `last counts` leads to DONE instead.
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
    VOTING = "voting"
    VOTED = "voted"
    COUNTED = "counted"
    VALUING = "valuing"
    VALUED = "valued"
    DONE = "done"


class ClientStep(Enum):
    """What a client does or gets."""

    SEND_ADVERTISE = "send advertise"
    GET_ADVERTISED = "get advertised"
    SEND_VOTES = "send masked votes"
    GET_COUNTS = "get counts"
    GET_LAST_COUNTS = "get last counts"
    KNOW_ELIGIBLE = "know the eligible positions"
    SEND_VALUES = "send masked values"
    GET_SUMS = "get sums of values"


CLIENT_STEPS: Mapping[tuple[ClientState, ClientStep], ClientState] = {
    (ClientState.START, ClientStep.SEND_ADVERTISE): ClientState.ADVERTISED,
    (ClientState.ADVERTISED, ClientStep.GET_ADVERTISED): ClientState.VOTING,
    (ClientState.VOTING, ClientStep.SEND_VOTES): ClientState.VOTED,
    (ClientState.VOTED, ClientStep.GET_COUNTS): ClientState.COUNTED,
    (ClientState.VOTED, ClientStep.GET_LAST_COUNTS): ClientState.DONE,
    (ClientState.COUNTED, ClientStep.KNOW_ELIGIBLE): ClientState.VALUING,
    (ClientState.VALUING, ClientStep.SEND_VALUES): ClientState.VALUED,
    (ClientState.VALUED, ClientStep.GET_SUMS): ClientState.DONE,
}


class ServerState(Enum):
    """Where the server is in a round."""

    KEYS = "gathering keys"
    VOTES = "gathering votes"
    ADDING_VOTES = "adding votes"
    COUNTED = "counted"
    VALUES = "gathering values"
    ADDING_VALUES = "adding values"
    DONE = "done"


class ServerStep(Enum):
    """What the server gets or does. GET_... steps come once a client, ALL_... with the last client."""

    GET_ADVERTISE = "get advertise"
    ALL_ADVERTISE = "get the last advertise"
    GET_VOTES = "get masked votes"
    ALL_VOTES = "get the last masked votes"
    SEND_COUNTS = "send counts"
    SEND_LAST_COUNTS = "send last counts"
    KNOW_ELIGIBLE = "know the eligible positions"
    GET_VALUES = "get masked values"
    ALL_VALUES = "get the last masked values"
    SEND_SUMS = "send sums of values"


SERVER_STEPS: Mapping[tuple[ServerState, ServerStep], ServerState] = {
    (ServerState.KEYS, ServerStep.GET_ADVERTISE): ServerState.KEYS,
    (ServerState.KEYS, ServerStep.ALL_ADVERTISE): ServerState.VOTES,
    (ServerState.VOTES, ServerStep.GET_VOTES): ServerState.VOTES,
    (ServerState.VOTES, ServerStep.ALL_VOTES): ServerState.ADDING_VOTES,
    (ServerState.ADDING_VOTES, ServerStep.SEND_COUNTS): ServerState.COUNTED,
    (ServerState.ADDING_VOTES, ServerStep.SEND_LAST_COUNTS): ServerState.DONE,
    (ServerState.COUNTED, ServerStep.KNOW_ELIGIBLE): ServerState.VALUES,
    (ServerState.VALUES, ServerStep.GET_VALUES): ServerState.VALUES,
    (ServerState.VALUES, ServerStep.ALL_VALUES): ServerState.ADDING_VALUES,
    (ServerState.ADDING_VALUES, ServerStep.SEND_SUMS): ServerState.DONE,
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
