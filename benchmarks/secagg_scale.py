"""What one secure sum costs a client and the server, from a few institutions to many, some of which vanish midway.

The sum is that of the votes, of one lane. Everybody shares keys; then some vanish before their masked lane comes, which
is what costs most: of each of them the server reconstructs a key and takes off the masks that its neighbours added.

Time is processor time. A client's is that of its whole own part, from the charter's graph and its keys to the shares it
hands out, the median of all that did not vanish; its check of what was published is counted apart. The server is a
process of its own, so that its memory can be told: by how much its peak grew from before its first message to the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from pathlib import Path
from statistics import mean, median
from time import thread_time
from typing import Annotated, Any, Optional, cast

import matplotlib
import numpy as np
import typer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.measured_round import MeasuredRound, ServerSide, one_lane
from fedspallm_secure.charter import unmasking_threshold
from fedspallm_secure.cli.progress import TerminalSteps
from fedspallm_secure.messages import SumName
from fedspallm_secure.runtime import Advance
from fedspallm_secure.secagg import COMPLETE_UP_TO, RoundContext, votes_packing

_LAST_COMPLETE = 64
_CLIENTS = [8, _LAST_COMPLETE, 256, 1000]
_RATES = [0, 5, 10, 30]
_JUDGES = 5  # who get all proofs, which cost everybody the same


@dataclass(frozen=True)
class Scale:
    """One size of cohort at one rate of drop-outs.

    Attributes:
        clients: n.
        rate: of those that vanish, per cent.
        gone: how many that is.
        colluders: c of the charter, 5 %.
        dropouts: d of the charter: as many as vanish, or more where that costs nothing or is the default.
        neighbours: k, with how many a client masks and shares.
        threshold: t, shares that open a secret.
        verified: signatures under the survivors that a client verifies.
        client_seconds: of one that did not vanish.
        check_seconds: of one that did not vanish.
        server_seconds: without the check.
        bytes_up: of one that did not vanish; its masked lane is the most of it.
        bytes_down: to one that did not vanish; the published lane is the most of it.
        server_memory: bytes by which the server grew at most.
        vector: bytes of one masked lane.
    """

    clients: int
    rate: int
    gone: int
    colluders: int
    dropouts: int
    neighbours: int
    threshold: int
    verified: int
    client_seconds: float
    check_seconds: float
    server_seconds: float
    bytes_up: float
    bytes_down: float
    server_memory: int
    vector: int


class ServerApart(ServerSide):
    """The server of a process that does nothing else."""

    def __init__(self, context: RoundContext) -> None:
        self._before = _peak_memory()
        super().__init__(context)

    def memory(self) -> int:
        """By how many bytes the process's peak has grown."""
        return _peak_memory() - self._before


class _Processes(BaseManager):
    """Starts the server's process."""


_Processes.register("server", ServerApart)


