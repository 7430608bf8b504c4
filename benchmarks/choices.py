"""What the open choices of the aggregation cost in perplexity, on a real run's own pruned layers.

    fedspallm demo --out out/demo --keep-work
    python -m benchmarks.choices out/demo

Everything is computed in the clear from out/demo/work (masks cancel exactly, so it equals the secure result), one
choice varied at a time around the defaults:

- tie-break: which of the positions with equally many votes go;
- weight of a kept position with too few votes;
- digits a word and clipping bound of the values sum.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from fedspallm_secure.aggregation import Quantiser, average, expand_mask, expand_tensor, row_scales
from fedspallm_secure.charter import Pattern, Unstructured, parse_pattern
from fedspallm_secure.cli.progress import TerminalSteps
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.evaluation import Results, evaluate_kinds
from fedspallm_secure.pruning import PruneSettings, decoder_layers, load_weights
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.model import load_model, load_tokenizer
from fedspallm_secure.runtime.sections import ProtocolConfig
from fedspallm_secure.runtime.windows import load_windows
from fedspallm_secure.secagg import values_packing
from fedspallm_secure.workspace import LayerStore

TieBreak = Literal["relative magnitude", "magnitude", "position", "hash", "relative magnitude, a row at a time"]
FewVotes = Literal["base weight", "average all the same (not private)", "zero"]

_DEFAULTS = ProtocolConfig()


@dataclass(frozen=True)
class Choice:
    """One way to aggregate.

    Attributes:
        tie_break: which positions of the split count go first.
        few_votes: what a kept position gets that has fewer votes than the bar.
        digits: digits a word, None for changes that are not quantised.
        clip: in row RMS.
        bar: fewest votes of a position whose values are summed.
    """

    tie_break: TieBreak = "relative magnitude"
    few_votes: FewVotes = "base weight"
    digits: int | None = None
    clip: str = _DEFAULTS.clip
    bar: int = _DEFAULTS.minimum_contributors + _DEFAULTS.dropout_margin


def variations() -> dict[str, Choice]:
    """Name -> choice, the reference first."""
    exact = Choice()
    ties: tuple[TieBreak, ...] = ("magnitude", "position", "hash", "relative magnitude, a row at a time")
    few: tuple[FewVotes, ...] = ("average all the same (not private)", "zero")
    return (
        {"not quantised": exact}
        | {f"not quantised, tie-break: {tie}": replace(exact, tie_break=tie) for tie in ties}
        | {f"not quantised, too few votes: {weight}": replace(exact, few_votes=weight) for weight in few}
        | {f"not quantised, bar {bar}": replace(exact, bar=bar) for bar in (4, 5)}
        | {
            f"{digits} digits a word, clip {clip}": replace(exact, digits=digits, clip=clip)
            for clip in ("1", "0.5", "2")
            for digits in range(3, 11)
        }
    )


def aggregate(
    choice: Choice, W: NDArray[Any], kept_by: NDArray[np.bool_], new: NDArray[Any], pattern: Pattern
) -> NDArray[Any]:
    """The new weight of one tensor.

    Args:
        choice: how.
        W: base weight, shape (outputs, inputs).
        kept_by: every institution's mask, bool, shape (n, outputs, inputs).
        new: every institution's weight, same shape.
        pattern: the target.
    """
    clients = len(kept_by)
    counts = kept_by.sum(axis=0, dtype=np.uint8)
    scales = row_scales(W)
    kept = _mask(choice, counts, W, pattern)
    eligible = kept & (counts >= (1 if choice.few_votes.startswith("average") else choice.bar))
    if choice.few_votes == "zero":
        W = np.where(eligible | ~kept, W, np.zeros((), W.dtype))
    if choice.digits is None:
        change = (kept_by * (new - W)).sum(axis=0) / np.maximum(counts, 1)
        return np.where(kept, np.where(eligible, W + change, W), 0).astype(W.dtype)
    packing = values_packing(clients, choice.digits)
    quantiser = Quantiser.of(scales, packing.top // 2, Fraction(choice.clip))
    sums = np.zeros(np.count_nonzero(eligible), np.uint64)
    for mask, weight in zip(kept_by, new, strict=True):
        sums += quantiser.encode(weight, W, mask, eligible)
    return average(W, kept, eligible, counts, sums, quantiser, clients)


def _mask(choice: Choice, counts: NDArray[Any], W: NDArray[Any], pattern: Pattern) -> NDArray[np.bool_]:
    scales = row_scales(W)
    if choice.tie_break == "relative magnitude":
        return expand_mask(counts, W, scales, pattern)
    if not isinstance(pattern, Unstructured):
        raise ConfigError("Tie-breaks are compared for unstructured sparsity only.", "Give such a run.")
    if choice.tie_break == "relative magnitude, a row at a time":
        rows = [
            expand_tensor(count, partial(np.take, np.abs(row)), pattern.zeros(row.size))
            for count, row in zip(counts, W, strict=True)
        ]
        return np.stack(rows)
    flat = np.abs(W).reshape(-1)
    keys: dict[str, Callable[[NDArray[np.intp]], NDArray[Any]]] = {
        "magnitude": lambda positions: flat[positions],
        "position": lambda positions: positions,
        "hash": lambda positions: np.random.default_rng(0).permutation(W.size)[positions],
    }
    return expand_tensor(counts.reshape(-1), keys[choice.tie_break], pattern.zeros(W.size)).reshape(W.shape)


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run of one round with SparseGPT and --keep-work.")],
    only: Annotated[str, typer.Option(help="Only choices whose name contains this.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Perplexity of every way to aggregate, on the run's own held-out text."""
    results = Results.model_validate_json((run / "results.json").read_text(encoding="utf-8"))
    config = RunConfig.model_validate(results.config)
    steps = TerminalSteps(Console(stderr=True))
    with steps.step("load model and text") as advance:
        heldout = load_windows(config, load_tokenizer(config.model), advance).heldout
        model = load_model(
            config.model, config.pruning.dtype, PruneSettings(device=config.pruning.device).torch_device()
        )
    base = LayerStore(run / "work" / "base")
    institutions = [LayerStore(run / "work" / "round-0" / member.name) for member in config.institution]
    pattern = parse_pattern(config.pruning.pattern[-1])
    measured: dict[str, float] = {}
    for name, choice in variations().items():
        if only in name:
            with steps.step(name) as advance, TemporaryDirectory(dir=run) as temporary:
                store = LayerStore(Path(temporary))
                for layer in decoder_layers(model):
                    store.write(
                        layer.index,
                        {
                            linear.name: aggregate(
                                choice,
                                base.weights(layer.index, linear.name),
                                np.stack([one.kept(layer.index, linear.name) for one in institutions]),
                                np.stack([one.weights(layer.index, linear.name) for one in institutions]),
                                pattern,
                            )
                            for linear in layer.linears
                        },
                    )
                load_weights(model, store)
                measured[name] = evaluate_kinds(model, heldout, progress=advance)["mix"]
    if as_json:
        typer.echo(json.dumps(measured))
        return
    reference = measured.get("not quantised")
    table = Table("choice", "perplexity, mix", "against not quantised")
    for name, value in measured.items():
        table.add_row(name, f"{value:.3f}", f"{value / reference - 1:+.2%}" if reference else "")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
