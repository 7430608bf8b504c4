"""What an audit says as one HTML page, for those who answer for a run and never open a terminal.

Verdict first, then who took part, what was said when, every check, the digests to compare, and what is not proven. The
page needs nothing but itself: no script, no font, no link, and a policy that forbids the browser to fetch any. Whatever
comes from the transcript is escaped and made `visible` by the environment, so no template can forget it.

A page of a large run must stay readable: of participants, messages and rounds only so many are shown, those first that
somebody has to look at, and the page says how many it leaves out. The JSON has them all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import fedspallm_secure
from fedspallm_secure.audit.verdict import Event, Participant, Verdict, listed, summary, visible

__all__ = ["KINDS", "to_page"]

KINDS = {
    "advertise": "an institution offers fresh keys for this round",
    "advertised": "the coordinator passes the keys on",
    "share": "an institution leaves shares of its secrets with others, sealed",
    "shares": "the coordinator passes the sealed shares on",
    "again": "too many institutions vanished: the sum is repeated with fresh keys",
    "masked": "an institution contributes, hidden under masks",
    "encrypted": "an institution encrypts its votes, and says the digests of what it still keeps to itself",
    "survivors": "the coordinator names whose contributions are in the sum",
    "confirm": "an institution confirms that list",
    "confirmed": "the coordinator shows that enough institutions confirmed the same list",
    "unmask": "an institution hands out what removes the masks from the sum, and from nothing else",
    "release": "an institution hands out its ciphertexts, as enough institutions confirmed whose votes are in",
    "collected": "the coordinator names whose ciphertexts came: the custodian may count these and no others",
    "counted": "the custodian, who has the key, says what it counted",
    "sums": "the coordinator publishes the sum",
    "proof": "an institution contributes to the check of the published sum",
    "proofs": "the coordinator passes those contributions on: everybody can check the sum",
    "attest": "the witness says that it computed the sum again",
    "attested": "the coordinator passes on what the witness said",
    "unproven": "nobody could check the sum, so it changes no weight",
    "model": "the sender states the digest of the resulting model",
}
"""Kind of message -> what it means, for a reader who does not know the protocol."""

_DRAWN_ROUNDS = 6
_DRAWN_ROWS = 24
_DRAWN_COLUMNS = 80
_LISTED_PARTICIPANTS = 40
_LISTED_EVENTS = 400
_LISTED_GAPS = 12
_UNKNOWN = "(not known)"

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Cell:
    """What one participant sent in one column; `number` is 0 where others sent something and this one did not."""

    number: int
    said: str
    failed: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """One participant in one round, a cell or None a column."""

    name: str
    role: str
    cells: tuple[_Cell | None, ...]

    @property
    def gaps(self) -> list[int]:
        """The columns in which it is missing."""
        return [column for column, cell in enumerate(self.cells) if cell and not cell.number]

    @property
    def last(self) -> int:
        """The column of its last message, -1 if there is none."""
        return max((column for column, cell in enumerate(self.cells) if cell and cell.number), default=-1)

    @property
    def failed(self) -> bool:
        """Whether a check failed at one of its messages."""
        return any(cell and cell.failed for cell in self.cells)

    @property
    def urgency(self) -> int:
        """Lower is drawn first: failed, then no institution, then with gaps."""
        return 0 if self.failed else 1 if self.role != "institution" else 2 if self.gaps else 3


@dataclass(frozen=True)
class _Drawing:
    """One round: participants in rows, what they sent in columns, in the order of the log.

    `steps` has a step's name and number of columns; `kinds` is the kind of each column. `rest` is how many of the
    institutions without a row sent something there, `hidden` how many those are, `cut` how many columns are left out.
    """

    round: int
    steps: tuple[tuple[str, int], ...]
    kinds: tuple[str, ...]
    rows: tuple[_Row, ...]
    rest: tuple[int, ...]
    hidden: int
    cut: int
    gaps: tuple[str, ...]


def to_page(verdict: Verdict) -> str:
    """The page.

    Args:
        verdict: of the audit.

    Returns:
        One HTML document, to be encoded as UTF-8. Equal verdicts give equal pages.
    """
    environment = Environment(
        loader=PackageLoader("fedspallm_secure.audit"),
        autoescape=True,
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["listed"] = lambda names: listed(tuple(names))
    failed = _failed(verdict)
    events = _with_unreadable(verdict.events, failed)
    rounds = _by_round(events)
    drawn = _chosen(list(rounds), _DRAWN_ROUNDS, lambda number: _untouched(rounds[number], failed))
    return environment.get_template("page.html.j2").render(
        verdict=verdict,
        summary=summary(verdict),
        institutions=_contributions(verdict),
        participants=_chosen(verdict.participants, _LISTED_PARTICIPANTS, _urgency(verdict)),
        people=_people(verdict),
        drawings=[_drawing(number, rounds[number], verdict, failed) for number in drawn],
        rounds=len(rounds),
        events=_chosen(events, _LISTED_EVENTS, lambda event: event.entry not in failed),
        messages=len(events),
        failed=failed,
        kinds={kind: KINDS[kind] for kind in dict.fromkeys(event.kind for event in events) if kind in KINDS},
        version=fedspallm_secure.__version__,
    )


def _drawing(number: int, events: Sequence[Event], verdict: Verdict, failed: dict[int, tuple[str, ...]]) -> _Drawing:
    """Lay out one round."""
    people = {name: person.role for name, person in _people(verdict).items()}
    columns = _columns(events, {name for name, role in people.items() if role == "coordinator"})
    shown = _chosen(columns, _DRAWN_COLUMNS, lambda column: _untouched(column, failed))
    sent: list[dict[str, list[Event]]] = []
    for column in shown:
        by_sender: dict[str, list[Event]] = defaultdict(list)
        for event in column:
            by_sender[event.sender if event.sender in people else _UNKNOWN].append(event)
        sent.append(by_sender)
    asked = [any(people.get(name) == "institution" for name in by_sender) for by_sender in sent]

    def row(name: str, role: str) -> _Row:
        missed = _Cell(0, "", ()) if role == "institution" else None
        cells = [
            _cell(by_sender[name], failed) if name in by_sender else missed if institutions else None
            for by_sender, institutions in zip(sent, asked, strict=True)
        ]
        return _Row(name, role, tuple(cells))

    everybody = [row(name, role) for name, role in people.items()]
    rows = _chosen(everybody, _DRAWN_ROWS, lambda row: row.urgency)
    hidden = {row.name for row in everybody} - {row.name for row in rows}
    if any(_UNKNOWN in by_sender for by_sender in sent):
        rows.append(row(_UNKNOWN, "unknown"))
    return _Drawing(
        round=number,
        steps=tuple((step, len(list(group))) for step, group in groupby(column[0].step for column in shown)),
        kinds=tuple(column[0].kind for column in shown),
        rows=tuple(rows),
        rest=tuple(len(hidden & by_sender.keys()) for by_sender in sent),
        hidden=len(hidden),
        cut=len(columns) - len(shown),
        gaps=_gaps(everybody, [column[0] for column in shown]),
    )


def _columns(events: Sequence[Event], coordinators: set[str]) -> list[list[Event]]:
    """The messages of a round by kind, in the order of the log; a step that comes again counts anew.

    The coordinator leads: once it goes on to another step, what comes for the steps before is a new visit to them.
    """
    now = None
    going: set[str] = set()
    visits: Counter[str] = Counter()
    found: dict[tuple[str, int], dict[str, list[Event]]] = {}
    for event in events:
        if event.sender in coordinators and event.step != now:
            now = event.step
            going &= {now}
        if event.step not in going:
            going.add(event.step)
            visits[event.step] += 1
        found.setdefault((event.step, visits[event.step]), {}).setdefault(event.kind, []).append(event)
    return [column for kinds in found.values() for column in kinds.values()]


def _cell(events: Sequence[Event], failed: dict[int, tuple[str, ...]]) -> _Cell:
    at = [event for event in events if event.entry in failed]
    told = at[0] if at else events[0]
    more = f" (and {len(events) - 1} more)" if len(events) > 1 else ""
    numbers = dict.fromkeys(number for event in at for number in failed[event.entry])
    return _Cell(len(events), f"entry {told.entry}, {told.kind}: {told.said}{more}", tuple(numbers))


def _gaps(rows: Iterable[_Row], columns: Sequence[Event]) -> tuple[str, ...]:
    """A sentence for each institution that is missing somewhere, the last one for those not told."""
    told = []
    for row in rows:
        if not row.gaps:
            continue
        missed = dict.fromkeys(f"{columns[gap].kind} ({columns[gap].step})" for gap in row.gaps)
        if row.last < 0:
            told.append(f"{row.name}: nothing came in this round.")
        elif row.last < row.gaps[0]:
            told.append(f"{row.name}: nothing came after {columns[row.last].kind} ({columns[row.last].step}).")
        else:
            told.append(f"{row.name}: missing are {listed(tuple(missed))}.")
    more = len(told) - _LISTED_GAPS
    return tuple(told) if more <= 0 else (*told[:_LISTED_GAPS], f"And {more} more institutions have gaps.")


def _failed(verdict: Verdict) -> dict[int, tuple[str, ...]]:
    """Entry -> the checks that failed there."""
    found: dict[int, tuple[str, ...]] = {}
    for finding in verdict.failed:
        if finding.entry is not None:
            found[finding.entry] = (*found.get(finding.entry, ()), finding.number)
    return found


def _with_unreadable(events: Sequence[Event], failed: Iterable[int]) -> list[Event]:
    """Also an event for each entry that failed a check and is no message, in the step of the message before it."""
    whole, read = list(events), {event.entry for event in events}
    for entry in sorted(set(failed) - read) if events else ():
        before = max(
            (event for event in events if event.entry < entry), default=events[0], key=lambda event: event.entry
        )
        said = "no message could be read here"
        whole.append(replace(before, entry=entry, sender=_UNKNOWN, kind="unreadable", said=said))
    return sorted(whole, key=lambda event: event.entry)


def _people(verdict: Verdict) -> dict[str, Participant]:
    """By name; an institution that is also the witness counts as what it is first."""
    people: dict[str, Participant] = {}
    for person in verdict.participants:
        people.setdefault(person.name, person)
    return people


def _untouched(events: Iterable[Event], failed: dict[int, tuple[str, ...]]) -> bool:
    return not any(event.entry in failed for event in events)


def _by_round(events: Iterable[Event]) -> dict[int, list[Event]]:
    rounds: dict[int, list[Event]] = {}
    for event in events:
        rounds.setdefault(event.round, []).append(event)
    return rounds


def _contributions(verdict: Verdict) -> dict[str, int]:
    """How many institutions there are, and how many of them are part of every sum, of some and of none."""
    parts = [person.contributed for person in verdict.participants if person.role == "institution"]
    sums = len({name for part in parts for name in part})
    every = sum(len(set(part)) == sums > 0 for part in parts)
    none = sum(not part for part in parts)
    return {"all": len(parts), "every": every, "some": len(parts) - every - none, "none": none}


def _urgency(verdict: Verdict) -> Callable[[Participant], int]:
    """Lower is listed first: at fault, then no institution, then not cosigned or part of fewer sums than others."""
    blamed = set(verdict.at_fault)
    most = max((len(person.contributed) for person in verdict.participants), default=0)

    def urgency(person: Participant) -> int:
        absent = not person.cosigned or len(person.contributed) < most
        return 0 if person.name in blamed else 1 if person.role != "institution" else 2 if absent else 3

    return urgency


def _chosen(items: Sequence[_T], most: int, urgency: Callable[[_T], int]) -> list[_T]:
    """At most `most` items in their own order: those of the lowest urgency number, and among equals the first."""
    places = sorted(range(len(items)), key=lambda place: urgency(items[place]))[:most]
    return [items[place] for place in sorted(places)]


def _harmless(value: Any) -> Any:
    """Text from outside made visible; what the templates made themselves stays."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
