"""What a round sends is what it leaves behind: every byte is counted once a reader, and no payload is in the clear."""

from __future__ import annotations

import os
from math import floor, log2
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.messages import Advertise, Envelope, Masked, Share, Shares, Sums, canonical, open_envelope
from fedspallm_secure.rounds import InstitutionRound
from fedspallm_secure.runtime import embedded
from fedspallm_secure.tlog import Evidence
from tests.rounds.synthetic import Run, Setting

Words = NDArray[np.uint64]

_SAMPLED = Setting(clients=4, layers=3, shapes=((64, 96),), capacities=("1", "1", "1", "0.7"), minimum_cohort=3)


@pytest.mark.parametrize("setting", [Setting(), Setting(method="wanda"), _SAMPLED])
def test_traffic_is_the_size_of_the_envelopes_and_payloads_of_the_transcript_and_of_the_evidence_beside_them(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(setting, tmp_path)
    plan = run.plan()
    down = dict.fromkeys(run.names, 0)

    class Weighing(InstitutionRound):
        def receive(self, envelope: Envelope, evidence: Evidence) -> Envelope | None:
            down[self._identity.name] += len(canonical(evidence))
            return super().receive(envelope, evidence)

    monkeypatch.setattr(embedded, "InstitutionRound", Weighing)
    run.round(plan, run.base, run.prune(plan, run.base))
    blobs = run.transcript.blobs
    up = dict.fromkeys(run.names, 0)
    for envelope in run.entries():
        message = open_envelope(envelope, run.charter.keys)
        payloads = [blobs.get(lane.blob) for lane in message.lanes] if isinstance(message, Masked | Sums) else []
        size = len(canonical(envelope)) + sum(payload.nbytes for payload in payloads)
        if message.sender in up:
            up[message.sender] += size
        else:
            for name in [message.to] if isinstance(message, Shares) else run.names:
                down[name] += size
    assert {name: run.traffic.total(name, "up") for name in run.names} == up
    assert {name: run.traffic.total(name, "down") for name in run.names} == down


@pytest.mark.parametrize("clients", [3, 5, 8])
def test_votes_cost_a_digit_of_n_plus_1_values_a_weight(clients: int, tmp_path: Path) -> None:
    run = Run(Setting(clients=clients, layers=1, shapes=((256, 384), (384, 256))), tmp_path)
    plan = run.plan()
    run.round(plan, run.base, run.prune(plan, run.base))
    weights = sum(lane.length for lane in plan.lanes)
    envelopes_and_last_words = 2_300 + 100 * clients  # bytes, links to the log too; one share a member of the cohort
    for name in run.names:
        bits = 8 * run.traffic.plain()[name]["up"]["votes"] / weights
        assert bits <= 64 / floor(64 / log2(clients + 1)) + 8 * envelopes_and_last_words / weights


def test_what_a_method_does_not_send_is_not_counted(tmp_path: Path) -> None:
    run = Run(Setting(method="wanda"), tmp_path)
    run.round(run.plan(), run.base, run.prune(run.plan(), run.base))
    for ways in run.traffic.plain().values():
        assert set(ways["up"]) == set(ways["down"]) == {"keys", "votes", "checks", "model"}


def test_no_word_of_a_masked_payload_depends_on_the_weights_alone_and_all_masks_come_off_the_published_sum(
    tmp_path: Path,
) -> None:
    run = Run(_SAMPLED, tmp_path)
    plan = run.plan()
    pruned = run.prune(plan, run.base)
    run.round(plan, run.base, pruned)
    masked, published = _payloads(run)
    again = Run(_SAMPLED, tmp_path / "again")
    again.entropy = os.urandom  # the same run with the same weights, under fresh keys
    again.round(plan, again.base, pruned)
    masked_again, published_again = _payloads(again)
    for lane in plan.context.lanes:
        cohort = [run.names[index] for index in lane.cohort]
        for of in ("votes", "values"):
            assert [name for name in run.names if (of, name, lane.name) in masked] == cohort
            total = sum((masked[of, name, lane.name] for name in cohort), np.uint64(0))
            assert (total != published[of, lane.name]).all()  # self masks stay on until their shares are handed out
            assert np.array_equal(published[of, lane.name], published_again[of, lane.name])
            for name in cohort:
                assert (masked[of, name, lane.name] != masked_again[of, name, lane.name]).all()
    for lane in plan.lanes:
        tensor = plan.tensors(lane)[0]
        cohort = [run.names[index] for index in lane.cohort]
        plain = [lane.votes.pack(pruned[name].kept(tensor.layer, lane.name).reshape(-1)) for name in cohort]
        assert np.array_equal(sum(plain, np.uint64(0)), published["votes", lane.name])
        for name, words in zip(cohort, plain, strict=True):
            assert (masked["votes", name, lane.name] != words).all()


def _payloads(run: Run) -> tuple[dict[tuple[str, str, str], Words], dict[tuple[str, str], Words]]:
    """The masked lanes by (sum, sender, lane) and the published ones by (sum, lane), of the round in the log."""
    blobs = run.transcript.blobs
    masked: dict[tuple[str, str, str], Words] = {}
    published: dict[tuple[str, str], Words] = {}
    for envelope in run.entries():
        message = open_envelope(envelope, run.charter.keys)
        if isinstance(message, Masked):
            masked |= {(message.sum, message.sender, lane.lane): blobs.get(lane.blob) for lane in message.lanes}
        elif isinstance(message, Sums):
            published |= {(message.sum, lane.lane): blobs.get(lane.blob) for lane in message.lanes}
    return masked, published


def test_keys_and_seeds_are_fresh_in_every_round_group_and_sum(tmp_path: Path) -> None:
    run = Run(Setting(schedule=("0.3", "0.5"), layers=3, capacities=("1", "1", "1", "0.7", "0.7")), tmp_path)
    current, keys, seeds, groups = run.base, list[str | None](), list[str | None](), 0
    for number in (0, 1):
        plan = run.plan(number)
        groups += sum(len(plan.context.groups_of(index)) for index in range(len(run.names)))
        _, current = run.round(plan, current, run.prune(plan, current))
        for message in run.messages(plan):
            if isinstance(message, Advertise):
                keys += [message.channel, *(key for group in message.groups for key in (group.votes, group.values))]
            if isinstance(message, Share):
                seeds += [seed for group in message.commitments for seed in (group.votes, group.values)]
    assert groups > 2 * len(run.names)  # a cohort has its own, and so has the lane that everybody is in
    assert len(keys) == len(set(keys)) == 2 * groups + 2 * len(run.names)
    assert len(seeds) == len(set(seeds)) == 2 * groups
