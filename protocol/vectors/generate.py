"""Make all test vectors with the package.

    .venv/bin/python -m protocol.vectors.generate [FOLDER]

writes FAMILY/NAME.json into FOLDER, by default where they are kept; a test holds what is kept to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from protocol.vectors.making.bad_rounds import bad_rounds
from protocol.vectors.making.charters import bad_charters, charters
from protocol.vectors.making.envelopes import CASES, bad_envelopes, envelopes
from protocol.vectors.making.primitive_cases import GOOD, bad_primitives
from protocol.vectors.making.primitives import RUN
from protocol.vectors.making.rounds import SCENES, play

__all__ = ["vectors"]

FOLDER = Path(__file__).parent


def vectors() -> dict[str, dict[str, Any]]:
    """FAMILY/NAME -> vector."""
    rounds = {name: play(name) for name in SCENES}
    charter = rounds["one_vanished"]["input"]["charter"]
    signed = [{"input": case, "output": envelopes(case)} for case in CASES]
    agreed = {"input": {"charter": charter}, "output": charters({"charter": charter})}
    return {
        **{
            f"{family}/{family}": {
                "family": family,
                "about": about,
                "cases": [{"input": given, "output": RUN[family](given)} for given in inputs],
            }
            for family, (about, inputs) in GOOD.items()
        },
        "envelopes/envelopes": {"family": "envelopes", "about": "Canonical JSON, and envelopes.", "cases": signed},
        "charters/charters": {"family": "charters", "about": "What follows from a charter.", "cases": [agreed]},
        **{
            f"rounds/{name}": {
                "family": "rounds",
                "about": SCENES[name].about,
                "cases": [{"input": vector["input"], "output": vector["output"]}],
            }
            for name, vector in rounds.items()
        },
        **bad_primitives(),
        **bad_envelopes(),
        **bad_charters(charter),
        **bad_rounds(rounds),
    }


def write(folder: Path) -> None:
    """Write every vector, and nothing else that a test would take for one."""
    made = vectors()
    for path in folder.glob("*/*.json"):
        if f"{path.parent.name}/{path.stem}" not in made:
            path.unlink()
    for name, vector in made.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vector, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
