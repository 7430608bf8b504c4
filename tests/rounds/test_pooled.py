"""Where statistics are pooled the model is, bit for bit, what follows from the plain sums of those that took part."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.aggregation import draw_diagonal, draw_matrix, prune_from_diagonal, prune_from_moment
from fedspallm_secure.charter import Method, Policy
from fedspallm_secure.errors import CharterError, ModelError
from fedspallm_secure.messages import Again, Masked, Sums, Unproven
from fedspallm_secure.rounds import LocalTelemetry, plan_round
from fedspallm_secure.secagg import diagonals_packing
from fedspallm_secure.workspace import LayerStore
from tests.rounds.pooled_runs import EXPONENT, Exchange, PooledRun, PooledSetting, Summed, check_pooled
from tests.rounds.synthetic import Run, Setting
from tests.rounds.vanishing import AT_ONCE, vanish

_THREE = PooledSetting(clients=3)
_SIX = PooledSetting(clients=6, layers=1, minimum_cohort=5, dropouts=1)  # 4 of the 6 must be left
_GONE = ("i1", "i4")


def _without(run: Run, *names: str) -> list[str]:
    return [name for name in run.names if name not in names]


def _check(run: PooledRun, summed: Summed | None = None) -> LayerStore:
    """The run's first round against the plain sums."""
    plan = run.plan()
    return check_pooled(run, plan, run.base, run.measure(plan), summed)


def _words(run: PooledRun, kind: type[Masked | Sums], of: str = "values") -> dict[str, set[int]]:
    """Lane -> how many words of it were sent, or published, in a sum of the first round."""
    words: dict[str, set[int]] = {}
    for message in run.messages(run.plan()):
        if isinstance(message, kind) and message.sum == of:
            for blob in message.lanes:
                words.setdefault(blob.lane, set()).add(blob.words)
    return words


# Who takes part.


@pytest.mark.parametrize("exchange", ["once", "each layer"])
@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
def test_a_schedule_prunes_every_layer_once_a_pattern_and_no_round_changes_another_layer(
    method: Method, exchange: Exchange, tmp_path: Path
) -> None:
    run = PooledRun(replace(_THREE, method=method, exchange=exchange, schedule=("0.25", "0.5")), tmp_path)
    assert run.charter.rounds == (2 if exchange == "once" else 4)
    current = run.base
    for number in range(run.charter.rounds):
        plan = run.plan(number)
        current = check_pooled(run, plan, current, run.measure(plan))
    for tensor in run.charter.base.pruned:
        zeros = np.count_nonzero(current.weights(tensor.layer, tensor.name) == 0)
        assert zeros == tensor.rows * tensor.columns // 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_pattern_in_groups_of_half_precision_weights_follows_too(dtype: str, tmp_path: Path) -> None:
    _check(PooledRun(replace(_THREE, exchange="once", schedule=("2:4",), dtype=dtype), tmp_path))


def test_only_the_cohort_of_a_rounds_layer_contributes_to_it(tmp_path: Path) -> None:
    setting = PooledSetting(clients=4, minimum_cohort=3, capacities=("1", "1", "1", "0.5"), seed=1)
    run, current, sampled = PooledRun(setting, tmp_path), None, []
    for number in range(2):
        plan = run.plan(number)
        current = check_pooled(run, plan, current or run.base, run.measure(plan))
        sampled.append("i3" in [run.names[index] for index in plan.cohorts[number]])
        for message in run.messages(plan):
            if isinstance(message, Masked):
                mine = sampled[number] or message.sender != "i3"
                assert len(message.lanes) == (len(plan.context.lanes) if mine else 1)  # the operator's lane
    assert sorted(sampled) == [False, True]


@pytest.mark.parametrize("seed", range(8))
def test_a_capacity_is_a_share_of_all_layers_also_where_each_has_a_round_of_its_own(seed: int, tmp_path: Path) -> None:
    capacities, layers = ("1", "1", "1", "0.5"), 6
    schedule = ("0.25", "0.5")
    setting = PooledSetting(
        clients=4, layers=layers, capacities=capacities, schedule=schedule, seed=seed, shapes=((2, 4), (2, 4), (2, 4))
    )
    run = PooledRun(setting, tmp_path)
    plans = [plan_round(run.charter, number) for number in range(run.charter.rounds)]
    for position in range(len(schedule)):
        of_pattern = plans[position * layers : (position + 1) * layers]
        assert [sum(len(plan.layers_of(name)) for plan in of_pattern) for name in run.names] == [6, 6, 6, 3]


