"""The operator gets the plain sums of the institutions' figures, and nobody sees a single institution's."""

from __future__ import annotations

import base64
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest

from fedspallm_secure.rounds import LocalTelemetry, RoundPlan
from fedspallm_secure.rounds.telemetry import ClippedValues, telemetry_lane
from fedspallm_secure.workspace import LayerStore
from tests.rounds.synthetic import Run, Setting
from tests.rounds.vanishing import vanish

_FIGURES = {
    "i0": LocalTelemetry(1_048_583, 3.141593),
    "i1": LocalTelemetry(2_097_169, 2.718282),
    "i2": LocalTelemetry(4_194_319, 4.669202),
    "i3": LocalTelemetry(8_388_617, 2.502907),
    "i4": LocalTelemetry(16_777_259, 6.283185),
}


def _pruned(run: Run, plan: RoundPlan, share: dict[str, float]) -> dict[str, LayerStore]:
    """Everybody keeps everything; a share of each matrix's rows moves by more than the clip, the rest not at all."""
    stores = {}
    for name in run.names:
        stores[name] = LayerStore(run.folder / name)
        for layer in plan.layers_of(name):
            weights, kept = {}, {}
            for tensor in run.tensors(layer):
                new = run.base.weights(layer, tensor.name)
                new[: round(share[name] * tensor.rows)] += 100
                weights[tensor.name], kept[tensor.name] = new, np.ones(new.shape, np.bool_)
            stores[name].write(layer, weights, kept)
    return stores


def test_sums_and_means_are_the_plain_ones(tmp_path: Path) -> None:
    run = Run(Setting(schedule=("0.000001",), shapes=((12, 16), (8, 24))), tmp_path)
    plan = run.plan()
    share = {"i0": 0.0, "i1": 0.25, "i2": 0.5, "i3": 0.75, "i4": 1.0}
    run.round(plan, run.base, _pruned(run, plan, share), _FIGURES)
    telemetry = run.telemetry
    assert telemetry.institutions == 5
    assert telemetry.tokens == sum(figures.tokens for figures in _FIGURES.values())
    assert telemetry.mean_loss == pytest.approx(sum(figures.loss for figures in _FIGURES.values()) / 5, abs=1e-6)
    assert telemetry.mean_clipped == pytest.approx(sum(share.values()) / 5, abs=1e-6)


def test_who_vanished_is_not_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(Setting(schedule=("0.000001",)), tmp_path)
    plan = run.plan()
    vanish(monkeypatch, run, {"i4": "shares"})
    share = {"i0": 0.0, "i1": 0.5, "i2": 0.5, "i3": 1.0, "i4": 1.0}
    run.round(plan, run.base, _pruned(run, plan, share), _FIGURES)
    telemetry = run.telemetry
    assert telemetry.institutions == 4
    assert telemetry.tokens == sum(figures.tokens for name, figures in _FIGURES.items() if name != "i4")
    assert telemetry.mean_clipped == pytest.approx(0.5, abs=1e-6)


def test_who_vanished_after_it_voted_counts_in_the_sums_of_the_votes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Setting(schedule=("0.000001",)), tmp_path)
    plan = run.plan()
    vanish(monkeypatch, run, {"i4": "proofs votes"})
    share = {"i0": 0.0, "i1": 0.5, "i2": 0.5, "i3": 1.0, "i4": 1.0}
    run.round(plan, run.base, _pruned(run, plan, share), _FIGURES)
    assert run.telemetry.institutions == 5
    assert run.telemetry.tokens == sum(figures.tokens for figures in _FIGURES.values())
    assert run.telemetry.mean_clipped == pytest.approx(0.5, abs=1e-6)


def test_an_institution_that_samples_no_layer_has_no_share_of_clipped_changes(tmp_path: Path) -> None:
    setting = Setting(clients=4, layers=3, schedule=("0.000001",), capacities=("1", "1", "1", "0.3"))
    run = Run(setting, tmp_path)
    plan = run.plan()
    run.round(plan, run.base, _pruned(run, plan, dict.fromkeys(run.names, 0.5)))
    assert run.telemetry.institutions == 4
    assert run.telemetry.mean_clipped == pytest.approx(0.5, abs=1e-6)


def test_where_no_changes_are_summed_none_are_said_to_be_clipped(tmp_path: Path) -> None:
    run = Run(Setting(method="wanda"), tmp_path)
    run.round(run.plan(), run.base, run.prune(run.plan(), run.base), _FIGURES)
    assert run.telemetry.mean_clipped is None
    assert run.telemetry.tokens == sum(figures.tokens for figures in _FIGURES.values())


def test_a_figure_too_large_for_its_digit_counts_as_the_largest(tmp_path: Path) -> None:
    run = Run(Setting(method="wanda"), tmp_path)
    figures = _FIGURES | {"i0": LocalTelemetry(10**15, 10**6)}
    run.round(run.plan(), run.base, run.prune(run.plan(), run.base), figures)
    others = sum(figures[name].tokens for name in run.names[1:])
    assert run.telemetry.tokens == 2**28 - 1 + others
    assert run.telemetry.mean_loss == pytest.approx(
        (268.435455 + sum(figures[name].loss for name in run.names[1:])) / 5, abs=1e-6
    )


def test_a_ruined_models_infinite_loss_counts_as_the_largest() -> None:
    assert LocalTelemetry(7, inf).with_votes().tolist() == [7, 2**28 - 1]


def test_a_lane_that_is_handed_in_again_counts_once() -> None:
    first, second = telemetry_lane(0, 3), replace(telemetry_lane(1, 3), name="second")
    clipped = ClippedValues()
    assert clipped.total == (0, 0)
    for lane, values in ((first, (1, 10)), (second, (2, 20)), (first, (5, 8))):
        clipped.note(lane, *values)
    assert clipped.total == (7, 28)


def test_no_institutions_figure_is_in_any_message_or_payload(tmp_path: Path) -> None:
    run = Run(Setting(schedule=("0.000001",)), tmp_path)
    plan = run.plan()
    share = {"i0": 0.0, "i1": 0.25, "i2": 0.5, "i3": 0.75, "i4": 1.0}
    run.round(plan, run.base, _pruned(run, plan, share), _FIGURES)
    blobs = run.transcript.blobs
    words = {int(word) for path in blobs.folder.iterdir() for word in blobs.get(path.name)}
    said = b"".join(base64.b64decode(envelope.payload) for envelope in run.entries())
    single = [number for one in _FIGURES.values() for number in (one.tokens, round(one.loss * 10**6))]
    single += [round(10**6 * part) for part in share.values() if part]
    assert words.isdisjoint(single)
    for number in single:
        assert str(number).encode() not in said
        assert number.to_bytes(4, "big").hex().encode() not in said
    together = sum(figures.tokens for figures in _FIGURES.values())
    assert together in words  # only the published sum is in the clear


def test_the_same_figures_look_different_in_every_round(tmp_path: Path) -> None:
    run = Run(Setting(method="wanda", schedule=("0.3", "0.5")), tmp_path)
    current, seen = run.base, []
    for number in (0, 1):
        plan = run.plan(number)
        _, current = run.round(plan, current, run.prune(plan, current), _FIGURES)
        blobs = run.transcript.blobs
        for message in run.messages(plan):
            if message.kind == "masked":
                seen += [int(word) for word in blobs.get(message.lanes[-1].blob)]
    assert len(seen) == len(set(seen)) == 2 * 2 * len(run.names)
