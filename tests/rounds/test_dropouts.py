"""Whoever vanishes, and whenever: the model is the plain one over those that took part, or there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedspallm_secure.charter import Method
from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Again, Survivors, Unmask, Unproven
from tests.rounds.comparison import Parts, check_round
from tests.rounds.synthetic import Run, Setting
from tests.rounds.vanishing import AT_ONCE, vanish

_EIGHT = Setting(clients=8, minimum_cohort=5, dropouts=1, shapes=((12, 16),))  # 5 of the 8 must be left
_GONE = ("i1", "i4", "i6")
_BEFORE_VOTES = (AT_ONCE, "advertised", "shares")
_IN_VOTES = ("survivors votes", "confirmed votes", "sums votes")
_IN_VALUES = ("survivors values", "confirmed values", "sums values")


def _without(run: Run, *names: str) -> list[str]:
    return [name for name in run.names if name not in names]


def _check(run: Run, parts: Parts) -> None:
    """The run's first round against the reference."""
    plan = run.plan()
    check_round(run, plan, run.base, run.prune(plan, run.base), parts)


def _repetitions(run: Run) -> list[tuple[int, tuple[str, ...]]]:
    """(attempt, who was given up) of each repetition of the values sum."""
    return [(said.attempt, said.gone) for said in run.messages(run.plan()) if isinstance(said, Again)]


@pytest.mark.parametrize("when", _BEFORE_VOTES)
@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
def test_who_vanishes_before_it_voted_is_left_out_of_counts_and_average(
    when: str, method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, method=method), tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_GONE, when))
    left = _without(run, *_GONE)
    _check(run, Parts(voted=left, moved=left, stated=left))
    assert run.telemetry.institutions == 5


def test_who_vanishes_after_it_voted_stays_in_the_counts_and_its_change_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, dropout_margin=2), tmp_path)
    vanish(monkeypatch, run, {"i1": "proofs votes", "i4": "proofs votes"})
    left = _without(run, "i1", "i4")
    _check(run, Parts(voted=run.names, moved=left, stated=left))
    assert _repetitions(run) == []


@pytest.mark.parametrize("margin", [0, 1, 2])
def test_when_more_vanish_than_the_margin_the_values_are_summed_again_under_a_bar_raised_by_their_number(
    margin: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, dropout_margin=margin), tmp_path)
    gone = _GONE[: margin + 1]
    vanish(monkeypatch, run, dict.fromkeys(gone, "proofs votes"))
    left = _without(run, *gone)
    _check(run, Parts(voted=run.names, moved=left, stated=left, given_up=gone))
    assert _repetitions(run) == [(1, gone)]
    survivors = [said for said in run.messages(run.plan()) if isinstance(said, Survivors) and said.sum == "values"]
    assert [(said.attempt, said.survivors) for said in survivors] == [(1, tuple(left))]


@pytest.mark.parametrize("when", ["again 1", "advertised 1", "shares 1"])
def test_who_vanishes_from_a_repetition_is_forgiven_as_far_as_its_bar_goes(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, dropout_margin=1), tmp_path)
    vanish(monkeypatch, run, {"i1": "proofs votes", "i4": "proofs votes", "i6": when})
    left = _without(run, *_GONE)
    _check(run, Parts(voted=run.names, moved=left, stated=left, given_up=("i1", "i4")))
    assert _repetitions(run) == [(1, ("i1", "i4"))]


@pytest.mark.parametrize("when", ["again 1", "advertised 1", "shares 1"])
def test_and_beyond_that_the_values_are_summed_a_third_time(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, dropout_margin=0), tmp_path)
    vanish(monkeypatch, run, {"i1": "proofs votes", "i4": when, "i6": when})
    left = _without(run, *_GONE)
    _check(run, Parts(voted=run.names, moved=left, stated=left, given_up=_GONE))
    assert _repetitions(run) == [(1, ("i1",)), (2, _GONE)]


