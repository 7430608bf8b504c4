"""A participant takes an honest keeper's word whatever was said before, and notices every other.

The keeper signs what it likes. What a participant holds of the log is the same before and after a refusal, and what is
true is taken afterwards as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspallm_secure.errors import EquivocationError, RemoteProtocolError
from fedspallm_secure.messages import Linked, LogHead, Signer, Survivors
from fedspallm_secure.tlog import (
    Checkpoint,
    Evidence,
    LogView,
    OwnPlace,
    Place,
    checkpoint_text,
    cosign,
    sign_note,
)
from tests.secagg.small_round import identity
from tests.tlog.kept_log import CHARTER, KEEPER, NAMES, ORIGIN, KeptLog, Step, histories, statement

_LONG = 12  # entries of a log in which proofs have some length
_CHANGES = settings(max_examples=10)


@settings(max_examples=40)
@given(histories(), st.integers(0, 2))
def test_whatever_was_said_lost_late_and_seen_an_honest_keeper_s_evidence_is_taken(steps: list[Step], who: int) -> None:
    log = KeptLog()
    log.enter(statement("server", 0))
    log.go(steps)
    name = NAMES[who]
    for index in range(len(log.entries)):
        evidence = log.evidence(name, index)
        log.accept(name, index, evidence)
        assert log.state(name) == (log.last_of(name), log.held.head(), evidence.checkpoint)


@settings(max_examples=40)
@given(histories(8))
def test_what_is_said_next_is_entered_whenever_it_comes_and_whatever_got_lost_before(steps: list[Step]) -> None:
    log = KeptLog()
    log.enter(statement("server", 0))
    log.go(steps)
    for number, name in enumerate(NAMES):
        log.say(name, statement(name, 900 + number))
        log.show(name, 0)
        log.say(name, statement(name, 950 + number))
    for late in log.under_way[::-1]:
        log.arrive(late)
    for entry in log.entries:
        if isinstance(entry.message, Linked):
            seen = entry.message.seen
            assert entry.message.prev == (None if seen is None else log.last_of(entry.message.sender, seen.size))


def _told(steps: list[Step]) -> KeptLog:
    """A log with at least so many entries, in which each participant said something, saw it, and missed the rest."""
    log = KeptLog()
    for number in range(3):
        log.enter(statement("server", 100 + number))
    log.go(steps)
    for number, name in enumerate(NAMES):
        log.say(name, statement(name, 200))
        log.send(name, statement(name, 201))  # gets lost
        log.show(name, number)
    log.enter(log.survivors())
    while len(log.entries) < _LONG:
        log.enter(statement("server", 300 + len(log.entries)))
    return log


def _proofs(proof: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """A proof with one thing changed, in every way of a few."""
    for at, part in enumerate(proof):
        yield (*proof[:at], f"{int(part[:2], 16) ^ 1:02x}{part[2:]}", *proof[at + 1 :])
        yield (*proof[:at], *proof[at + 1 :])
        yield (*proof[:at], part, *proof[at:])
    yield (*proof, "5e" * 32)
    yield ("5e" * 32, *proof)
    if proof[::-1] != proof:
        yield proof[::-1]


_P = TypeVar("_P", bound=Place)


def _places(place: _P, size: int) -> Iterator[_P]:
    for index in (*range(size + 2), 2**53 - 1):
        if index != place.index:
            yield place.model_copy(update={"index": index})
    for proof in _proofs(place.proof):
        yield place.model_copy(update={"proof": proof})


def _heads(head: LogHead) -> Iterator[LogHead]:
    yield LogHead(size=head.size + 1, root=head.root)
    yield LogHead(size=head.size - 1, root=head.root)
    yield LogHead(size=head.size, root=f"{int(head.root[:2], 16) ^ 1:02x}{head.root[2:]}")


def _changed(evidence: Evidence, size: int, names_the_log: bool) -> Iterator[Evidence]:
    """The evidence with any one thing changed of what its receiver, who said and saw something, goes by."""
    assert evidence.own is not None
    for place in _places(evidence.place, size):
        yield evidence.model_copy(update={"place": place})
    for own in _places(evidence.own, size):
        yield evidence.model_copy(update={"own": own})
    for since in _proofs(evidence.since):
        yield evidence.model_copy(update={"since": since})
    if names_the_log:  # nobody else asks what was before
        for up_to in _proofs(evidence.up_to):
            yield evidence.model_copy(update={"up_to": up_to})


@_CHANGES
@given(histories(most=12), st.data())
def test_any_change_of_the_evidence_is_refused_and_leaves_no_trace(steps: list[Step], data: st.DataObject) -> None:
    log, name = _told(steps), data.draw(st.sampled_from(NAMES))
    named = [at for at, entry in enumerate(log.entries) if isinstance(entry.message, Survivors)]
    index = data.draw(st.sampled_from(named) | st.integers(1, len(log.entries) - 1))
    evidence = log.evidence(name, index)
    for changed in _changed(evidence, len(log.held), index in named):
        log.refuses(name, index, changed)
    log.accept(name, index, evidence)


@_CHANGES
@given(histories(most=12), st.data())
def test_any_other_envelope_is_refused_in_an_entry_s_place(steps: list[Step], data: st.DataObject) -> None:
    log, name = _told(steps), data.draw(st.sampled_from(NAMES))
    index = data.draw(st.integers(0, len(log.entries) - 1))
    evidence, envelope = log.evidence(name, index), log.entries[index].envelope
    for at, entry in enumerate(log.entries):
        if at != index:
            log.refuses(name, index, evidence, entry.envelope)
    field = data.draw(st.sampled_from(["payload", "payloadType"]))
    text = getattr(envelope, field)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
    log.refuses(name, index, evidence, envelope.model_copy(update={field: changed}))
    signature = envelope.signatures[0]
    for update in ({"sig": signature.sig.lower()}, {"keyid": f"{signature.keyid}x"}):
        signed = envelope.model_copy(update={"signatures": (signature.model_copy(update=update),)})
        log.refuses(name, index, evidence, signed)
    log.accept(name, index, evidence)


@_CHANGES
@given(histories(most=12), st.data())
def test_evidence_for_another_state_than_the_receiver_s_is_refused(steps: list[Step], data: st.DataObject) -> None:
    log, name = _told(steps), data.draw(st.sampled_from(NAMES))
    index = data.draw(st.integers(0, len(log.entries) - 1))
    evidence, chain = log.evidence(name, index), log.views[name].chain
    seen, sent = chain.seen, chain.sent
    assert seen is not None
    assert evidence.own is not None
    for chain.seen in _heads(seen):
        log.refuses(name, index, evidence)
    chain.seen, chain.sent = seen, sent - {evidence.own.leaf}
    log.refuses(name, index, evidence)
    chain.sent = sent
    log.accept(name, index, evidence)


def _placed(log: KeptLog, index: int) -> OwnPlace:
    """Any entry with a true proof that it stands there, as if it were the receiver's own."""
    proof = log.held.evidence(log.entries[index].envelope, KEEPER, "nobody", None).place.proof
    return OwnPlace(index=index, proof=proof, leaf=log.entries[index].leaf)


