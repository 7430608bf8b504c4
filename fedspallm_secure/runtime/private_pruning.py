"""Local pruning under differential privacy, wired into a run: noise, and one ledger an institution.

An institution's text reaches its pruner only through the second moments of its layers' inputs. With privacy on, each
window's moments are clipped and added up as whole numbers, noise is added, what it hides is taken from public text
instead, and a layer is pruned from that. Each institution adds all of its noise itself, so it trusts nobody, the server
included. Whatever comes afterwards follows from what was released.

How much noise follows from epsilon, delta and the number of an institution's releases in the whole run: distinct inputs
of the layers that it prunes, in all rounds. That number and the bounds come from public text through the base model.

A layer is one line of the ledger. It is written when the layer's sums are complete, before noise is drawn; a run that
is killed between the two has spent that layer, and has to spend it again.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.charter import load_key, save_key
from fedspallm_secure.errors import LocalProtocolError
from fedspallm_secure.evaluation import LedgerHead, RunPrivacy, SpentPrivacy
from fedspallm_secure.messages import Identity
from fedspallm_secure.privacy import (
    Gaussian,
    Ledger,
    Release,
    Use,
    epsilon_together,
    multiplier_for,
    repair_diagonal,
    repair_matrix,
    to_diagonal,
    to_matrix,
)
from fedspallm_secure.pruning import DecoderLayer, InputMoment
from fedspallm_secure.rounds import RoundPlan
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.public_text import PublicInput, PublicMoments
from fedspallm_secure.workspace import make_folder

__all__ = [
    "NOT_COVERED",
    "LedgerKeeper",
    "PrivateInstitution",
    "PrivatePruning",
    "clipped_sums",
]

NOT_COVERED: Final = (
    "how many windows there are",
    "errors, and how long steps take",
    "perplexities of the run's report, on held-out text of the institutions",
    "perplexities of models pruned alone or centrally, which are pruned without noise",
)
"""What a run tells of the text besides, without noise."""

_MOST_OF_A_NAME = 160

Entropy = Callable[[int], bytes]


def clipped_sums(
    inputs: Sequence[PublicInput], windows: Iterable[Sequence[InputMoment]]
) -> tuple[list[NDArray[np.int64]], Sequence[InputMoment]]:
    """The sums of one layer's clipped moments, exactly: one window more or less moves each by its bound at most.

    Args:
        inputs: of the layer.
        windows: each window's moments, at least one.

    Returns:
        One sum an input, int64, and the last window's moments, for who sees them.
    """
    sums: list[NDArray[np.int64]] = []
    moments: Sequence[InputMoment] = ()
    for moments in windows:
        parts = [part.clipped(moment.total) for part, moment in zip(inputs, moments, strict=True)]
        if sums:
            for total, part in zip(sums, parts, strict=True):
                total += part
        else:
            sums = parts
    return sums, moments


class LedgerKeeper(ABC):
    """One institution's ledger and noise.

    Args:
        ledger: open.
        inputs: of every decoder layer, with public bounds.
        rounds: the layers that it works on, a round.
        entropy: where the noise comes from.
    """

    multiplier: float | None
    """Of the noise on each release, over its bound; None for an institution too small for even one layer."""

    def __init__(
        self,
        ledger: Ledger,
        inputs: Mapping[int, Sequence[PublicInput]],
        rounds: Sequence[Sequence[int]],
        entropy: Entropy,
    ) -> None:
        self.ledger = ledger
        self.releases = sum(len(inputs[layer]) for layers in rounds for layer in layers)
        self._inputs = inputs
        self._entropy = entropy

    @abstractmethod
    def use(self, number: int, layer: int) -> Use:
        """What one layer takes in round `number`: a line of the ledger."""

    def beside(self, number: int, layer: int, moments: Sequence[InputMoment]) -> Sequence[InputMoment]:
        """What `given` is handed beside the sums, an input each: the last window's `moments`, if nothing else."""
        return moments

    @abstractmethod
    def given(self, noisy: NDArray[np.int64], release: Release, moment: InputMoment) -> InputMoment:
        """What becomes of a sum with noise in it, given what stands beside it."""

    def release(self, number: int, layer: DecoderLayer, windows: Iterator[list[InputMoment]]) -> list[InputMoment]:
        """The moments of a layer with noise in them, in round `number`: a `pruning.Release`, but for the round.

        Args:
            number: the round.
            layer: to be pruned.
            windows: each window's moments.

        Returns:
            The same inputs, with what became of the sums; nothing else of the text.

        Raises:
            LocalProtocolError: the budget does not allow it; nothing was drawn.
            StorageError: the ledger can't be written; nothing was drawn.
        """
        use = self.use(number, layer.index)
        sums, moments = clipped_sums(self._inputs[layer.index], windows)
        moments = self.beside(number, layer.index, moments)
        allowance = self.ledger.spend(use)
        return [
            self.given(allowance.release(release.name, total, self._entropy), release, moment)
            for total, release, moment in zip(sums, use.releases, moments, strict=True)
        ]

    def spent(self) -> SpentPrivacy:
        """What the ledger says now."""
        account = self.ledger.account
        return SpentPrivacy(
            multiplier=self.multiplier,
            releases=self.releases,
            epsilon=account.epsilon,
            key=account.opening.key,
            head=LedgerHead(lines=account.head.lines, digest=account.head.digest),
        )


