"""A keeper that shows two logs: who saw one takes no other, and who confirms survivors with others saw their log."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspallm_secure.errors import EquivocationError
from fedspallm_secure.messages import LogHead, Survivors
from fedspallm_secure.tlog import HeldLog, LogView, open_note, parse_checkpoint
from tests.secagg.small_round import identity
from tests.tlog.kept_log import KEEPER, ORIGIN, KeptLog, statement


def _is_caught(view: LogView, log: KeptLog, index: int, since: tuple[str, ...]) -> None:
    """A view that saw one log is shown another, by its keeper's best evidence: both notes are kept for the others."""
    entry, held = log.entries[index], log.held
    evidence = held.evidence(entry.envelope, KEEPER, "i0", None).model_copy(update={"since": since})
    prev, seen, note = view.chain.prev, view.chain.seen, view.note
    assert note is not None
    for attempt in (
        lambda: view.accept(entry.message, entry.envelope, evidence),
        lambda: view.cosign(evidence.checkpoint, since, evidence.own, identity("i0"), 1_700_000_000),
    ):
        with pytest.raises(EquivocationError, match="which its keeper signed before") as caught:
            attempt()
        assert (view.chain.prev, view.chain.seen, view.note) == (prev, seen, note)
        assert caught.value.notes == (note, evidence.checkpoint)
        heads = [parse_checkpoint(open_note(one, {ORIGIN: KEEPER.public})[0]).head for one in caught.value.notes]
        assert heads == [seen, held.head()]


@settings(max_examples=25)
@given(st.integers(0, 9), st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_log_that_was_forked_before_what_was_seen_is_caught_with_both_notes(
    common: int, here: int, there: int, data: st.DataObject
) -> None:
    one, other = KeptLog(), KeptLog()
    for log, tag, more in ((one, 1000, here), (other, 2000, there)):
        for number in range(common):
            log.enter(statement("server", number))
        for number in range(more):
            log.enter(statement("server", tag + number))
    one.show("i0", data.draw(st.integers(0, common + here - 1)))
    view, sizes = one.views["i0"], range(1, len(other.held) + 1)
    assert view.chain.seen is not None
    proofs = [(), *(other.held.since(LogHead(size=size, root="00" * 32)) for size in sizes)]
    proofs += [one.held.since(one.held.head(size)) for size in range(1, len(one.held) + 1)]
    for since in dict.fromkeys(proofs):
        _is_caught(view, other, len(other.entries) - 1, since)


@settings(max_examples=50)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_a_log_that_shrank_is_caught_with_both_notes(left: int, gone: int, data: st.DataObject) -> None:
    whole, less = KeptLog(), KeptLog()
    for number in range(left + gone):
        whole.enter(statement("server", number))
        if number < left:
            less.enter(statement("server", number))
    whole.show("i0", data.draw(st.integers(0, left + gone - 1)))
    for proven in (whole.held.since(less.held.head()), less.held.since(less.held.head())):
        _is_caught(whole.views["i0"], less, left - 1, proven)


def _forked() -> tuple[KeptLog, KeptLog]:
    """Two logs of one keeper after the same beginning."""
    one, other = KeptLog(), KeptLog()
    for log, tag in ((one, 1000), (other, 2000)):
        for number in (0, 1, 2, tag, tag + 1, tag + 2):
            log.enter(statement("server", number))
    return one, other


def test_survivors_named_after_another_log_are_refused_by_who_never_saw_that() -> None:
    one, other = _forked()
    other.enter(one.survivors())
    last = len(other.entries) - 1
    evidence = other.evidence("i0", last)
    for up_to in ((), evidence.up_to, one.held.since(one.held.head(3)), other.held.since(other.held.head(3))):
        other.refuses("i0", last, evidence.model_copy(update={"up_to": up_to}))
        assert other.state("i0") == (None, None, None)


def test_survivors_named_after_an_earlier_or_later_part_of_the_log_are_refused() -> None:
    log = _forked()[0]
    log.enter(log.survivors(log.held.head(len(log.held) - 1)))
    after = HeldLog(ORIGIN)
    for entry in log.entries:
        after.append(entry.envelope)
    after.append(log.entries[0].envelope)
    log.enter(log.survivors(LogHead(size=len(log.held) + 1, root=after.head().root)))
    for index in (6, 7):
        message, evidence = log.entries[index].message, log.evidence("i0", index)
        assert isinstance(message, Survivors)
        for up_to in (evidence.up_to, log.held.since(log.held.head(message.log.size))):
            log.refuses("i0", index, evidence.model_copy(update={"up_to": up_to}))


def test_survivors_as_a_log_s_first_word_are_refused() -> None:
    log = KeptLog()
    log.enter(log.survivors())
    log.enter(statement("server", 1))
    evidence = log.evidence("i0", 0)
    assert evidence.up_to == ()
    for up_to in ((), log.held.since(log.held.head(1)), ("5e" * 32,)):
        log.refuses("i0", 0, evidence.model_copy(update={"up_to": up_to}))


def test_who_confirms_together_saw_one_log() -> None:
    one, other = _forked()
    assert one.survivors() != other.survivors()
    for log in (one, other):
        log.enter(log.survivors())
        log.show("i0", len(log.entries) - 1)
    digests = {base64.b64decode(log.entries[-1].envelope.payload) for log in (one, other)}
    assert len(digests) == 2
