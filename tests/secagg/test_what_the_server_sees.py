"""Masked words are packed digits plus a self mask plus every pair's keystream; what is sent opens a sum and no less.

Each time the server of `curious_server.py` is shown to succeed at the sum, so that its failure at anything less says
something. That AES-CTR under an unknown key looks random is AES's claim, not ours: here no word is left open, and the
mask that is left is known to be there. The count of bytes below would notice only a mask that is grossly wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from itertools import chain, combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.messages import SumName
from fedspallm_secure.secagg import Lane, RoundContext
from tests.secagg.curious_server import Knowledge, Overheard, Sent, masks_on
from tests.secagg.small_round import SmallRound, round_context

_COHORT = (0, 2, 3, 4)
_LENGTH = 600
_ELIGIBLE = 151
_SUMS: tuple[SumName, ...] = ("votes", "values")
_Words = NDArray[np.uint64]
_T = TypeVar("_T")


def _digits(name: SumName, index: int, lane: Lane) -> NDArray[np.uint32]:
    length = _LENGTH if name == "votes" else _ELIGIBLE
    random = np.random.default_rng([index, lane.index, name == "votes"])
    return random.integers(0, lane.packing(name).top, length, np.uint32, endpoint=True)


_VOTES, _VALUES = partial(_digits, "votes"), partial(_digits, "values")


def _context(round_index: int = 0, *, margin: int = 0, colluders: int = 0) -> RoundContext:
    return round_context(
        5,
        [(_LENGTH, _COHORT), (_LENGTH, _COHORT), (_LENGTH, (0, 1, 2, 4))],
        round_index=round_index,
        minimum_cohort=4,
        minimum_contributors=colluders + 2,
        dropout_margin=margin,
        colluders=colluders,
        dropouts=1,
    )


def _play(
    context: RoundContext, seed: str = "seed", *, votes: Collection[int] = (), values: Collection[int] = ()
) -> Overheard:
    """Both sums; the lanes of those in `votes` and `values` come too late."""
    played = Overheard(context, seed)
    played.exchange()
    played.sum(_VOTES, mask=votes)
    for index in votes:
        played.late(index, _VOTES)
    played.deliver(played.prove(_VOTES))
    played.know_eligible([_ELIGIBLE] * len(context.lanes))
    played.sum(_VALUES, mask=values)
    for index in values:
        played.late(index, _VALUES)
    return played


def _parts(whole: Sequence[_T]) -> list[tuple[_T, ...]]:
    """Every part of `whole` but the empty one and itself."""
    return list(chain.from_iterable(combinations(whole, size) for size in range(1, len(whole))))


def _assert_opens_only_the_sum(
    played: Overheard, known: Knowledge, name: SumName, attempt: int, there: set[int]
) -> None:
    """Of those that are `there` (and no colluders), no part's lanes add up to anything open; all together do."""
    for lane in played.context.lanes:
        members = sorted(there.intersection(lane.cohort))
        sent = {index: (name, attempt, lane.index, index) for index in members}
        left = {index: known.without_known_masks(sent[index], played.seen[sent[index]]) for index in members}
        for part in [*_parts(members), tuple(members)]:
            masked: _Words = np.sum([left[index] for index in part], axis=0, dtype=np.uint64)
            plain: _Words = np.sum([played.packed[sent[index]] for index in part], axis=0, dtype=np.uint64)
            if len(part) == len(members):
                assert np.array_equal(masked, plain)
            else:
                assert (masked != plain).all()


def test_masked_words_are_packed_digits_plus_a_self_mask_plus_the_keystream_of_every_pair() -> None:
    played = _play(_context())
    assert len(played.seen) == 2 * 3 * 4
    for sent, words in played.seen.items():
        masks = masks_on(played.context, sent, words.size)
        assert len(masks) == 4
        assert np.array_equal(words, played.packed[sent] + np.sum(masks, axis=0, dtype=np.uint64))


def test_a_word_stays_hidden_unless_the_self_mask_and_every_pair_s_mask_are_known() -> None:
    played = _play(_context())
    for sent, words in played.seen.items():
        masks = masks_on(played.context, sent, words.size)
        for known in [(), *_parts(masks)]:
            left = words - np.sum(known, axis=0, dtype=np.uint64)
            assert (left != played.packed[sent]).all()


def test_when_nobody_vanishes_the_server_opens_the_sum_of_a_cohort_and_of_no_part_of_it() -> None:
    played = _play(_context())
    known = Knowledge(played)
    for name in _SUMS:
        assert {place[3] for place in known.seeds if place[1] == name} == {0, 1, 2, 3, 4}
        _assert_opens_only_the_sum(played, known, name, 0, {0, 1, 2, 3, 4})
    assert not known.keys


def _assert_hidden_by_its_self_mask(played: Overheard, known: Knowledge, name: SumName, index: int) -> None:
    """Of a client's lanes the self mask is left, and nothing but it."""
    for lane in played.clients[index].lanes:
        sent = name, 0, lane.index, index
        left = known.without_known_masks(sent, played.seen[sent])
        assert (left != played.packed[sent]).all()
        assert np.array_equal(left, played.packed[sent] + masks_on(played.context, sent, left.size)[0])


