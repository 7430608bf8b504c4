"""Bits that an institution uploads a weight, measured on a real round with real messages, beside plain encodings."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Optional

import typer

from benchmarks.synthetic import synthetic_run
from fedspallm_secure.rounds import PublicWeights, plan_round
from fedspallm_secure.runtime.embedded import Traffic, run_round
from fedspallm_secure.runtime.sections import FINE_ENOUGH
from fedspallm_secure.secagg import most_digits
from fedspallm_secure.workspace import LayerStore


def measure(clients: int, sparsity: str, digits: int, layers: int) -> dict[str, object]:
    """Run one round and count what the institutions sent; means over institutions, in bits a weight."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = synthetic_run(folder, clients, sparsity, digits, layers)
        traffic = Traffic()
        run_round(
            plan_round(run.charter, 0),
            run.participants,
            PublicWeights(run.base),
            run.pruned,
            folder / "transcript",
            LayerStore(folder / "model"),
            traffic,
        )
    sent = [steps["up"] for steps in traffic.bytes.values()]
    bits = {
        step: 8 * sum(steps[step] for steps in sent) / len(sent) / run.parameters
        for step in ("keys", "votes", "values", "checks", "model")
    }
    density = float(1 - Fraction(sparsity))
    return {
        "clients": clients,
        "sparsity": sparsity,
        "digits_per_word": digits,
        "parameters": run.parameters,
        "votes": bits["votes"],
        "values": bits["values"],
        "other_messages": bits["keys"] + bits["checks"] + bits["model"],
        "total": sum(bits.values()),
        "dense_fp16": 16.0,
        "sparse_fp16_and_bitmap": 16 * density + 1,
        "dense_float32": 32.0,
    }


def main(
    clients: Annotated[int, typer.Option(min=3, help="Institutions.")] = 8,
    sparsity: Annotated[str, typer.Option(help="Of the masks.")] = "0.5",
    digits: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Changes a 64-bit word.", show_default="what simulate takes"),
    ] = None,
    layers: Annotated[int, typer.Option(min=1, help="Decoder layers of SmolLM2-135M's shapes.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bits that an institution uploads a weight: votes, values and all, beside plain encodings."""
    result = measure(clients, sparsity, digits or most_digits(clients, 2 * FINE_ENOUGH), layers)
    if as_json:
        typer.echo(json.dumps(result))
        return
    for name, value in result.items():
        typer.echo(f"{name:24} {value if not isinstance(value, float) else f'{value:.3f}'}")


if __name__ == "__main__":
    typer.run(main)
