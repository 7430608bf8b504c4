"""Who unmasks a sum from what others say was sent believes no message that a client would not have got through with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import GroupCommitments, GroupKeys, Revealed
from fedspallm_secure.secagg import Unmasking
from tests.secagg.small_round import SmallRound
from tests.secagg.staged_round import STAGED, scenes

_STAGES = ("advertise", "share", "unmask votes")
_EVERYBODY = frozenset(range(4))

Evidence = dict[str, dict[int, Any]]
"""Stage -> roster index -> message."""


def _evidence() -> Evidence:
    """What was sent up to the first sum of a round."""
    *_, end = scenes(SmallRound(STAGED))
    return {
        stage: {STAGED.indices[name]: STAGED.open(envelope) for name, envelope in end.said[stage].items()}
        for stage in _STAGES
    }


def _unmasking(evidence: Evidence) -> Unmasking:
    advertised, shared, unmasks = (evidence[stage] for stage in _STAGES)
    return Unmasking(STAGED, "votes", 0, advertised, shared, _EVERYBODY, _EVERYBODY, unmasks)


def _changed(stage: str, **changes: Any) -> Callable[[Evidence], object]:
    return lambda evidence: evidence[stage].update({2: evidence[stage][2].model_copy(update=changes)})


_OTHER_SHARES = "'i2' handed out other shares than those of the survivors' seeds and the vanished's keys"
# What is wrong with i2's evidence, and what is said of it.
FORGERIES: Mapping[str, tuple[Callable[[Evidence], object], str]] = {
    "no advertisement": (
        lambda evidence: evidence["advertise"].pop(2),
        "Keys or shares are missing of i2, who are said to have taken part",
    ),
    "no shares": (
        lambda evidence: evidence["share"].pop(2),
        "Keys or shares are missing of i2, who are said to have taken part",
    ),
    "an advertisement of no keys": (_changed("advertise", groups=()), "'i2' advertised not one key a group and sum"),
    "an advertisement without votes": (
        _changed("advertise", groups=(GroupKeys(votes=None, values="ab" * 32),) * 2),
        "'i2' advertised not one key a group and sum",
    ),
    "no commitments": (_changed("share", commitments=()), "'i2' committed to not one seed a group and sum"),
    "commitments without votes": (
        _changed("share", commitments=(GroupCommitments(votes=None, values="ab" * 32),) * 2),
        "'i2' committed to not one seed a group and sum",
    ),
    "nothing handed out": (_changed("unmask votes", groups=()), _OTHER_SHARES),
    "keys handed out": (
        _changed("unmask votes", groups=(Revealed(seeds={}, keys={"i0": "0" * 66}),) * 2),
        _OTHER_SHARES,
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_evidence_that_is_not_of_the_round_s_form_unmasks_nothing(forgery: str) -> None:
    change, says = FORGERIES[forgery]
    evidence = _evidence()
    change(evidence)
    with pytest.raises(RemoteProtocolError, match=says):
        _unmasking(evidence)


def test_evidence_as_it_was_sent_unmasks_the_sum_and_blames_nobody() -> None:
    assert _unmasking(_evidence()).liars == set()
