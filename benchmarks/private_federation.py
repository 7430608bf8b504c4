"""Institutions of the demo that prune, or measure their text, with noise; and what their secure sums would give.

Everything is as in a run but for the sums, which are computed in the clear, since masks cancel exactly. Of weights that
leaves out the rounding of changes to a few bits, which `benchmarks.choices` measures. Statistics are pooled once, on
the dense model: one walk through it serves all epsilons, as only the noise differs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from benchmarks.choices import Choice, aggregate
from fedspallm_secure.aggregation import draw_diagonal, draw_matrix, prune_from_diagonal, prune_from_moment
from fedspallm_secure.charter import Pattern, parse_pattern
from fedspallm_secure.cli.progress import TerminalSteps
from fedspallm_secure.evaluation import evaluate_kinds
from fedspallm_secure.messages import Identity
from fedspallm_secure.privacy import (
    Budget,
    Ledger,
    add_noise,
    add_symmetric_noise,
    multiplier_for,
    public_scale,
    share_of_noise,
    to_diagonal,
    to_matrix,
    variance_for,
    whole_scale,
)
from fedspallm_secure.pruning import DecoderLayer, InputMoment, PruneSettings, decoder_layers, layer_moments, prune
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.demo import demo_config
from fedspallm_secure.runtime.membership import LAYERS, Candidates, Seen, adversary_windows, pruned_by
from fedspallm_secure.runtime.model import load_model, load_tokenizer
from fedspallm_secure.runtime.private_pruning import PrivateInstitution, clipped_sums
from fedspallm_secure.runtime.public_text import PublicInput, PublicMoments, public_inputs, public_windows
from fedspallm_secure.runtime.sections import OFF
from fedspallm_secure.runtime.windows import load_windows
from fedspallm_secure.workspace import LayerStore

__all__ = ["Aggregate", "Averaged", "Pooled", "Setting", "Unit", "config_of"]

Aggregate = Literal["weights", "statistics"]
"""What is summed."""

_INSTITUTIONS: Final = 3
_COLLUDERS: Final = 1
_WINDOWS: Final = {"wanda": 256, "sparsegpt": 64}
_SHORT: Final = ("pruning.window=32", "pruning.batch=8")


@dataclass(frozen=True)
class Unit:
    """What is measured at a time.

    Attributes:
        method: how weights are chosen.
        aggregate: what is summed.
        seed: of windows; noise is drawn from the system.
    """

    method: Literal["wanda", "sparsegpt"]
    aggregate: Aggregate
    seed: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.method}-{self.aggregate}-{self.seed}.json"


def config_of(unit: Unit, cache: Path, settings: Sequence[str], steps: TerminalSteps) -> RunConfig:
    """The demo's, with a few institutions and many short windows; `settings` are further KEY=VALUE."""
    own = [f"pruning.windows={_WINDOWS[unit.method]}", *_SHORT, *settings, f"seed={unit.seed}"]
    config = demo_config(None, cache, own, steps)
    return config.model_copy(update={"institution": config.institution[:_INSTITUTIONS]})