@pytest.mark.parametrize("witness", [None, "auditor"])
@pytest.mark.parametrize("when", _IN_VOTES)
@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
def test_counts_that_nobody_can_check_give_the_mask_on_base_weights_and_no_change_is_sent(
    when: str, method: Method, witness: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, method=method, witness=witness), tmp_path)
    run.participants = replace(run.participants, witness=None)  # if there is one, it has vanished too
    vanish(monkeypatch, run, dict.fromkeys(_GONE, when))
    _check(run, Parts(voted=run.names, moved=None, stated=_without(run, *_GONE)))
    unproven = [said for said in run.messages(run.plan()) if isinstance(said, Unproven)]
    assert [(said.sum, said.missing) for said in unproven] == [("votes", _GONE)]
    assert "masked values" not in run.said(run.plan())


@pytest.mark.parametrize("when", _IN_VALUES)
def test_sums_of_changes_that_nobody_can_check_change_no_weight(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_EIGHT, tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_GONE, when))
    _check(run, Parts(voted=run.names, moved=None, stated=_without(run, *_GONE)))
    unproven = [said for said in run.messages(run.plan()) if isinstance(said, Unproven)]
    assert [(said.sum, said.missing) for said in unproven] == [("values", _GONE)]
    assert run.telemetry.mean_clipped is None


@pytest.mark.parametrize("witness", ["auditor", "i7"])
@pytest.mark.parametrize("when", _IN_VOTES)
def test_with_a_witness_of_the_counts_the_round_goes_on_without_those_that_vanished(
    when: str, witness: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, dropout_margin=2, witness=witness), tmp_path)
    vanish(monkeypatch, run, {"i1": when, "i4": when})
    left = _without(run, "i1", "i4")
    _check(run, Parts(voted=run.names, moved=left, stated=left))
    assert run.said(run.plan()).count("attest votes") == 1
    assert "attest values" not in run.said(run.plan())  # all that sent changes proved them


@pytest.mark.parametrize("witness", ["auditor", "i7"])
@pytest.mark.parametrize("when", _IN_VALUES)
def test_with_a_witness_of_the_sums_everything_that_was_sent_counts(
    when: str, witness: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, witness=witness), tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_GONE, when))
    _check(run, Parts(voted=run.names, moved=run.names, stated=_without(run, *_GONE)))
    assert run.said(run.plan()).count("attest values") == 1


def test_a_witness_may_be_asked_for_both_sums_and_for_a_repeated_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, witness="auditor"), tmp_path)
    vanish(monkeypatch, run, {"i1": "sums votes", "i4": "sums values 1", "i6": "confirmed values 1"})
    _check(run, Parts(run.names, _without(run, "i1"), _without(run, *_GONE), given_up=("i1",)))
    assert [said for said in run.said(run.plan()) if said.startswith("attest ")] == ["attest votes", "attest values"]


def test_one_may_vanish_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(replace(_EIGHT, clients=11, dropout_margin=2, witness="auditor"), tmp_path)
    when = {"i1": "shares", "i4": "confirmed votes", "i6": "attested votes", "i8": "proofs values"}
    vanish(monkeypatch, run, when)
    moved = _without(run, *_GONE)
    _check(run, Parts(voted=_without(run, "i1"), moved=moved, stated=[name for name in moved if name != "i8"]))


@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
def test_who_vanishes_before_it_stated_the_model_changes_nothing(
    method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, method=method), tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_GONE, "proofs values" if method == "sparsegpt" else "proofs votes"))
    _check(run, Parts(voted=run.names, moved=run.names, stated=_without(run, *_GONE)))


