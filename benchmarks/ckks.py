"""What votes under CKKS cost, beside the usual way: one vote a slot, with a tutorial's parameters.

The usual way is TenSEAL's own vector, ring 8192, coefficient bits [60, 40, 40], scale 2^40, a vote in each of the 4096
slots, in TenSEAL's own bytes. It is measured on fewer votes; both are given in votes a second and bytes a vote.

Encryption is from votes to bytes ready to be sent, of one institution's whole lane. Adding is from what came, checks
included, to what is decrypted, and counted in votes that came; decryption is from the sum to counts. They are measured
on the first few ciphertexts of the lane, of all institutions, each encrypted afresh, so that the noise is real.

The processor's seconds of this thread are counted; nothing runs beside it. Counts are compared with the plain sums.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from fedspallm_secure.votes import (
    MARGIN,
    CkksParameters,
    Decryptor,
    Encryptor,
    PublicContext,
    SecretContext,
    add_ciphertexts,
    check_ciphertexts,
    choose_parameters,
    make_key_pair,
    typical_error,
)
from fedspallm_secure.votes.library import tenseal
from fedspallm_secure.votes.packing import unpack_counts

_SUMS = 8  # ciphertexts of the sum
_NAIVE_SUMS = 2
_NAIVE_RING, _NAIVE_BITS, _NAIVE_SCALE = 8192, [60, 40, 40], 2.0**40
_NAIVE_VOTES = 2**17  # at most: 32 ciphertexts


@dataclass
class Cost:
    """Processor seconds of each part, and what they were for.

    Attributes:
        seconds: part -> seconds.
        votes: part -> votes that went through it.
        sent: bytes that were encrypted.
        margin: the largest distance of a decrypted number from the whole one that it should be.
    """

    seconds: dict[str, float] = field(default_factory=lambda: {"encrypt": 0.0, "add": 0.0, "decrypt": 0.0})
    votes: dict[str, int] = field(default_factory=lambda: {"encrypt": 0, "add": 0, "decrypt": 0})
    sent: int = 0
    margin: float = 0.0

    def count(self, part: str, votes: int, since: float) -> None:
        """`votes` more votes went through `part` since processor time `since`."""
        self.seconds[part] += thread_time() - since
        self.votes[part] += votes

    def speed(self, part: str) -> float:
        """Million votes a second."""
        return self.votes[part] / self.seconds[part] / 1e6

    @property
    def bytes_per_vote(self) -> float:
        """Of what one client sends."""
        return self.sent / self.votes["encrypt"]


def packed(parameters: CkksParameters, length: int, folder: Path) -> Cost:
    """Our way, over a lane of `length` votes, a ciphertext at a time."""
    cost, random, clients = Cost(), np.random.default_rng(0), parameters.clients
    keys = make_key_pair(parameters)
    public = PublicContext(parameters, keys.public, keys.digest)
    encryptor, decryptor = Encryptor(public, folder), Decryptor(SecretContext(keys.secret, public), folder)
    for number, start in enumerate(range(0, length, parameters.votes)):
        size = min(parameters.votes, length - start)
        votes = random.random((clients if number < _SUMS else 1, size)) < 0.5
        came = []
        for mine in votes:
            since = thread_time()
            came.append(next(encryptor.encrypt(mine)))
            cost.count("encrypt", size, since)
            cost.sent += came[-1].nbytes
        if number >= _SUMS:
            continue
        since = thread_time()
        (total,) = add_ciphertexts(parameters, size, [_checked(parameters, size, words) for words in came])
        cost.count("add", size * clients, since)
        counts = np.empty(size, np.min_scalar_type(clients))
        since = thread_time()
        numbers = decryptor.decrypt(total)
        unpack_counts(parameters, numbers, clients, counts)
        cost.count("decrypt", size, since)
        assert np.array_equal(counts, votes.sum(axis=0))
        cost.margin = max(cost.margin, float(np.abs(numbers - np.rint(numbers)).max()))
    return cost


def naive(clients: int, length: int) -> Cost:
    """One vote a slot, by TenSEAL's vectors."""
    cost, random, library = Cost(), np.random.default_rng(0), tenseal()
    context = library.context(library.SCHEME_TYPE.CKKS, _NAIVE_RING, coeff_mod_bit_sizes=_NAIVE_BITS, n_threads=1)
    context.global_scale = _NAIVE_SCALE
    slots = _NAIVE_RING // 2
    for number, start in enumerate(range(0, length, slots)):
        size = min(slots, length - start)
        votes = random.random((clients if number < _NAIVE_SUMS else 1, size)) < 0.5
        came = list[bytes]()
        for mine in votes:
            since = thread_time()
            came.append(library.ckks_vector(context, mine.astype(np.float64).tolist()).serialize())
            cost.count("encrypt", size, since)
            cost.sent += len(came[-1])
        if number >= _NAIVE_SUMS:
            continue
        since = thread_time()
        total: Any = library.ckks_vector_from(context, came[0])
        for data in came[1:]:
            total += library.ckks_vector_from(context, data)
        cost.count("add", size * clients, since)
        since = thread_time()
        numbers = np.array(total.decrypt())
        counts = np.rint(numbers)
        cost.count("decrypt", size, since)
        assert np.array_equal(counts, votes.sum(axis=0))
        cost.margin = max(cost.margin, float(np.abs(numbers - counts).max()))
    return cost


