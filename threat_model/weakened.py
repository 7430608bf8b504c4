"""The same attacks on a copy of this system with one rule taken out. Each then works, so its failure says something.

    python -m threat_model.weakened

Rules are taken out as `tests.mutations` does it, by an edit of the source. Where a rule is checked in two places both
are gone: no layer gets by with one institution otherwise. `equivocation` needs another number of signatures and of
shares, which are one number here; with either alone the other still stops it. Attacks that fail for several reasons at
once, such as `replay` (a message names its round, keys are fresh, masks depend on the round), are not here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutations.mutation import PACKAGE, ROOT, Mutation, break_check
from threat_model.attacks import Finding

__all__ = ["WEAKENED", "Weakening", "attack_weakened", "main"]

_NEEDED = (PACKAGE, "tests", "threat_model")


@dataclass(frozen=True)
class Weakening:
    """A rule that is taken out, and the attack that works then.

    Attributes:
        attack: its name.
        broken: the edits; where the rule is kept in several places, one for each.
    """

    attack: str
    broken: tuple[Mutation, ...]

    @property
    def rule(self) -> str:
        """What no longer holds, for people."""
        return " and ".join(mutation.broken for mutation in self.broken)


def _without(broken: str, file: str, old: str, new: str) -> Mutation:
    return Mutation(broken, file, ((old, new),), ())


WEAKENED: tuple[Weakening, ...] = (
    Weakening(
        "reading_weights",
        (
            _without(
                "an institution hands out both shares of everybody",
                "secagg/exchange.py",
                "                    else:\n                        keys[",
                "                    if True:\n                        keys[",
            ),
        ),
    ),
    Weakening(
        "count_one",
        (
            _without(
                "one vote is enough to be in the sum of changes",
                "rounds/averaged.py",
                "kept & (votes >= participation.bar(lane))",
                "kept & (votes >= 1)",
            ),
        ),
    ),
    Weakening(
        "false_counts",
        (_without("false sums pass", "secagg/check.py", "if (total - published) % modulus:", "if False:"),),
    ),
    Weakening(
        "equivocation",
        (
            _without(
                "a quorum is half, whoever colludes",
                "charter/gate.py",
                "return (members + colluders) // 2 + 1",
                "return members // 2 + 1",
            ),
        ),
    ),
    Weakening(
        "layer_cohort_of_one",
        (
            _without(
                "capacities may leave a cohort below its minimum",
                "aggregation/sampling.py",
                "if sum(quotas) < minimum_cohort * layers:",
                "if False:",
            ),
            _without(
                "a lane's cohort may be smaller than agreed",
                "secagg/context.py",
                "if n < parameters.minimum_cohort:",
                "if False:",
            ),
        ),
    ),
    Weakening(
        "model_inconsistency",
        (_without("any base model will do", "rounds/public.py", "if found != tensor.digest:", "if False:"),),
    ),
    Weakening(
        "roster_sybils",
        (_without("any key may be on the roster", "charter/policy.py", "if key != listed:", "if False:"),),
    ),
    Weakening(
        "malleable_votes",
        (
            Mutation(
                "the custodian counts what was signed last, also after the survivors",
                "rounds/custodian.py",
                (
                    ("_committed(plan, messages[:at], contributors)", "_committed(plan, messages, contributors)"),
                    ("if index in found:", "if False:"),
                ),
                (),
            ),
        ),
    ),
    Weakening(
        "membership_aggregate",
        (
            _without(
                "an institution prunes from its text's own moments, whatever epsilon is set",
                "runtime/simulate.py",
                "release=None if self.private is None else self.private.of(name, number),",
                "release=None,",
            ),
        ),
    ),
    Weakening(
        "token_counts",
        (
            _without(
                "of the first layer's first input the whole moment is summed",
                "runtime/pooling.py",
                "matrix=matrix and bool(found)",
                "matrix=matrix",
            ),
        ),
    ),
)


def attack_weakened(weakening: Weakening, folder: Path) -> Finding:
    """Try the attack on a copy of this system without the rule.

    Args:
        weakening: which.
        folder: where the copy is made; it must not exist yet.

    Raises:
        ValueError: a source text of the rule is not there exactly once, the attack came to no result, or its exit code
            says something else.
    """
    for name in _NEEDED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for mutation in weakening.broken:
        break_check(mutation, folder)
    command = [sys.executable, "-m", "threat_model", weakening.attack, "--format", "json"]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise ValueError(f"{weakening.attack} came to no result: {done.stderr[-2000:]}")
    (finding,) = (Finding(**found) for found in json.loads(done.stdout))
    if finding.as_expected != (done.returncode == 0):
        raise ValueError(f"{weakening.attack} ended with {done.returncode}, and found: {finding.evidence}")
    return finding


def main() -> int:
    """Print a line a rule; 1 if an attack still fails without it."""
    still_failing = 0
    for weakening in WEAKENED:
        with TemporaryDirectory(prefix="weakened-") as folder:
            finding = attack_weakened(weakening, Path(folder) / "copy")
        still_failing += not finding.succeeds_here
        verdict = "works" if finding.succeeds_here else "STILL FAILS"
        print(f"{weakening.attack:20}  {verdict:11}  when {weakening.rule}", flush=True)
    return 1 if still_failing else 0


if __name__ == "__main__":
    sys.exit(main())
