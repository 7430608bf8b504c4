"""One round of SecAgg+ as Flower runs it, timed from outside: its own client mod and its own server workflow.

Nothing of that protocol is written here. `secaggplus_mod` answers for every client and `SecAggPlusWorkflow` is the
server, both with their own defaults; a `Grid` in this process hands the messages over. What happens in the mod is the
clients' time, and what happens in the workflow while no message is on its way is the server's. Training and the
strategy's aggregation, which are no part of a secure sum, do nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import thread_time
from typing import Any, NoReturn

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitIns, FitRes, Parameters, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, parameters_to_arrayrecord
from flwr.server import ClientManager, LegacyContext
from flwr.server.client_proxy import ClientProxy
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

__all__ = ["FlwrCost", "flwr_round"]

_RUN, _SERVER = 1, 1
_WEIGHT = 1000  # examples a client: the workflow's max_weight, so that nothing is scaled down before it is quantised


@dataclass(frozen=True)
class FlwrCost:
    """What one round took.

    Attributes:
        client_seconds: processor time of one client, set-up to unmasking; mean.
        server_seconds: the workflow's, without the time in which clients answer.
        bytes_up: of one client's messages, as Flower serialises them.
        mean: what the server published, a float64 array for each of a client's.
    """

    client_seconds: float
    server_seconds: float
    bytes_up: int
    mean: list[NDArray[np.float64]]


class _Clients(Grid):
    """Every client, behind what the workflow takes for a network.

    Args:
        vectors: one list of arrays a client; its node's number is its place, from 1.
    """

    def __init__(self, vectors: Sequence[Sequence[NDArray[Any]]]) -> None:
        self.seconds, self.training, self.elapsed, self.bytes_up = 0.0, 0.0, 0.0, 0
        self._vectors = vectors
        self._contexts = {node: Context(_RUN, node, {}, RecordDict(), {}) for node in self.get_node_ids()}

    def get_node_ids(self) -> Iterable[int]:
        return range(1, len(self._vectors) + 1)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        start = thread_time()
        replies = [self._answer(message) for message in messages]
        self.elapsed += thread_time() - start
        return replies

    def _answer(self, message: Message) -> Message:
        message = message_from_proto(message_to_proto(message))  # as on a network: no two clients share an object
        start, trained = thread_time(), self.training
        reply = secaggplus_mod(message, self._contexts[message.metadata.dst_node_id], self._train)
        self.seconds += thread_time() - start - (self.training - trained)
        if message.metadata.dst_node_id == 1:  # all clients' messages are as long
            self.bytes_up += message_to_proto(reply).ByteSize()
        return reply

    def _train(self, message: Message, context: Context) -> Message:
        start = thread_time()
        parameters = ndarrays_to_parameters(list(self._vectors[context.node_id - 1]))
        result = fitres_to_recorddict(FitRes(Status(Code.OK, ""), parameters, _WEIGHT, {}), keep_input=False)
        self.training += thread_time() - start
        return Message(result, reply_to=message)

    def _unused(self, *args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError("The workflow sends and receives in one step.")

    create_message = push_messages = pull_messages = set_run = _unused
    run = property(_unused)


class _Sum(FedAvg):
    """Takes all clients, and keeps what the workflow gives it instead of averaging."""

    def __init__(self, clients: _Clients) -> None:
        super().__init__()
        self.parameters: Parameters | None = None
        self._clients = clients

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        nodes = self._clients.get_node_ids()
        return [(GridClientProxy(node, self._clients, _RUN), FitIns(parameters, {})) for node in nodes]

    def aggregate_fit(
        self, server_round: int, results: list[tuple[ClientProxy, FitRes]], failures: list[Any]
    ) -> tuple[None, dict[str, Any]]:
        self.parameters = results[0][1].parameters
        return None, {}


def flwr_round(vectors: Sequence[Sequence[NDArray[Any]]], threshold: int) -> FlwrCost:
    """Add the clients' vectors up, everybody masking with everybody and nobody dropping out.

    Args:
        vectors: for each client its arrays, floating, of the same shapes everywhere.
        threshold: shares that reconstruct a secret.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = _RUN, _SERVER, 0
    clients = _Clients(vectors)
    strategy = _Sum(clients)
    state = RecordDict(
        {
            MAIN_CONFIGS_RECORD: ConfigRecord({Key.CURRENT_ROUND: 1}),
            MAIN_PARAMS_RECORD: parameters_to_arrayrecord(Parameters([], "numpy.ndarray"), keep_input=False),
        }
    )
    context = LegacyContext(Context(_RUN, _SERVER, {}, state, {}), strategy=strategy)
    workflow = SecAggPlusWorkflow(num_shares=1.0, reconstruction_threshold=threshold)
    start = thread_time()
    workflow(clients, context)
    assert strategy.parameters is not None  # the workflow went through
    return FlwrCost(
        client_seconds=clients.seconds / len(vectors),
        server_seconds=thread_time() - start - clients.elapsed,
        bytes_up=clients.bytes_up,
        mean=parameters_to_ndarrays(strategy.parameters),
    )
