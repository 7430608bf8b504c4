"""What the secure sums of one round cost a client and the server, beside Flower's SecAgg+ on the same vectors.

Both give the same thing: how many clients kept each weight, and the sum of the kept weights. We send masks and, at the
positions that stay, quantised changes. SecAgg+ knows vectors of floats only, so a client gives it two: its weights with
zeros where it pruned, and its mask. What it takes for the weights alone, which no average over the keepers can be made
of, is measured as well.

Counted is processor time of one client's and the server's whole part, from keys to unmasked sums, quantisation
included; medians over repetitions in which both take turns. Not counted, for either: pruning, the expansion of the
mask, and what the sums are used for. Our check of the published sums, which SecAgg+ lacks, is `check_seconds`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from statistics import mean, median
from time import thread_time
from typing import Annotated, Any

import numpy as np
import typer
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.flwr_secagg import FlwrCost, flwr_round
from benchmarks.measured_round import MeasuredRound, ServerSide, one_lane
from fedspallm_secure.aggregation import Quantiser, expand_mask, row_scales
from fedspallm_secure.charter import parse_pattern
from fedspallm_secure.cli.progress import TerminalSteps
from fedspallm_secure.messages import SumName
from fedspallm_secure.runtime import Advance
from fedspallm_secure.runtime.sections import FINE_ENOUGH
from fedspallm_secure.secagg import RoundContext, most_digits
from fedspallm_secure.secagg.keystream import apply_keystream

_COLLUDERS = 1


@dataclass(frozen=True)
class Vectors:
    """What clients have after pruning.

    Attributes:
        W: base weight, float32, shape (outputs, inputs).
        kept: each client's mask, bool, same shape.
        new: each client's weight, float32, zero where it pruned.
        sparsity: of each mask.
    """

    W: NDArray[np.float32]
    kept: list[NDArray[np.bool_]]
    new: list[NDArray[np.float32]]
    sparsity: str

    @classmethod
    def random(cls, clients: int, params: int, sparsity: str) -> Vectors:
        """Clients that prune by a noisy magnitude and move what they keep, so that their masks agree in part."""
        rng = np.random.default_rng(0)
        rows = next(rows for rows in range(isqrt(params), 0, -1) if params % rows == 0)
        W = rng.standard_normal((rows, params // rows), np.float32)
        kept, new = [], []
        for _ in range(clients):
            score = np.abs(W) * np.exp(0.5 * rng.standard_normal(W.shape, np.float32))
            border = int(params * Fraction(sparsity))
            kept.append(score > np.partition(score, border - 1, axis=None)[border - 1])
            new.append((W + 0.2 * rng.standard_normal(W.shape, np.float32)) * kept[-1])
        return cls(W, kept, new, sparsity)


@dataclass(frozen=True)
class OurCost:
    """What one round of ours took; clients' figures are means.

    Attributes:
        client_seconds: of processor, keys and both sums.
        check_seconds: of a client's check of both sums.
        server_seconds: keys and both sums, until they are numbers.
        bytes_up: of one client, all messages and masked words.
    """

    client_seconds: float
    check_seconds: float
    server_seconds: float
    bytes_up: float


def our_round(context: RoundContext, vectors: Vectors) -> OurCost:
    """One round with the real machines; what comes out is compared with the plain sums."""
    W, lane = vectors.W, context.lanes[0]
    scales = row_scales(W)
    quantiser = Quantiser.of(scales, lane.values.top // 2, Fraction(context.charter.parameters.clip))
    eligible = np.zeros(W.shape, np.bool_)

    def digits(client: int, name: SumName) -> NDArray[Any]:
        if name == "votes":
            return vectors.kept[client].reshape(-1)
        return quantiser.encode(vectors.new[client], W, vectors.kept[client], eligible)

    server = ServerSide(context)
    measured = MeasuredRound(context, server, digits)
    measured.exchange()
    votes = measured.sum("votes")
    with server.cost().clock("votes"):
        counts = lane.votes.unpack(votes, W.size).reshape(W.shape)
    assert np.array_equal(counts, np.sum(vectors.kept, axis=0, dtype=np.uint8))
    measured.check("votes", votes)
    mask = expand_mask(counts, W, scales, parse_pattern(vectors.sparsity))
    eligible |= mask & (counts >= context.charter.parameters.bar)
    length = int(np.count_nonzero(eligible))
    measured.know_eligible(length)
    values = measured.sum("values")
    with server.cost().clock("values"):
        sums = lane.values.unpack(values, length)
    assert np.array_equal(sums, sum(digits(client, "values") for client in range(len(context.roster))))
    measured.check("values", values)
    costs = [client.cost for client in measured.clients.values()]
    return OurCost(
        client_seconds=mean(cost.total("exchange", "votes", "values") for cost in costs),
        check_seconds=mean(cost.total("check") for cost in costs),
        server_seconds=server.cost().total("exchange", "votes", "values"),
        bytes_up=mean(cost.sent for cost in costs),
    )


def their_round(context: RoundContext, vectors: Vectors, *, masks: bool) -> FlwrCost:
    """One round of SecAgg+ with the same threshold; what comes out is compared with the plain means."""
    given = [
        [new, kept.astype(np.float32)] if masks else [new] for new, kept in zip(vectors.new, vectors.kept, strict=True)
    ]
    cost = flwr_round(given, context.groups[0].threshold)
    assert np.allclose(cost.mean[0], np.mean(vectors.new, axis=0), atol=1e-5)
    return cost


def keystream_speeds(words: int) -> tuple[float, float]:
    """GB/s of making a mask and adding it to `words` words, and of the cipher alone into a buffer that stays in cache.

    The cipher's speed is that of the best size of buffer.
    """
    target = np.zeros(words, np.uint64)
    sizes = (2**15, 2**16, 2**17, 2**18)
    ours, bare = list[float](), {size: list[float]() for size in sizes}
    for _ in range(15):
        start = thread_time()
        apply_keystream(target, bytes(32), subtract=False)
        ours.append(target.nbytes / (thread_time() - start) / 1e9)
        for size in sizes:
            bare[size].append(_bare_speed(target.nbytes, size))
    return median(ours), max(median(speeds) for speeds in bare.values())


def _bare_speed(number: int, size: int) -> float:
    """GB/s of AES-256-CTR over `number` bytes or a few more, `size` at a time."""
    encryptor = Cipher(AES(bytes(32)), CTR(bytes(16))).encryptor()
    zeros, buffer = bytes(size), bytearray(size + 15)
    encryptor.update_into(zeros, buffer)
    pieces = -(-number // size)
    start = thread_time()
    for _ in range(pieces):
        encryptor.update_into(zeros, buffer)
    return pieces * size / (thread_time() - start) / 1e9


def measure(clients: int, params: int, sparsity: str, repetitions: int, advance: Advance) -> dict[str, object]:
    """Run ours and theirs in turns, and compare medians."""
    vectors = Vectors.random(clients, params, sparsity)
    digits = most_digits(clients, 2 * FINE_ENOUGH)
    rows, columns = vectors.W.shape
    context = one_lane(clients, (rows, columns), "sparsegpt", digits, _COLLUDERS, 0)
    ours, theirs, alone = list[OurCost](), list[FlwrCost](), list[FlwrCost]()
    for repetition in range(repetitions):
        ours.append(our_round(context, vectors))
        advance(3 * repetition + 1, 3 * repetitions)
        theirs.append(their_round(context, vectors, masks=True))
        advance(3 * repetition + 2, 3 * repetitions)
        alone.append(their_round(context, vectors, masks=False))
        advance(3 * repetition + 3, 3 * repetitions)
    keystream, bare = keystream_speeds(context.lanes[0].votes.words(params))
    client, server = median(cost.client_seconds for cost in ours), median(cost.server_seconds for cost in ours)
    bytes_up = median(cost.bytes_up for cost in ours)

    def beside(prefix: str, costs: list[FlwrCost]) -> dict[str, float]:
        their_client = median(cost.client_seconds for cost in costs)
        their_server = median(cost.server_seconds for cost in costs)
        their_bytes = median(cost.bytes_up for cost in costs)
        return {
            f"flwr_{prefix}client_seconds": their_client,
            f"{prefix}speedup": their_client / client,
            f"flwr_{prefix}bytes_up": their_bytes,
            f"{prefix}bytes_ratio": their_bytes / bytes_up,
            f"flwr_{prefix}server_seconds": their_server,
            f"{prefix}server_speedup": their_server / server,
        }

    return {
        "clients": clients,
        "params": params,
        "sparsity": sparsity,
        "digits_per_word": digits,
        "repetitions": repetitions,
        "client_seconds": client,
        "check_seconds": median(cost.check_seconds for cost in ours),
        "server_seconds": server,
        "bytes_up": bytes_up,
        **beside("", theirs),
        **beside("weights_only_", alone),
        "keystream_gbps": keystream,
        "bare_aes_ctr_gbps": bare,
        "keystream_ratio": keystream / bare,
    }


def main(
    clients: Annotated[int, typer.Option(min=3, help="Institutions.")] = 8,
    params: Annotated[int, typer.Option(min=1, help="Weights of the one tensor.")] = 10_000_000,
    sparsity: Annotated[str, typer.Option(help="Of the masks.")] = "0.5",
    repetitions: Annotated[int, typer.Option(min=1, help="Rounds of each, in turns.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Processor seconds and bytes of our two sums beside Flower's SecAgg+; 10 M weights take 2 minutes and 8 GB."""
    with TerminalSteps(Console(stderr=True)).step("rounds") as advance:
        result = measure(clients, params, sparsity, repetitions, advance)
    if as_json:
        typer.echo(json.dumps(result))
        return
    for name, value in result.items():
        typer.echo(f"{name:34} {value if not isinstance(value, float) else f'{value:.4g}'}")


if __name__ == "__main__":
    typer.run(main)