@_CHANGES
@given(histories(most=12), st.integers(0, 2))
def test_an_entry_that_we_did_not_send_is_not_taken_for_ours_wherever_it_stands(steps: list[Step], who: int) -> None:
    log, name = _told(steps), NAMES[who]
    view, last = log.views[name], len(log.entries) - 1
    evidence, note, since = log.evidence(name, last), log.held.checkpoint(KEEPER), log.held.since(view.chain.seen)
    lost = [said.leaf for said in log.under_way if said.message.sender == name]
    assert lost
    assert evidence.own is not None
    for own in (
        *(_placed(log, index) for index, entry in enumerate(log.entries) if entry.message.sender != name),
        *(evidence.own.model_copy(update={"leaf": leaf}) for leaf in ("5e" * 32, *lost)),
    ):
        log.refuses(name, last, evidence.model_copy(update={"own": own}))
        before = log.state(name)
        with pytest.raises(RemoteProtocolError):
            view.cosign(note, since, own, identity(name), 1_700_000_000)
        assert log.state(name) == before
    log.accept(name, last, evidence)


@_CHANGES
@given(histories(most=12), st.integers(0, 2))
def test_a_keeper_that_tells_us_of_an_earlier_own_entry_or_of_none_can_not_enter_what_we_say_then(
    steps: list[Step], who: int
) -> None:
    name = NAMES[who]
    log = _told(steps)
    log.say(name, statement(name, 400))
    evidence, view, last = log.evidence(name, 0), log.views[name], log.last_of(name)
    prev, seen, _ = log.state(name)
    own = [index for index, entry in enumerate(log.entries) if entry.message.sender == name and entry.leaf != last]
    for place in (None, *(_placed(log, index) for index in own)):
        view.chain.prev, view.chain.seen = prev, seen
        log.accept(name, 0, evidence.model_copy(update={"own": place}))
        with pytest.raises(RemoteProtocolError, match=f"its last message in the log that it saw is {last}"):
            log.held.check_links(view.chain.link(statement(name, 401)))
    view.chain.prev, view.chain.seen = prev, seen
    log.accept(name, 0, evidence)
    log.say(name, statement(name, 401))


@_CHANGES
@given(histories(most=12), st.integers(0, 2))
def test_who_lost_all_that_it_knew_goes_on_from_what_the_log_holds_of_it(steps: list[Step], who: int) -> None:
    log, name = _told(steps), NAMES[who]
    last = log.last_of(name)
    log.views[name] = LogView(ORIGIN, KEEPER.public)
    log.show(name, 0)
    seen = log.held.head()
    assert log.state(name)[:2] == (last, seen)
    log.say(name, statement(name, 400))
    assert log.entries[-1].message == statement(name, 400).model_copy(update={"prev": last, "seen": seen})


