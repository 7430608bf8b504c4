"""A whole run on one machine: prune at every institution, sum securely, evaluate, write everything down.

Institutions are worked on one after the other, each from the public weights and its own text alone; what they exchange
goes through the protocol's own machines (`embedded`). Pruned layers and perplexities are stored as soon as they exist,
so that a killed run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import count
from math import ceil, log
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from fedspallm_secure.charter import PooledStatistics
from fedspallm_secure.custodian import Elsewhere
from fedspallm_secure.errors import StorageError
from fedspallm_secure.evaluation import (
    Perplexities,
    PerplexityTable,
    Results,
    perplexity,
    write_model_card,
    write_report,
)
from fedspallm_secure.messages import digest
from fedspallm_secure.pruning import PruneSettings, check_finite, load_weights, prune, snapshot
from fedspallm_secure.rounds import LocalTelemetry, PublicWeights, RoundPlan, RoundTelemetry, plan_round
from fedspallm_secure.runtime.agreement import (
    all_signatures,
    check_policies,
    custodian_of,
    make_charter,
    participants_of,
    policies_of,
)
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.embedded import Traffic, run_round
from fedspallm_secure.runtime.keepers import keepers
from fedspallm_secure.runtime.kept_keys import KeptKeys
from fedspallm_secure.runtime.measure import Measured
from fedspallm_secure.runtime.model import load_model, load_tokenizer, origin_of, save_model
from fedspallm_secure.runtime.output import OutputFolder
from fedspallm_secure.runtime.pooling import Measuring, pooled_statistics
from fedspallm_secure.runtime.private_pruning import PrivatePruning
from fedspallm_secure.runtime.public_text import public_windows
from fedspallm_secure.runtime.sections import HERE, STATISTICS
from fedspallm_secure.runtime.steps import Advance, Steps, Timed
from fedspallm_secure.runtime.versions import versions_of
from fedspallm_secure.runtime.windows import load_windows
from fedspallm_secure.transcript import Transcript
from fedspallm_secure.workspace import LayerStore

__all__ = ["simulate"]

_LOSS_WINDOWS = 2  # calibration windows on which an institution measures the loss that it tells: seconds, not minutes
_LARGEST_LOSS = 700.0  # nats a token; the perplexity of more is infinite


def simulate(
    config: RunConfig, out: Path, shown: Steps, *, keep_work: bool = False, vanishing: Sequence[str] = ()
) -> Results:
    """Run the configuration and write `out`: model/, transcript/, results.json, report.html.

    Args:
        config: the run.
        out: folder to make; refused if it is there already.
        shown: where progress is shown.
        keep_work: whether out/work keeps the base's and every institution's layers.
        vanishing: institutions that fall silent in every round once votes are counted.

    Returns:
        What results.json holds.

    Raises:
        FedspallmError: whatever is wrong; an unfinished `out` is called `out.partial`.
    """
    versions = versions_of(torch.get_num_threads())
    started_as = {"config": config.model_dump(mode="json"), "versions": versions}
    folder = OutputFolder(out, started_as | ({"vanishing": list(vanishing)} if vanishing else {}))
    with ExitStack() as held:
        run = _Run(config, folder, Timed(shown), held, vanishing)
        dense = run.measure("dense", run.model_with(run.base))
        final, alone = run.federate()
        perplexity = PerplexityTable(
            dense=dense,
            federated=run.measure("federated", run.model_with(final)),
            alone=alone | {name: run.alone(name) for name in run.to_prune_alone(alone)},
            central=run.central(),
        )
        results = run.results(perplexity, final, versions)
        with run.steps.step("write model and report"):
            run.write(results, final)
    folder.finish(keep_work)
    return results


class _Run:
    """One run: what its steps share."""

    def __init__(
        self, config: RunConfig, folder: OutputFolder, steps: Timed, held: ExitStack, vanishing: Sequence[str]
    ) -> None:
        self.config = config
        self.vanishing = vanishing
        self.folder = folder
        self.steps = steps
        self.names = [member.name for member in config.institution]
        policies = policies_of(config)
        self.settings = PruneSettings(**config.pruning.solver)
        with steps.step("load model and text") as advance:
            self.tokenizer = load_tokenizer(config.model)
            windows = load_windows(config, self.tokenizer, advance)
            self.model = load_model(config.model, config.pruning.dtype, self.settings.torch_device())
            check_finite(self.model)
            self.custodian = custodian_of(config, folder.partial, folder.work / "custodian", steps.say)
            offer = self.custodian.offer if isinstance(self.custodian, Elsewhere) else None
            self.kept = None if offer is None else KeptKeys(folder.work, offer)
            self.participants = participants_of(config, policies, self.custodian, self.kept)
            self.charter = make_charter(
                config, self.model, self.participants, self.custodian, self._pooled_statistics(advance)
            )
            self.plans = [plan_round(self.charter, index) for index in range(self.charter.rounds)]
            check_policies(self.charter, policies)
            self.private = held.enter_context(self._private(advance)) if config.privacy.on else None
            folder.begin()
            if self.kept is not None:
                self.kept.keep(self.participants.everybody)
            self.base = LayerStore(folder.work / "base")
            snapshot(self.model, self.base)
        self.calibration = windows.calibration
        self.measuring = Measuring(self.model, self.calibration, self.plans, self.settings, self.private)
        self.measure = Measured(folder.work / "perplexity.json", windows.heldout, steps)
        self.traffic = Traffic()
        self.telemetry: list[RoundTelemetry] = []
        self.losses: dict[str, float] = {}
        self.model_digest = self.charter.base.model
        self.damping_raised: dict[str, list[str]] = {name: [] for name in self.names}

    def model_with(self, store: LayerStore) -> Callable[[], PreTrainedModel]:
        """The model with the decoder layers of `store`."""

        def load() -> PreTrainedModel:
            load_weights(self.model, store)
            return self.model

        return load

    def federate(self) -> tuple[LayerStore, dict[str, Perplexities]]:
        """All rounds.

        Returns:
            The final layers, and the perplexities of those institutions whose own pruned model came along the way.
        """
        transcript = self.folder.fresh("transcript")
        signatures = all_signatures(self.charter, self.participants, self.custodian)
        Transcript(transcript).write_charter(self.charter, signatures)
        for context in () if self.custodian is None else self.custodian.contexts:
            Transcript(transcript).blobs.put_bytes(context)
        alone: dict[str, Perplexities] = {}
        current = self.base
        for plan in self.plans:
            own, figures = {}, {}
            if self.charter.pooled is not None:
                load_weights(self.model, current)
            for name in self.names:
                if self.charter.pooled is not None:
                    own[name], figures[name] = self._measure_at(name, plan)
                    continue
                own[name], figures[name] = self._prune_at(name, plan, current)
                if self.config.evaluation.alone and self._is_alone(name, plan):
                    alone[name] = self.measure(f"{name} alone", lambda: self.model)
            current = self._sum(plan, current, own, figures, transcript)
        return current, alone

    def alone(self, name: str) -> Perplexities:
        """Perplexities of the model that an institution gets from its own text only."""
        return self.measure(f"{name} alone", lambda: self._prune_whole(f"{name} alone", self.calibration[name]))

    def to_prune_alone(self, known: dict[str, Perplexities]) -> list[str]:
        """The institutions whose own model is still to be made."""
        return [name for name in self.names if name not in known] if self.config.evaluation.alone else []

    def central(self) -> Perplexities | None:
        """Perplexities of the model pruned on everybody's text in one place."""
        if not self.config.evaluation.central:
            return None
        pooled = torch.cat(list(self.calibration.values()))
        return self.measure("central", lambda: self._prune_whole("central", pooled))

    def results(self, perplexity: PerplexityTable, final: LayerStore, versions: dict[str, str]) -> Results:
        """Everything that was measured."""
        weights = {tensor.name: final.weights(tensor.layer, tensor.name) for tensor in self.charter.base.pruned}
        zeros = {name: int(W.size - np.count_nonzero(W)) for name, W in weights.items()}
        origin = origin_of(self.config.model)
        layers = range(self.charter.base.layers)
        of_layer = [[t.name for t in self.charter.base.pruned if t.layer == layer] for layer in layers]
        return Results(
            perplexity=perplexity,
            sparsity={name: zeros[name] / W.size for name, W in weights.items()},
            layers=[sum(zeros[n] for n in group) / sum(weights[n].size for n in group) for group in of_layer],
            cohorts=self._cohorts(),
            uplink_bits_per_parameter=self._uplink_bits(),
            bytes_up={name: self.traffic.total(name, "up") for name in self.names},
            bytes_down={name: self.traffic.total(name, "down") for name in self.names},
            bytes_by_step=self.traffic.plain(),
            telemetry=self.telemetry,
            privacy=None if self.private is None else self.private.results(),
            seconds=self.steps.seconds,
            damping_raised=self.damping_raised,
            base_model=origin.name,
            base_licence=origin.licence,
            model_digest=self.model_digest,
            charter_digest=digest(self.charter),
            config=self.config.model_dump(mode="json"),
            versions=versions,
        )

    def write(self, results: Results, final: LayerStore) -> None:
        """Write the model, its card, the results and the report."""
        save_model(self.model_with(final)(), self.tokenizer, self.folder.partial / "model")
        write_model_card(results, self.folder.partial / "model")
        write_report(results, self.folder.partial / "report.html")
        _write_bytes(self.folder.partial / "results.json", results.model_dump_json(indent=2).encode())

    def _is_alone(self, name: str, plan: RoundPlan) -> bool:
        """Whether what the institution pruned for the round is also what it would have pruned for itself."""
        everything = len(self.plans) == 1 and len(plan.layers_of(name)) == self.charter.base.layers
        return everything and self.private is None  # nobody adds noise against itself

    def _pooled_statistics(self, advance: Advance) -> PooledStatistics | None:
        """What the charter says of pooled statistics, where they are what is summed."""
        if self.config.protocol.aggregate != STATISTICS:
            return None
        windows = public_windows(self.config, self.tokenizer)
        return pooled_statistics(self.config, self.model, windows, self.settings, advance)

    def _private(self, advance: Advance) -> PrivatePruning:
        """The institutions' ledgers, once the bounds are known and everybody has enough left."""
        self._warn_of_little_public_text()
        ledger = self.config.privacy.ledger
        return PrivatePruning(
            self.config,
            self.folder.partial / "ledgers" if ledger == HERE else Path(ledger),
            self.plans,
            keepers(self.config, self.plans, self.model, self.tokenizer, self.settings, advance),
            lambda name, number, layer: self._store(name, number).has(layer),
        )

    def _warn_of_little_public_text(self) -> None:
        """A moment of fewer tokens than numbers is singular, and SparseGPT inverts it."""
        windows, length = self.config.privacy.public_windows, self.config.pruning.window
        widest = max(tensor.columns for tensor in self.charter.base.pruned)
        if self.charter.changes_weights and self.charter.pooled is None and windows * length < widest:
            self.steps.say(
                f"{windows * length} tokens of public text are few for inputs of {widest} numbers: where noise hides "
                "an institution's moments, SparseGPT prunes badly from these. Raise privacy.public_windows, "
                f"{windows} now, to several times {ceil(widest / length)}."
            )

    def _store(self, name: str, number: int) -> LayerStore:
        """Where the layers lie that an institution pruned in a round."""
        return LayerStore(self.folder.work / f"round-{number}" / name)

    def _prune_at(self, name: str, plan: RoundPlan, start: LayerStore) -> tuple[LayerStore, LocalTelemetry]:
        number = plan.context.round
        store = self._store(name, number)
        load_weights(self.model, start)
        with self.steps.step(f"prune at {name}" + (f", round {number + 1}" if len(self.plans) > 1 else "")) as advance:
            if plan.layers_of(name):  # an institution may be too small for even one
                report = prune(
                    self.model,
                    self.calibration[name],
                    method=self.config.pruning.method,
                    pattern=plan.pattern,
                    settings=self.settings,
                    layers=plan.layers_of(name),
                    store=store,
                    progress=advance,
                    release=None if self.private is None else self.private.of(name, number),
                )
                self.damping_raised[name] += [tensor.name for tensor in report.tensors if tensor.damping_raises]
            figures = self._figures(name, plan)
        return store, figures

    def _measure_at(self, name: str, plan: RoundPlan) -> tuple[LayerStore, LocalTelemetry]:
        """The second moments of an institution's text, and its figures, of the model that the round starts from."""
        store = LayerStore(self.folder.fresh(f"work/moments-{name}"))
        with self.steps.step(f"measure at {name}") as advance:  # the rounds together: there may be one a layer
            self.measuring.measure(name, plan, store, advance)
            figures = self._figures(name, plan)
        return store, figures

    def _figures(self, name: str, plan: RoundPlan) -> LocalTelemetry:
        """What the institution tells, in sums only, of the model as it is now; nothing that needs noise."""
        if self.private is not None:
            return LocalTelemetry()
        windows = self.calibration[name]
        reads_text = self.config.pruning.method != "magnitude" and plan.layers_of(name)
        if 0 in plan.charter.layers_of(plan.context.round):
            self.losses[name] = min(log(perplexity(self.model, windows[:_LOSS_WINDOWS])), _LARGEST_LOSS)
        return LocalTelemetry(windows.numel() if reads_text else 0, self.losses[name])

    def _prune_whole(self, label: str, windows: torch.Tensor) -> PreTrainedModel:
        load_weights(self.model, self.base)
        for number, pattern in enumerate(self.charter.patterns):
            with self.steps.step(f"prune {label}") as advance:
                prune(
                    self.model,
                    windows,
                    method=self.config.pruning.method,
                    pattern=pattern,
                    settings=self.settings,
                    store=LayerStore(self.folder.work / label / f"round-{number}"),
                    progress=advance,
                )
        return self.model

    def _sum(
        self,
        plan: RoundPlan,
        current: LayerStore,
        own: dict[str, LayerStore],
        figures: dict[str, LocalTelemetry],
        transcript: Path,
    ) -> LayerStore:
        number = plan.context.round
        output = LayerStore(self.folder.work / f"global-{number + 1}")
        public = PublicWeights(current)
        # Keys, shares and the model; for every sum its survivors, their confirmations, the sum and its proofs; and the
        # custodian's counts. Fewer where some vanish, more where a sum is then repeated.
        answers = len(self.names) * (3 + 4 * (2 if self.charter.changes_weights else 1))
        answers += self.custodian is not None
        plan = plan_round(self.charter, number, self.model_digest)
        if self.kept is not None:
            self.kept.spend()
        with self.steps.step("secure sums") as advance:
            if number == 0:
                for tensor in self.charter.base.pruned:
                    public.check(tensor)
            done = count(1)
            result = run_round(
                plan,
                self.participants,
                public,
                own,
                transcript,
                output,
                self.traffic,
                figures,
                progress=lambda _: advance(min(next(done), answers), answers),
                vanishing=self.vanishing,
            )
        for layer in set(range(self.charter.base.layers)) - set(self.charter.layers_of(number)):
            output.adopt(layer, current)  # whatever an earlier attempt left there
        self.model_digest = result.model
        if result.telemetry is not None:
            self.telemetry.append(result.telemetry)
        return output

    def _cohorts(self) -> list[list[list[str]]]:
        """Pattern of the schedule -> decoder layer -> who worked on it."""
        found = [[list[str]() for _ in range(self.charter.base.layers)] for _ in self.charter.schedule]
        for number, plan in enumerate(self.plans):
            for layer in self.charter.layers_of(number):
                names = [self.names[index] for index in plan.cohorts[layer]]
                found[self.charter.position_of(number)][layer] = names
        return found

    def _uplink_bits(self) -> float:
        """Mean over institutions of bits sent a weight pruned, all rounds together."""
        sent = []
        for index, name in enumerate(self.names):
            weights = sum(
                tensor.rows * tensor.columns
                for plan in self.plans
                for lane in plan.lanes
                if index in lane.cohort
                for tensor in plan.tensors(lane)
            )
            if weights:
                sent.append(8 * self.traffic.total(name, "up") / weights)
        return sum(sent) / len(sent)


def _write_bytes(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error}.", "Free space; then run again.") from error
