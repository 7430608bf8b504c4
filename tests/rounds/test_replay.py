"""The log is all that a coordinator needs: from any part of it, it goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fedspallm_secure.errors import ProtocolError
from fedspallm_secure.messages import Envelope, Linked, LogHead, Message, open_envelope, seal
from fedspallm_secure.rounds import replay
from fedspallm_secure.tlog import Checkpoint, open_note, origin_of, parse_checkpoint
from tests.rounds.recording import Recorded, record
from tests.rounds.synthetic import CUSTODIAN, TWO_SUFFICE, Setting
from tests.rounds.vanishing import AT_ONCE

_THREE = Setting(  # 2 of them must be left
    clients=3, layers=1, shapes=((4, 4),), minimum_cohort=3, minimum_contributors=2, dropouts=1, policy=TWO_SUFFICE
)
_MASKS = replace(_THREE, method="wanda")
_WITNESSED = replace(_THREE, witness="auditor")
_ENCRYPTED = replace(_MASKS, ckks=True)

_RARE = {"attest votes", "attest values", "again", "unproven votes", "unproven values"}


@dataclass(frozen=True)
class _Round:
    """What happens in a round: who vanishes when, and which rare messages it leads to."""

    setting: Setting
    when: dict[str, str]
    rare: set[str] = field(default_factory=set)
    witness_gone: bool = False

    def record(self, folder: Path) -> Recorded:
        return record(self.setting, self.when, folder, witness_gone=self.witness_gone)


_ROUNDS = {
    "nobody vanishes": _Round(_MASKS, {}),
    "one never comes": _Round(_MASKS, {"i1": AT_ONCE}),
    "one vanishes before it shared": _Round(_MASKS, {"i1": "advertised"}),
    "one vanishes before it voted": _Round(_MASKS, {"i1": "shares"}),
    "one vanishes before it confirmed": _Round(_MASKS, {"i1": "survivors votes"}, {"unproven votes"}),
    "one vanishes before it unmasked, and the witness never comes": _Round(
        replace(_MASKS, witness="auditor"), {"i1": "confirmed votes"}, {"unproven votes"}, witness_gone=True
    ),
    "a witness of the counts, and values again": _Round(_WITNESSED, {"i1": "sums votes"}, {"attest votes", "again"}),
    "a witness of the values": _Round(_WITNESSED, {"i1": "sums values"}, {"attest values"}),
    "nobody can check the values": _Round(_THREE, {"i1": "confirmed values"}, {"unproven values"}),
    "one never states the model": _Round(_MASKS, {"i1": "proofs votes"}),
    "the second round": _Round(replace(_MASKS, schedule=("0.3", "0.5")), {"i1": AT_ONCE}),
    "encrypted votes": _Round(_ENCRYPTED, {}),
    "one vanishes before it encrypted": _Round(_ENCRYPTED, {"i1": "shares"}),
    "one vanishes before it confirmed encrypted votes": _Round(_ENCRYPTED, {"i1": "survivors votes"}),
    "one vanishes before it released": _Round(_ENCRYPTED, {"i1": "confirmed votes"}),
    "nobody can check encrypted votes": _Round(
        replace(_ENCRYPTED, witness="auditor"), {"i1": "sums votes"}, {"unproven votes"}
    ),
    "encrypted votes, and values again": _Round(replace(_THREE, ckks=True), {"i1": "proofs votes"}, {"again"}),
    "encrypted votes in the second round": _Round(replace(_ENCRYPTED, schedule=("0.3", "0.5")), {"i1": AT_ONCE}),
}


@pytest.mark.parametrize("name", _ROUNDS)
def test_cut_after_any_entry_the_log_leads_back_to_the_same_coordinator_byte_for_byte(
    name: str, tmp_path: Path
) -> None:
    recorded = _ROUNDS[name].record(tmp_path)
    assert _RARE.intersection(recorded.run.said(recorded.plan)) == _ROUNDS[name].rare
    _, whole = recorded.fresh()
    for envelope in recorded.entries:
        whole.append(envelope)
    for cut in range(len(recorded.entries) + 1):
        coordinator, log = recorded.fresh()
        everybody = coordinator.missing()
        replayed = replay(coordinator, recorded.plan, log, recorded.entries[:cut])
        behind = next(number for number, size in enumerate([0, *_sizes(recorded)]) if size >= cut)
        past, to_come = recorded.steps[:behind], recorded.steps[behind:]
        assert list(replayed.unwritten) == recorded.entries[cut : past[-1].size if past else 0]
        assert coordinator.missing() == (past[-1].missing if past else everybody)
        sent = {delivery.to: delivery for step in past for delivery in step.sent}
        assert {delivery.to: delivery for delivery in replayed.deliveries} == sent
        to_the_end = cut % 5 == 0  # the others take one step, after which they are where the next cuts are
        for step in to_come if to_the_end else to_come[:1]:
            deliveries = coordinator.close() if step.took is None else coordinator.receive(step.took)
            assert (deliveries, coordinator.missing()) == (step.sent, step.missing)
        assert log.head() == whole.head(None if to_the_end else len(log))
        if to_the_end:
            assert coordinator.model == recorded.result.model
            assert coordinator.telemetry == recorded.result.telemetry


def _sizes(recorded: Recorded) -> list[int]:
    return [step.size for step in recorded.steps]


_RESIGNED: dict[str, Callable[[Any], dict[str, object]]] = {
    "advertised": lambda message: {"advertisements": message.advertisements[::-1]},
    "shares": lambda message: {"sealed": dict.fromkeys(message.sealed, "AAAA")},
    "survivors": lambda message: {"log": LogHead(size=message.log.size, root="ab" * 32)},
    "confirmed": lambda message: {"signatures": dict(list(message.signatures.items())[1:])},
    "sums": lambda message: {"lanes": (message.lanes[0].model_copy(update={"blob": "ab" * 32}), *message.lanes[1:])},
    "proofs": lambda message: {"proofs": message.proofs[::-1]},
    "attested": lambda message: {"attempt": message.attempt + 1},
    "again": lambda message: {"gone": ("i0",)},
    "model": lambda message: {"model": "ab" * 32},
    "confirm": lambda message: {"survivors": "ab" * 32},
    "encrypted": lambda message: {"lanes": ()},
    "release": lambda message: {"survivors": "ab" * 32},
    "collected": lambda message: {"contributors": message.contributors[1:]},
    "counted": lambda message: {"contributors": message.contributors[1:]},
}
"""What the keeper of the log, or somebody in league with it, signs instead."""


@pytest.fixture(
    scope="module",
    params=["a witness of the counts, and values again", "encrypted votes, and values again"],
    ids=["masked", "encrypted"],
)
def witnessed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Recorded:
    """The round with the most kinds of messages, and the one with the rest of them."""
    return _ROUNDS[request.param].record(tmp_path_factory.mktemp("witnessed"))


def _message(recorded: Recorded, envelope: Envelope) -> Message:
    return open_envelope(envelope, recorded.run.charter.keys)


def _refusal(recorded: Recorded, entries: list[Envelope]) -> str:
    """Why a log is refused, or nothing if it is not."""
    coordinator, log = recorded.fresh()
    try:
        replay(coordinator, recorded.plan, log, entries)
    except ProtocolError as error:
        return str(error)
    return ""


def _names_somebody(recorded: Recorded, refusal: str) -> bool:
    return any(name in refusal for name in recorded.run.charter.keys)


def test_an_entry_that_is_missing_in_the_middle_is_refused_by_name(witnessed: Recorded) -> None:
    entries = witnessed.entries
    for at in range(len(entries) - 1):
        assert _names_somebody(witnessed, _refusal(witnessed, entries[:at] + entries[at + 1 :])), at


def test_an_entry_that_stands_there_twice_is_refused_by_name(witnessed: Recorded) -> None:
    entries = witnessed.entries
    for at in range(len(entries)):
        assert _names_somebody(witnessed, _refusal(witnessed, entries[: at + 1] + entries[at:])), at


def test_entries_that_changed_places_are_refused_by_name_but_for_the_last_statements(witnessed: Recorded) -> None:
    entries = witnessed.entries
    swapped = [[*entries[:at], *entries[at : at + 2][::-1], *entries[at + 2 :]] for at in range(len(entries) - 1)]
    accepted = [at for at, log in enumerate(swapped) if not _names_somebody(witnessed, _refusal(witnessed, log))]
    assert accepted == [len(entries) - 3]  # nobody says anything after these two but the coordinator


def test_an_entry_that_was_signed_anew_is_refused_by_name(witnessed: Recorded) -> None:
    participants = witnessed.run.participants
    signers = {"auditor": participants.witness, "coordinator": participants.server, **participants.institutions}
    signers["custodian"] = CUSTODIAN
    for at, envelope in enumerate(witnessed.entries):
        message = _message(witnessed, envelope)
        signer = signers[message.sender]
        assert signer is not None
        for change in _changes(message):
            forged = seal(message.model_copy(update=change), signer)
            assert forged != envelope
            said = _refusal(witnessed, [*witnessed.entries[:at], forged, *witnessed.entries[at + 1 :]])
            name = "custodian" if message.sender == "custodian" else repr(message.sender)
            assert name in said, (at, message.kind, change)


def _changes(message: Message) -> list[dict[str, object]]:
    """What may be signed instead: other content, another log that was seen, no message before."""
    changes = [_RESIGNED[message.kind](message)] if message.kind in _RESIGNED else []
    if isinstance(message, Linked) and message.sender in ("i0", "auditor", "custodian"):
        changes.append({"seen": LogHead(size=1, root="ab" * 32)})
        changes += [{"prev": None}] if message.prev is not None else []
    assert changes or message.sender in ("i1", "i2")
    return changes


def test_an_entry_that_was_changed_without_a_key_is_refused_with_its_senders_name(witnessed: Recorded) -> None:
    kinds: set[str] = set()
    for at, envelope in enumerate(witnessed.entries):
        message = _message(witnessed, envelope)
        if message.kind not in kinds:
            kinds.add(message.kind)
            (signature,) = envelope.signatures
            other = "A" if signature.sig[0] != "A" else "B"
            broken = envelope.model_copy(
                update={"signatures": (signature.model_copy(update={"sig": other + signature.sig[1:]}),)}
            )
            said = _refusal(witnessed, [*witnessed.entries[:at], broken, *witnessed.entries[at + 1 :]])
            assert said.startswith(f"The signature of {message.sender!r} does not hold.")
    assert len(kinds) == (16 if "attest" in kinds else 18)  # the two rounds have all kinds but 'unproven'


def test_what_the_log_itself_can_not_tell_its_checkpoint_does(tmp_path: Path) -> None:
    recorded = _ROUNDS["nobody vanishes"].record(tmp_path)
    *said, first, second, third, last = recorded.entries
    server = recorded.run.participants.server
    origin = origin_of(recorded.plan.context.digest)
    note = recorded.run.transcript.checkpoint(0).read_text(encoding="utf-8")
    text, _ = open_note(note, {origin: server.public})
    for entries in ([*said, second, first, third, last], [*said, first, third, last]):
        coordinator, log = recorded.fresh()
        replay(coordinator, recorded.plan, log, entries)
        assert coordinator.model == recorded.result.model
        assert Checkpoint(origin, log.head()) != parse_checkpoint(text)
    coordinator, log = recorded.fresh()
    replay(coordinator, recorded.plan, log, recorded.entries)
    assert Checkpoint(origin, log.head()) == parse_checkpoint(text)
