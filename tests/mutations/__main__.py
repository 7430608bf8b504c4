"""`python -m tests.mutations [WORD]`: break every security check, or those whose line has WORD in it, one at a time."""

from __future__ import annotations

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutations.every_check import EVERY_CHECK
from tests.mutations.mutation import Mutation, Verdict, copy_project, run_tests, verdict_on

__all__ = ["main"]


def main(word: str = "") -> int:
    """Print a line a mutation; 1 if one survived or had no result, or if the tests fail without any."""
    chosen = [mutation for mutation in EVERY_CHECK if word in f"{mutation.file} {mutation.broken}"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tests = tuple(sorted({test for mutation in chosen for test in mutation.tests}))
        copy_project(folder / "whole")
        code, printed = run_tests(folder / "whole", tests)
        if code:
            print(f"Nothing was broken yet, and these tests fail all the same:\n{printed[-4000:]}")
            return 1
        bad = 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            numbered = [(mutation, folder / str(number)) for number, mutation in enumerate(chosen)]
            for mutation, (verdict, why) in zip(chosen, pool.map(_verdict, numbered), strict=True):
                bad += verdict is not Verdict.KILLED
                print(_line(mutation, verdict, why), flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} broken checks were noticed.")
    return 1 if bad or not chosen else 0


def _verdict(numbered: tuple[Mutation, Path]) -> tuple[Verdict, str]:
    return verdict_on(*numbered)


def _line(mutation: Mutation, verdict: Verdict, why: str) -> str:
    return f"{verdict.value:9}  {mutation.file:28}  {mutation.broken:70}  {why.replace('tests/', '')}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
