"""The keeper's log takes every entry once, gives it out once, and takes back exactly what it has not given out."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspallm_secure.errors import LocalProtocolError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, LogHead, Message, canonical, seal
from fedspallm_secure.tlog import HeldLog, MerkleTree, check_inclusion, leaf_hash
from tests.secagg.small_round import identity
from tests.tlog.kept_log import KEEPER, NAMES, ORIGIN, KeptLog, Step, confirm, histories, statement


def _entries(count: int) -> list[Envelope]:
    """Different ones, by three participants in turn."""
    senders = [NAMES[number % 3] for number in range(count)]
    return [seal(statement(sender, number), identity(sender)) for number, sender in enumerate(senders)]


_ALL = _entries(24)
_LEAVES = {name: [leaf_hash(canonical(entry)).hex() for entry in _ALL[at::3]] for at, name in enumerate(NAMES)}


def _held(entries: list[Envelope]) -> HeldLog:
    log = HeldLog(ORIGIN)
    for entry in entries:
        log.append(entry)
    return log


def _picture(log: HeldLog, entries: list[Envelope]) -> list[Any]:
    """Everything that can be asked of a log, about those of `entries` that it holds."""
    there = [entry for entry in entries if log.holds(entry)]
    heads = [log.head(size) for size in range(len(log) + 1)]
    last = [[_last(log, name, head) for head in (None, *heads)] for name in NAMES]
    own = [log.own(name) for name in NAMES]
    return [len(log), there, heads, own, last, [log.since(head) for head in heads[1:]]]


def _last(log: HeldLog, name: str, seen: LogHead | None) -> list[str | None]:
    """What `name`, having seen so much, may link to, found by trying everything that may be its own."""
    message = statement(name, 99).model_copy(update={"seen": seen})
    return [prev for prev in (None, *_LEAVES[name]) if _links(log, message.model_copy(update={"prev": prev}))]


def _links(log: HeldLog, message: Message) -> bool:
    try:
        log.check_links(message)
    except RemoteProtocolError:
        return False
    return True


def test_an_entry_is_the_canonical_form_of_its_envelope() -> None:
    tree, log = MerkleTree(), _held(_ALL)
    for size, entry in enumerate(_ALL, 1):
        tree.append(canonical(entry))
        assert log.head(size) == LogHead(size=size, root=tree.root().hex())
    assert log.head() == log.head(len(_ALL))
    assert log.head(0).root == hashlib.sha256(b"").hexdigest()


@given(st.lists(st.integers(0, 12), max_size=30), st.integers(0, 30))
def test_every_entry_is_taken_in_once_and_given_out_once_in_order(drawn: list[int], middle: int) -> None:
    log = HeldLog(ORIGIN)
    given_out = []
    for count, number in enumerate(drawn):
        log.append(_ALL[number])
        if count == middle:
            given_out += log.take_new()
    given_out += log.take_new()
    assert given_out == [_ALL[number] for number in dict.fromkeys(drawn)]
    assert len(log) == len(given_out)
    assert log.take_new() == []
    assert [log.holds(entry) for entry in _ALL] == [entry in given_out for entry in _ALL]


@settings(max_examples=30)
@given(st.data())
def test_what_is_rolled_back_leaves_exactly_the_earlier_log_which_goes_on_as_if_nothing_had_been(
    data: st.DataObject,
) -> None:
    size = data.draw(st.integers(0, 12))
    taken = data.draw(st.integers(0, size))
    dropped = data.draw(st.integers(0, 8))
    log = _held(_ALL[:taken])
    assert log.take_new() == _ALL[:taken]
    for entry in _ALL[taken : size + dropped]:
        log.append(entry)
    log.rollback(size)
    earlier = _held(_ALL[:size])
    assert _picture(log, _ALL) == _picture(earlier, _ALL)
    for entry in (*_ALL[21:], *_ALL[size : size + dropped]):
        log.append(entry)
        earlier.append(entry)
    assert _picture(log, _ALL) == _picture(earlier, _ALL)
    assert log.take_new() == earlier.take_new()[taken:]


def test_what_was_given_out_is_not_taken_back() -> None:
    log = _held(_ALL[:5])
    log.take_new()
    log.append(_ALL[5])
    before = _picture(log, _ALL)
    with pytest.raises(LocalProtocolError, match="can't be taken back"):
        log.rollback(4)
    assert _picture(log, _ALL) == before
    log.rollback(5)
    assert not log.holds(_ALL[5])
    assert log.take_new() == []


@settings(max_examples=30)
@given(histories(4))
def test_of_what_was_seen_the_last_own_entry_and_no_other_is_linked_to(steps: list[Step]) -> None:
    log = KeptLog().go(steps)
    held = log.held
    envelopes = [entry.envelope for entry in log.entries]
    heads = [held.head(size) for size in range(1, len(held) + 1)]
    before = _picture(held, envelopes)
    for name in NAMES:
        for seen in (None, *heads):
            message = statement(name, 99).model_copy(update={"seen": seen})
            prev = None if seen is None else log.last_of(name, seen.size)
            held.check_links(message.model_copy(update={"prev": prev}))
            for wrong in {None, "5e" * 32, *(entry.leaf for entry in log.entries)} - {prev}:
                with pytest.raises(RemoteProtocolError, match=f"'{name}' links its 'model' to {wrong}; .* is {prev}"):
                    held.check_links(message.model_copy(update={"prev": wrong}))
        held.check_links(confirm(name, 99))  # it has no links
    assert _picture(held, envelopes) == before


@settings(max_examples=30)
@given(histories(4))
def test_no_other_log_may_have_been_seen(steps: list[Step]) -> None:
    log = KeptLog().go(steps)
    held = log.held
    for name in NAMES:
        for size in range(len(held) + 2):
            other = LogHead(size=size, root="5e" * 32)
            with pytest.raises(RemoteProtocolError, match=f"'{name}' saw a log of {size} .* which is not this one"):
                held.check_links(
                    statement(name, 99).model_copy(update={"prev": log.last_of(name, size), "seen": other})
                )
        longer = LogHead(size=len(held) + 1, root=held.head().root)
        with pytest.raises(RemoteProtocolError, match="which is not this one"):
            held.check_links(statement(name, 99).model_copy(update={"prev": log.last_of(name), "seen": longer}))


@settings(max_examples=30)
@given(histories())
def test_everybody_s_last_entry_is_told_with_its_place_and_nobody_else_s(steps: list[Step]) -> None:
    log = KeptLog().go(steps)
    for name in (*NAMES, "server", "nobody"):
        leaf, own = log.last_of(name), log.held.own(name)
        if own is None:
            assert leaf is None
            continue
        assert (own.leaf, own.index) == (leaf, [entry.leaf for entry in log.entries].index(own.leaf))
        head, proof = log.held.head(), [bytes.fromhex(part) for part in own.proof]
        check_inclusion(bytes.fromhex(own.leaf), own.index, head.size, proof, bytes.fromhex(head.root))


def test_nothing_is_shown_that_is_not_in_the_log_nor_to_who_saw_more_than_it() -> None:
    log = _held(_ALL[:3])
    with pytest.raises(LocalProtocolError, match="does not stand in the log"):
        log.evidence(_ALL[3], KEEPER, "i0", None)
    with pytest.raises(LocalProtocolError, match="can't continue one of 4"):
        log.evidence(_ALL[0], KEEPER, "i0", LogHead(size=4, root="5e" * 32))