class Setting:
    """A model, its dense weights, and text.

    Args:
        unit: what is measured.
        config: of the demo.
        steps: where progress is shown.
        evaluated: tokens of a held-out window.
    """

    def __init__(self, unit: Unit, config: RunConfig, steps: TerminalSteps, evaluated: int = 256) -> None:
        self.unit, self.config, self.steps = unit, config, steps
        self.diagonal = unit.method == "wanda"
        self.settings = PruneSettings(**config.pruning.solver)
        self.pattern: Pattern = parse_pattern(config.pruning.pattern[-1])
        with steps.step("load model and text") as advance:
            tokenizer = load_tokenizer(config.model)
            calibration = load_windows(config, tokenizer, advance).calibration
            pruning = config.pruning.model_copy(update={"window": evaluated, "windows": 1})
            long = config.model_copy(update={"pruning": pruning})
            self.heldout = load_windows(long, tokenizer, advance).heldout
            self.candidates: dict[str, Candidates] = {
                member.name: adversary_windows(member, config, tokenizer, calibration[member.name])
                for member in config.institution
            }
            self.public = public_windows(config, tokenizer)
            self.model = load_model(config.model, config.pruning.dtype, torch.device("cpu"))
        self.layers = decoder_layers(self.model)
        self.dense = {linear.name: linear.matrix().clone() for layer in self.layers for linear in layer.linears}

    def restore(self) -> None:
        """Make the model dense again."""
        for layer in self.layers:
            for linear in layer.linears:
                linear.assign(self.dense[linear.name])

    def prune(self, windows: torch.Tensor, title: str, **more: Any) -> None:
        """Prune the dense model."""
        self.restore()
        with self.steps.step(title) as advance:
            prune(
                self.model,
                windows,
                method=self.unit.method,
                pattern=self.pattern,
                settings=self.settings,
                progress=advance,
                **more,
            )

    def perplexity(self, title: str) -> dict[str, float]:
        """Of the model as it is."""
        with self.steps.step(f"perplexity, {title}") as advance:
            return evaluate_kinds(self.model, self.heldout, progress=advance)

    def bounds(self, scale: Callable[[NDArray[Any]], NDArray[np.float64]]) -> dict[int, list[PublicInput]]:
        """Of every input, from public text, whitened by `scale`."""
        with self.steps.step("bounds from public text") as advance:
            return public_inputs(
                self.model,
                self.public,
                diagonal=self.diagonal,
                quantile=Fraction(self.config.privacy.clip),
                settings=self.settings,
                scale=scale,
                advance=advance,
            )

    def expected(self) -> Seen:
        """What the adversary expects to be published, of windows of its own."""
        with self.steps.step("shadow models"):
            return Seen.together(
                [
                    pruned_by(
                        self.model,
                        one.reference,
                        method=self.unit.method,
                        pattern=self.pattern,
                        settings=self.settings,
                    )
                    for one in self.candidates.values()
                ]
            )


