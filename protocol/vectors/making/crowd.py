"""A cohort so large that its graph is sparse: which survivors of it are refused for where they lie on the ring."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from fedspallm_secure.charter import Charter
from fedspallm_secure.messages import LogHead, Survivors
from fedspallm_secure.rounds import plan_round
from fedspallm_secure.secagg import Participation, RoundContext

__all__ = ["bad_crowd", "crowd", "crowds"]

Json = dict[str, Any]

_MEMBERS, _COLLUDERS, _DROPOUTS = 66, 1, 18


def crowd(given: Json) -> Json:
    """How many survivors each group has."""
    charter = Charter.model_validate_json(json.dumps(given["charter"]))
    context = plan_round(charter, 0).context
    message = Survivors.model_validate_json(json.dumps(given["survivors"]))
    participation = Participation(context).with_survivors(message, None, (), ())
    left = participation.contributors("votes")
    return {"left": [len(left.intersection(group.cohort)) for group in context.groups]}


def crowds(charter: Json) -> list[Json]:
    """Survivors that are accepted: t of two stretches, and everybody elsewhere.

    Args:
        charter: of a few, to be made one of many.
    """
    context = _context(charter)
    return [_case(context, _two_stretches(context)[2:])]


def bad_crowd(charter: Json) -> Mapping[str, Json]:
    """FAMILY/NAME -> vector that must be refused; the charter as in `crowds`."""
    context = _context(charter)
    return {
        "survivors/survivors_bad_stretches": {
            "family": "survivors",
            "about": "A quorum survived, but only one member of two stretches, so that the ring may have parted.",
            "input": _case(context, _two_stretches(context)[1:]),
            "refused": {"check": "C53", "error": "RemoteProtocolError", "says": "1 institutions of two stretches"},
        }
    }


def _context(charter: Json) -> RoundContext:
    names = [f"clinic-{number:02}" for number in range(_MEMBERS)]
    parameters = {"minimum_cohort": _MEMBERS, "colluders": _COLLUDERS, "dropouts": _DROPOUTS, "digits_per_word": 2}
    changes = {
        "run": "crowd",
        "roster": [
            {"name": name, "public_key": hashlib.sha256(name.encode()).hexdigest(), "capacity": "1"} for name in names
        ],
        "parameters": {**charter["parameters"], **parameters},
    }
    return plan_round(Charter.model_validate_json(json.dumps({**charter, **changes})), 0).context


def _two_stretches(context: RoundContext) -> list[int]:
    group = context.groups[0]
    half = len(group.neighbours[0]) // 2
    return [*group.ring[3 : 3 + half], *group.ring[30 : 30 + half]]


def _case(context: RoundContext, vanished: Collection[int]) -> Json:
    message = Survivors(
        charter=context.digest,
        round=0,
        sender=context.charter.server,
        sum="votes",
        attempt=0,
        participants=context.roster,
        survivors=context.names(context.everybody.difference(vanished)),
        gone=(),
        start=context.start,
        log=LogHead(size=0, root=hashlib.sha256(b"").hexdigest()),
    )
    return {"charter": context.charter.model_dump(mode="json"), "survivors": message.model_dump(mode="json")}
