"""What a charter promises, in plain words: who takes part, what is hidden from whom, and who may vanish."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedspallm_secure.charter import Charter, unmasking_threshold
from fedspallm_secure.messages import digest
from fedspallm_secure.rounds import RoundPlan

__all__ = ["show_promises"]


def show_promises(charter: Charter, plans: Sequence[RoundPlan], console: Console) -> None:
    """Print what a charter that passed every check promises.

    Args:
        charter: the agreement.
        plans: of all its rounds.
        console: standard output.
    """
    table = Table.grid(padding=(0, 2))
    for what, text in (
        ("Charter", charter.run),
        ("Digest", digest(charter)),
        ("Institutions", f"{len(charter.roster)}: {', '.join(member.name for member in charter.roster)}"),
        ("Server", charter.server),
        ("Witness", _witness(charter)),
        ("Votes", _votes(charter)),
        ("Base model", f"{_counted(charter.base.layers, 'decoder layer')}, digest {digest(charter.base)}"),
        ("Rounds", f"{charter.rounds}, {charter.method} to {', then '.join(charter.schedule)}"),
        ("Sums", _sums(charter)),
        ("Cohorts", _cohorts(charter, plans)),
        ("Drop-outs", _dropouts(charter)),
        ("Colluders", _colluders(charter)),
        ("Bar", _bar(charter)),
    ):
        table.add_row(Text(what, "bold"), Text(text, overflow="fold"))
    console.print(table)


def _cohorts(charter: Charter, plans: Sequence[RoundPlan]) -> str:
    sizes = sorted({len(cohort) for plan in plans for cohort in plan.cohorts if cohort})
    thresholds = [f"{unmasking_threshold(size, charter.parameters.colluders)} of {size}" for size in sizes]
    return f"a layer's sum is unmasked only if {', '.join(thresholds)} agree on who is left in its cohort"


def _dropouts(charter: Charter) -> str:
    dropouts = charter.parameters.dropouts
    if dropouts == 0:
        return "a sum needs every member of its cohort"
    return f"a sum succeeds if at most {dropouts} of its cohort vanish"


def _colluders(charter: Charter) -> str:
    colluders = charter.parameters.colluders
    if colluders == 0:
        return "nothing is promised if even one institution is curious: sums of two give away the other's part"
    parameters = charter.parameters
    what = "votes" if charter.pooled is None else "second moments"
    votes = f"{what} of fewer than {unmasking_threshold(parameters.minimum_cohort, colluders) - colluders} others"
    changes = f", nor of changes of fewer than {parameters.minimum_contributors - colluders}"
    pool = f"{_counted(colluders, 'institution')} and the server may pool what they know"
    return f"{pool}, and still see no sum of {votes}" + changes * (charter.changes_weights and charter.pooled is None)


def _bar(charter: Charter) -> str:
    parameters = charter.parameters
    if charter.pooled is not None:
        return f"no sum of matrices where fewer than {parameters.bar} are there" if charter.changes_weights else "none"
    if not charter.changes_weights:
        return f"only votes are summed: {charter.method} changes no weight"
    return f"a weight's changes are summed only where {parameters.bar} of its cohort or more keep it"


def _sums(charter: Charter) -> str:
    if charter.pooled is None:
        return "of masks and changes of weights: each institution prunes on its own"
    return (
        "of second moments of the layers' inputs, from which everybody prunes the same way; they say more of all texts "
        "together than masks do, and nothing of one institution's alone"
    )


def _votes(charter: Charter) -> str:
    if charter.custodian is None:
        return "summed under masks: nobody can see a single institution's"
    return (
        f"encrypted; {charter.custodian.name} holds the keys, and could decrypt each institution's if it broke its word"
    )


def _witness(charter: Charter) -> str:
    if charter.witness is None:
        return "nobody vouches for a sum that misses an institution"
    return f"{charter.witness.name} may vouch for a sum that misses an institution"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)