def measure(clients: int, params: int) -> dict[str, object]:
    """Both ways, and how many times ours is the other."""
    parameters, sample = choose_parameters(clients), min(params, _NAIVE_VOTES)
    with TemporaryDirectory() as folder:
        ours = packed(parameters, params, Path(folder))
    theirs = naive(clients, sample)

    def columns(prefix: str, cost: Cost) -> dict[str, float]:
        return {
            f"{prefix}bytes_per_vote": cost.bytes_per_vote,
            **{f"{prefix}{part}_million_votes_a_second": cost.speed(part) for part in cost.seconds},
            f"{prefix}measured_margin": cost.margin,
        }

    return {
        "clients": clients,
        "params": params,
        "votes_per_slot": 2 * parameters.digits,
        **columns("", ours),
        "bound": parameters.bound,
        "allowed_margin": MARGIN,
        "naive_params": sample,
        **columns("naive_", theirs),
        "bytes_ratio": theirs.bytes_per_vote / ours.bytes_per_vote,
        **{f"{part}_speedup": ours.speed(part) / theirs.speed(part) for part in ours.seconds},
    }


def table() -> str:
    """The parameters for some numbers of clients, as docs/ckks.md has them."""
    rows = [
        "| institutions | votes a slot | scale | bound | a typical error | bytes a vote |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for clients in (3, 5, 8, 16, 32, 64, 128, 256, 1000, 4096):
        chosen = choose_parameters(clients)
        typical = typical_error(chosen.ring, clients, chosen.scale)
        rows.append(
            f"| {clients} | {2 * chosen.digits} | 2^{np.log2(chosen.scale):.1f} | {chosen.bound:.2g} | {typical:.1g} "
            f"| {8 * chosen.words / chosen.votes:.2f} |"
        )
    return "\n".join(rows)


def main(
    clients: Annotated[int, typer.Option(min=2, help="Institutions.")] = 8,
    params: Annotated[int, typer.Option(min=1, help="Votes of an institution.")] = 4_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    parameters: Annotated[
        bool, typer.Option("--parameters", help="Print the parameters only, measure nothing.")
    ] = False,
) -> None:
    """Bytes and speed of votes under CKKS beside one vote a slot; 4 M votes of 8 institutions take half a minute."""
    if parameters:
        typer.echo(table())
        return
    result = measure(clients, params)
    if as_json:
        typer.echo(json.dumps(result))
        return
    for name, value in result.items():
        typer.echo(f"{name:34} {value if not isinstance(value, float) else f'{value:.4g}'}")


def _checked(parameters: CkksParameters, length: int, words: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    return check_ciphertexts(parameters, length, "a client", iter([words]))


if __name__ == "__main__":
    typer.run(main)
