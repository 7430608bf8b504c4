"""Encrypted votes add up to the plain counts, as exactly as promised, with whoever adds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedspallm_secure.votes import add_ciphertexts, sum_digest, typical_error
from fedspallm_secure.votes.library import sealapi
from fedspallm_secure.votes.packing import pack_votes
from fedspallm_secure.votes.seal_file import SealFile
from tests.votes.institutions import Institutions, lane_of


@pytest.mark.parametrize(("clients", "contributors"), [(3, 3), (8, 8), (8, 5), (16, 16), (64, 61), (256, 256)])
def test_counts_are_the_plain_sums_of_those_who_came(clients: int, contributors: int, tmp_path: Path) -> None:
    all_of_them, random = Institutions.of(clients, tmp_path), np.random.default_rng(clients)
    length = all_of_them.parameters.votes + (17 if clients <= 16 else 0)
    votes = random.random((contributors, length)) < 0.5
    votes[:, :500] = True
    votes[:, 500:1000] = False
    contributions = all_of_them.contributions(votes)
    found = all_of_them.custodian().counts(lane_of(clients, length), contributions)
    assert np.array_equal(found.counts, votes.sum(axis=0))
    assert found.contributors == tuple(sorted(map(str, range(contributors))))
    assert found.sum_digest == sum_digest(
        add_ciphertexts(all_of_them.parameters, length, [one.read() for one in reversed(contributions)])
    )


@pytest.mark.parametrize("clients", [3, 8, 64])
def test_the_error_is_what_the_theory_says_and_well_within_the_bound(clients: int, tmp_path: Path) -> None:
    all_of_them = Institutions.of(clients, tmp_path)
    parameters, contributors = all_of_them.parameters, min(clients, 8)
    votes = np.ones(parameters.votes, np.bool_)  # the largest numbers, where floating point does worst
    errors = []
    for _ in range(4):
        one_sum = add_ciphertexts(
            parameters, votes.size, [iter(list(all_of_them.encryptor.encrypt(votes))) for _ in range(contributors)]
        )
        errors.append(all_of_them.decryptor.decrypt(next(one_sum)) - contributors * pack_votes(parameters, votes))
    assert np.std(errors) == pytest.approx(typical_error(parameters.ring, contributors, parameters.scale), rel=0.1)
    assert np.abs(errors).max() < parameters.bound / 4


def test_the_sum_of_words_is_the_sum_that_seal_makes(tmp_path: Path) -> None:
    all_of_them = Institutions.of(8, tmp_path)
    parameters, seal = all_of_them.parameters, all_of_them.public.seal
    votes = np.random.default_rng(0).random((8, 1000)) < 0.5
    ciphertexts = [next(all_of_them.encryptor.encrypt(mine)) for mine in votes]
    file = SealFile(parameters, tmp_path / "here")
    fresh, total = sealapi().Ciphertext(), sealapi().Ciphertext()
    all_of_them.encryptor.encrypt_into(fresh, np.zeros(parameters.ring))
    file.words(fresh)  # shows it what SEAL writes around the words
    sealapi().Evaluator(seal).add_many([file.ciphertext(seal, words) for words in ciphertexts], total)
    ours = next(add_ciphertexts(parameters, 1000, [iter([words]) for words in ciphertexts]))
    assert np.array_equal(ours, file.words(total))


def test_the_same_votes_never_look_the_same(tmp_path: Path) -> None:
    all_of_them = Institutions.of(3, tmp_path)
    votes = np.ones(10, np.bool_)
    assert sum_digest(all_of_them.encryptor.encrypt(votes)) != sum_digest(all_of_them.encryptor.encrypt(votes))
