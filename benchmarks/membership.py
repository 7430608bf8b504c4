"""How well an adversary tells calibration windows from others, on a real model: with and without noise.

The demo's institutions prune the first layers of the model, each by itself; seen are one institution's own update, as
plain FedSpaLLM has it sent, and the sums of all, as they are published here. Half of the candidates are windows that
the first institution calibrated on, half are other windows of its text. With an epsilon every institution adds noise as
a run does; the price is that of a whole run, of which the other layers are not made, since the adversary does not look
at them. Bounds are those of a run.

"kept" looks at how many weights of each input were kept, "error" at the layer-wise errors of the new weights
(SparseGPT), and "moments" at the sum that layers were pruned from, if that is what is published. "bound" is what no
adversary exceeds, by epsilon alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Optional

import torch
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console

from fedspallm_secure.charter import parse_pattern
from fedspallm_secure.cli.cache import CACHE
from fedspallm_secure.cli.progress import TerminalSteps
from fedspallm_secure.evaluation import auc_bound
from fedspallm_secure.messages import Identity
from fedspallm_secure.privacy import Budget, Ledger
from fedspallm_secure.pruning import PruneSettings
from fedspallm_secure.runtime import Advance
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.demo import demo_config
from fedspallm_secure.runtime.membership import LAYERS, Seen, adversary_windows, attack, pruned_by
from fedspallm_secure.runtime.model import load_model, load_tokenizer
from fedspallm_secure.runtime.private_pruning import PrivateInstitution
from fedspallm_secure.runtime.public_text import PublicInput, PublicMoments, public_inputs, public_windows
from fedspallm_secure.runtime.sections import OFF
from fedspallm_secure.runtime.windows import load_windows

_USUAL = (OFF, "16", "8", "4", "2", "1")


def measure(config: RunConfig, epsilons: list[str], steps: TerminalSteps) -> dict[str, Any]:
    """Areas under the ROC curve for every epsilon.

    Args:
        config: of the run, without privacy; its first institution is attacked.
        epsilons: of the run, decimal text, or `OFF`.
        steps: where progress is shown.
    """
    method, settings = config.pruning.method, PruneSettings(**config.pruning.solver)
    pattern = parse_pattern(config.pruning.pattern[-1])
    with steps.step("load model and text") as advance:
        tokenizer = load_tokenizer(config.model)
        calibration = load_windows(config, tokenizer, advance).calibration
        candidates = {
            member.name: adversary_windows(member, config, tokenizer, calibration[member.name])
            for member in config.institution
        }
        model = load_model(config.model, config.pruning.dtype, torch.device("cpu"))
    noisy = [epsilon for epsilon in epsilons if epsilon != OFF]
    inputs: dict[int, list[PublicInput]] = {}
    public = torch.empty(0)
    if noisy:
        with steps.step("bounds from public text") as advance:
            public = public_windows(config, tokenizer)
            inputs = public_inputs(
                model,
                public,
                diagonal=method == "wanda",
                quantile=Fraction(config.privacy.clip),
                settings=settings,
                advance=advance,
            )

    def prune(windows: torch.Tensor, private: PrivateInstitution | None = None) -> Seen:
        release = None if private is None else (lambda layer, each: private.release(0, layer, each))
        return pruned_by(model, windows, method=method, pattern=pattern, settings=settings, release=release)

    def everybody(title: str, one: Callable[[str], Seen]) -> list[Seen]:
        with steps.step(title) as advance:
            return [_told(one(name), number, len(candidates), advance) for number, name in enumerate(candidates, 1)]

    expected = everybody("shadow models", lambda name: prune(candidates[name].reference))
    releases: dict[str, tuple[Seen, Seen]] = {}
    bounds: dict[str, float] = {}
    for epsilon in epsilons:
        with TemporaryDirectory() as folder:

            def one(name: str, epsilon: str = epsilon, folder: str = folder) -> Seen:
                if epsilon == OFF:
                    return prune(candidates[name].members)
                signer = Identity(name, Ed25519PrivateKey.generate())
                budget = Budget(epsilon=epsilon, delta=config.privacy.delta)
                with Ledger(Path(folder) / f"{name}.jsonl", signer, budget) as ledger:
                    private = PrivateInstitution(
                        ledger,
                        data=name,
                        run="0" * 64,
                        inputs=inputs,
                        public=PublicMoments(
                            model, public, [sorted(inputs)], diagonal=method == "wanda", settings=settings
                        ),
                        rounds=[sorted(inputs)],
                        epsilon=epsilon,
                        entropy=os.urandom,
                    )
                    assert private.multiplier is not None
                    bounds[epsilon] = auc_bound(sqrt(private.releases) / private.multiplier)
                    return prune(candidates[name].members, private)

            seen = everybody(f"prune, epsilon {epsilon}", one)
        releases[f"{epsilon} one institution"] = seen[0], expected[0]
        releases[f"{epsilon} sums of all"] = Seen.together(seen), Seen.together(expected)
    with steps.step("candidates"):
        areas = attack(
            model, next(iter(candidates.values())), releases, settings, errors=method == "sparsegpt", layers=LAYERS
        )
    return {
        "attacked": next(iter(candidates)),
        "method": method,
        "institutions": len(candidates),
        "windows": config.pruning.windows,
        "window": config.pruning.window,
        "layers": LAYERS,
        "areas": {label: {name: asdict(area) for name, area in found.items()} for label, found in areas.items()},
        "bounds": bounds,
    }


def _told(seen: Seen, done: int, total: int, advance: Advance) -> Seen:
    advance(done, total)
    return seen


def main(
    epsilon: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help=f"Of a run, or {OFF}; may be given several times.", show_default=" ".join(_USUAL)),
    ] = None,
    first: Annotated[str, typer.Option(help="The institution that is attacked.")] = "news",
    setting: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the demo's configuration."),
    ] = None,
    cache: Annotated[Path, typer.Option(envvar="FEDSPALLM_CACHE", help="Folder of fetched files.")] = CACHE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Area under the ROC curve of telling members from others, with a 95 % interval."""
    steps = TerminalSteps(Console(stderr=True))
    config = demo_config(None, cache, setting or [], steps)
    order = sorted(config.institution, key=lambda member: member.name != first)
    found = measure(config.model_copy(update={"institution": order}), epsilon or list(_USUAL), steps)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for label, scores in found["areas"].items():
        for name, area in scores.items():
            typer.echo(f"{label:24} {name:8} {area['value']:.2f}  {area['low']:.2f} to {area['high']:.2f}")
    for each, bound in found["bounds"].items():
        typer.echo(f"{each:24} {'bound':8} {bound:.2f}")


if __name__ == "__main__":
    typer.run(main)