def test_once_a_drop_out_is_recovered_its_lanes_stay_hidden_when_they_come_and_so_do_the_survivors() -> None:
    played = _play(_context(), votes=[3])
    known = Knowledge(played)
    assert (0, "votes", 0, 3) in known.keys
    _assert_hidden_by_its_self_mask(played, known, "votes", 3)
    for name in _SUMS:
        _assert_opens_only_the_sum(played, known, name, 0, {0, 1, 2, 4})


def test_a_key_that_is_revealed_in_one_sum_opens_nothing_in_the_other() -> None:
    # i3 votes, so that its votes seed is open; it vanishes from the values, so that its values key is open.
    played = _play(_context(margin=1), values=[3])
    known = Knowledge(played)
    assert (0, "votes", 0, 3) in known.seeds
    assert (0, "values", 0, 3) in known.keys
    assert not {(0, "votes", 0, 3)} & known.keys.keys()
    assert not {(0, "values", 0, 3)} & known.seeds.keys()
    _assert_opens_only_the_sum(played, known, "votes", 0, {0, 1, 2, 3, 4})
    _assert_opens_only_the_sum(played, known, "values", 0, {0, 1, 2, 4})
    _assert_hidden_by_its_self_mask(played, known, "values", 3)
    # Nor does it when it is taken for the key of the other sum.
    known.keys[0, "votes", 0, 3] = known.keys[0, "values", 0, 3]
    sent: Sent = ("votes", 0, 0, 3)
    assert (known.without_known_masks(sent, played.seen[sent]) != played.packed[sent]).all()


def test_of_an_attempt_that_was_given_up_nothing_is_ever_opened() -> None:
    played = Overheard(_context())
    played.exchange()
    played.sum(_VOTES)
    played.deliver(played.prove(_VOTES))
    played.know_eligible([_ELIGIBLE] * 3)
    again = played.mask(_VALUES, missing=[3])
    played.late(3, _VALUES)
    played.exchange_again(again, missing=[3])
    played.know_eligible([_ELIGIBLE] * 3)
    played.sum(_VALUES, mask=[3])
    known = Knowledge(played)
    _assert_opens_only_the_sum(played, known, "values", 1, {0, 1, 2, 4})
    given_up = [sent for sent in played.seen if sent[:2] == ("values", 0)]
    assert len(given_up) == 3 * 4
    for sent in given_up:
        assert np.array_equal(known.without_known_masks(sent, played.seen[sent]), played.seen[sent])
        assert (played.seen[sent] != played.packed[sent]).all()
    # The digits are the same in both attempts, yet the difference of what was sent shows nothing but masks.
    for lane in played.context.lanes:
        for index in {0, 1, 2, 4}.intersection(lane.cohort):
            first, second = (played.seen["values", attempt, lane.index, index] for attempt in (0, 1))
            assert (first != second).all()


def test_with_as_many_colluders_as_the_charter_allows_nothing_but_the_others_sum_is_open() -> None:
    played = _play(_context(colluders=1), votes=[3])
    for colluder in (0, 1, 2, 4):
        known = Knowledge(played, [colluder])
        _assert_hidden_by_its_self_mask(played, known, "votes", 3)
        for name in _SUMS:
            _assert_opens_only_the_sum(played, known, name, 0, {0, 1, 2, 4} - {colluder})


def test_if_all_but_one_collude_the_last_one_is_open_so_the_adversary_of_these_tests_does_work() -> None:
    played = _play(_context(), votes=[3])
    known = Knowledge(played, [0, 1, 2])
    for name in _SUMS:
        for lane in (0, 1, 2):
            sent = name, 0, lane, 4
            assert np.array_equal(known.without_known_masks(sent, played.seen[sent]), played.packed[sent])


def test_the_same_digits_look_different_in_every_word_under_other_entropy_or_in_another_round() -> None:
    first = _play(_context()).seen
    for second in (_play(_context(), "other seed").seen, _play(_context(1)).seen):
        assert first.keys() == second.keys()
        assert all((words != second[sent]).all() for sent, words in first.items())
    again = _play(_context()).seen
    assert all(np.array_equal(words, again[sent]) for sent, words in first.items())


def test_no_two_lanes_sums_or_clients_share_a_mask() -> None:
    played = _play(_context())
    masks = [words - played.packed[sent] for sent, words in played.seen.items()]
    for one, other in combinations(masks, 2):
        common = min(one.size, other.size)
        assert (one[:common] != other[:common]).all()
        assert (one[:common] != np.uint64(0) - other[:common]).all()


def test_the_masked_zero_vector_uses_every_byte_about_equally_often() -> None:
    context = round_context(2, [(2**15 * 40, (0, 1))], method="wanda")
    played = SmallRound(context)
    played.exchange()
    lane = context.lanes[0]
    words = played.clients[0].mask(lane, np.zeros(lane.length, np.bool_))
    counts = np.bincount(words.view(np.uint8), minlength=256)
    expected = words.nbytes / 256
    # Chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6
    assert 150 < ((counts - expected) ** 2 / expected).sum() < 360