@settings(max_examples=2)
@given(histories(most=12), st.integers(0, 2))
def test_a_change_of_any_letter_of_the_keeper_s_note_is_refused(steps: list[Step], who: int) -> None:
    log, name = _told(steps), NAMES[who]
    index = len(log.entries) - 1
    evidence = log.evidence(name, index)
    note = evidence.checkpoint
    for at, letter in enumerate(note):
        other = "1" if letter != "1" else "2"
        log.refuses(name, index, evidence.model_copy(update={"checkpoint": note[:at] + other + note[at + 1 :]}))
        log.refuses(name, index, evidence.model_copy(update={"checkpoint": note[:at] + note[at + 1 :]}))
    log.accept(name, index, evidence)


def _note(head: LogHead, text_origin: str = ORIGIN, name: str = ORIGIN, signer: Signer = KEEPER) -> str:
    return sign_note(checkpoint_text(Checkpoint(text_origin, head)), name, signer)


_ELSEWHERE = ORIGIN.replace(CHARTER, "d" * 64)

# What stands under or in a note that is not the keeper's word about this log.
_NOTES: dict[str, Callable[[LogHead], str]] = {
    "another key": lambda head: _note(head, signer=identity("i0")),
    "a text about another log": lambda head: _note(head, text_origin=_ELSEWHERE),
    "a signature under another log's name": lambda head: _note(head, name=_ELSEWHERE),
    "the keeper's own name alone": lambda head: _note(head, name=KEEPER.name),
    "another log's checkpoint": lambda head: _note(head, text_origin=_ELSEWHERE, name=_ELSEWHERE),
    "a participant's cosignature alone": lambda head: _cosigned(head, "i1"),
    "the keeper's cosignature alone": lambda head: _cosigned(head, ORIGIN),
    "no checkpoint": lambda _: sign_note("It is I.\n", ORIGIN, KEEPER),
    "no note": lambda head: checkpoint_text(Checkpoint(ORIGIN, head)),
    "nothing": lambda _: "",
}


def _cosigned(head: LogHead, name: str) -> str:
    text = checkpoint_text(Checkpoint(ORIGIN, head))
    return f"{text}\n{cosign(_note(head), type(KEEPER)(name, KEEPER.key), 1_700_000_000)}"


@pytest.mark.parametrize("said", _NOTES)
def test_a_checkpoint_that_is_not_the_keeper_s_word_about_this_log_is_refused(said: str) -> None:
    log = _told([])
    for index in range(len(log.entries)):
        evidence = log.evidence("i0", index)
        log.refuses("i0", index, evidence.model_copy(update={"checkpoint": _NOTES[said](log.held.head())}))
    true = evidence.model_copy(update={"checkpoint": _note(log.held.head())})
    log.accept("i0", index, true)
    assert log.views["i0"].note == true.checkpoint


def test_signatures_of_others_under_the_keeper_s_note_change_nothing() -> None:
    log = _told([])
    evidence = log.evidence("i0", 4)
    signed = evidence.checkpoint + cosign(evidence.checkpoint, identity("i1"), 1_700_000_000)
    log.accept("i0", 4, evidence.model_copy(update={"checkpoint": signed}))
    assert log.views["i0"].chain.seen == log.held.head()


@_CHANGES
@given(histories(most=12), st.integers(0, 2))
def test_a_checkpoint_that_continues_what_was_seen_is_cosigned_and_counts_as_seen(steps: list[Step], who: int) -> None:
    log, name = _told(steps), NAMES[who]
    view, note = log.views[name], log.held.checkpoint(KEEPER)
    since, own = log.held.since(view.chain.seen), log.held.own(name)
    for wrong in _proofs(since):
        before = log.state(name)
        with pytest.raises(EquivocationError):
            view.cosign(note, wrong, own, identity(name), 1_700_000_000)
        assert log.state(name) == before
    line = view.cosign(note, since, own, identity(name), 1_700_000_000)
    assert line == cosign(note, identity(name), 1_700_000_000)
    assert log.state(name) == (log.last_of(name), log.held.head(), note)


def test_a_checkpoint_of_nothing_is_not_cosigned() -> None:
    log = KeptLog()
    with pytest.raises(RemoteProtocolError, match="of nothing"):
        log.views["i0"].cosign(log.held.checkpoint(KEEPER), (), None, identity("i0"), 1_700_000_000)
    assert log.state("i0") == (None, None, None)


def test_what_shows_nothing_to_its_receiver_is_not_looked_at() -> None:
    log = KeptLog()
    for number in range(6):
        log.enter(statement("server", number))
    evidence, junk = log.evidence("i0", 2), ("5e" * 32,)
    assert (evidence.own, evidence.since) == (None, ())
    log.accept("i0", 2, evidence.model_copy(update={"since": junk, "up_to": junk}))
    assert log.state("i0") == (None, log.held.head(), evidence.checkpoint)
