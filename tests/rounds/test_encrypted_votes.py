"""Encrypted votes give the counts, the masks and the model that masked votes give, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspallm_secure.messages import Collected, Counted, Encrypted, Release, Sums
from fedspallm_secure.rounds import RoundPlan
from tests.rounds.comparison import check_round
from tests.rounds.synthetic import TWO_SUFFICE, Run, Setting

_SMALL = Setting(clients=4, layers=1, shapes=((8, 12),))
_SETTINGS = {
    "SparseGPT": _SMALL,
    "Wanda, several layers and tensors": replace(_SMALL, method="wanda", layers=2, shapes=((4, 8), (8, 4))),
    "2:4": replace(_SMALL, schedule=("2:4",), method="wanda"),
    "two rounds": replace(_SMALL, schedule=("0.25", "0.5")),
    "one that samples no layer": replace(
        _SMALL, clients=5, layers=3, shapes=((4, 4),), capacities=("1", "1", "0.7", "1", "0.3"), method="wanda"
    ),
    "several ciphertexts a lane": replace(_SMALL, shapes=((300, 300),), method="wanda"),
}


def _counts(run: Run, plan: RoundPlan) -> list[tuple[str, int, str]]:
    """The published counts of each tensor: name, words, digest."""
    (votes,) = (message for message in run.messages(plan) if isinstance(message, Sums) and message.sum == "votes")
    return [(blob.lane, blob.words, blob.blob) for blob in votes.lanes[: len(plan.lanes)]]


def _check_alike(setting: Setting, folder: Path) -> Run:
    """Both ways of counting, round after round, on the same masks and weights; the run with encrypted votes."""
    masked, encrypted = Run(setting, folder / "masked"), Run(replace(setting, ckks=True), folder / "encrypted")
    currents = [masked.base, encrypted.base]
    for number in range(len(setting.schedule)):
        plans = [run.plan(number) for run in (masked, encrypted)]
        pruned = masked.prune(plans[0], currents[0])
        currents[0] = check_round(masked, plans[0], currents[0], pruned)
        currents[1] = check_round(encrypted, plans[1], currents[1], pruned)
        assert masked.result.model == encrypted.result.model
        assert _counts(masked, plans[0]) == _counts(encrypted, plans[1])
    return encrypted


@pytest.mark.parametrize("name", _SETTINGS)
def test_counts_and_model_are_those_of_masked_votes(name: str, tmp_path: Path) -> None:
    _check_alike(_SETTINGS[name], tmp_path)


def test_the_settings_above_exercise_what_they_are_named_for(tmp_path: Path) -> None:
    sampled = Run(_SETTINGS["one that samples no layer"], tmp_path / "sampled").plan()
    assert sampled.layers_of("i4") == ()
    large = Run(replace(_SETTINGS["several ciphertexts a lane"], ckks=True), tmp_path / "large").plan()
    assert large.ckks is not None
    assert large.lanes[0].ciphertext_words > large.ckks.words


@st.composite
def _tiny(draw: st.DrawFn) -> Setting:
    clients = draw(st.integers(2, 6))
    minimum_cohort = draw(st.integers(2, clients))
    contributors = draw(st.integers(2, minimum_cohort))
    layers = draw(st.integers(1, 2))
    full = draw(st.integers(minimum_cohort, clients))  # these suffice to cover every layer
    partial = draw(st.lists(st.sampled_from(["0.1", "0.5", "0.7"]), min_size=clients - full, max_size=clients - full))
    return Setting(
        clients=clients,
        layers=layers,
        shapes=((draw(st.integers(1, 6)), draw(st.sampled_from([4, 8]))),),
        method=draw(st.sampled_from(["sparsegpt", "wanda"])),
        schedule=(draw(st.sampled_from(["0.5", "0.1", "0.999", "2:4", "1:4"])),),
        capacities=("1",) * full + tuple(partial),
        minimum_cohort=minimum_cohort,
        minimum_contributors=contributors,
        dropout_margin=draw(st.integers(0, minimum_cohort - contributors)),
        policy=TWO_SUFFICE,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@settings(max_examples=8, deadline=None)
@given(_tiny())
def test_any_tiny_run_gives_the_same_whichever_way_votes_are_counted(setting: Setting) -> None:
    with TemporaryDirectory() as folder:
        _check_alike(setting, Path(folder))


def test_ciphertexts_are_signed_before_anybody_shows_one_and_nobody_is_asked_for_shares_of_votes(
    tmp_path: Path,
) -> None:
    run = Run(replace(_SMALL, method="wanda", ckks=True), tmp_path)
    plan = run.plan()
    run.round(plan, run.base, run.prune(plan, run.base))
    said = run.said(plan)
    steps = ["encrypted", "survivors votes", "confirm votes", "confirmed votes", "release", "collected", "counted"]
    places = [[at for at, what in enumerate(said) if what == step] for step in steps]
    assert [len(at) for at in places] == [4, 1, 4, 1, 4, 1, 1]
    assert [at for step in places for at in step] == sorted(at for step in places for at in step)
    assert not {"masked votes", "unmask votes", "attest votes"}.intersection(said)
    assert [type(message) for message in run.messages(plan) if message.sender == "custodian"] == [Counted]
    assert {message.sender for message in run.messages(plan) if isinstance(message, Encrypted | Release)} == {
        *run.names
    }
    (collected,) = (message for message in run.messages(plan) if isinstance(message, Collected))
    assert collected.contributors == tuple(run.names)


def test_each_round_has_its_own_key_and_no_figures_of_the_operator(tmp_path: Path) -> None:
    run = Run(replace(_SMALL, schedule=("0.25", "0.5"), method="wanda", ckks=True), tmp_path)
    assert run.charter.votes.backend == "ckks"
    assert len(set(run.charter.votes.contexts)) == 2
    plan = run.plan()
    run.round(plan, run.base, run.prune(plan, run.base))
    assert plan.telemetry is None
    assert run.result.telemetry is None