@pytest.mark.parametrize("when", ["shares", "proofs votes"])
def test_only_the_cohorts_of_those_that_vanished_are_touched(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capacities = ("1", "1", "1", "1", "0.8", "0.8", "0.4", "0.6")
    run = Run(replace(_EIGHT, layers=5, capacities=capacities), tmp_path)
    assert {"i6" in _members(run, layer) for layer in range(5)} == {True, False}
    vanish(monkeypatch, run, {"i6": when})
    left = _without(run, "i6")
    voted = left if when == "shares" else run.names
    _check(run, Parts(voted, left, left, given_up=() if when == "shares" else ("i6",)))


def _members(run: Run, layer: int) -> list[str]:
    return [run.names[index] for index in run.plan().cohorts[layer]]


@pytest.mark.parametrize(
    ("when", "after_it_answered"),
    [
        (AT_ONCE, True),
        ("advertised", False),
        ("advertised", True),
        ("shares", False),
        ("shares", True),
        ("confirmed votes", False),
        ("sums votes", True),
        ("proofs votes", True),
        ("survivors values", False),
        ("proofs values", True),
    ],
)
def test_who_vanished_from_one_round_takes_part_in_the_next(
    when: str, after_it_answered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, clients=4, minimum_cohort=4, layers=1, schedule=("0.3", "0.5")), tmp_path)
    vanish(monkeypatch, run, {"i1": when}, after_it_answered=after_it_answered)
    left = _without(run, "i1")
    parts = {
        **dict.fromkeys(_BEFORE_VOTES, Parts(left, left, left)),
        **dict.fromkeys((*_IN_VOTES, *_IN_VALUES), Parts(run.names, None, left)),
        "proofs votes": Parts(run.names, left, left, given_up=("i1",)),
        "proofs values": Parts(run.names, run.names, left),
    }
    first = run.plan(0)
    output = check_round(run, first, run.base, run.prune(first, run.base), parts[when])
    second = run.plan(1)
    check_round(run, second, output, run.prune(second, output))


_FOUR = ("i0", "i1", "i4", "i6")


@pytest.mark.parametrize(
    ("when", "of", "did"),
    [
        (AT_ONCE, "votes", "advertised keys"),
        ("advertised", "votes", "shared their secrets"),
        ("shares", "votes", "sent their votes"),
        ("survivors votes", "votes", "confirmed the survivors"),
        ("proofs votes", "values", "sent their values"),
        ("survivors values", "values", "confirmed the survivors"),
    ],
)
def test_when_too_few_are_left_the_round_fails_with_the_names_of_the_others_and_no_share_of_that_sum_is_handed_out(
    when: str, of: str, did: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_EIGHT, tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_FOUR, when))
    said = rf"4 of the 8 institutions .* {did}; 5 are needed\. Missing: {', '.join(_FOUR)}\."
    with pytest.raises(RemoteProtocolError, match=said):
        _check(run, Parts((), (), ()))
    assert not [said for said in run.messages(run.plan()) if isinstance(said, Unmask) and said.sum == of]
    assert f"sums {of}" not in run.said(run.plan())


@pytest.mark.parametrize("of", ["votes", "values"])
def test_when_too_few_hand_out_shares_no_sum_is_published(
    of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(_EIGHT, tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_FOUR, f"confirmed {of}"))
    said = rf"4 shares of 'i0''s secret came for lane .*; 5 are needed\. Missing: {', '.join(_FOUR)}\."
    with pytest.raises(RemoteProtocolError, match=said):
        _check(run, Parts((), (), ()))
    assert run.said(run.plan()).count(f"unmask {of}") == 4
    assert f"sums {of}" not in run.said(run.plan())


@pytest.mark.parametrize("when", [*_IN_VOTES, *_IN_VALUES])
def test_as_many_statements_suffice_as_are_needed_to_unmask_a_sum(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(replace(_EIGHT, minimum_cohort=8, dropouts=3), tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_GONE, when))
    _check(run, Parts(voted=run.names, moved=None, stated=_without(run, *_GONE)))


def test_a_model_that_too_few_state_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(_EIGHT, tmp_path)
    vanish(monkeypatch, run, dict.fromkeys(_FOUR, "proofs values"))
    said = rf"4 institutions stated the model \w+; 5 must before it counts\. Wait for {', '.join(_FOUR)}"
    with pytest.raises(RemoteProtocolError, match=said):
        _check(run, Parts((), (), ()))