def measure(clients: int, rate: int, words: int, advance: Advance) -> Scale:
    """One sum of `words` words a client."""
    packing = votes_packing(clients)
    colluders = max(1, clients * 5 // 100)
    feasible = clients - unmasking_threshold(clients, colluders)
    gone = min(round(clients * rate / 100), feasible)
    # The complete graph bears the most drop-outs at no cost; in a sparse one each more costs neighbours.
    dropouts = feasible if clients <= COMPLETE_UP_TO else max(gone, clients // 20)
    context = one_lane(clients, (words, packing.digits), "wanda", 1, colluders, dropouts)
    length = packing.digits * words
    pool = np.random.default_rng(clients).random(length + clients) < 0.5
    vanishing = np.random.default_rng(rate).permutation(clients)[:gone].tolist()

    def digits(client: int, name: SumName) -> NDArray[Any]:
        return pool[client : client + length]

    with _Processes(ctx=get_context("spawn")) as processes:
        server = cast(ServerApart, processes.server(context))  # type: ignore[attr-defined]
        view = _view_seconds(context)
        measured = MeasuredRound(context, server, digits, vanishing, advance)
        measured.exchange()
        published = measured.sum("votes")
        counts = packing.unpack(published, length)
        expected = sum(pool[at : at + length].astype(np.uint16) for at in range(clients) if at not in vanishing)
        assert np.array_equal(counts, expected)
        measured.check("votes", published, _JUDGES)
        cost, memory = server.cost(), server.memory()
    group = context.groups[0]
    costs = [measured.clients[name].cost for name in measured.left]
    judges = costs[:_JUDGES]
    return Scale(
        clients=clients,
        rate=rate,
        gone=gone,
        colluders=colluders,
        dropouts=dropouts,
        neighbours=len(group.neighbours[0]),
        threshold=group.threshold,
        verified=group.sample,
        client_seconds=view + median(one.total("exchange", "votes") for one in costs),
        check_seconds=median(one.total("check") for one in judges),
        server_seconds=cost.total("exchange", "votes"),
        bytes_up=mean(one.sent for one in judges),
        bytes_down=mean(one.received for one in judges),
        server_memory=memory,
        vector=published.nbytes,
    )


def growth(scales: Sequence[Scale]) -> dict[int, float]:
    """Rate -> what a client of the largest cohort takes, in times what one of 64 takes: there the graph is complete."""
    seconds = {(scale.rate, scale.clients): scale.client_seconds for scale in scales}
    largest = max(scale.clients for scale in scales)
    return {
        rate: taken / seconds[rate, _LAST_COMPLETE]
        for (rate, clients), taken in seconds.items()
        if clients == largest and (rate, _LAST_COMPLETE) in seconds
    }


def draw(scales: Sequence[Scale], path: Path) -> None:
    """A client's seconds over the number of clients, a line a rate."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for rate in sorted({scale.rate for scale in scales}):
        line = sorted((scale.clients, scale.client_seconds) for scale in scales if scale.rate == rate)
        axes.plot([n for n, _ in line], [seconds for _, seconds in line], marker="o", label=f"{rate} % gone")
    axes.set_xscale("log")
    axes.set_xticks(sizes := sorted({scale.clients for scale in scales}), [str(size) for size in sizes], minor=False)
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("clients")
    axes.set_ylabel("seconds of a client's processor")
    axes.grid(axis="y", linewidth=0.5)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "scale"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _view_seconds(context: RoundContext) -> float:
    """What it takes a client to find out, from the charter alone, who its neighbours are."""
    start = thread_time()
    for group in context.groups:
        context.place(group.cohort[0], group)
    _ = context.digest, context.keys, context.indices, context.everybody, context.group_of
    return thread_time() - start


def _peak_memory() -> int:
    """Most bytes that this process has held, as Linux tells it."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


def main(
    clients: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(min=3, help="Size of the cohort; again for more.", show_default="8, 64, 256, 1000"),
    ] = None,
    rate: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(min=0, max=30, help="Per cent that vanish; again for more.", show_default="0, 5, 10, 30"),
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="Of a client's masked lane.")] = 100_000,
    plot: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Where a plot of a client's seconds goes (svg, png)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Seconds, bytes and memory of one secure sum by number of clients and drop-outs; all takes twelve minutes."""
    steps = TerminalSteps(Console(stderr=True))
    scales = []
    for n in clients or _CLIENTS:
        for per_cent in rate or _RATES:
            with steps.step(f"{n} clients, {per_cent} % gone") as advance:
                scales.append(measure(n, per_cent, words, advance))
    if plot is not None:
        draw(scales, plot)
    if as_json:
        sums = [asdict(scale) for scale in scales]
        typer.echo(json.dumps({"words": words, "growth": growth(scales), "sums": sums}))
        return
    typer.echo(_table(scales))


def _table(scales: Sequence[Scale]) -> str:
    heads = ["clients", "gone", "neighbours", "client", "check", "server", "sent", "received", "server's memory"]
    rows = (
        [
            f"{scale.clients}",
            f"{scale.gone} ({scale.rate} %)",
            f"{scale.neighbours}",
            *(f"{seconds:.3f} s" for seconds in (scale.client_seconds, scale.check_seconds, scale.server_seconds)),
            *(f"{number / 1e6:.2f} MB" for number in (scale.bytes_up, scale.bytes_down, scale.server_memory)),
        ]
        for scale in scales
    )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---:"] * len(heads), *rows))


if __name__ == "__main__":
    typer.run(main)
