"""What attacks are shown to work on is FedSpaLLM, and a secure sum that adds up."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.rounds.synthetic import Run, Setting
from threat_model.attacks.naive import fixed_point, naive_sum
from threat_model.attacks.plain import PlainServer, sample_as_they_can, uploads


def test_plain_fedspallm_is_the_l0_average_with_the_fewest_votes_zeroed_up_to_the_target(tmp_path: Path) -> None:
    run, server = Run(Setting(layers=1, shapes=((12, 16),), schedule=("0.4",)), tmp_path), PlainServer()
    sent = uploads(run, run.prune(run.plan(), run.base))
    for client, upload in sent.items():
        server.receive(client, upload)
    model = server.model(Fraction("0.5"))
    votes = server.votes()
    assert np.count_nonzero(model == 0) == 96
    assert votes[model != 0].min() >= votes[model == 0].max()
    for position in np.flatnonzero(model):
        kept = [float(upload.weight[position]) for upload in sent.values() if upload.mask[position]]
        assert np.isclose(model[position], sum(kept) / len(kept), rtol=1e-12)


def test_denominators_are_recomputed_without_those_that_dropped_out(tmp_path: Path) -> None:
    run, server = Run(Setting(layers=1, shapes=((12, 16),)), tmp_path), PlainServer()
    sent = uploads(run, run.prune(run.plan(), run.base))
    for client, upload in sent.items():
        server.receive(client, upload)
    assert np.array_equal(server.votes() - server.votes(["i4"]), sent["i4"].mask)
    assert not np.array_equal(server.model(Fraction("0.5")), server.model(Fraction("0.5"), ["i4"]))


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=3), min_size=1, max_size=6))
def test_a_naive_sum_is_the_sum_modulo_2_to_the_64(numbers: list[list[int]]) -> None:
    vectors = [np.array(vector, np.uint64) for vector in numbers]
    found = naive_sum(vectors, Random(0).randbytes)
    assert found.tolist() == [sum(column) % 2**64 for column in zip(*numbers, strict=True)]


@given(st.floats(-100, 100, width=32), st.floats(-100, 100, width=32))
def test_fixed_point_adds_as_numbers_do_to_2_to_the_minus_32(one: float, other: float) -> None:
    total = fixed_point(np.array([one])) + fixed_point(np.array([other]))
    assert abs(total.view(np.int64)[0] * 2.0**-32 - (one + other)) <= 2.0**-32


@given(st.lists(st.sampled_from(["0.25", "0.5", "1"]), min_size=1, max_size=6), st.integers(0, 9))
def test_everybody_samples_as_many_layers_as_its_share_whatever_the_others_do(shares: list[str], seed: int) -> None:
    cohorts = sample_as_they_can([Fraction(share) for share in shares], 4, Random(seed))
    for client, share in enumerate(shares):
        assert sum(client in cohort for cohort in cohorts) == 4 * Fraction(share)
