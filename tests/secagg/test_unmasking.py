"""Shares that were asked for, and no others, take the masks off a sum; wrong ones are noticed, and some are survived.

One round of six: i3 votes too late. Lanes 0 and 1 are of the first five, lane 2 is of the last four.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Advertise, GroupCommitments, GroupKeys, Revealed, Share, Unmask
from fedspallm_secure.secagg import Lane, Unmasking
from fedspallm_secure.secagg.shamir import PRIME
from fedspallm_secure.secagg.unmasking import check_unmask
from tests.secagg.curious_server import Overheard
from tests.secagg.small_round import round_context

_CONTEXT = round_context(6, [(70, range(5)), (9, range(5)), (30, range(2, 6))], minimum_cohort=4, dropouts=1)
_ALL = frozenset(range(6))
_VANISHED = 3
_SURVIVORS = _ALL - {_VANISHED}


def _votes(index: int, lane: Lane) -> NDArray[np.bool_]:
    votes: NDArray[np.bool_] = np.arange(lane.length) % (index + 2) == 0
    return votes


def _played() -> Overheard:
    played = Overheard(_CONTEXT)
    played.exchange()
    played.sum(_votes, mask=[_VANISHED])
    return played


_PLAYED = _played()


def _by_sender(kind: type) -> dict[int, Any]:
    found = (message for message in _PLAYED.messages if isinstance(message, kind))
    return {_CONTEXT.indices[message.sender]: message for message in found}


_ADVERTISED: Mapping[int, Advertise] = _by_sender(Advertise)
_SHARED: Mapping[int, Share] = _by_sender(Share)
_UNMASKS: Mapping[int, Unmask] = _by_sender(Unmask)


def _unmasking(
    unmasks: Mapping[int, Unmask] = _UNMASKS,
    advertised: Mapping[int, Advertise] = _ADVERTISED,
    shared: Mapping[int, Share] = _SHARED,
) -> Unmasking:
    return Unmasking(_CONTEXT, "votes", 0, advertised, shared, _ALL, _SURVIVORS, unmasks)


def _opens(unmasking: Unmasking) -> bool:
    """Whether it takes exactly the masks off every lane's sum."""
    right = True
    for lane in _CONTEXT.lanes:
        members = sorted(_SURVIVORS.intersection(lane.cohort))
        total: NDArray[np.uint64] = np.sum(
            [_PLAYED.seen["votes", 0, lane.index, index] for index in members], axis=0, dtype=np.uint64
        )
        unmasking.subtract_masks(lane, total)
        plain: NDArray[np.uint64] = np.sum([_votes(index, lane) for index in members], axis=0, dtype=np.uint64)
        right = right and np.array_equal(total, lane.votes.pack(plain))
    return right


def _with_share(holder: int, group: int, owner: int, change: str) -> dict[int, Unmask]:
    """All messages with shares, of which one share is `change`d: another number, or none below the prime."""
    message = _UNMASKS[holder]
    revealed = list(message.groups)
    part = revealed[group]
    name, kind = f"i{owner}", "seeds" if owner in _SURVIVORS else "keys"
    true = int(getattr(part, kind)[name], 16)
    wrong = {"other": (true + 1) % PRIME, "malformed": PRIME}[change]
    revealed[group] = part.model_copy(update={kind: getattr(part, kind) | {name: f"{wrong:066x}"}})
    return {**_UNMASKS, holder: message.model_copy(update={"groups": tuple(revealed)})}


def test_all_shares_open_the_sum_of_the_survivors_and_blame_nobody() -> None:
    unmasking = _unmasking()
    assert _opens(unmasking)
    assert unmasking.liars == set()


@pytest.mark.parametrize("holders", list(combinations(sorted(_SURVIVORS), 4)))
def test_any_quorum_of_every_group_opens_the_same(holders: tuple[int, ...]) -> None:
    enough = all(len(set(group.cohort).intersection(holders)) >= group.threshold for group in _CONTEXT.groups)
    some = {index: _UNMASKS[index] for index in holders}
    if enough:
        assert _opens(_unmasking(some))
    else:
        with pytest.raises(RemoteProtocolError, match="2 shares of 'i2''s secret came for lane lane2; 3 are needed"):
            _unmasking(some)


