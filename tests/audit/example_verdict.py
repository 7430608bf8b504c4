"""Verdicts as audits would give them, for tests of what is made from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import count

from fedspallm_secure.audit import Event, Finding, Participant, Verdict

__all__ = ["HOSTILE", "NAMES", "failed", "hostile", "huge", "incomplete", "verified"]

HOSTILE = "<script>alert(1)</script> \"'&{{ 7*7 }} \x1b[2J\x00\u202etxt.exe\u2066 \ud800\n[bold]x[/bold]"
"""Written by somebody who tries HTML, attributes, templates, terminals, reading direction, broken text and markup."""

NAMES = ("charite-berlin", "mercy-hospital", "st-anne", "university-clinic-of-the-northern-district", "volksbank")

_TITLES = (
    "The charter is the one given, and every institution signed it.",
    "Every line of the log is the canonical form of one envelope.",
    "Every entry is signed by a participant of the charter.",
    "Every message comes where the protocol has it, and none is missing.",
    "Every message names the sender's last entry and a state of the log that it saw.",
    "Every checkpoint is the log's, and was cosigned before anything was unmasked.",
    "Each sum has at least as many contributors as the charter asks for.",
    "The published counts are within what their contributors can have given.",
    "The published counts, votes expanded, give the final mask.",
    "Every published sum is the sum of what the survivors signed.",
    "The model follows from the base model, the counts and the sums.",
    "The model given has the digest that everybody stated.",
)
_NOT_PROVEN = (
    "That institutions voted and changed weights honestly: an audit shows that what they signed was added up, and "
    "nothing about their texts.",
    "That nothing else was sent: a transcript is what the coordinator says was sent.",
    "That the keys in the charter belong to the institutions named there.",
)


def verified() -> Verdict:
    """Five institutions, two rounds, one of them vanishes after the votes of the second; every check holds."""
    findings = tuple(
        Finding(f"A{number}", title, "ok", f"{number * 17} of {number * 17} were looked at.")
        for number, title in enumerate(_TITLES, 1)
    )
    return Verdict(
        run="autumn-2025",
        charter=_digest("charter"),
        depth="full",
        findings=findings,
        not_proven=_NOT_PROVEN,
        participants=_participants(NAMES, "volksbank"),
        events=tuple(_run(NAMES, "volksbank")),
        log_size=sum(1 for _ in _run(NAMES, "volksbank")),
        log_root=_digest("root"),
        model=_digest("model"),
        bytes_read=1_113_246_208,
        seconds=41.26,
    )


def failed() -> Verdict:
    """A false sum of the coordinator's, a message with a wrong signature, an entry that is no message; one skipped."""
    base = verified()
    lie = next(event.entry for event in base.events if event.kind == "sums")
    forged = next(event.entry for event in base.events if event.sender == "st-anne" and event.step == "values")
    unreadable = forged + 3
    changed = {
        "A2": Finding("A2", _TITLES[1], "failed", f"Entry {unreadable} is no JSON.", unreadable),
        "A3": Finding(
            "A3",
            _TITLES[2],
            "failed",
            "The signature under this entry does not hold.",
            forged,
            None,
            None,
            ("st-anne",),
        ),
        "A10": Finding(
            "A10",
            _TITLES[9],
            "failed",
            "Lane model.layers.3.mlp.up_proj.weight of the votes: 1 of 884,736 words is another.",
            lie,
            _digest("expected"),
            _digest("actual"),
            ("coordinator",),
        ),
        "A11": Finding("A11", _TITLES[10], "skipped", "The sums that it would follow from are false."),
    }
    events = tuple(event for event in base.events if event.entry != unreadable)
    findings = tuple(changed.get(finding.number, finding) for finding in base.findings)
    return replace(base, findings=findings, events=events)


def incomplete() -> Verdict:
    """Every check holds that could be made; blobs and the model were not there."""
    base = verified()
    skipped = {"A10": "12 of 90 masked blobs are not in the transcript.", "A12": "No model was given."}
    findings = tuple(
        replace(finding, status="skipped", evidence=skipped[finding.number]) if finding.number in skipped else finding
        for finding in base.findings
    )
    return replace(base, findings=findings)


