"""Pooled statistics: what a charter may say of them, what is kept back, and sums that nobody can have sent."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

__all__ = ["POOLED"]

_GATE = ("tests/charter/test_gate.py",)
_ROUND = "tests/rounds/test_pooled.py"
_NOISY = ("tests/aggregation/test_noisy.py",)
_SHARES = "tests/runtime/test_private_pooling.py"
_LIES = "tests/rounds/test_pooled_lies.py"
_RUN = "tests/runtime/test_pooled_run.py"
_LAYERS = ("tests/workspace/test_adopted_layers.py",)


def _never(condition: str) -> tuple[tuple[str, str], ...]:
    """The same branch, never taken."""
    return ((condition, "if False:"),)


_IN_GATE = (
    ("pooled statistics are not looked at", "if charter.pooled is not None:"),
    ("magnitude pruning may ask for statistics", 'if charter.method == "magnitude":'),
    ("a solver may have no damping or no block", "if Fraction(pooled.damping) == 0 or pooled.block == 0:"),
    (
        "matrices may be summed for nothing, or be missing",
        "if any(one.matrix for one in pooled.inputs) is not charter.changes_weights:",
    ),
    ("some inputs may be left without noise", "if len({one.noise is None for one in pooled.inputs}) > 1:"),
    (
        "inputs may leave tensors out",
        "if sorted(named) != sorted(tensors) or not all(one.tensors for one in pooled.inputs):",
    ),
    (
        "inputs may be in any order",
        "if firsts != sorted(firsts) or any(places(one) != sorted(places(one)) for one in pooled.inputs):",
    ),
    ("tensors of different layers may share an input", "if len(seen) != 1:"),
    ("a scale may be of another input", "if one.noise is not None and len(one.noise.scale) != columns:"),
)

POOLED: tuple[Mutation, ...] = (
    *(Mutation(broken, "charter/gate.py", _never(condition), _GATE) for broken, condition in _IN_GATE),
    Mutation(
        "a custodian may be named who counts nothing",
        "charter/gate.py",
        (
            (
                'if charter.custodian is not None:\n        raise CharterError("A custodian',
                'if False:\n        raise CharterError("A custodian',
            ),
        ),
        _GATE,
    ),
    Mutation(
        "anything may be summed",
        "charter/policy.py",
        _never("if charter.aggregate.kind not in policy.aggregates:"),
        (
            "tests/charter/test_policy.py",
            f"{_ROUND}::test_an_institution_whose_policy_does_not_allow_what_is_summed_takes_no_part",
        ),
    ),
    # Digits and lanes.
    Mutation(
        "diagonals may add up beyond what the check of a sum tells apart",
        "secagg/packing.py",
        (("_LARGEST_SUM = 2**60", "_LARGEST_SUM = 2**61"),),
        ("tests/secagg/test_packing.py",),
    ),
    Mutation(
        "diagonals may have more bits than float64",
        "secagg/packing.py",
        (("_LARGEST_ENTRY = 2**51", "_LARGEST_ENTRY = 2**52"),),
        ("tests/secagg/test_packing.py",),
    ),
    Mutation(
        "the upper half of a large digit is not checked",
        "secagg/check.py",
        _never("if bits > _HALF:"),
        ("tests/secagg/test_check.py",),
    ),
    Mutation(
        "a lane may have more values than it says",
        "secagg/context.py",
        (("if not 0 <= length <= lane.most_values:", "if not 0 <= length <= max(lane.length, lane.most_values):"),),
        ("tests/secagg/test_longer_lanes.py",),
    ),
    # What is kept back.
    Mutation(
        "the matrix of the first input is summed too",
        "runtime/pooling.py",
        (("matrix=matrix and bool(found),", "matrix=matrix,"),),
        (_RUN,),
    ),
    Mutation(
        "a matrix that is kept back is summed all the same",
        "rounds/plan.py",
        (
            (
                "longest=first.columns * (first.columns - 1) // 2 if one.matrix else 0,",
                "longest=first.columns * (first.columns - 1) // 2,",
            ),
        ),
        (_ROUND,),
    ),
    Mutation(
        "matrices are summed of fewer institutions than the bar",
        "rounds/pooled.py",
        (("return lane.most_values if enough else 0", "return lane.most_values"),),
        (f"{_ROUND}::test_fewer_institutions_than_the_bar_send_no_matrix",),
    ),
    Mutation(
        "a moment that is not finite is sent",
        "rounds/own_moments.py",
        _never("if not np.isfinite(moment).all():"),
        (f"{_ROUND}::test_moments_that_are_not_finite_are_named_and_never_sent",),
    ),
    Mutation(
        "noise may be cut off",
        "rounds/own_moments.py",
        _never("if at_bound and self._plan.pooled(lane).noise is not None:"),
        (f"{_ROUND}::test_a_moment_whose_noise_would_be_cut_off_is_not_sent",),
    ),
    Mutation(
        "noise is shared among all, though some may vanish",
        "runtime/private_pooling.py",
        (("dropouts=cohort - plan.quorum(plan.cohorts[layer]),", "dropouts=0,"),),
        (_SHARES,),
    ),
    Mutation(
        "noise is shared among all, though colluders know theirs",
        "runtime/private_pooling.py",
        (("colluders=plan.charter.parameters.colluders,", "colluders=0,"),),
        (_SHARES,),
    ),
    # What follows from sums.
    Mutation(
        "moments may be more than the institutions can give",
        "rounds/pooled.py",
        _never("if digits.size and digits.max() > most:"),
        (_LIES,),
    ),
    Mutation(
        "scaled inputs are taken for the inputs themselves",
        "rounds/pooled.py",
        (
            (
                "        if noise is None:\n            return moment",
                "        if noise is None or moment.ndim:\n            return moment",
            ),
        ),
        (f"{_ROUND}::test_with_noise_everybody_prunes_from_what_the_noise_does_not_hide_scaled_back",),
    ),
    Mutation(
        "noise is taken for text",
        "aggregation/noisy.py",
        (("if square > _CHANCE * variance * sqrt(2 / d):", "if square > 0:"),),
        _NOISY,
    ),
    Mutation(
        "one huge input makes the noise of all others believed",
        "aggregation/noisy.py",
        (("_FARTHEST = 4.0", "_FARTHEST = 4e9"),),
        _NOISY,
    ),
    Mutation(
        "a matrix is pruned from that is less than its noise",
        "aggregation/noisy.py",
        _never("if square < half:"),
        _NOISY,
    ),
    Mutation(
        "a matrix is pruned from whose noise is beyond its eigenvalues",
        "aggregation/noisy.py",
        _never("if more > fsum(diagonal.tolist()) / d / 2:"),
        _NOISY,
    ),
    Mutation(
        "the noise of institutions that need not be there is forgotten",
        "rounds/pooled.py",
        (("one.noise.variance * participation.number(lane, name)", "one.noise.variance"),),
        (f"{_ROUND}::test_with_noise_everybody_prunes_from_what_the_noise_does_not_hide_scaled_back",),
    ),
    Mutation(
        "matrices that nobody could check are believed",
        "rounds/institution.py",
        (('lanes if participation.accepted("values") else None', "lanes"),),
        (f"{_ROUND}::test_matrices_that_nobody_can_check_leave_the_decision_to_the_diagonals",),
    ),
    # Layers that a round leaves alone.
    Mutation(
        "a killed run's link to another store's layer is left lying",
        "workspace/layers.py",
        (("aside.unlink(missing_ok=True)  # of two names", "pass  # of two names"),),
        _LAYERS,
    ),
    Mutation(
        "layers of an earlier attempt are taken for this round's",
        "runtime/simulate.py",
        (
            (
                "            output.adopt(layer, current)",
                "            output.has(layer) or output.adopt(layer, current)",
            ),
        ),
        (f"{_RUN}::test_a_run_that_was_killed_between_rounds_goes_on_to_the_model_that_follows_from_its_own_sums",),
    ),
)