def test_too_few_shares_are_said_to_be_too_few() -> None:
    with pytest.raises(RemoteProtocolError, match="2 shares of 'i0''s secret came for lane lane0; 3 are needed"):
        _unmasking({index: _UNMASKS[index] for index in (4, 5, 2)})
    with pytest.raises(RemoteProtocolError, match="0 shares of 'i0''s secret came for lane lane0; 3 are needed"):
        _unmasking({})


def test_a_mask_that_two_vanished_clients_share_is_on_nobody_s_lane_and_not_taken_off() -> None:
    played = Overheard(round_context(7, [(30, range(7))], minimum_cohort=7, dropouts=2))
    played.exchange()
    words = played.published(played.sum(_votes, mask=[1, 4]))
    (lane,) = played.context.lanes
    plain: NDArray[np.uint64] = np.sum([_votes(index, lane) for index in (0, 2, 3, 5, 6)], axis=0, dtype=np.uint64)
    assert np.array_equal(words[lane.name], lane.votes.pack(plain))


@given(order=st.permutations(sorted(_SURVIVORS)))
def test_the_order_in_which_shares_came_does_not_matter(order: list[int]) -> None:
    assert _opens(_unmasking({index: _UNMASKS[index] for index in order}))


@pytest.mark.parametrize("change", ["other", "malformed"])
@pytest.mark.parametrize("owner", [0, 2, _VANISHED])
@pytest.mark.parametrize("holder", [0, 1, 2, 4])
def test_one_wrong_share_is_survived_where_one_is_to_spare_and_its_holder_is_named(
    holder: int, owner: int, change: str
) -> None:
    unmasking = _unmasking(_with_share(holder, 0, owner, change))
    assert unmasking.liars == {holder}
    assert _opens(unmasking)


@pytest.mark.parametrize("owner", [0, _VANISHED])
def test_a_wrong_share_among_as_few_as_the_threshold_is_refused(owner: int) -> None:
    # i0, i2 and i4 are just enough of the first five, as i2, i4 and i5 are of the last four.
    messages = _with_share(0, 0, owner, "other")
    some = {index: messages[index] for index in (0, 2, 4, 5)}
    says = f"The shares of 'i{owner}''s secret for lane lane0 do not give what it committed to"
    with pytest.raises(RemoteProtocolError, match=says):
        _unmasking(some)
    assert _opens(_unmasking({index: _UNMASKS[index] for index in some}))


def test_a_survivor_that_committed_to_another_seed_is_named() -> None:
    share = _SHARED[1]
    other = (GroupCommitments(votes="ab" * 32, values=share.commitments[0].values),)
    shared = {**_SHARED, 1: share.model_copy(update={"commitments": other})}
    with pytest.raises(RemoteProtocolError, match="The shares of 'i1''s secret for lane lane0 do not give"):
        _unmasking(shared=shared)


def test_a_vanished_client_that_shared_another_key_than_it_advertised_is_named() -> None:
    message = _ADVERTISED[_VANISHED]
    theirs = _ADVERTISED[0].groups[0]
    groups = (GroupKeys(votes=theirs.votes, values=theirs.values), *message.groups[1:])
    advertised = {**_ADVERTISED, _VANISHED: message.model_copy(update={"groups": groups})}
    with pytest.raises(RemoteProtocolError, match="The shares of 'i3''s secret for lane lane0 do not give"):
        _unmasking(advertised=advertised)


def test_a_commitment_to_the_other_sum_s_seed_does_not_do() -> None:
    shared = {
        index: share.model_copy(
            update={
                "commitments": tuple(
                    GroupCommitments(votes=given.values, values=given.votes) for given in share.commitments
                )
            }
        )
        for index, share in _SHARED.items()
    }
    with pytest.raises(RemoteProtocolError, match="do not give what it committed to"):
        _unmasking(shared=shared)


