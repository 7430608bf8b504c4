"""A log with its keeper and three participants: what they say comes at once, late or never, and they are shown entries.

Everybody is honest here. What stands in the log, and what each participant knows of it, can be asked in the tests' own
words.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import strategies as st

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Confirm, Envelope, LogHead, Message, ModelStatement, Survivors, canonical, seal
from fedspallm_secure.tlog import Evidence, HeldLog, LogView, origin_of
from tests.secagg.small_round import identity

__all__ = ["CHARTER", "KEEPER", "NAMES", "ORIGIN", "Entry", "KeptLog", "Step", "confirm", "histories", "statement"]

CHARTER = "c" * 64
ORIGIN = origin_of(CHARTER)
KEEPER = identity("server")
NAMES = ("i0", "i1", "i2")

_HEAD: dict[str, Any] = {"charter": CHARTER, "round": 0}

What = Literal["send", "confirm", "arrive", "state", "survive", "show"]
Step = tuple[What, int, int]
"""What happens, to which participant, and a number that says which message comes, or which entry is shown."""


def statement(sender: str, number: int) -> ModelStatement:
    """Something that anybody may say, which links to the log."""
    return ModelStatement(**_HEAD, sender=sender, model=f"{number:064x}")


def confirm(sender: str, number: int) -> Confirm:
    """Something that links to nothing."""
    return Confirm(**_HEAD, sender=sender, sum="votes", attempt=0, survivors=f"{number:064x}")


@dataclass(frozen=True)
class Entry:
    """Something that was said, in the log or not."""

    message: Message
    envelope: Envelope

    @property
    def leaf(self) -> str:
        """Its leaf hash (RFC 9162, section 2.1.1), 64 hexadecimal digits."""
        return hashlib.sha256(b"\x00" + canonical(self.envelope)).hexdigest()


class KeptLog:
    """One log, everything that stands in it or is on its way, and who has seen how much."""

    def __init__(self) -> None:
        self.held = HeldLog(ORIGIN)
        self.views = {name: LogView(ORIGIN, KEEPER.public) for name in NAMES}
        self.entries: list[Entry] = []
        self.under_way: list[Entry] = []
        self._said = 0

    def go(self, steps: list[Step]) -> KeptLog:
        """Take the steps."""
        for what, who, number in steps:
            name = NAMES[who]
            self._said += 1  # nobody says the same twice
            match what:
                case "send":
                    self.send(name, statement(name, self._said))
                case "confirm":
                    self.send(name, confirm(name, self._said))
                case "arrive" if self.under_way:
                    self.arrive(self.under_way[number % len(self.under_way)])
                case "state":
                    self.enter(statement("server", self._said))
                case "survive" if self.entries:
                    self.enter(self.survivors())
                case "show" if self.entries:
                    self.show(name, number % len(self.entries))
        return self

    def send(self, name: str, message: ModelStatement | Confirm) -> Entry:
        """A participant says something, which is on its way then."""
        chain = self.views[name].chain
        said = Entry(chain.link(message), chain.seal(message, identity(name)))
        self.under_way.append(said)
        return said

    def arrive(self, said: Entry) -> None:
        """The keeper gets what was said, finds it to link as it should, and enters it."""
        self.under_way.remove(said)
        self.held.check_links(said.message)
        self._add(said)

    def say(self, name: str, message: ModelStatement | Confirm) -> None:
        """A participant says something that arrives at once."""
        self.arrive(self.send(name, message))

    def survivors(self, log: LogHead | None = None) -> Survivors:
        """What the keeper says that names the log."""
        told: dict[str, Any] = {"sender": "server", "sum": "votes", "attempt": 0, "start": "5" * 64, "gone": ()}
        log = self.held.head() if log is None else log
        return Survivors(**_HEAD, **told, participants=NAMES, survivors=NAMES, log=log)

    def enter(self, message: Message) -> None:
        """The keeper says something."""
        self._add(Entry(message, seal(message, KEEPER)))

    def last_of(self, name: str, size: int | None = None) -> str | None:
        """Leaf hash of the last of the first `size` entries that are a participant's, found by looking at all."""
        own = [entry.leaf for entry in self.entries[:size] if entry.message.sender == name]
        return own[-1] if own else None

    def evidence(self, name: str, index: int) -> Evidence:
        """What the keeper sends a participant beside an entry."""
        return self.held.evidence(self.entries[index].envelope, KEEPER, name, self.views[name].chain.seen)

    def accept(self, name: str, index: int, evidence: Evidence, envelope: Envelope | None = None) -> None:
        """A participant is shown an entry beside any evidence, or any envelope said to be that entry."""
        entry = self.entries[index]
        self.views[name].accept(entry.message, entry.envelope if envelope is None else envelope, evidence)

    def refuses(self, name: str, index: int, evidence: Evidence, envelope: Envelope | None = None) -> None:
        """See that a participant does not take that, and holds of the log what it held before."""
        before = self.state(name)
        with pytest.raises(RemoteProtocolError):
            self.accept(name, index, evidence, envelope)
        assert self.state(name) == before

    def show(self, name: str, index: int) -> None:
        """A participant is shown an entry beside honest evidence."""
        self.accept(name, index, self.evidence(name, index))

    def state(self, name: str) -> tuple[str | None, LogHead | None, str | None]:
        """Everything that a participant holds of the log: its last entry, how far it saw, and the note."""
        view = self.views[name]
        return view.chain.prev, view.chain.seen, view.note

    def _add(self, entry: Entry) -> None:
        size = len(self.held)
        self.held.append(entry.envelope)
        if len(self.held) > size:  # not said before
            self.entries.append(entry)


_STEPS: st.SearchStrategy[Step] = st.tuples(
    st.sampled_from(["send", "confirm", "arrive", "arrive", "state", "survive", "show", "show"]),
    st.integers(0, 2),
    st.integers(0, 50),
)


def histories(least: int = 0, most: int = 25) -> st.SearchStrategy[list[Step]]:
    """Any honest history of a log."""
    return st.lists(_STEPS, min_size=least, max_size=most)