class PrivateInstitution(LedgerKeeper):
    """An institution that adds all of its noise itself, and prunes from what comes out and public text.

    Args:
        ledger: open.
        data: what its text is called there.
        run: digest of the charter.
        inputs: of every decoder layer, from public text, with scales.
        public: the public text's moments.
        rounds: the layers that it prunes, a round.
        epsilon: what the whole run may cost.
        entropy: where the noise comes from.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        data: str,
        run: str,
        inputs: Mapping[int, Sequence[PublicInput]],
        public: PublicMoments,
        rounds: Sequence[Sequence[int]],
        epsilon: str,
        entropy: Entropy = os.urandom,
    ) -> None:
        super().__init__(ledger, inputs, rounds, entropy)
        delta = float(Fraction(ledger.account.opening.budget.delta))
        self.multiplier = multiplier_for(float(Fraction(epsilon)), delta, self.releases) if self.releases else None
        self._data = data
        self._run = run
        self._public = public
        self._scales = {part.name: part.scale for of_layer in inputs.values() for part in of_layer}

    def use(self, number: int, layer: int) -> Use:
        """What pruning one layer in round `number` takes: a line of the ledger."""
        assert self.multiplier is not None
        inputs = self._inputs[layer]
        return Use(
            data=self._data,
            run=self._run,
            round=number,
            method="wanda" if inputs[0].diagonal else "sparsegpt",
            institutions=1,
            colluders=0,
            dropouts=0,
            releases=tuple(part.planned(self.multiplier) for part in inputs),
            not_covered=NOT_COVERED,
        )

    def beside(self, number: int, layer: int, moments: Sequence[InputMoment]) -> Sequence[InputMoment]:
        """The public text's moments."""
        return self._public.at(number, layer)

    def given(self, noisy: NDArray[np.int64], release: Release, moment: InputMoment) -> InputMoment:
        """The moment to prune from: the public one, changed by what stands out of the noise."""
        scale = self._scales[release.name]
        public = moment.total.cpu().numpy().astype(np.float64)
        if release.kind == "diagonal":
            whitened = to_diagonal(noisy, release.clipping)
            repaired = repair_diagonal(whitened, release.deviation, public, scale)
        else:
            whitened = to_matrix(noisy, release.inputs, release.clipping)
            repaired = repair_matrix(whitened, release.deviation, public, scale)
        return replace(moment, total=torch.from_numpy(repaired).to(moment.total))


class PrivatePruning:
    """All institutions of a simulated run, each with a ledger that this process holds until `close`.

    Args:
        config: of the run, with privacy on.
        folder: of the ledgers, each beside the key that signs it; made if it is missing.
        plans: of all rounds.
        keeper: makes an institution of its name, its ledger, and what its text is called there.
        stored: whether an institution's layer of a round was pruned before: name, round, layer.

    Raises:
        ConfigError: a ledger has another budget, or a key is damaged.
        LocalProtocolError: what is left to be pruned does not fit into an institution's budget. No ledger was spent
            from.
        StorageError: a ledger is held by another process, damaged, or can't be written.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        plans: Sequence[RoundPlan],
        keeper: Callable[[str, Ledger, str], LedgerKeeper],
        stored: Callable[[str, int, int], bool],
    ) -> None:
        self._privacy = config.privacy
        self._institutions: dict[str, LedgerKeeper] = {}
        pruning = config.pruning
        make_folder(folder)
        with ExitStack() as opened:
            for member in config.institution:
                signer = _signer(folder, member.name)
                ledger = Ledger(folder / f"{member.name}.jsonl", signer, self._privacy.whole)
                opened.enter_context(ledger)
                rounds = [plan.layers_of(member.name) for plan in plans]
                data = f"{member.label[:_MOST_OF_A_NAME]}: {pruning.windows} windows of {pruning.window} tokens"
                one = keeper(member.name, ledger, data)
                self._institutions[member.name] = one
                left = [
                    one.use(number, layer)
                    for number, layers in enumerate(rounds)
                    for layer in layers
                    if not stored(member.name, number, layer)
                ]
                _check(member.name, ledger, left)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        """These institutions."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the ledgers."""
        self._opened.close()

    def of(self, name: str, number: int) -> Callable[[DecoderLayer, Iterator[list[InputMoment]]], list[InputMoment]]:
        """How the institution `name` releases moments in round `number`: a `pruning.Release`."""
        return lambda layer, windows: self._institutions[name].release(number, layer, windows)

    def results(self) -> RunPrivacy:
        """What was spent, and what that does not cover."""
        whole = self._privacy.whole
        return RunPrivacy(
            epsilon=self._privacy.epsilon,
            delta=whole.delta,
            epsilon_exchanged=_exchanged(self._privacy.epsilon, whole.delta),
            budget=whole.epsilon,
            unit=self._privacy.unit,
            institutions={name: one.spent() for name, one in self._institutions.items()},
            not_covered=list(NOT_COVERED),
        )


def _check(name: str, ledger: Ledger, left: Sequence[Use]) -> None:
    try:
        ledger.check(left)
    except LocalProtocolError as error:
        raise LocalProtocolError(
            f"{name} has not enough privacy left for this run. {error.problem}",
            "Lower privacy.epsilon, or calibrate on text that was never used, with ledgers of its own.",
        ) from error


def _exchanged(epsilon: str, delta: str) -> str:
    """The epsilon where a window is exchanged for another one: twice as far. Two places, rounded up."""
    multiplier = multiplier_for(float(Fraction(epsilon)), float(Fraction(delta)), 1) / 2
    return f"{ceil(100 * epsilon_together([Gaussian(multiplier, 1)], float(Fraction(delta)))) / 100:.2f}"


def _signer(folder: Path, name: str) -> Identity:
    """The key of a ledger, made with it."""
    path = folder / f"{name}.pem"
    if not path.exists():
        save_key(Ed25519PrivateKey.generate(), path)
    return Identity(name, load_key(path))
