"""What somebody signs anew contradicts what others signed; and nobody is blamed who did not do it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedspallm_secure.audit import audit
from fedspallm_secure.messages import (
    Envelope,
    ModelStatement,
    Unproven,
    seal,
)
from tests.audit.forging import SERVER, Change, Forgery, edit, edited, failed, find, rewritten, signer, written
from tests.audit.honest_transcript import Honest, record
from tests.rounds.synthetic import Setting

_FOUR = Setting(clients=4, layers=1, shapes=((4, 8), (4, 8)), minimum_cohort=4, dropouts=1)  # 3 of the 4 must be left


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return record(_FOUR, tmp_path_factory.mktemp("four"))


def _without_i1(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    """The server says that i1 vanished before it voted."""
    survivors = find(honest, "survivors", "votes")
    changed = edited(honest, entries, survivors, survivors=("i0", "i2", "i3"))
    messages = honest.messages()
    first = find(honest, "masked", "votes", "i1")
    return [entry for at, entry in enumerate(changed) if at < first or messages[at].sender != "i1"]


def _lanes(honest: Honest, index: int) -> Any:
    message = honest.messages()[index]
    assert message.kind in ("masked", "sums")
    return message.lanes


def _swapped_names(kind: str, sender: str) -> Change:
    """Of two lanes of the same size, each names the other's payload."""

    def change(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
        at = find(honest, kind, "votes", sender)
        one, two, *more = _lanes(honest, at)
        swapped = (one.model_copy(update={"blob": two.blob}), two.model_copy(update={"blob": one.blob}), *more)
        return edited(honest, entries, at, lanes=swapped)

    return change


def _other_sum(name: str, lane: int, place: int) -> Change:
    """One digit of a published sum is one less; the payload is stored."""

    def change(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
        at = find(honest, "sums", name)
        lanes = list(_lanes(honest, at))
        of = honest.run.plan().context.lanes[lane]
        packing, blobs = of.packing(name), honest.run.transcript.blobs  # type: ignore[arg-type]
        length = of.length if name == "votes" else lanes[lane].words * packing.digits
        digits = packing.unpack(blobs.get(lanes[lane].blob), length).copy()
        digits[np.flatnonzero(digits)[place]] -= 1
        lanes[lane] = lanes[lane].model_copy(update={"blob": blobs.put(packing.pack(digits))})
        return edited(honest, entries, at, lanes=tuple(lanes))

    return change


def _replaced_contribution(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    at = find(honest, "masked", "votes", "i1")
    first, *more = _lanes(honest, at)
    words = np.zeros(first.words, np.uint64)
    changed = first.model_copy(update={"blob": honest.run.transcript.blobs.put(words)})
    return edited(honest, entries, at, lanes=(changed, *more))


def _forged_confirmation(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    at = find(honest, "confirmed", "votes")
    message = honest.messages()[at]
    assert message.kind == "confirmed"
    forged = base64.b64encode(signer(honest, "coordinator").sign(b"yes")).decode()
    return edited(honest, entries, at, signatures=message.signatures | {"i1": forged})


def _called_unproven(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    """The server keeps i1's proof of the values back, and says that nobody can check them."""
    at, proof = find(honest, "proofs", "values"), find(honest, "proof", "values", "i1")
    proofs = honest.messages()[at]
    fields = proofs.model_dump(include={"charter", "round", "sender", "sum", "attempt"})
    unproven = seal(Unproven(**fields, missing=("i1",)), signer(honest, "coordinator"))
    return [*entries[:proof], *entries[proof + 1 : at], unproven, *entries[at + 1 :]]


def _everybody_states_another_model(honest: Honest, entries: list[Envelope]) -> list[Envelope]:
    for at, message in enumerate(honest.messages()):
        if isinstance(message, ModelStatement):
            entries = edited(honest, entries, at, model="ab" * 32)
    return entries


_EVERYBODY = ("i0", "i1", "i2", "i3")

_FORGERIES = {
    "one institution left out": Forgery(_without_i1, {"A6", "A12"}),
    "other survivors": Forgery(edit("survivors", "votes", survivors=("i0", "i2", "i3")), {"A6", "A11"}),
    "other survivors of the values": Forgery(edit("survivors", "values", survivors=("i0", "i1", "i2")), {"A11"}),
    "other participants": Forgery(edit("survivors", "votes", participants=("i0", "i1", "i2")), {"A6", "A11"}),
    "somebody said to be gone": Forgery(edit("survivors", "values", gone=("i1",)), {"A6", "A11"}),
    "another start": Forgery(edit("survivors", "votes", start="ab" * 32), {"A6", "A11"}),
    "one count": Forgery(_other_sum("votes", 0, 3), {"A6", "A21"}),
    "one count of the other lane": Forgery(_other_sum("votes", 1, 0), {"A6", "A21"}),
    "one sum": Forgery(_other_sum("values", 0, 0), {"A6", "A21"}),
    "a figure of the operator's": Forgery(_other_sum("values", 2, 0), {"A6", "A21"}),
    "counts of two lanes swapped": Forgery(_swapped_names("sums", "coordinator"), {"A6", "A21"}),
    "more words than there are": Forgery(
        lambda honest, entries: edited(
            honest,
            entries,
            at := find(honest, "sums", "votes"),
            lanes=tuple(lane.model_copy(update={"words": lane.words + 1}) for lane in _lanes(honest, at)),
        ),
        {"A6", "A14"},
    ),
    "a lane left out of the sums": Forgery(
        lambda honest, entries: edited(
            honest, entries, at := find(honest, "sums", "votes"), lanes=_lanes(honest, at)[:-1]
        ),
        {"A6", "A14"},
    ),
    "a forged confirmation": Forgery(_forged_confirmation, {"A6", "A12"}),
    "a message in an institution's name": Forgery(edit("masked", "votes", "i1", by="coordinator"), {"A4"}),
    "a confirmation in an institution's name": Forgery(edit("confirm", "votes", "i1", by="coordinator"), {"A4"}),
    "proofs in another order": Forgery(
        lambda honest, entries: edited(
            honest,
            entries,
            at := find(honest, "proofs", "votes"),
            proofs=honest.messages()[at].proofs[::-1],  # type: ignore[union-attr]
        ),
        {"A6", "A15"},
    ),
    "true values called unproven": Forgery(_called_unproven, {"A5", "A6"}),
    "another model of the server's": Forgery(edit("model", model="ab" * 32), {"A18"}),
    "another model of the first institution's": Forgery(
        edit("model", sender="i0", model="ab" * 32), {"A18"}, ("i0", "coordinator"), ("i0",)
    ),
    "another model of the last institution's": Forgery(
        edit("model", sender="i3", model="ab" * 32), {"A18"}, ("i3", "coordinator"), ("i3",)
    ),
    "another model of everybody's": Forgery(
        _everybody_states_another_model, {"A17"}, (*_EVERYBODY, "coordinator"), _EVERYBODY
    ),
    "a contribution replaced with its sender's help": Forgery(_replaced_contribution, {"A6", "A12"}, colluders=("i1",)),
    "lanes of a contribution swapped with its sender's help": Forgery(
        _swapped_names("masked", "i1"), {"A6", "A12"}, colluders=("i1",)
    ),
    "other keys with their owner's help": Forgery(
        edit("advertise", sender="i1", channel="09" + "00" * 31), {"A6", "A9"}, colluders=("i1",)
    ),
    "no shares, with their holder's help": Forgery(
        lambda honest, entries: edited(
            honest,
            entries,
            at := find(honest, "unmask", "votes", "i1"),
            groups=honest.messages()[at].groups[:-1],  # type: ignore[union-attr]
        ),
        {"A6", "A13"},
        colluders=("i1",),
    ),
    "another proof with its sender's help": Forgery(
        edit("proof", "votes", "i1", products=(("ab" * 8, "cd" * 8),) * 2), {"A6", "A15"}, colluders=("i1",)
    ),
}


@pytest.mark.parametrize("name", _FORGERIES)
def test_what_is_signed_anew_contradicts_what_others_signed(four: Honest, name: str, tmp_path: Path) -> None:
    forgery = _FORGERIES[name]
    changed = forgery.change(four, four.entries())
    assert changed != four.entries()
    verdict = four.audited(rewritten(four, tmp_path / "rewritten", changed, forgery.colluders))
    assert verdict.exit_code == 1
    assert forgery.checks <= failed(verdict), verdict.failed
    assert verdict.at_fault == forgery.at_fault
    assert any(finding.entry is not None for finding in verdict.failed)
    # The same copy beside the checkpoint that all cosigned: it shows no more than that somebody changed it.
    copied = four.audited(written(four, tmp_path / "written", changed))
    assert copied.exit_code == 1
    assert "A7" in failed(copied)


@pytest.mark.parametrize("name", ["one count", "one count of the other lane", "one sum", "counts of two lanes swapped"])
def test_a_false_sum_is_found_without_the_payloads_of_institutions_too(four: Honest, name: str, tmp_path: Path) -> None:
    changed = _FORGERIES[name].change(four, four.entries())
    verdict = four.audited(rewritten(four, tmp_path / "rewritten", changed), "public")
    assert {"A6"} <= failed(verdict)
    assert failed(verdict) & {"A10", "A14", "A15", "A18"}
    assert verdict.at_fault == SERVER


@pytest.mark.parametrize("liar", ["i0", "i2", "i3"])
def test_without_the_base_model_nobody_can_tell_which_institution_states_a_false_one(
    four: Honest, liar: str, tmp_path: Path
) -> None:
    changed = edit("model", sender=liar, model="ab" * 32)(four, four.entries())
    verdict = audit(rewritten(four, tmp_path / "copy", changed, (liar,)), depth="full")
    assert failed(verdict) == {"A18"}
    assert verdict.at_fault == SERVER  # which let both in


def test_an_institution_that_was_shown_another_log_is_not_blamed_for_another_model(
    four: Honest, tmp_path: Path
) -> None:
    at = find(four, "model", sender="i2")
    message = four.messages()[at]
    assert isinstance(message, ModelStatement)
    assert message.seen is not None
    fork = message.seen.model_copy(update={"root": "ab" * 32})
    changed = edited(four, four.entries(), at, seen=fork, model="ab" * 32)
    verdict = four.audited(rewritten(four, tmp_path / "copy", changed))
    assert {"A6", "A18"} <= failed(verdict)
    assert verdict.at_fault == SERVER
