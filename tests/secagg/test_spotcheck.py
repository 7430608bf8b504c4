"""Clients that verify a part of a quorum's signatures accept two quorums for two sets of survivors as good as never."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.charter import unmasking_threshold
from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Confirm, Confirmed, Envelope, seal
from fedspallm_secure.secagg import RoundContext
from fedspallm_secure.secagg.quorum import check_quorum
from fedspallm_secure.secagg.spotcheck import drawn_by, spot_check
from tests.secagg.small_round import entropy, identity, round_context

_MANY = 100
_EVERYBODY = frozenset(range(_MANY))


@pytest.mark.parametrize("members", range(3, 66))
@pytest.mark.parametrize("colluders", [0, 1, 3])
def test_of_the_smallest_quorum_every_signature_is_verified(members: int, colluders: int) -> None:
    quorum = unmasking_threshold(members, colluders)
    assert spot_check(members, colluders, quorum) == quorum


@given(st.data())
def test_a_list_with_the_fewest_false_signatures_passes_with_probability_below_two_to_minus_41_for_all_together(
    data: st.DataObject,
) -> None:
    members = data.draw(st.integers(66, 2000))
    colluders = data.draw(st.integers(0, members // 5))
    quorum = data.draw(st.integers(unmasking_threshold(members, colluders), members))
    s, true = spot_check(members, colluders, quorum), (members + colluders) // 2
    assert Fraction(members * comb(true, s), comb(quorum, s)) < Fraction(1, 2**41)
    fewer = Fraction(members * comb(true, s - 1), comb(quorum, s - 1))
    assert s == 1 or fewer >= Fraction(1, 2**41)


def test_two_quorums_for_two_sets_hold_as_many_false_signatures_as_reckoned_with() -> None:
    """By trying: 9 members, 2 of them colluding, quorums of 8; honest members sign one of the two sets."""
    members, colluders, quorum = 9, 2, 8
    honest = members - colluders
    fewest = min(
        max(quorum - (first + colluders), quorum - (honest - first + colluders), 0) for first in range(honest + 1)
    )
    assert fewest == quorum - (members + colluders) // 2


def _context() -> RoundContext:
    return round_context(
        _MANY, [(3, range(_MANY))], minimum_cohort=_MANY, minimum_contributors=7, colluders=5, dropouts=5
    )


def _confirmed(context: RoundContext, forged: int) -> Confirmed:
    """Everybody's confirmation of some survivors, of which the last `forged` by name are under other ones."""
    said = {"charter": context.digest, "round": 0, "sum": "votes", "attempt": 0}
    envelopes: dict[str, Envelope] = {}
    for number, name in enumerate(sorted(context.roster)):
        other = number >= _MANY - forged
        body = Confirm(**said, sender=name, survivors=("0" if other else "1") * 64)  # type: ignore[arg-type]
        envelopes[name] = seal(body, identity(name))
    signatures = {name: envelope.signatures[0].sig for name, envelope in envelopes.items()}
    return Confirmed(**said, sender="server", survivors="1" * 64, signatures=signatures)  # type: ignore[arg-type]


def test_true_confirmations_pass_and_as_many_false_ones_as_two_sets_need_do_not_wherever_they_stand() -> None:
    context = _context()
    group = context.groups[0]
    assert group.sample < group.quorum == 95
    check_quorum(context, _confirmed(context, 0), 0, _EVERYBODY, entropy("any"))
    # With 95 of 100 to confirm either set, one list of the two holds at least 95 - 52 = 43 false signatures. Here they
    # are the last ones by name, where a client that took the first ones would never look.
    lie = _confirmed(context, 43)
    for seed in range(40):
        with pytest.raises(RemoteProtocolError, match=r"The signature of 'i\d+' does not hold"):
            check_quorum(context, lie, 0, _EVERYBODY, entropy(f"client {seed}"))


def test_a_list_that_is_one_short_of_the_quorum_is_refused() -> None:
    context = _context()
    message = _confirmed(context, 0)
    few = dict(list(message.signatures.items())[:94])
    with pytest.raises(RemoteProtocolError, match="94 members of lane lane0's cohort confirmed the survivors; 95"):
        check_quorum(context, message.model_copy(update={"signatures": few}), 0, _EVERYBODY, entropy("any"))


def test_the_order_in_which_signatures_are_verified_depends_on_the_secret_alone() -> None:
    names = [f"i{index}" for index in range(30)]
    assert drawn_by(b"a" * 32, names) == drawn_by(b"a" * 32, names[::-1])
    assert drawn_by(b"a" * 32, names) != drawn_by(b"b" * 32, names)
    assert sorted(drawn_by(b"a" * 32, names)) == sorted(names)
