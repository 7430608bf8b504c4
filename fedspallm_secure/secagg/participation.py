"""Who takes part in a round's sums, what follows for thresholds and bars, and what a server may say about it.

    votes    may be contributed by everybody who shared keys; V contributed. Where votes are encrypted, V is those of
             the survivors whose ciphertexts came after they had been confirmed
    values   by V, less those that an `again` message named; W contributed

A position is eligible in a lane when at least `bar` of V voted for it. |V| - |W| of these voters may be missing from
the values sum, so W must leave `minimum_contributors`: |V| - |W| <= bar - minimum_contributors. With the charter's bar
that is its dropout margin; when more vanish, the values sum is repeated with fresh keys, and the lane's bar is raised
by the number already gone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Again, SumName, Survivors
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.enough import check_enough
from fedspallm_secure.secagg.groups import Group
from fedspallm_secure.secagg.lanes import Lane

__all__ = ["Participation"]


@dataclass(frozen=True)
class Participation:
    """Never changed: every step gives a new one.

    Attributes:
        context: of the round.
        gone: roster indices of voters that the values sum goes on without.
    """

    context: RoundContext
    gone: frozenset[int] = frozenset()
    _participants: dict[SumName, frozenset[int]] = field(default_factory=dict)
    _survivors: dict[SumName, frozenset[int]] = field(default_factory=dict)
    _accepted: frozenset[SumName] = frozenset()

    def eligible(self, name: SumName) -> frozenset[int]:
        """Who may take part in a sum: everybody, or who voted and was not given up since."""
        return self.context.everybody if name == "votes" else self._survivors["votes"] - self.gone

    def participants(self, name: SumName) -> frozenset[int]:
        """Who could have contributed to a sum: its survivors and those that vanished from it."""
        return self._participants[name]

    def contributors(self, name: SumName) -> frozenset[int]:
        """Whose lanes a sum adds up."""
        return self._survivors[name]

    def number(self, lane: Lane, name: SumName) -> int:
        """How many institutions a lane's sum adds up."""
        return len(self._survivors[name].intersection(lane.cohort))

    def accepted(self, name: SumName) -> bool:
        """Whether proofs or a witness showed a sum to be true."""
        return name in self._accepted

    def bar(self, lane: Lane) -> int:
        """Fewest votes of a position of `lane` that takes part in the values sum."""
        return self.context.charter.parameters.bar + len(self.gone.intersection(lane.cohort))

    def key(self, lane: Lane) -> tuple[object, ...]:
        """All that a lane's meaning depends on besides its sums."""
        return self.bar(lane), *(self.number(lane, name) for name in sorted(self._survivors))

    def with_survivors(
        self, message: Survivors, index: int | None, mates: Collection[int], peers: Collection[int]
    ) -> Participation:
        """Accept the server's word on who survived a sum, as far as one client can judge it.

        Args:
            message: the server's.
            index: this client's roster index; None for somebody who is no client.
            mates: with whom it masks, itself included.
            peers: with whom it could have.

        Raises:
            RemoteProtocolError: another start, participants or gone voters than we know of, a sum without us, too few
                survivors in all or in two stretches of a ring, or more missing than the eligible positions' bar allows.
        """
        name = message.sum
        todo = "No share was handed out; ask the server what happened to whom."
        participants = self.context.members(message.participants, self.eligible(name), f"participants of {name}")
        survivors = self.context.members(message.survivors, participants, f"survivors of {name}")
        if message.start != self.context.start:
            raise RemoteProtocolError(
                f"The round is said to start from model {message.start}; we start from {self.context.start}.", todo
            )
        if message.gone != self.context.names(self.gone):
            raise RemoteProtocolError("Others are said to be gone than those that we were told of.", todo)
        if name == "values" and message.attempt == 0 and participants != self.eligible(name):
            raise RemoteProtocolError("The participants of values are not those that voted.", todo)
        if index is not None and index not in survivors:
            raise RemoteProtocolError(f"The server goes on without us in {name}.", todo)
        if index is not None and participants.intersection(peers) | {index} != self.eligible(name).intersection(mates):
            raise RemoteProtocolError(
                f"The server's participants of {name} are not the institutions whose shares it passed on to us.", todo
            )
        for group in self.context.groups:
            self._check_group(group, name, survivors, todo)
        return replace(
            self,
            _participants=self._participants | {name: participants},
            _survivors=self._survivors | {name: survivors},
        )

    def with_collected(self, contributors: Sequence[str], index: int | None) -> Participation:
        """Accept whose encrypted votes are counted: survivors whose ciphertexts came.

        Args:
            contributors: their names.
            index: this client's roster index; None for somebody who is no client.

        Raises:
            RemoteProtocolError: not survivors in roster order, without us, or too few.
        """
        todo = "Nothing was counted; ask the server and the custodian what happened to whom."
        counted = self.context.members(contributors, self._survivors["votes"], "contributors of votes")
        if index is not None and index not in counted:
            raise RemoteProtocolError("Our votes are not counted.", todo)
        for group in self.context.groups:
            check_enough(self.context, group, counted, "are there for votes", todo)
        return replace(self, _survivors=self._survivors | {"votes": counted})

    def with_gone(self, message: Again, index: int | None) -> Participation:
        """Accept that the values sum is repeated without some voters.

        Raises:
            RemoteProtocolError: without us, without a need, or without enough to reach a quorum.
        """
        todo = "Nothing was sent; ask the server what happened to whom."
        gone = self.context.members(message.gone, self._survivors["votes"], "institutions that are gone")
        if index in gone:
            raise RemoteProtocolError("The server goes on without us.", todo)
        if not gone > self.gone or not any(self._too_many(group, gone) for group in self.context.groups):
            raise RemoteProtocolError(
                f"The server repeats the values sum, but only {', '.join(self.context.names(gone)) or 'nobody'} is "
                "said to be gone, which the bar allows for.",
                todo,
            )
        left = self._survivors["votes"] - gone
        for group in self.context.groups:
            check_enough(self.context, group, left, "are there for values", todo)
        return replace(self, gone=gone)

    def exceeded(self, survivors: frozenset[int]) -> bool:
        """Whether more are missing from the values sum than its bar allows for, so that it must be repeated."""
        missing = self._survivors["votes"] - survivors
        return any(self._too_many(group, missing) for group in self.context.groups)

    def with_accepted(self, name: SumName) -> Participation:
        """A sum was shown to be true."""
        return replace(self, _accepted=self._accepted | {name})

    def _too_many(self, group: Group, missing: Collection[int]) -> bool:
        allowed = self.bar(group.lanes[0]) - self.context.charter.parameters.minimum_contributors
        return len(set(group.cohort).intersection(missing)) > allowed

    def _check_group(self, group: Group, name: SumName, survivors: frozenset[int], todo: str) -> None:
        check_enough(self.context, group, survivors, f"are there for {name}", todo)
        if name == "values" and self._too_many(group, self._survivors["votes"] - survivors):
            raise RemoteProtocolError(
                f"Of the institutions that voted in lane {group.lanes[0].name}, more are missing from the values sum "
                "than the bar allows for; their number must be below it, or the sum repeated.",
                todo,
            )