def hostile() -> Verdict:
    """All that others wrote is `HOSTILE`."""
    person = Participant(HOSTILE, "institution", HOSTILE, 1, (HOSTILE,), False)
    finding = Finding("A3", _TITLES[2], "failed", HOSTILE, 0, HOSTILE, HOSTILE, (HOSTILE,))
    other = Finding("A4", _TITLES[3], "skipped", HOSTILE)
    event = Event(0, 1, "keys", HOSTILE, HOSTILE, HOSTILE)
    stranger = Event(1, 1, HOSTILE, "stranger", "share", HOSTILE * 1000)
    return replace(
        verified(),
        run=HOSTILE,
        findings=(finding, other),
        not_proven=(HOSTILE,),
        participants=(person,),
        events=(event, stranger),
    )


@cache
def huge() -> Verdict:
    """A thousand institutions, some ten thousand messages; the last institution vanishes and is at fault."""
    names = tuple(f"clinic-{number:04}" for number in range(1000))
    events = tuple(_run(names, names[-1]))
    late = max(event.entry for event in events if event.sender == names[-1])
    base = verified()
    bad = Finding("A3", _TITLES[2], "failed", "The signature does not hold.", late, at_fault=(names[-1],))
    findings = tuple(bad if finding.number == "A3" else finding for finding in base.findings)
    return replace(
        base,
        findings=findings,
        participants=_participants(names, names[-1]),
        events=events,
        log_size=len(events),
    )


def _participants(names: tuple[str, ...], vanished: str) -> tuple[Participant, ...]:
    sums = tuple(f"round {number} {name}" for number in (1, 2) for name in ("votes", "values"))
    signed = [event.sender for event in _run(names, vanished)]
    number = {name: signed.count(name) for name in dict.fromkeys(signed)}
    return (
        Participant("coordinator", "coordinator", _digest("coordinator"), number["coordinator"], (), True),
        *(
            Participant(
                name, "institution", _digest(name), number[name], sums[: 3 if name == vanished else 4], name != vanished
            )
            for name in names
        ),
        Participant("data-office", "witness", _digest("data-office"), number["data-office"], (), True),
    )


def _run(names: tuple[str, ...], vanished: str) -> Iterator[Event]:
    """Two rounds; `vanished` sends nothing after the votes of the second, so the witness speaks there."""
    entries = count()
    for number in (1, 2):
        alive = list(names)
        yield from _each(entries, number, "keys", names, "advertise", "offered keys")
        yield from _each(entries, number, "keys", ["coordinator"] * min(len(names), 40), "advertised", "passed on keys")
        yield from _each(entries, number, "keys", names, "share", "left sealed shares")
        yield from _each(entries, number, "keys", ["coordinator"] * min(len(names), 40), "shares", "passed on shares")
        for step in ("votes", "values"):
            yield from _each(entries, number, step, alive, "masked", f"contributed masked {step}")
            some = ", ".join(alive)
            yield from _each(entries, number, step, ["coordinator"], "survivors", f"named the survivors: {some}")
            yield from _each(entries, number, step, alive, "confirm", "confirmed the survivors")
            yield from _each(entries, number, step, ["coordinator"], "confirmed", "showed a quorum")
            yield from _each(entries, number, step, alive, "unmask", "handed out shares")
            yield from _each(entries, number, step, ["coordinator"], "sums", f"published the sums of {step}")
            if number == 2 and vanished in alive:
                alive.remove(vanished)
            yield from _each(entries, number, "checks", alive, "proof", f"gave a proof of {step}")
            if len(alive) == len(names) or step == "values":
                yield from _each(entries, number, "checks", ["coordinator"], "proofs", "passed on the proofs")
            else:
                yield from _each(entries, number, "checks", ["data-office"], "attest", "computed the sum again")
                yield from _each(entries, number, "checks", ["coordinator"], "attested", "passed that on")
        yield from _each(entries, number, "model", [*alive, "coordinator"], "model", "stated the model")
    yield from _each(entries, 2, "model", ["data-office"], "model", "stated the model")


def _each(
    entries: Iterator[int], number: int, step: str, senders: list[str] | tuple[str, ...], kind: str, said: str
) -> Iterator[Event]:
    for sender in senders:
        yield Event(next(entries), number, step, sender, kind, said)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
