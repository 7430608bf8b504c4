"""Ciphertexts can be made unrecognisable: why a custodian that just adds what it gets would give votes away.

What stands in the way is that everybody's digests are signed before anybody's ciphertexts are shown; those tests are in
tests/rounds/test_custodian.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.votes import Contribution, add_ciphertexts
from tests.votes.institutions import Institutions, contribution, lane_of

_LENGTH = 300
_A, _B, _C = (np.random.default_rng(seed).random(_LENGTH) < 0.5 for seed in range(3))


@pytest.fixture
def institutions(tmp_path: Path) -> Institutions:
    return Institutions.of(3, tmp_path)


def _unrecognisable(institutions: Institutions, sent: Contribution, client: str) -> Contribution:
    """Somebody's votes under another name: an encryption of nothing is added, which takes the public key alone."""
    nothing = institutions.encryptor.encrypt(np.zeros(_LENGTH, np.bool_))
    words = list(add_ciphertexts(institutions.parameters, _LENGTH, [sent.read(), nothing]))
    return contribution(client, sent.context, words)


def _counts(institutions: Institutions, sent: list[Contribution]) -> NDArray[np.int64]:
    return institutions.custodian().counts(lane_of(3, _LENGTH, minimum=3), sent).counts.astype(np.int64)


def test_a_custodian_that_adds_whatever_comes_counts_a_copy_with_fresh_randomness_and_tells_the_victims_votes(
    institutions: Institutions,
) -> None:
    """2 a + b, with two honest institutions of three: a is where at least two votes are, b what is odd."""
    a, b = institutions.contributions([_A, _B])
    copy = _unrecognisable(institutions, a, "2")
    assert copy.digest != a.digest
    counts = _counts(institutions, [a, b, copy])
    assert np.array_equal(counts // 2, _A)
    assert np.array_equal(counts % 2, _B)


def test_a_copy_has_no_word_of_the_original_and_two_of_the_same_votes_have_none_in_common(
    institutions: Institutions,
) -> None:
    (a,) = institutions.contributions([_A])
    words = [next(one.read()) for one in (a, _unrecognisable(institutions, a, "2"), *institutions.contributions([_A]))]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.count_nonzero(words[first] == words[second]) <= 2  # of 8192, below 2^60 each


def test_what_it_can_see_is_the_same_bytes(institutions: Institutions) -> None:
    a, b = institutions.contributions([_A, _B])
    with pytest.raises(RemoteProtocolError, match="'2' sent the same bytes as '0'"):
        _counts(institutions, [a, b, Contribution("2", a.context, a.digest, a.read)])


def test_honest_votes_of_the_same_three_do_not_tell_the_victims(institutions: Institutions) -> None:
    """The counts alone are those of a + b + c: the same for everybody's votes exchanged."""
    counts = _counts(institutions, institutions.contributions([_A, _B, _C]))
    assert np.array_equal(counts, _counts(institutions, institutions.contributions([_B, _A, _C])))
    assert not np.array_equal(counts // 2, _A)
