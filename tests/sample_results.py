"""Results as a run would give them, for tests of what is made from them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from fedspallm_secure.evaluation import Perplexities, PerplexityTable, Results
from fedspallm_secure.rounds import RoundTelemetry

__all__ = ["HOSTILE", "hostile", "sampled"]

HOSTILE = '<script>alert(1)</script> | "&$x$`*_'
"""A kind of text named by somebody who tries HTML, Markdown, attributes and formulas."""

_STEPS = {
    "up": {"keys": 900, "votes": 42_100_000, "values": 71_300_000, "model": 700},
    "down": {"keys": 6_100, "votes": 42_500_000, "values": 50_900_000, "model": 900},
}


def hostile() -> Results:
    """Five institutions, everything measured, a kind of text called `HOSTILE`, a base model in a folder."""
    kinds = ["encyclopaedia", "news", "scripture", "documentation", HOSTILE]
    names = ["encyclopaedia", "news", "scripture", "documentation", "mallory"]
    lone = {name: _alone(kinds, own, 21.5, 63.25) for name, own in zip(names, kinds, strict=True)}
    table = PerplexityTable(
        dense=_mixed(kinds, lambda kind: 10.25 + 4 * kinds.index(kind)),
        federated=_mixed(kinds, lambda kind: 34.5 + kinds.index(kind)),
        central=_mixed(kinds, lambda kind: 31.5 + kinds.index(kind)),
        alone=lone,
    )
    everybody = [list(names) for _ in range(3)]
    results = _results(table, names, [everybody], ["0.5"], 3)
    institutions = [{"name": n, "kind": k, "capacity": "1"} for n, k in zip(names, kinds, strict=True)]
    return results.model_copy(
        update={
            "base_model": "/srv/models/<b>Small</b>",
            "base_licence": "Own licence: ask us",
            "damping_raised": results.damping_raised | {"news": ["model.layers.1.mlp.down_proj.weight"]},
            "config": results.config | {"institution": institutions},
        }
    )


def sampled() -> Results:
    """Eight institutions, two rounds, layer sampling, no central model, a base model from the hub."""
    names = ["encyclopaedia", "news", "scripture", "documentation", "code", "law", "medicine", "finance"]
    table = PerplexityTable(
        dense=_mixed(names, lambda kind: 20.0 + len(kind)),
        federated=_mixed(names, lambda kind: 140.5 + len(kind)),
        central=None,
        alone={name: _alone(names, name, 131.25, 155.75) for name in names},
    )
    cohorts = [
        [[n for place, n in enumerate(names) if (place + layer + turn) % 4] for layer in range(6)] for turn in (0, 1)
    ]
    return _results(table, names, cohorts, ["0.3", "2:4"], 6)


def _mixed(kinds: list[str], value: Callable[[str], float]) -> Perplexities:
    row = {kind: float(value(kind)) for kind in kinds}
    return row | {"mix": prod(row.values()) ** (1 / len(row))}


def _alone(kinds: list[str], own: str, there: float, elsewhere: float) -> Perplexities:
    return _mixed(kinds, lambda kind: there if kind == own else elsewhere)


def _results(
    table: PerplexityTable, names: list[str], cohorts: list[list[list[str]]], schedule: list[str], layers: int
) -> Results:
    tensors = [f"model.layers.{layer}.mlp.{part}_proj.weight" for layer in range(layers) for part in ("up", "down")]
    return Results(
        perplexity=table,
        sparsity=dict.fromkeys(tensors, 0.5) | {tensors[0]: 0.49876},
        layers=[0.49938] + [0.5] * (layers - 1),
        cohorts=cohorts,
        uplink_bits_per_parameter=8.43,
        bytes_up={name: sum(_STEPS["up"].values()) for name in names},
        bytes_down={name: sum(_STEPS["down"].values()) for name in names},
        bytes_by_step=dict.fromkeys(names, _STEPS),
        telemetry=[
            RoundTelemetry(len(names), 40_960 + turn, 3.21875, None if turn else 0.00125)
            for turn in range(len(cohorts))
        ],
        seconds={"load model and text": 6.1, **{f"prune at {name}": 61.3 for name in names}, "secure sums": 722.0},
        damping_raised={name: [] for name in names},
        base_model="HuggingFaceTB/SmolLM2-135M",
        base_licence="apache-2.0",
        model_digest="ab" * 32,
        charter_digest="cd" * 32,
        config={
            "model": "HuggingFaceTB/SmolLM2-135M",
            "seed": 7,
            "pruning": {"method": "sparsegpt", "pattern": schedule, "windows": 16},
            "protocol": {"minimum_cohort": 3, "minimum_contributors": 3, "clip": "1"},
            "institution": [{"name": name, "kind": None, "capacity": "0.75"} for name in names],
        },
        versions={"fedspallm-secure": "0.1.0", "torch": "2.9.0"},
    )
