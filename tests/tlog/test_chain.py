"""What one participant says names the log it has seen and its own last entry there, and it knows what it sent."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.messages import Linked, LogHead, Message, canonical, open_envelope, seal
from fedspallm_secure.tlog import Chain
from tests.messages.example_messages import ALICE, EXAMPLES, KEYS, messages

_HEADS = st.builds(LogHead, size=st.integers(1, 2**53 - 1), root=st.binary(min_size=32, max_size=32).map(bytes.hex))
_LEAVES = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(st.lists(st.tuples(messages("alice"), st.none() | _LEAVES, st.none() | _HEADS), max_size=6))
def test_every_message_that_links_says_what_was_seen_and_not_what_was_sent(
    said: list[tuple[Message, str | None, LogHead | None]],
) -> None:
    chain, sent = Chain(), set[str]()
    for message, prev, seen in said:
        chain.prev, chain.seen = prev, seen
        envelope = chain.seal(message, ALICE)
        links = {"prev": prev, "seen": seen} if isinstance(message, Linked) else {}
        assert open_envelope(envelope, KEYS) == message.model_copy(update=links)
        assert (chain.prev, chain.seen) == (prev, seen)
        sent.add(hashlib.sha256(b"\x00" + canonical(envelope)).hexdigest())
        assert chain.sent == sent


def test_a_message_is_not_sent_by_being_linked() -> None:
    chain = Chain()
    chain.prev = "5e" * 32
    linked = chain.link(EXAMPLES["unmask"])
    assert linked == EXAMPLES["unmask"].model_copy(update={"prev": "5e" * 32, "seen": None})
    assert chain.sent == set()
    assert chain.seal(EXAMPLES["unmask"], ALICE) == seal(linked, ALICE)


def test_the_first_message_links_to_nothing_whatever_it_said_before_it_was_linked() -> None:
    assert isinstance(EXAMPLES["masked"], Linked)
    assert EXAMPLES["masked"].prev is not None
    first = Chain().link(EXAMPLES["masked"])
    assert first == EXAMPLES["masked"].model_copy(update={"prev": None, "seen": None})
