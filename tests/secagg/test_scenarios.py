"""However clients drop out, the sum is the survivors' plain sum or there is none, and only one secret a client is open.

Where votes are encrypted, no secret of theirs is open at all, and nobody hands over its ciphertexts before a quorum of
each cohort confirmed whose votes are in.

Rounds are drawn at random: rosters, cohorts, thresholds, methods, digits at their extremes, and clients that vanish or
come late at every step of both sums and of every attempt. `scenario_play.py` plays them; here they are judged.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from fedspallm_secure.messages import SumName
from fedspallm_secure.secagg import ClientState
from tests.secagg.scenario import STEPS, Scenario, draw_many, draw_scenario
from tests.secagg.scenario_play import Play

_SUMS: tuple[SumName, ...] = ("votes", "values")
_CHUNKS, _A_CHUNK = 10, 200
_BACKENDS = {"masked": False, "encrypted": True}
_happened: dict[bool, Counter[str]] = {encrypted: Counter() for encrypted in _BACKENDS.values()}

backends = pytest.mark.parametrize("encrypted", _BACKENDS.values(), ids=_BACKENDS)


def _judge(scenario: Scenario) -> Play:
    play = Play(scenario).play()
    _check_sums(play)
    _check_shares(play)
    _check_releases(play)
    _check_contributors(play)
    if play.failed is None:
        _check_ends(play)
    return play


def _check_sums(play: Play) -> None:
    """What was published is what the survivors' digits add up to."""
    for name, published in play.published.items():
        for lane in play.context.lanes:
            assert np.array_equal(published[lane.name], lane.packing(name).pack(play.plain(name, lane)))


def _check_shares(play: Play) -> None:
    """In all messages with shares: a survivor's seeds, a vanished one's keys, of one attempt, and none too early."""
    seeds: Counter[tuple[SumName, int, int]] = Counter()
    keys: Counter[tuple[SumName, int, int]] = Counter()
    for message in play.unmasks:
        groups = play.context.groups_of(play.context.indices[message.sender])
        for group, revealed in zip(groups, message.groups, strict=True):
            seeds.update((message.sum, group.index, play.context.indices[name]) for name in revealed.seeds)
            keys.update((message.sum, group.index, play.context.indices[name]) for name in revealed.keys)
    assert not seeds.keys() & keys.keys()
    for name, _, owner in seeds:
        assert owner in play.survivors[name]
    for name, _, owner in keys:
        assert owner in play.participants[name] - play.survivors[name]
    for name in _SUMS:
        attempts = {message.attempt for message in play.unmasks if message.sum == name}
        senders = [message.sender for message in play.unmasks if message.sum == name]
        assert len(attempts) <= 1
        assert len(set(senders)) == len(senders)
    if play.failed is not None and play.failed[1] in ("advertise", "share", "mask", "confirm"):
        failing = "votes" if play.failed[0] == 0 else "values"
        assert not any(message.sum == failing for message in play.unmasks)


def _check_releases(play: Play) -> None:
    """Ciphertexts are handed over by those alone who confirmed in time, and no share of masked votes besides."""
    if not play.scenario.encrypted:
        assert not play.releases
        return
    assert not any(message.sum == "votes" for message in play.unmasks)
    if play.failed is not None and play.failed[0] == 0 and play.failed[1] in ("advertise", "share", "mask", "confirm"):
        assert not play.releases
    elif play.published:
        assert play.releases >= play.survivors["votes"]
        cohorts = [frozenset(lane.cohort) for lane in play.context.lanes]
        colluders = play.context.charter.parameters.colluders
        assert all(2 * len(cohort & play.survivors["votes"]) > len(cohort) + colluders for cohort in cohorts)


def _check_contributors(play: Play) -> None:
    """Behind every position of a values sum stand enough institutions that voted for it and sent their change."""
    if "values" not in play.published:
        return
    least = play.context.charter.parameters.minimum_contributors
    for lane in play.context.lanes:
        there = play.survivors["values"].intersection(lane.cohort)
        missing = len(play.survivors["votes"].intersection(lane.cohort)) - len(there)
        assert missing <= play.round.server.participation.bar(lane) - least
        if lane.longest is not None:
            assert len(there) >= least or not play.eligible[lane.name].any()
            continue
        votes = sum((play.digits("votes", index, lane).astype(int) for index in there), np.zeros(lane.length, int))
        assert (votes[play.eligible[lane.name]] >= least).all()


def _check_ends(play: Play) -> None:
    """Everybody who is still there is done, and knows who contributed and what is proven."""
    server = play.round.server.participation
    for client in play.living():
        assert client.state is ClientState.DONE
        for name in play.published:
            assert client.participation.contributors(name) == server.contributors(name) == play.survivors[name]
            assert client.participation.accepted(name) is server.accepted(name)


@backends
@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_a_round_gives_the_plain_sum_of_its_survivors_or_nothing_and_no_two_secrets_of_one_client(
    chunk: int, encrypted: bool
) -> None:
    happened = _happened[encrypted]
    for seed in range(chunk * _A_CHUNK, (chunk + 1) * _A_CHUNK):
        scenario = replace(draw_scenario(Random(seed)), encrypted=encrypted)
        try:
            happened.update(_judge(scenario).happened)
        except Exception as error:
            error.add_note(f"This was draw_scenario(Random({seed})): {scenario}")
            raise
        happened["played"] += 1
    happened["chunks"] += 1


@backends
def test_two_thousand_rounds_and_more_were_played_and_clients_were_lost_and_late_at_every_step(encrypted: bool) -> None:
    happened = _happened[encrypted]
    if happened["chunks"] < _CHUNKS:
        pytest.skip("counts what the rounds above did, so it needs all of them, in the same process")
    assert happened["played"] >= 2000
    turns = {"votes": STEPS, "values": STEPS[2:], "values again": STEPS}
    for turn, steps in turns.items():
        for step in steps:
            for what in ("lost", "late"):
                assert happened[f"{what}: {step} {turn}"] >= 3, (what, step, turn)
            if step != "prove":
                assert happened[f"failed: {step} {turn}"] + happened[f"waited: {step} {turn}"] >= 1, (step, turn)
    for what in ("votes believed", "votes unproven", "values believed", "values unproven", "repeated 1", "repeated 2"):
        assert happened[what] >= 3, what
    for what in ("recovered votes", "recovered values", "values without a drop-out of the votes", "repeated 1"):
        assert happened[what] >= 50, what
    assert min(happened["witness speaks"], happened["witness silent"]) >= 20
    assert (happened["a survivor is not counted"] >= 50) is encrypted
    for what in ("more values than votes", "too few for any values"):
        assert happened[what] >= 10 * (not encrypted), what


@backends
@pytest.mark.parametrize("seed", [6, 22, 25])  # a witness, a repetition, drop-outs in both sums
def test_the_same_holds_where_graphs_are_sparse(seed: int, encrypted: bool) -> None:
    scenario = replace(draw_many(Random(seed)), encrypted=encrypted)
    play = _judge(scenario)
    first = play.context.groups[0]
    assert all(len(first.neighbours[member]) < len(first.cohort) - 1 for member in first.cohort)


@backends
@settings(max_examples=40)
@given(st.randoms(use_true_random=False))
def test_the_same_holds_for_rounds_that_can_be_made_smaller_when_they_fail(encrypted: bool, random: Random) -> None:
    scenario = replace(draw_scenario(random), encrypted=encrypted)
    note(str(scenario))
    _judge(scenario)
