"""One module an adversary, and the list of all of them.

Another one is a module with an `Attack` and a line here; what it needs beyond small synthetic layers it makes itself,
in the folder that it is given.
"""

from threat_model.attacks.attack import Attack, Finding, Trial
from threat_model.attacks.count_one import COUNT_ONE
from threat_model.attacks.dropout_difference import DROPOUT_DIFFERENCE
from threat_model.attacks.equivocation import EQUIVOCATION
from threat_model.attacks.false_counts import FALSE_COUNTS
from threat_model.attacks.intersecting_cohorts import INTERSECTING_COHORTS
from threat_model.attacks.layer_cohort_of_one import LAYER_COHORT_OF_ONE
from threat_model.attacks.malleable_votes import MALLEABLE_VOTES
from threat_model.attacks.membership_aggregate import MEMBERSHIP_AGGREGATE
from threat_model.attacks.membership_update import MEMBERSHIP_UPDATE
from threat_model.attacks.model_inconsistency import MODEL_INCONSISTENCY
from threat_model.attacks.reading_weights import READING_WEIGHTS
from threat_model.attacks.replay import REPLAY
from threat_model.attacks.roster_sybils import ROSTER_SYBILS
from threat_model.attacks.token_counts import TOKEN_COUNTS

__all__ = ["ATTACKS", "Attack", "Finding", "Trial"]

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        READING_WEIGHTS,
        COUNT_ONE,
        FALSE_COUNTS,
        DROPOUT_DIFFERENCE,
        EQUIVOCATION,
        REPLAY,
        MODEL_INCONSISTENCY,
        LAYER_COHORT_OF_ONE,
        INTERSECTING_COHORTS,
        ROSTER_SYBILS,
        MALLEABLE_VOTES,
        MEMBERSHIP_UPDATE,
        MEMBERSHIP_AGGREGATE,
        TOKEN_COUNTS,
    )
}
"""Name -> attack, the simplest first."""