# Who vanishes.


@pytest.mark.parametrize(("method", "when"), [("sparsegpt", "shares"), ("wanda", "shares"), ("wanda", AT_ONCE)])
def test_who_vanishes_before_its_diagonals_came_is_in_no_sum(
    method: Method, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PooledRun(replace(_SIX, method=method), tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_GONE, when))
    left = _without(run, *_GONE)
    _check(run, Summed(left, left if method == "sparsegpt" else None, left))


def test_who_vanishes_between_the_sums_counts_with_its_diagonal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PooledRun(replace(_SIX, dropout_margin=2), tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_GONE, "proofs votes"))
    left = _without(run, *_GONE)
    _check(run, Summed(run.names, left, left))
    assert not any(isinstance(said, Again) for said in run.messages(run.plan()))


@pytest.mark.parametrize("margin", [0, 1])
def test_when_more_vanish_than_the_margin_the_matrices_are_summed_again(
    margin: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PooledRun(replace(_SIX, dropout_margin=margin), tmp_path)
    gone = _GONE[: margin + 1]
    vanish(monkeypatch, run, dict.fromkeys(gone, "proofs votes"))
    left = _without(run, *gone)
    _check(run, Summed(run.names, left, left))
    assert [said.gone for said in run.messages(run.plan()) if isinstance(said, Again)] == [gone]


@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
def test_diagonals_that_nobody_can_check_decide_alone_and_no_matrix_is_sent(
    method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PooledRun(replace(_SIX, method=method), tmp_path)
    vanish(monkeypatch, run, {"i1": "survivors votes", "i4": "sums votes"})
    _check(run, Summed(run.names, None, _without(run, *_GONE)))
    assert [said.sum for said in run.messages(run.plan()) if isinstance(said, Unproven)] == ["votes"]
    assert "masked values" not in run.said(run.plan())


def test_matrices_that_nobody_can_check_leave_the_decision_to_the_diagonals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PooledRun(_SIX, tmp_path)
    vanish(monkeypatch, run, {"i1": "sums values"})
    _check(run, Summed(run.names, None, _without(run, "i1")))
    assert [said.sum for said in run.messages(run.plan()) if isinstance(said, Unproven)] == ["values"]
    assert run.telemetry.mean_clipped is None


def test_a_witness_of_the_matrices_keeps_the_parts_of_those_that_vanished_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PooledRun(replace(_SIX, witness="auditor"), tmp_path)
    vanish(monkeypatch, run, {"i1": "sums values"})
    _check(run, Summed(run.names, run.names, _without(run, "i1")))


@pytest.mark.parametrize(("margin", "enough"), [(1, True), (2, False)])
def test_fewer_institutions_than_the_bar_send_no_matrix(
    margin: int, enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = PooledRun(replace(_SIX, dropout_margin=margin), tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_GONE, "shares"))
    left = _without(run, *_GONE)
    assert (len(left) >= run.charter.parameters.bar) is enough
    _check(run, Summed(left, left if enough else None, left))
    for kind in (Masked, Sums):
        *lanes, figures = _words(run, kind).values()
        assert figures != {0}
        assert all((words != {0}) is enough for words in lanes)


# What is kept back.


def test_of_an_input_that_is_kept_back_the_diagonal_is_all_that_is_sent(tmp_path: Path) -> None:
    run = PooledRun(replace(_THREE, layers=1, kept_back=1), tmp_path)
    _check(run)
    first, second = run.plan().lanes
    for kind in (Masked, Sums):
        words = _words(run, kind)
        assert words[first.name] == {0}
        assert words[second.name] == {second.values.words(16 * 15 // 2)}
    assert _words(run, Masked, "votes")[first.name] == {12}


def _payloads(folder: Path, kept_back: int, other: bool) -> set[str]:
    """Names of all payloads of a round in which the first input's matrix lies in i0's files, or another one does."""
    run = PooledRun(replace(_THREE, layers=1, kept_back=kept_back), folder)
    plan = run.plan()
    moments, (first, second) = run.measure(plan), plan.lanes
    diagonal = moments["i0"].weights(0, first.name)
    diagonal = diagonal if diagonal.ndim == 1 else diagonal.diagonal()
    matrix = np.diag(diagonal) + np.float32(other) * np.sqrt(diagonal[:, None] * diagonal) / 9
    np.fill_diagonal(matrix, diagonal)
    moments["i0"].write(0, {first.name: matrix, second.name: moments["i0"].weights(0, second.name)})
    run.round(plan, run.base, moments)
    return {path.name for path in run.transcript.blobs.folder.iterdir()}


@pytest.mark.parametrize("kept_back", [0, 1])
def test_a_matrix_that_is_kept_back_changes_no_payload_and_one_that_is_not_does(kept_back: int, tmp_path: Path) -> None:
    one, other = (_payloads(tmp_path / str(other), kept_back, other) for other in (False, True))
    assert (one == other) is bool(kept_back)


# What goes wrong at an institution.


@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_moments_that_are_not_finite_are_named_and_never_sent(value: float, method: Method, tmp_path: Path) -> None:
    run = PooledRun(replace(_THREE, method=method, layers=1), tmp_path)
    plan = run.plan()
    moments, (first, second) = run.measure(plan), plan.lanes
    bad = moments["i1"].weights(0, second.name)
    bad[(2, 5)[: bad.ndim]] = value
    moments["i1"].write(0, {first.name: moments["i1"].weights(0, first.name), second.name: bad})
    said = rf"i1's second moment of the input of {second.name} is not finite"
    with pytest.raises(ModelError, match=said):
        run.round(plan, run.base, moments)
    assert not any(message.sender == "i1" for message in run.messages(plan) if isinstance(message, Masked))


@pytest.mark.parametrize(("scale", "of"), [(1e6, "votes"), (1e-3, "values")])
def test_a_moment_whose_noise_would_be_cut_off_is_not_sent(scale: float, of: str, tmp_path: Path) -> None:
    run = PooledRun(replace(_THREE, layers=1, noise=(2**20, 2**40)), tmp_path)
    plan = run.plan()
    said = r"i0's second moment of the input of layers\.0\.0\.weight with its noise is beyond what is summed"
    with pytest.raises(ModelError, match=said):
        run.round(plan, run.base, run.measure(plan, scale))
    assert [said for said in run.said(plan) if said == f"masked {of}"] == []


@pytest.mark.parametrize(("method", "deviation"), [("wanda", 300), ("sparsegpt", 300), ("sparsegpt", 30_000)])
def test_with_noise_everybody_prunes_from_what_the_noise_does_not_hide_scaled_back(
    method: Method, deviation: int, tmp_path: Path
) -> None:
    run = PooledRun(replace(_THREE, method=method, layers=1, noise=(2**10, deviation**2)), tmp_path)
    plan, moments = run.plan(), {}
    for name in run.names:
        moments[name] = LayerStore(run.folder / name / "noisy")
        steps = {lane.name: _noisy(run.rng, lane.length) for lane in plan.lanes}
        own = {of: M if method == "sparsegpt" else M.diagonal().copy() for of, M in steps.items()}
        moments[name].write(0, {of: np.ldexp(M, -EXPONENT) for of, M in own.items()})
    _, output = run.round(plan, run.base, moments)
    for lane in plan.lanes:
        total = np.sum([moments[name].weights(0, lane.name) for name in run.names], axis=0)
        noise = plan.pooled(lane).noise
        assert noise is not None
        honest = plan.quorum(lane.cohort) - plan.charter.parameters.colluders
        variance = float(np.ldexp(deviation**2 * len(run.names) / honest, -2 * EXPONENT))
        scale = np.array(noise.scale) / 2**16
        W = [run.base.weights(0, tensor.name) for tensor in plan.tensors(lane)]
        D = draw_diagonal(total if method == "wanda" else total.diagonal(), variance)
        drawn = None
        if method == "sparsegpt":
            np.fill_diagonal(total, D)
            drawn = draw_matrix(total, variance)
            assert (drawn is None) == (deviation > 300)
        if drawn is None:
            due = prune_from_diagonal(W, D * (scale * scale), plan.pattern)
        else:
            due = prune_from_moment(
                W, drawn * np.outer(scale, scale), plan.pattern, Fraction("0.01"), run.setting.block
            )
        for tensor, weight in zip(plan.tensors(lane), due, strict=True):
            assert np.array_equal(output.weights(0, tensor.name), weight)


def _noisy(rng: np.random.Generator, inputs: int) -> NDArray[np.float64]:
    """A moment in steps: one entry of the diagonal less than nothing, as noise can make it."""
    M = np.triu(rng.integers(-400, 401, (inputs, inputs))).astype(np.float64)
    M = np.triu(M, 1) + np.triu(M, 1).T + np.diag(rng.integers(500, 4000, inputs))
    M[2, 2] = -150
    return M


def test_without_noise_what_is_too_large_counts_as_the_largest(tmp_path: Path) -> None:
    run = PooledRun(replace(_THREE, layers=1, method="wanda"), tmp_path)
    plan = run.plan()
    moments = run.measure(plan)
    huge = {lane.name: np.full(lane.length, 1e30, np.float32) for lane in plan.lanes}
    moments["i1"].write(0, huge)
    _, output = run.round(plan, run.base, moments)
    most = diagonals_packing(3).top / 2 * 2.0**-30
    for lane in plan.lanes:
        D = most + sum(np.rint(np.ldexp(moments[name].weights(0, lane.name), 30)) * 2.0**-30 for name in ("i0", "i2"))
        for tensor in plan.tensors(lane):
            (due,) = prune_from_diagonal([run.base.weights(0, tensor.name)], D, plan.pattern)
            assert np.array_equal(output.weights(0, tensor.name), due)


# What the operator is told.


def _alone(run: PooledRun, correlated: int) -> dict[str, LayerStore]:
    """Of each input i0 has the first `correlated` all alike, and the others have zeros: i0's reach the bound."""
    plan, stores = run.plan(), {}
    for name in run.names:
        stores[name] = LayerStore(run.folder / name / "alone")
        moments = {}
        for lane in plan.lanes:
            M = np.eye(lane.length, dtype=np.float32)
            M[:correlated, :correlated] = 1
            moments[lane.name] = M * np.float32(name == "i0")
        stores[name].write(0, moments)
    return stores


def test_figures_are_the_plain_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = PooledRun(replace(_SIX, dropout_margin=1), tmp_path)
    vanish(monkeypatch, run, {"i1": "proofs votes"})
    figures = {name: LocalTelemetry(1000 + index, index / 2) for index, name in enumerate(run.names)}
    run.round(run.plan(), run.base, _alone(run, correlated=7), figures)
    entries = 12 * 11 // 2 + 16 * 15 // 2
    share_of_i0 = 2 * (7 * 6 // 2) / entries
    assert (run.telemetry.institutions, run.telemetry.tokens) == (6, 6015)
    assert run.telemetry.mean_loss == pytest.approx(1.25, abs=1e-6)
    assert run.telemetry.mean_clipped == pytest.approx(share_of_i0 / 5, abs=1e-6)  # of the five that sent matrices


def test_where_no_matrix_is_summed_none_is_said_to_be_clipped(tmp_path: Path) -> None:
    run = PooledRun(replace(_THREE, layers=1, method="wanda"), tmp_path)
    _check(run)
    assert run.telemetry.mean_clipped is None


# What an institution may refuse.


@pytest.mark.parametrize(
    ("make", "setting", "allowed", "summed"),
    [
        (PooledRun, _THREE, "weights", "statistics"),
        (Run, Setting(clients=3), "statistics", "weights"),
    ],
)
def test_an_institution_whose_policy_does_not_allow_what_is_summed_takes_no_part(
    make: Any, setting: Setting, allowed: Literal["weights", "statistics"], summed: str, tmp_path: Path
) -> None:
    run = make(setting, tmp_path)
    plan, policies = run.plan(), run.participants.policies
    own = run.measure(plan) if isinstance(run, PooledRun) else run.prune(plan, run.base)
    run.participants = replace(run.participants, policies=policies | {"i1": Policy(aggregates=(allowed,))})
    with pytest.raises(CharterError, match=f"aggregates: the charter sums {summed}; the policy allows {allowed}"):
        run.round(plan, run.base, own)
    assert not run.transcript.folder.exists()
