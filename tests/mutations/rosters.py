"""Which roster counts: what it says by itself, whom it follows, who signed it, and who may enter a charter."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

__all__ = ["ROSTERS"]

_ALONE = ("tests/charter/test_roster.py",)
_CHAIN = ("tests/charter/test_roster_chain.py",)
_FILES = ("tests/charter/test_roster_file.py",)

_BY_ITSELF = (
    ("a roster with a predecessor may be the first", "if (roster.previous is None) != (roster.number == 1):"),
    ("two members of a roster may have one name or key", "if times > 1:"),
    ("half of the members may hand over", "if not members // 2 < roster.threshold <= members:"),
    ("a member may have a revoked key", "if member.public_key in reasons:"),
    ("a revoked key may enter a charter", "if key in reasons:"),
    ("a stranger may enter a charter", 'if listed is None and role == "institution":'),
    ("another key may enter a charter", "if listed not in (None, key):"),
)

_IN_A_CHAIN = (
    ("a chain of rosters may have gaps", "if roster.number != due:"),
    ("a roster may follow another one", "if roster.previous != digest(before):"),
    ("a revocation may be forgotten", "if revocation not in roster.revoked:"),
    ("a stranger may sign a roster", "if not keys:"),
    ("a roster's signatures may be false", "if not held:"),
    ("a revoked key may sign a roster", "if held & roster.reasons.keys():"),
    ("a key may sign a roster twice", "if held <= found:"),
    ("too few may sign a roster", "if len(signing) < needed:"),
    ("a roster may be written in two ways", "if canonical(roster) != payload:"),
)


def _skipped(condition: str) -> tuple[tuple[str, str], ...]:
    """The same branch, never taken."""
    return ((condition, "if False:"),)


ROSTERS: tuple[Mutation, ...] = (
    *(Mutation(broken, "charter/roster.py", _skipped(condition), _ALONE) for broken, condition in _BY_ITSELF),
    *(Mutation(broken, "charter/roster_chain.py", _skipped(condition), _CHAIN) for broken, condition in _IN_A_CHAIN),
    Mutation(
        "one member may start a chain",
        "charter/roster_chain.py",
        (("everybody = [(roster, len(roster.members))]", "everybody = [(roster, 1)]"),),
        _CHAIN,
    ),
    Mutation(
        "the new members need not agree",
        "charter/roster_chain.py",
        (("[(before, before.threshold), (roster, roster.threshold)]", "[(before, before.threshold)]"),),
        _CHAIN,
    ),
    Mutation(
        "the old members need not agree",
        "charter/roster_chain.py",
        (("[(before, before.threshold), (roster, roster.threshold)]", "[(roster, roster.threshold)]"),),
        _CHAIN,
    ),
    Mutation(
        "a roster's file may be written in two ways",
        "charter/roster_file.py",
        (('if canonical(signed) + b"\\n" != data:', "if False:"),),
        _FILES,
    ),
    Mutation(
        "a revoked key is let to sign",
        "charter/roster_chain.py",
        (("if signer.public in roster.reasons:", "if False:"),),
        _CHAIN,
    ),
)