def test_what_clients_handed_out_is_exactly_what_they_owe() -> None:
    for index, message in _UNMASKS.items():
        check_unmask(_CONTEXT, index, message, _ALL, _SURVIVORS)
        for group, revealed in zip(_CONTEXT.groups_of(index), message.groups, strict=True):
            there = set(group.cohort)
            assert set(revealed.seeds) == {f"i{owner}" for owner in there & _SURVIVORS}
            assert set(revealed.keys) == {f"i{owner}" for owner in there - _SURVIVORS}


def _shares(names: Collection[str]) -> dict[str, str]:
    return dict.fromkeys(names, "00" * 33)


_FIRST = {"i0", "i1", "i2", "i4"}
_SECOND = {"i2", "i4", "i5"}
_RIGHT = (Revealed(seeds=_shares(_FIRST), keys=_shares({"i3"})), Revealed(seeds=_shares(_SECOND), keys=_shares({"i3"})))

# What i4, which is in both groups, must not hand out.
OTHER: dict[str, tuple[Revealed, ...]] = {
    "nothing": (),
    "one group's": _RIGHT[:1],
    "a group's twice": (*_RIGHT, _RIGHT[0]),
    "groups in the wrong order": _RIGHT[::-1],
    "the vanished one's seed": (Revealed(seeds=_shares(_FIRST | {"i3"}), keys={}), _RIGHT[1]),
    "the vanished one's seed and key": (Revealed(seeds=_shares(_FIRST | {"i3"}), keys=_shares({"i3"})), _RIGHT[1]),
    "a survivor's key": (Revealed(seeds=_shares(_FIRST - {"i1"}), keys=_shares({"i1", "i3"})), _RIGHT[1]),
    "a survivor's seed and key": (Revealed(seeds=_shares(_FIRST), keys=_shares({"i1", "i3"})), _RIGHT[1]),
    "a survivor's seed missing": (Revealed(seeds=_shares(_FIRST - {"i1"}), keys=_shares({"i3"})), _RIGHT[1]),
    "its own seed missing": (Revealed(seeds=_shares(_FIRST - {"i4"}), keys=_shares({"i3"})), _RIGHT[1]),
    "the vanished one's key missing": (Revealed(seeds=_shares(_FIRST), keys={}), _RIGHT[1]),
    "of somebody in the other group": (Revealed(seeds=_shares(_FIRST | {"i5"}), keys=_shares({"i3"})), _RIGHT[1]),
    "of nobody known": (Revealed(seeds=_shares(_FIRST | {"i6"}), keys=_shares({"i3"})), _RIGHT[1]),
}


@pytest.mark.parametrize("case", OTHER)
def test_other_shares_than_those_owed_are_refused(case: str) -> None:
    message = _UNMASKS[4].model_copy(update={"groups": _RIGHT})
    check_unmask(_CONTEXT, 4, message, _ALL, _SURVIVORS)
    with pytest.raises(RemoteProtocolError, match="'i4' handed out other shares than those of the survivors' seeds"):
        check_unmask(_CONTEXT, 4, message.model_copy(update={"groups": OTHER[case]}), _ALL, _SURVIVORS)


def test_of_who_took_no_part_no_share_is_owed() -> None:
    seeds, keys = _shares({"i2", "i4", "i5"}), _shares({"i3"})
    groups = (Revealed(seeds=_shares({"i1", "i2", "i4"}), keys=keys), Revealed(seeds=seeds, keys=keys))
    message = _UNMASKS[4].model_copy(update={"groups": groups})
    check_unmask(_CONTEXT, 4, message, _ALL - {0}, _SURVIVORS - {0})
    with pytest.raises(RemoteProtocolError, match="'i4' handed out other shares"):
        check_unmask(_CONTEXT, 4, message, _ALL, _SURVIVORS)
    with pytest.raises(RemoteProtocolError, match="'i4' handed out other shares"):
        check_unmask(_CONTEXT, 4, message, _ALL, _SURVIVORS - {0})