class Averaged:
    """Every institution prunes by itself; masks are counted, and kept weights averaged."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._inputs = setting.bounds(public_scale)

    def federate(self, epsilon: str) -> Seen:
        """Put the federated model in place; returns what was published of the first layers."""
        s = self._setting
        with TemporaryDirectory() as folder:
            stores = {name: LayerStore(Path(folder) / name) for name in s.candidates}
            for name, own in s.candidates.items():
                title, store = f"epsilon {epsilon}, prune at {name}", stores[name]
                if epsilon == OFF:
                    s.prune(own.members, title, store=store)
                    continue
                budget = Budget(epsilon=epsilon, delta=s.config.privacy.delta)
                signer = Identity(name, Ed25519PrivateKey.generate())
                with Ledger(Path(folder) / f"{name}.jsonl", signer, budget) as ledger:
                    private = self._private(ledger, name, epsilon)
                    s.prune(
                        own.members,
                        title,
                        store=store,
                        release=lambda layer, each, p=private: p.release(0, layer, each),
                    )
            s.restore()
            seen: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, NDArray[np.float64]]]]
            seen = [({}, {}, {}) for _ in stores]
            for layer in s.layers:
                for linear in layer.linears:
                    W = s.dense[linear.name].numpy()
                    kept = np.stack([store.kept(layer.index, linear.name) for store in stores.values()])
                    new = kept * W
                    if not s.diagonal:
                        new = np.stack([store.weights(layer.index, linear.name) for store in stores.values()])
                    linear.assign(torch.from_numpy(aggregate(Choice(), W, kept, new, s.pattern)))
                    if layer.index < LAYERS:
                        for one, mask, weight in zip(seen, kept, new, strict=True):
                            one[0][linear.name] = torch.from_numpy(mask).float()
                            one[1][linear.name] = torch.from_numpy(weight)
        return Seen.together([Seen(*one) for one in seen])

    def _private(self, ledger: Ledger, name: str, epsilon: str) -> PrivateInstitution:
        s = self._setting
        every = sorted(self._inputs)
        return PrivateInstitution(
            ledger,
            data=name,
            run="0" * 64,
            inputs=self._inputs,
            public=PublicMoments(s.model, s.public, [every], diagonal=s.diagonal, settings=s.settings),
            rounds=[every],
            epsilon=epsilon,
            entropy=os.urandom,
        )


class Pooled:
    """Second moments of the dense model's inputs are summed, once, and everybody prunes from the sum."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._inputs = setting.bounds(whole_scale)
        self._plain: dict[str, NDArray[np.float64]] = {}
        self._clipped: dict[str, NDArray[np.int64]] = {}
        for name, own in setting.candidates.items():
            with setting.steps.step(f"measure at {name}") as advance:
                for layer, _ in layer_moments(
                    setting.model, own.members, diagonal=setting.diagonal, settings=setting.settings, release=self._add
                ):
                    advance(layer.index + 1, len(setting.layers))

    def federate(self, epsilon: str, times: int = 1) -> Seen:
        """Put the federated model in place; returns what was published of the first layers.

        Args:
            epsilon: of the noise, or "inf".
            times: by which noise is divided, as if there were so many times as many records, like these.
        """
        s = self._setting
        s.restore()
        moments = {}
        with s.steps.step(f"epsilon {epsilon}, prune from the sum") as advance:
            for layer in s.layers:
                linears = {linear.name: linear for linear in layer.linears}
                for one in self._inputs[layer.index]:
                    moment, published = self._sum(one, epsilon, times)
                    W = [s.dense[name].numpy() for name in one.tensors]
                    if moment.ndim == 1:
                        new = prune_from_diagonal(W, moment, s.pattern)
                    else:
                        damping = Fraction(str(s.config.pruning.damping))
                        new = prune_from_moment(W, moment, s.pattern, damping, s.config.pruning.block)
                    for name, weight in zip(one.tensors, new, strict=True):
                        linears[name].assign(torch.from_numpy(weight))
                    if layer.index < LAYERS:
                        moments[one.name] = published
                advance(layer.index + 1, len(s.layers))
        return Seen({}, {}, moments)

    def _add(self, layer: DecoderLayer, windows: Iterator[list[InputMoment]]) -> list[InputMoment]:
        inputs = self._inputs[layer.index]

        def each() -> Iterator[list[InputMoment]]:
            for moments in windows:
                for one, moment in zip(inputs, moments, strict=True):
                    total = moment.total.numpy()
                    if one.name in self._plain:
                        self._plain[one.name] += total
                    else:
                        self._plain[one.name] = total.copy()
                yield moments

        sums, moments = clipped_sums(inputs, each())
        for one, total in zip(inputs, sums, strict=True):
            self._clipped[one.name] = total + self._clipped.get(one.name, 0)
        return list(moments)

    def _sum(self, one: PublicInput, epsilon: str, times: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What everybody prunes from, a matrix or a diagonal, and the diagonal that was published."""
        if epsilon == OFF:
            moment = self._plain[one.name].astype(np.float64)
            diagonal = _diagonal(moment)
            first = one is self._inputs[0][0]  # whose matrix tells all counts of tokens
            return (diagonal if first else moment), diagonal
        released, variance = self._released(one, self.multiplier(epsilon) / times)
        positive = np.maximum(_diagonal(released), sqrt(variance))
        return _unscaled(_drawn(released, variance), one.scale), _unscaled(positive, one.scale)

    def _released(self, one: PublicInput, multiplier: float) -> tuple[NDArray[np.float64], float]:
        """The sum with noise, of scaled inputs, and the variance of the noise on its diagonal."""
        institutions = len(self._setting.candidates)
        variance = variance_for(multiplier, one.clipping.bound)
        added = institutions * share_of_noise(variance, institutions, _COLLUDERS, 0)
        total = self._clipped[one.name].copy()
        if one.diagonal:
            add_noise(total, added, os.urandom)
            released = to_diagonal(total, one.clipping)
        else:
            add_symmetric_noise(total, one.inputs, added, os.urandom)
            released = to_matrix(total, one.inputs, one.clipping)
        return released, float(np.ldexp(float(added), 2 * one.clipping.exponent))

    def multiplier(self, epsilon: str) -> float:
        """Of the noise on every release."""
        releases = sum(len(of_layer) for of_layer in self._inputs.values())
        return multiplier_for(float(epsilon), float(self._setting.config.privacy.delta), releases)


def _diagonal(moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a matrix, or of what is one already."""
    return moment if moment.ndim == 1 else np.diagonal(moment).copy()


def _drawn(released: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    """What everybody prunes from, as SPEC section 22.2 has it: a matrix, or a diagonal."""
    diagonal = draw_diagonal(_diagonal(released), variance)
    if released.ndim == 1:
        return diagonal
    moment = released.copy()
    np.fill_diagonal(moment, diagonal)
    drawn = draw_matrix(moment, variance)
    return diagonal if drawn is None else drawn


def _unscaled(moment: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """A diagonal or matrix of the inputs themselves."""
    if moment.ndim == 1:
        return moment * scale
    root = np.sqrt(scale)
    return moment * root[:, None] * root
