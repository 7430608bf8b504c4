"""No member of any signed message can be another, though its own sender signs it anew: others signed what follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from fedspallm_secure.messages import Message, canonical, seal
from tests.audit.forging import failed, rewritten, signer
from tests.audit.honest_transcript import ENCRYPTED, TINY, record
from tests.rounds.synthetic import Setting

_WITNESSED = Setting(clients=4, layers=1, shapes=((4, 4),), minimum_cohort=4, dropouts=1, witness="auditor")
_MASKS = replace(_WITNESSED, method="wanda", witness=None)
_RUNS: dict[str, tuple[Setting, dict[str, str], set[str]]] = {
    "votes and values": (TINY, {}, set()),
    "a witness of the counts, and values again": (_WITNESSED, {"i1": "sums votes"}, {"attest", "attested", "again"}),
    "masks that nobody can check": (_MASKS, {"i1": "survivors votes"}, {"unproven"}),
    "encrypted votes": (
        replace(ENCRYPTED, method="wanda"),
        {},
        {"encrypted", "release", "collected", "counted", "sums"},
    ),
}
"""Setting, who vanishes, and the kinds of messages that are changed; all if none is named."""

_FITTED = {"kind", "sender", "prev", "seen", "log"}
"""Members that are left: the first two say whose message it is, the others are fitted to the new log."""

_messages: TypeAdapter[Message] = TypeAdapter(Message)


@pytest.mark.parametrize("name", _RUNS)
def test_a_message_that_says_anything_else_is_found_though_its_sender_signed_it(name: str, tmp_path: Path) -> None:
    setting, when, only = _RUNS[name]
    honest = record(setting, tmp_path / "honest", when)
    entries = honest.entries()
    kinds: set[tuple[str, str, int]] = set()
    judged = 0
    for at, message in enumerate(honest.messages()):
        kind = (message.kind, getattr(message, "sum", ""), getattr(message, "attempt", 0))
        if kind in kinds or (only and message.kind not in only):
            continue
        kinds.add(kind)
        for number, other in enumerate(_others(message)):
            changed = [*entries[:at], seal(other, signer(honest, message.sender)), *entries[at + 1 :]]
            colluders = {*honest.run.names, "custodian"} & {message.sender}
            verdict = honest.audited(rewritten(honest, tmp_path / f"{at}-{number}", changed, colluders))
            assert verdict.exit_code == 1, (message, other)
            assert failed(verdict) - {"A7"}, verdict.failed
            assert set(verdict.at_fault) <= {"coordinator", message.sender}
            judged += 1
    assert judged >= (10 if only else 200)
    assert only <= {kind for kind, _, _ in kinds}


def _others(message: Message) -> Iterator[Message]:
    """The message with each member, and each part of one, as something else of its form."""
    body = json.loads(canonical(message))
    for member in sorted(body.keys() - _FITTED):
        for value in _different(body[member]):
            try:
                other = _messages.validate_json(json.dumps(body | {member: value}))
            except ValidationError:  # not of its form
                continue
            if other != message:
                yield other


def _different(value: Any) -> Iterator[Any]:
    match value:
        case str():
            yield value[:-1] + ("1" if value[-1:] == "0" else "0")
            yield "i2" if value == "i0" else "i0"
            yield "values" if value == "votes" else "votes"
            yield "A" + value[1:] if value[:1] != "A" else "B" + value[1:]
        case int():
            yield value + 1
            yield max(0, value - 1)
        case None:
            yield "ab" * 32
        case list():
            yield value[:-1]
            yield value[::-1]
            yield [*value, *value[:1]]
            for changed in _different(value[0]) if value else ():
                yield [changed, *value[1:]]
        case dict():
            for key in list(value)[:2]:
                yield {other: value[other] for other in value if other != key}
                for changed in _different(value[key]):
                    yield value | {key: changed}
