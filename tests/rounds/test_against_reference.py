"""A secure round gives the plaintext algorithm's result: masks identical, weights within half a quantisation step."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspallm_secure.workspace import LayerStore
from tests.rounds.comparison import check_round
from tests.rounds.synthetic import DTYPES, TWO_SUFFICE, Run, Setting

_SETTINGS = {
    "SparseGPT": Setting(),
    "SparseGPT whose changes exceed the clip": Setting(clip="0.25", change=0.5),
    "a bar above the minimum": Setting(clients=6, minimum_cohort=5, dropout_margin=2),
    "Wanda": Setting(method="wanda"),
    "magnitude": Setting(method="magnitude", schedule=("0.3",)),
    "2:4": Setting(schedule=("2:4",)),
    "4:8, Wanda": Setting(schedule=("4:8",), method="wanda"),
    "bfloat16": Setting(dtype="bfloat16"),
    "float16": Setting(dtype="float16"),
    "layer sampling, cohorts of 3 and 4": Setting(
        clients=6, layers=5, capacities=("0.2", "0.4", "0.6", "0.8", "1", "0.4"), digits_per_word=7
    ),
    "two rounds": Setting(schedule=("0.25", "0.5")),
    "two rounds of Wanda with layer sampling": Setting(
        clients=5, layers=4, method="wanda", schedule=("0.3", "0.6"), capacities=("0.75", "0.5", "1", "0.75", "0.5")
    ),
    "two rounds in bfloat16 that end in 2:4": Setting(schedule=("0.2", "2:4"), dtype="bfloat16"),
    "many rows": Setting(layers=1, shapes=((400, 256),), digits_per_word=5),
}


def _check_run(run: Run) -> None:
    current = run.base
    for number in range(len(run.setting.schedule)):
        plan = run.plan(number)
        output = check_round(run, plan, current, run.prune(plan, current))
        for tensor in run.charter.base.pruned:
            was, now = (store.weights(tensor.layer, tensor.name) for store in (current, output))
            assert (now[was == 0] == 0).all(), "a zero of the round before came back"
        current = output


@pytest.mark.parametrize("name", _SETTINGS)
def test_a_secure_round_equals_the_plaintext_algorithm(name: str, tmp_path: Path) -> None:
    _check_run(Run(_SETTINGS[name], tmp_path))


def test_the_settings_above_exercise_what_they_are_named_for(tmp_path: Path) -> None:
    sampled = Run(_SETTINGS["layer sampling, cohorts of 3 and 4"], tmp_path / "sampled")
    assert {len(cohort) for cohort in sampled.plan().cohorts} == {3, 4}

    barred = Run(_SETTINGS["a bar above the minimum"], tmp_path / "barred")
    plan = barred.plan()
    pruned = barred.prune(plan, barred.base)
    _, output = barred.round(plan, barred.base, pruned)
    tensor = barred.charter.base.pruned[0]
    votes = np.sum([store.kept(0, tensor.name) for store in pruned.values()], axis=0)
    under = (output.weights(0, tensor.name) != 0) & (votes < 5)
    assert under.any()
    assert np.array_equal(output.weights(0, tensor.name)[under], barred.base.weights(0, tensor.name)[under])

    clipped = Run(_SETTINGS["SparseGPT whose changes exceed the clip"], tmp_path / "clipped")
    (store, *_) = clipped.prune(clipped.plan(), clipped.base).values()
    tensor = clipped.charter.base.pruned[0]
    W, new, kept = clipped.base.weights(0, tensor.name), store.weights(0, tensor.name), store.kept(0, tensor.name)
    assert (np.abs(new - W)[kept] > 0.5).any()


def test_an_institution_that_samples_no_layer_follows_the_round_to_its_end(tmp_path: Path) -> None:
    run = Run(Setting(clients=4, layers=3, capacities=("1", "1", "1", "0.3")), tmp_path)
    assert run.plan().layers_of("i3") == ()
    _check_run(run)


def test_a_tensor_without_an_eligible_position_takes_its_base_weights(tmp_path: Path) -> None:
    run = Run(Setting(layers=1, shapes=((2, 2),), schedule=("0.25",)), tmp_path)
    plan = run.plan()
    name = run.charter.base.pruned[0].name
    W = run.base.weights(0, name)
    pruned = {}
    for index, institution in enumerate(run.names):
        kept = np.zeros((2, 2), np.bool_)
        kept.flat[index % 4] = True  # at most two votes a position
        pruned[institution] = LayerStore(tmp_path / "own" / institution)
        pruned[institution].write(0, {name: np.where(kept, W + 1, 0).astype(W.dtype)}, {name: kept})
    output = check_round(run, plan, run.base, pruned)
    new = output.weights(0, name)
    assert np.array_equal(new[new != 0], W[new != 0])


@st.composite
def _tiny(draw: st.DrawFn) -> Setting:
    clients = draw(st.integers(2, 6))
    minimum_cohort = draw(st.integers(2, clients))
    contributors = draw(st.integers(2, minimum_cohort))
    pattern = draw(st.sampled_from(["0.5", "0.1", "0.75", "0.999", "2:4", "1:4", "1:2"]))
    rows, columns = draw(st.integers(1, 6)), draw(st.sampled_from([4, 8, 12]))
    layers = draw(st.integers(1, 3))
    full = draw(st.integers(minimum_cohort, clients))  # these suffice to cover every layer
    partial = draw(st.lists(st.sampled_from(["0.1", "0.5", "0.7"]), min_size=clients - full, max_size=clients - full))
    return Setting(
        clients=clients,
        layers=layers,
        shapes=((rows, columns), (columns, 8))[: draw(st.integers(1, 2))],
        method=draw(st.sampled_from(["sparsegpt", "wanda"])),
        schedule=(pattern,),
        capacities=("1",) * full + tuple(partial),
        minimum_cohort=minimum_cohort,
        minimum_contributors=contributors,
        dropout_margin=draw(st.integers(0, minimum_cohort - contributors)),
        digits_per_word=draw(st.integers(1, 8)),
        clip=draw(st.sampled_from(["0.5", "1", "2.5"])),
        dtype=draw(st.sampled_from(sorted(DTYPES))),
        change=draw(st.sampled_from([0.01, 0.3, 2.0])),
        policy=TWO_SUFFICE,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@settings(max_examples=25, deadline=None)
@given(_tiny())
def test_any_tiny_run_equals_the_plaintext_algorithm(setting: Setting) -> None:
    with TemporaryDirectory() as folder:
        _check_run(Run(setting, Path(folder)))
