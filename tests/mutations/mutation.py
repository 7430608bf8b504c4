"""One broken check: what is changed in which file, and which tests must fail then."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

__all__ = ["PACKAGE", "ROOT", "Mutation", "Verdict", "break_check", "copy_project", "run_tests", "verdict_on"]

ROOT = Path(__file__).parents[2]
PACKAGE = "fedspallm_secure"

_NEEDED = (PACKAGE, "tests", "benchmarks", "docs", "protocol", "pyproject.toml")
_SECONDS = 300
_PASSED, _FAILED = 0, 1  # exit codes of pytest; all others mean that no test came to a result


@dataclass(frozen=True)
class Mutation:
    """A security check that is taken out.

    Attributes:
        broken: what the code does without it, a few words.
        file: of the package.
        edits: pairs of a source text that is there exactly once, and what takes its place.
        tests: files, or tests as pytest names them, at least one of which must fail.
    """

    broken: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


class Verdict(Enum):
    """What became of a mutation. Only one of them is good."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    NO_RESULT = "NO RESULT"


def copy_project(folder: Path) -> None:
    """Copy what tests need to `folder`, which is made."""
    for name in _NEEDED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def break_check(mutation: Mutation, folder: Path) -> None:
    """Make the change in the copy of the package in `folder`.

    Raises:
        ValueError: a source text is not there exactly once.
    """
    path = folder / PACKAGE / mutation.file
    text = path.read_text(encoding="utf-8")
    for old, new in mutation.edits:
        if text.count(old) != 1:
            raise ValueError(f"{mutation.file} has this {text.count(old)} times, not once:\n{old}")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def run_tests(folder: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Run tests on the copy in `folder`, up to the first failure: pytest's exit code and what it printed."""
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--no-header", "--tb=line"]
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "CI": "1",  # hypothesis draws the same examples every time
    }
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return -1, f"no result after {_SECONDS} s"
    return done.returncode, done.stdout + done.stderr


def verdict_on(mutation: Mutation, folder: Path) -> tuple[Verdict, str]:
    """Break one check in a copy made for it, and run its tests.

    Returns:
        The verdict, and the test that failed or the end of what was printed.
    """
    copy_project(folder)
    break_check(mutation, folder)
    code, printed = run_tests(folder, mutation.tests)
    failed = re.search(r"^FAILED (.*?)( - .*)?$", printed, re.MULTILINE)
    if code == _FAILED and failed:
        return Verdict.KILLED, failed[1]
    return (Verdict.SURVIVED, " ".join(mutation.tests)) if code == _PASSED else (Verdict.NO_RESULT, printed[-2000:])
