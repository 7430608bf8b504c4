"""Who takes part is believed only as far as quorums, shares and the bar allow, and bars rise by those who are gone.

Eight institutions; one lane is of the first five, the other one of the last five. Three of five are a quorum, three
votes make a position eligible, and one voter of each lane may be missing from the values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Again, LogHead, SumName, Survivors
from fedspallm_secure.secagg import Participation, RoundContext
from tests.secagg.small_round import round_context

_FIRST, _LAST = range(5), range(3, 8)
_ALL = frozenset(range(8))


def _context(margin: int = 1) -> RoundContext:
    return round_context(8, [(9, _FIRST), (7, _LAST), (4, _FIRST)], minimum_cohort=5, dropout_margin=margin, dropouts=2)


_CONTEXT = _context()

_LOG = LogHead(size=1, root="00" * 32)


def _names(indices: Collection[int]) -> tuple[str, ...]:
    """Of a set in roster order, of anything else as it is."""
    return tuple(f"i{index}" for index in (sorted(indices) if isinstance(indices, set | frozenset) else indices))


def _survivors(
    name: SumName,
    survivors: Collection[int],
    participants: Collection[int] = _ALL,
    attempt: int = 0,
    gone: Collection[int] = (),
) -> Survivors:
    header = {"charter": _CONTEXT.digest, "round": 0, "sender": "server", "sum": name, "attempt": attempt}
    body = {"participants": _names(participants), "survivors": _names(survivors), "gone": _names(gone)}
    return Survivors.model_validate(header | body | {"start": _CONTEXT.start, "log": _LOG})


def _again(gone: Collection[int], attempt: int = 1) -> Again:
    return Again(charter=_CONTEXT.digest, round=0, sender="server", attempt=attempt, gone=_names(gone))


def _voted(voters: Collection[int] = _ALL, context: RoundContext = _CONTEXT) -> Participation:
    """As the server, the witness and an auditor see it, who are no clients."""
    return Participation(context).with_survivors(_survivors("votes", voters), None, (), ())


def _unchanged(before: Participation) -> tuple[object, ...]:
    return before, before.gone, dict(before._participants), dict(before._survivors), before._accepted


# What the client i3 refuses of the votes' survivors, when all eight shared with it (its peers are the other seven).
VOTES: dict[str, tuple[Survivors, str]] = {
    "a participant nobody knows": (
        _survivors("votes", _ALL, participants=[*range(8), 8]),
        "participants of votes are not institutions that may be named here",
    ),
    "a participant twice": (
        _survivors("votes", _ALL, participants=[0, 1, 2, 3, 3, 4, 5, 6, 7]),
        "participants of votes are not institutions that may be named here, each once",
    ),
    "participants out of order": (
        _survivors("votes", _ALL, participants=[1, 0, 2, 3, 4, 5, 6, 7]),
        "participants of votes are not institutions that may be named here, each once and in roster order",
    ),
    "a survivor who did not take part": (
        _survivors("votes", _ALL, participants=_ALL - {7}),
        "survivors of votes are not institutions that may be named here",
    ),
    "a survivor twice": (
        _survivors("votes", [0, 1, 2, 3, 3, 4, 5, 6, 7]),
        "survivors of votes are not institutions that may be named here, each once",
    ),
    "without us": (_survivors("votes", _ALL - {3}), "The server goes on without us in votes"),
    "a peer whose shares we hold did not take part": (
        _survivors("votes", _ALL - {7}, participants=_ALL - {7}),
        "participants of votes are not the institutions whose shares it passed on to us",
    ),
    "too few of the first cohort": (
        _survivors("votes", {3, 4, 5, 6, 7}),
        "2 of the 5 institutions of lane lane0's cohort are there for votes; 3 are needed",
    ),
    "too few of the last cohort": (
        _survivors("votes", {0, 1, 2, 3, 7}),
        "2 of the 5 institutions of lane lane1's cohort are there for votes; 3 are needed",
    ),
    "nobody": (_survivors("votes", ()), "The server goes on without us in votes"),
}


@pytest.mark.parametrize("case", VOTES)
def test_a_false_word_on_the_votes_is_refused_and_changes_nothing(case: str) -> None:
    message, says = VOTES[case]
    before = Participation(_CONTEXT)
    with pytest.raises(RemoteProtocolError, match=says):
        before.with_survivors(message, 3, _ALL, _ALL - {3})
    assert _unchanged(before) == _unchanged(Participation(_CONTEXT))
    before.with_survivors(_survivors("votes", {2, 3, 4, 5}), 3, _ALL, _ALL - {3})


def test_a_peer_whose_shares_were_not_passed_on_to_us_must_not_take_part() -> None:
    mates = _ALL - {7}
    with pytest.raises(RemoteProtocolError, match="not the institutions whose shares it passed on to us"):
        Participation(_CONTEXT).with_survivors(_survivors("votes", mates), 3, mates, _ALL - {3})
    Participation(_CONTEXT).with_survivors(_survivors("votes", mates, participants=mates), 3, mates, _ALL - {3})


def test_about_those_that_are_no_peers_the_server_may_say_what_quorums_allow() -> None:
    # i0 shares no lane with i5, i6, i7.
    peers = {1, 2, 3, 4}
    there = _ALL - {7}
    Participation(_CONTEXT).with_survivors(_survivors("votes", there, participants=there), 0, {0, *peers}, peers)
    with pytest.raises(RemoteProtocolError, match="2 of the 5 institutions of lane lane1's cohort are there for votes"):
        Participation(_CONTEXT).with_survivors(_survivors("votes", _ALL - {5, 6, 7}), 0, {0, *peers}, peers)


# What is refused of the values' survivors when everybody but i2 voted.
VALUES: dict[str, tuple[Survivors, str]] = {
    "participants that are fewer than those that voted": (
        _survivors("values", _ALL - {2, 7}, participants=_ALL - {2, 7}),
        "The participants of values are not those that voted",
    ),
    "a participant that did not vote": (
        _survivors("values", _ALL - {2}, participants=_ALL),
        "participants of values are not institutions that may be named here",
    ),
    "without us": (
        _survivors("values", _ALL - {2, 3}, participants=_ALL - {2}),
        "The server goes on without us in values",
    ),
    "two missing of one cohort": (
        _survivors("values", _ALL - {2, 6, 7}, participants=_ALL - {2}),
        "Of the institutions that voted in lane lane1, more are missing from the values sum than the bar allows for",
    ),
    "a quorum missing": (
        _survivors("values", {3, 4, 5, 6, 7}, participants=_ALL - {2}),
        "2 of the 5 institutions of lane lane0's cohort are there for values; 3 are needed",
    ),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_false_word_on_the_values_is_refused_and_changes_nothing(case: str) -> None:
    message, says = VALUES[case]
    before = _voted(_ALL - {2})
    with pytest.raises(RemoteProtocolError, match=says):
        before.with_survivors(message, 3, _ALL, _ALL - {3})
    assert _unchanged(before) == _unchanged(_voted(_ALL - {2}))


# What is refused of a message that the values are repeated, when everybody but i2 voted.
AGAIN: dict[str, tuple[Again, str]] = {
    "nobody is gone": (_again(()), "but only nobody is said to be gone, which the bar allows for"),
    "so few are gone that the bar allows for them": (
        _again([7]),
        "repeats the values sum, but only i7 is said to be gone, which the bar allows for",
    ),
    "one of each cohort is gone, which the bar allows for": (
        _again([0, 7]),
        "repeats the values sum, but only i0, i7 is said to be gone, which the bar allows for",
    ),
    "one that did not vote is gone": (
        _again([2, 6, 7]),
        "institutions that are gone are not institutions that may be named here",
    ),
    "gone out of order": (
        _again([7, 6]),
        "institutions that are gone are not institutions that may be named here, each once and in roster order",
    ),
    "we are gone": (_again([3, 7]), r"The server goes on without us\."),
    "too many are gone for a quorum": (
        _again([0, 1]),
        "2 of the 5 institutions of lane lane0's cohort are there for values; 3 are needed",
    ),
}


@pytest.mark.parametrize("case", AGAIN)
def test_values_are_not_repeated_without_need_or_without_enough(case: str) -> None:
    message, says = AGAIN[case]
    before = _voted(_ALL - {2})
    with pytest.raises(RemoteProtocolError, match=says):
        before.with_gone(message, 3)
    assert _unchanged(before) == _unchanged(_voted(_ALL - {2}))
    assert before.with_gone(_again([6, 7]), 3).gone == {6, 7}


def test_a_second_repetition_takes_more_gone_than_the_first_and_all_of_those() -> None:
    once = _voted().with_gone(_again([6, 7]), 3)
    for gone, says in (
        ([6, 7], "but only i6, i7 is said to be gone, which the bar allows for"),
        ([0, 1, 7], "but only i0, i1, i7 is said to be gone"),
        ([0, 6, 7], "but only i0, i6, i7 is said to be gone, which the bar allows for"),
    ):
        with pytest.raises(RemoteProtocolError, match=says):
            once.with_gone(_again(gone, attempt=2), 3)
    twice = once.with_gone(_again([0, 1, 6, 7], attempt=2), 3)
    assert twice.gone == {0, 1, 6, 7}
    assert twice.eligible("values") == {2, 3, 4, 5}


@pytest.mark.parametrize("margin", [0, 1, 2])
@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_at_most_the_margin_may_be_missing_from_a_cohort_that_voted(margin: int, missing: int) -> None:
    before = _voted(context=_context(margin))
    there = _ALL - set(range(missing))
    if missing > 2:
        assert before.exceeded(there)
        with pytest.raises(
            RemoteProtocolError, match="2 of the 5 institutions of lane lane0's cohort are there for values"
        ):
            before.with_survivors(_survivors("values", there), None, (), ())
    elif missing > margin:
        assert before.exceeded(there)
        with pytest.raises(RemoteProtocolError, match="more are missing from the values sum than the bar allows for"):
            before.with_survivors(_survivors("values", there), None, (), ())
    else:
        assert not before.exceeded(there)
        after = before.with_survivors(_survivors("values", there), None, (), ())
        assert after.contributors("values") == there


def test_the_margin_counts_each_cohort_for_itself_and_only_those_that_voted() -> None:
    before = _voted(_ALL - {2, 5})
    assert not before.exceeded(_ALL - {2, 5} - {0, 7})
    assert before.exceeded(_ALL - {2, 5} - {0, 3})
    assert before.exceeded(_ALL - {2, 5} - {3, 7})


def test_bars_rise_in_each_lane_by_the_number_gone_from_its_cohort() -> None:
    first, last, third = _CONTEXT.lanes
    before = _voted()
    assert [before.bar(lane) for lane in _CONTEXT.lanes] == [3, 3, 3]
    once = before.with_gone(_again([6, 7]), None)
    assert [once.bar(lane) for lane in _CONTEXT.lanes] == [3, 5, 3]
    twice = once.with_gone(_again([0, 1, 6, 7]), None)
    assert (twice.bar(first), twice.bar(last), twice.bar(third)) == (5, 5, 5)
    both = before.with_gone(_again([3, 4]), None)
    assert [both.bar(lane) for lane in _CONTEXT.lanes] == [5, 5, 5]
    assert [before.bar(lane) for lane in _CONTEXT.lanes] == [3, 3, 3]


def test_in_a_repeated_attempt_the_margin_is_there_anew_and_who_missed_its_exchange_counts_as_missing() -> None:
    once = _voted().with_gone(_again([6, 7]), None)
    left = _ALL - {6, 7}
    assert not once.exceeded(left)
    assert not once.exceeded(left - {0})
    assert once.exceeded(left - {0, 1})
    # Only i1 ... i5 exchanged keys again: i0 uses the margin up, and i1 would be one too many.
    message = _survivors("values", left - {0}, participants=left - {0}, attempt=1, gone=[6, 7])
    assert once.with_survivors(message, None, (), ()).contributors("values") == {1, 2, 3, 4, 5}
    message = _survivors("values", left - {0, 1}, participants=left - {0}, attempt=1, gone=[6, 7])
    with pytest.raises(RemoteProtocolError, match="more are missing from the values sum than the bar allows for"):
        once.with_survivors(message, None, (), ())


def test_what_is_asked_of_a_round_is_answered_from_what_was_accepted() -> None:
    first, last, _ = _CONTEXT.lanes
    start = Participation(_CONTEXT)
    assert start.eligible("votes") == _ALL
    voted = start.with_survivors(_survivors("votes", _ALL - {0, 7}, participants=_ALL - {7}), None, (), ())
    assert voted.participants("votes") == _ALL - {7}
    assert voted.contributors("votes") == voted.eligible("values") == _ALL - {0, 7}
    assert (voted.number(first, "votes"), voted.number(last, "votes")) == (4, 4)
    message = _survivors("values", _ALL - {0, 1, 7}, participants=_ALL - {0, 7})
    summed = voted.with_survivors(message, None, (), ())
    assert (summed.number(first, "values"), summed.number(last, "values")) == (3, 4)
    assert summed.contributors("votes") == _ALL - {0, 7}
    assert not summed.accepted("votes")
    believed = summed.with_accepted("votes")
    assert (believed.accepted("votes"), believed.accepted("values")) == (True, False)
    assert not summed.accepted("votes")


_SETS = st.frozensets(st.sampled_from(sorted(_ALL)))


def _quorums(there: Collection[int]) -> bool:
    return all(2 * len(set(cohort).intersection(there)) > len(cohort) for cohort in (_FIRST, _LAST))


@given(margin=st.integers(0, 2), absent=_SETS, lost=_SETS)
def test_with_a_quorum_the_values_are_either_opened_or_repeated_and_never_both(
    margin: int, absent: frozenset[int], lost: frozenset[int]
) -> None:
    voters = _ALL - absent
    if not _quorums(voters):
        with pytest.raises(RemoteProtocolError, match="are there for votes"):
            _voted(voters, _context(margin))
        return
    before, there = _voted(voters, _context(margin)), voters - lost
    opened = _accepts(lambda: before.with_survivors(_survivors("values", there, voters), None, (), ()))
    repeated = _accepts(lambda: before.with_gone(_again(voters - there), None))
    too_many = any(len((voters - there).intersection(cohort)) > margin for cohort in (_FIRST, _LAST))
    assert before.exceeded(there) is too_many
    assert (opened, repeated) == (_quorums(there) and not too_many, _quorums(there) and too_many)


@given(margin=st.integers(0, 2), lost=st.lists(_SETS, min_size=1, max_size=4))
def test_however_often_values_are_repeated_enough_voters_of_an_eligible_position_contribute(
    margin: int, lost: list[frozenset[int]]
) -> None:
    taken, there = _voted(context=_context(margin)), _ALL
    for number, missing in enumerate(lost):
        there -= missing
        if not _quorums(there):
            return
        if taken.exceeded(there):
            taken = taken.with_gone(_again(_ALL - there, attempt=number + 1), None)
            continue
        # Whoever voted for a position with as many votes as the bar asks for: at most those missing are not there.
        for lane in taken.context.lanes:
            missing_voters = len((_ALL - there).intersection(lane.cohort))
            assert taken.bar(lane) - missing_voters >= taken.context.charter.parameters.minimum_contributors


def _accepts(do: Callable[[], object]) -> bool:
    try:
        do()
    except RemoteProtocolError:
        return False
    return True


def test_nobody_confirms_a_sum_with_somebody_who_starts_from_another_model() -> None:
    message = _survivors("votes", _ALL).model_copy(update={"start": "0" * 64})
    with pytest.raises(RemoteProtocolError, match=f"is said to start from model {'0' * 64}; we start from {'5' * 64}"):
        Participation(_CONTEXT).with_survivors(message, None, (), ())


def test_nobody_confirms_values_with_somebody_who_was_told_of_others_gone() -> None:
    once = _voted().with_gone(_again([6, 7]), None)
    left = _ALL - {6, 7}
    for gone in ([], [6], [0, 6, 7]):
        message = _survivors("values", left, participants=left, attempt=1, gone=gone)
        with pytest.raises(RemoteProtocolError, match="Others are said to be gone than those that we were told of"):
            once.with_survivors(message, None, (), ())
