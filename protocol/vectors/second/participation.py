"""SPEC.md section 9.1: who takes part in which sum, and what may be said about it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from protocol.vectors.second.agreement import Group, Lane, Round
from protocol.vectors.second.refusal import require

__all__ = ["Participation"]


@dataclass(frozen=True)
class Participation:
    """P and the survivors (V, W) by sum, who is gone, and which sums were accepted."""

    round: Round
    gone: frozenset[int] = frozenset()
    participants: dict[str, frozenset[int]] = field(default_factory=dict)
    survivors: dict[str, frozenset[int]] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()

    def eligible(self, which: str) -> frozenset[int]:
        """Who may take part in a sum."""
        return self.round.everybody if which == "votes" else self.survivors["votes"] - self.gone

    def number(self, lane: Lane, which: str) -> int:
        """|V| or |W| within a lane's cohort."""
        return len(self.survivors[which] & set(lane.cohort))

    def bar(self, group: Group) -> int:
        """Votes that a position of the group needs."""
        numbers = self.round.parameters
        base = int(numbers["minimum_contributors"] + numbers["dropout_margin"])
        return base + len(self.gone & set(group.cohort))

    def after_survivors(self, body: dict[str, Any], client: int | None, mates: Collection[int]) -> Participation:
        """C16 to C21 and C53; those of one client only if there is one."""
        which = body["sum"]
        participants = self.round.indices("C16", body["participants"], self.eligible(which))
        survivors = self.round.indices("C16", body["survivors"], participants)
        require("C17", body["start"] == self.round.start)
        require("C17", body["gone"] == self.round.names(self.gone))
        require("C17", which == "votes" or body["attempt"] > 0 or participants == self.eligible(which))
        if client is not None:
            require("C18", client in survivors)
            with_me = (participants & self.round.peers_of(client)) | {client}
            require("C19", with_me == self.eligible(which) & frozenset(mates))
        for group in self.round.groups:
            require("C20", len(survivors & set(group.cohort)) >= group.quorum)
            require("C53", group.spread(survivors))
            if which == "values":
                require("C21", not self._too_many(group, self.survivors["votes"] - survivors))
        return replace(
            self,
            participants={**self.participants, which: participants},
            survivors={**self.survivors, which: survivors},
        )

    def after_collected(self, check: str, names: list[str], client: int | None) -> Participation:
        """C48 and K6: whose encrypted votes are counted."""
        contributors = self.round.indices(check, names, self.survivors["votes"])
        require(check, client is None or client in contributors)
        for group in self.round.groups:
            require(check, len(contributors & set(group.cohort)) >= group.quorum and group.spread(contributors))
        return replace(self, survivors={**self.survivors, "votes": contributors})

    def after_again(self, body: dict[str, Any], client: int | None) -> Participation:
        """C40 to C42."""
        gone = self.round.indices("C40", body["gone"], self.survivors["votes"])
        require("C40", client not in gone)
        require("C41", gone > self.gone and self.exceeded(self.survivors["votes"] - gone))
        left = self.survivors["votes"] - gone
        for group in self.round.groups:
            require("C42", len(left & set(group.cohort)) >= group.quorum and group.spread(left))
        return replace(self, gone=gone)

    def exceeded(self, survivors: frozenset[int]) -> bool:
        """Whether too many voters are missing."""
        missing = self.survivors["votes"] - survivors
        return any(self._too_many(group, missing) for group in self.round.groups)

    def after_verdict(self, which: str) -> Participation:
        """A sum was shown to be true."""
        return replace(self, accepted=self.accepted | {which})

    def _too_many(self, group: Group, missing: Collection[int]) -> bool:
        allowed = self.bar(group) - int(self.round.parameters["minimum_contributors"])
        return len(set(group.cohort) & set(missing)) > allowed
