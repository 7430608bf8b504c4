"""Check test vectors without the package: with a second implementation, written from SPEC.md alone.

    .venv/bin/python -m protocol.vectors.check [FOLDER]

prints a line a family and ends with 1 if a vector is not what SPEC.md says. Nothing of `fedspallm_secure` is imported.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from protocol.vectors.second.families import FAMILIES, Json, rounds, transcripts
from protocol.vectors.second.refusal import CheckError
from protocol.vectors.second.replay import refuse

__all__ = ["VectorError", "check"]

FOLDER = Path(__file__).parent


class VectorError(Exception):
    """A vector that is not what SPEC.md says."""


def check(name: str, vector: Json, all_vectors: Mapping[str, Json]) -> None:
    """Compare a vector with what we compute ourselves.

    Args:
        name: FAMILY/NAME.
        vector: what is in that file.
        all_vectors: a bad round or transcript names a good one.

    Raises:
        VectorError: something else comes out, or it is not refused by the check that it names.
    """
    family = vector["family"]
    for number, case in enumerate(vector.get("cases", [])):
        try:
            given, output = case["input"], case["output"]
            if family == "transcripts":
                found = transcripts(given, all_vectors)
            else:
                found = rounds(given, output) if family == "rounds" else FAMILIES[family](given)
        except (CheckError, ValueError, LookupError) as error:
            raise VectorError(f"{name}, case {number}: {error!r}") from error
        if found != output:
            raise VectorError(f"{name}, case {number}: {found} came out")
    if "refused" in vector:
        due, given = vector["refused"]["check"], vector["input"]
        try:
            if family == "rounds":
                refuse(given, all_vectors[f"rounds/{given['of']}"]["cases"][0])
            elif family == "transcripts":
                transcripts(given, all_vectors)
            else:
                FAMILIES[family](given)
        except CheckError as refusal:
            if refusal.check == due:
                return
            raise VectorError(f"{name}: {refusal} came where {due} is due") from refusal
        except (ValueError, LookupError) as error:
            raise VectorError(f"{name}: {error!r} before {due} is due") from error
        raise VectorError(f"{name}: was not refused, where {due} is due")


def load(folder: Path) -> dict[str, Json]:
    """FAMILY/NAME -> vector, of all in `folder`."""
    return {
        f"{path.parent.name}/{path.stem}": json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*/*.json"))
    }


def main(folder: Path) -> int:
    """The exit code."""
    found = load(folder)
    wrong = Counter[str]()
    for name, vector in found.items():
        try:
            check(name, vector, found)
        except VectorError as error:
            wrong[vector["family"]] += 1
            print(error, file=sys.stderr)
    good = Counter(vector["family"] for vector in found.values() if "cases" in vector)
    bad = Counter(vector["family"] for vector in found.values() if "refused" in vector)
    for family in sorted(good | bad):
        print(f"{family:13} {good[family]} good, {bad[family]} bad, {wrong[family]} wrong")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
