"""SPEC.md section 10: which confirmations let a client hand out shares."""

from __future__ import annotations

from typing import Any

from protocol.vectors.second.agreement import Group, Round
from protocol.vectors.second.encoding import canonical, signature_holds
from protocol.vectors.second.refusal import require

__all__ = ["check_quorum"]


def check_quorum(the_round: Round, body: dict[str, Any], groups: list[Group], survivors: frozenset[int]) -> None:
    """C24 to C26: `body` is a `confirmed`."""
    require("C24", all(name in the_round.names(survivors) for name in body["signatures"]))
    confirm = {member: body[member] for member in ("charter", "round", "sum", "attempt", "survivors")}
    for group in groups:
        signers = sorted(set(the_round.names(group.cohort)) & body["signatures"].keys())
        require("C25", len(signers) >= group.quorum)
        for name in signers:
            payload = canonical({**confirm, "kind": "confirm", "sender": name})
            require("C26", signature_holds(payload, body["signatures"][name], the_round.keys[name]), name)
