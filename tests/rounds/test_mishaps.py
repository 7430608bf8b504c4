"""Whatever message got lost, late or doubled in one round: its sender is in the next, and the log holds true links."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedspallm_secure.messages import Linked, canonical, open_envelope
from fedspallm_secure.tlog import MerkleTree, leaf_hash
from tests.rounds.mishaps import How, Mishap, befall, brief
from tests.rounds.synthetic import TWO_SUFFICE, Run, Setting

_SAID = ("advertise", "share", "masked votes", "confirm votes", "unmask votes", "proof votes", "model")
_THREE = Setting(  # 2 of them must be left
    clients=3,
    layers=1,
    shapes=((4, 4),),
    method="wanda",
    schedule=tuple(f"0.{number}" for number in range(1, len(_SAID) + 2)),
    minimum_cohort=3,
    minimum_contributors=2,
    dropouts=1,
    policy=TWO_SUFFICE.model_copy(update={"maximum_rounds": len(_SAID) + 1}),
)


def _run(folder: Path, setting: Setting, mishaps: dict[int, Mishap]) -> Run:
    """All rounds of a run, with one institution after the other unlucky; the last round goes well."""
    run = Run(setting, folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        befall(monkeypatch, run, mishaps)
        current = run.base
        for number in range(len(setting.schedule)):
            plan = run.plan(number)
            _, current = run.round(plan, current, run.prune(plan, current))
    return run


@pytest.mark.parametrize("how", ["lost", "late", "twice"])
def test_one_bad_message_a_round_keeps_nobody_from_the_next(how: How, tmp_path: Path) -> None:
    mishaps = {number: Mishap(f"i{number % 3}", said, how) for number, said in enumerate(_SAID)}
    run = _run(tmp_path, _THREE, mishaps)
    said = [brief(run, envelope) for envelope in run.entries()]
    for number, mishap in mishaps.items():
        assert said.count((number, mishap.sender, mishap.said)) == (how == "twice")
        before = _SAID[: _SAID.index(mishap.said)]
        assert {what for at, who, what in said if (at, who) == (number, mishap.sender)} >= set(before)
    last = len(_SAID)
    assert sorted(entry for entry in said if entry[0] == last and entry[1] != "coordinator") == sorted(
        (last, name, what) for name in run.names for what in _SAID
    )
    _assert_true_links(run)


def test_values_that_got_lost_keep_nobody_from_the_next_round(tmp_path: Path) -> None:
    setting = replace(_THREE, method="sparsegpt", schedule=("0.2", "0.4", "0.6"))
    run = _run(tmp_path, setting, {0: Mishap("i1", "masked values", "lost"), 1: Mishap("i1", "unmask values", "late")})
    said = [brief(run, envelope) for envelope in run.entries()]
    assert (0, "i1", "masked values") not in said
    assert (1, "i1", "unmask values") not in said
    assert {what for number, who, what in said if (number, who) == (2, "i1")} >= {"masked values", "model"}
    _assert_true_links(run)


def test_who_lost_its_memory_between_two_rounds_takes_part_in_the_next(tmp_path: Path) -> None:
    run = Run(replace(_THREE, schedule=("0.2", "0.4")), tmp_path)
    current = run.base
    for number in (0, 1):
        run.participants.views.clear()
        plan = run.plan(number)
        _, current = run.round(plan, current, run.prune(plan, current))
    second = [brief(run, envelope)[1:] for envelope in run.entries() if brief(run, envelope)[0] == 1]
    assert sorted(entry for entry in second if entry[0] != "coordinator") == sorted(
        (name, what) for name in run.names for what in _SAID
    )


def _assert_true_links(run: Run) -> None:
    """Every message names the log as it was, and its sender's last entry there, found by looking at all."""
    tree, leaves = MerkleTree(), list[tuple[str, str]]()
    roots = [tree.root().hex()]
    unlinked = 0
    for envelope in run.entries():
        message = open_envelope(envelope, run.charter.keys)
        if isinstance(message, Linked) and message.sender != run.charter.server:
            seen = 0 if message.seen is None else message.seen.size
            assert message.seen is None or message.seen.root == roots[seen]
            own = [leaf for sender, leaf in leaves[:seen] if sender == message.sender]
            assert message.prev == (own[-1] if own else None)
            unlinked += message.prev is None
        leaves.append((message.sender, leaf_hash(canonical(envelope)).hex()))
        tree.append(canonical(envelope))
        roots.append(tree.root().hex())
    assert unlinked == len(run.names)  # once each, before anything of theirs was seen
