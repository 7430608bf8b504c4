"""Make all test vectors with the package.

    .venv/bin/python -m protocol.vectors.generate [FOLDER]

writes FAMILY/NAME.json into FOLDER, by default where they are kept; a test holds what is kept to it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protocol.vectors.making.bad_pooled import bad_pooled_charters
from protocol.vectors.making.bad_rounds import bad_rounds
from protocol.vectors.making.bad_transcripts import bad_transcripts
from protocol.vectors.making.charter_signatures import bad_custodian_signatures, bad_signatures, signatures
from protocol.vectors.making.charter_signatures import cases as signed_charters
from protocol.vectors.making.charters import bad_charters, bad_encrypted_charters, charters
from protocol.vectors.making.crowd import bad_crowd, crowd, crowds
from protocol.vectors.making.envelopes import CASES, bad_envelopes, envelopes
from protocol.vectors.making.forger import Forger
from protocol.vectors.making.primitive_cases import GOOD, bad_primitives
from protocol.vectors.making.primitives import RUN
from protocol.vectors.making.pruning import CASES as PRUNED
from protocol.vectors.making.pruning import pruning
from protocol.vectors.making.rosters import CASES as CHAINS
from protocol.vectors.making.rosters import bad_rosters, rosters, with_charter
from protocol.vectors.making.rounds import SCENES, play
from protocol.vectors.making.runs import RUNS, play_run
from protocol.vectors.making.tlog import CASES as LOGS
from protocol.vectors.making.tlog import bad_tlog, tlog
from protocol.vectors.making.transcripts import incomplete, transcripts
from protocol.vectors.making.votes import CASES as VOTES
from protocol.vectors.making.votes import bad_votes, votes

__all__ = ["vectors"]

FOLDER = Path(__file__).parent


def vectors() -> dict[str, dict[str, Any]]:
    """FAMILY/NAME -> vector."""
    rounds = {name: play(name) for name in SCENES}
    forgers = {name: Forger(play_run(name)) for name in RUNS}
    charter, encrypted, diagonals, matrices = (
        rounds[name]["input"]["charter"]
        for name in ("one_vanished", "encrypted", "pooled_diagonals", "pooled_matrices")
    )
    signed = [{"input": case, "output": envelopes(case)} for case in CASES]
    logged = [{"input": case, "output": tlog(case)} for case in LOGS]
    chains = [{"input": case, "output": rosters(case)} for case in (*CHAINS, with_charter(charter))]
    named = [
        {"input": case, "output": signatures(case)}
        for case in [*signed_charters(charter), *signed_charters(encrypted)[:2]]
    ]
    twice = {**matrices, "schedule": ["0.25", "1/2"]}
    asked = [*({"charter": one} for one in (charter, encrypted, diagonals)), {"charter": twice, "round": 3}]
    agreed = [{"input": one, "output": charters(one)} for one in asked]
    many = [{"input": case, "output": crowd(case)} for case in crowds(charter)]
    pruned = [{"input": case, "output": pruning(case)} for case in PRUNED]
    added = [{"input": case, "output": votes(case)} for case in VOTES]
    return {
        **{
            f"{family}/{family}": {
                "family": family,
                "about": about,
                "cases": [{"input": given, "output": RUN[family](given)} for given in inputs],
            }
            for family, (about, inputs) in GOOD.items()
        },
        "tlog/tlog": {"family": "tlog", "about": "The log's tree, its proofs, and checkpoints.", "cases": logged},
        "envelopes/envelopes": {"family": "envelopes", "about": "Canonical JSON, and envelopes.", "cases": signed},
        "charters/charters": {"family": "charters", "about": "What follows from a charter.", "cases": agreed},
        "survivors/survivors": {"family": "survivors", "about": "Survivors of a large cohort.", "cases": many},
        "signatures/signatures": {"family": "signatures", "about": "Signatures under a charter.", "cases": named},
        "votes/votes": {"family": "votes", "about": "Encrypted votes, their sums, and counts.", "cases": added},
        "pruning/pruning": {"family": "pruning", "about": "Weights pruned from second moments.", "cases": pruned},
        "rosters/rosters": {"family": "rosters", "about": "Rosters, each followed by the next.", "cases": chains},
        **{
            f"rounds/{name}": {
                "family": "rounds",
                "about": SCENES[name].about,
                "cases": [{"input": vector["input"], "output": vector["output"]}],
            }
            for name, vector in rounds.items()
        },
        **_transcripts(forgers),
        **bad_primitives(),
        **bad_tlog(),
        **bad_envelopes(),
        **bad_votes(),
        **bad_charters(charter),
        **bad_encrypted_charters(encrypted),
        **bad_pooled_charters(diagonals, matrices),
        **bad_crowd(charter),
        **bad_signatures(charter),
        **bad_custodian_signatures(encrypted),
        **bad_rosters(charter),
        **bad_rounds(rounds),
        **bad_transcripts(forgers),
    }


def _transcripts(forgers: Mapping[str, Forger]) -> dict[str, dict[str, Any]]:
    """Whole transcripts at both depths, and those that lack something."""
    whole = {name: forger.played.given for name, forger in forgers.items()}
    made: dict[str, dict[str, Any]] = {}
    for name, forger in forgers.items():
        inputs = [{"depth": "public", **whole[name]}, {"of": name, "depth": "full"}]
        made[f"transcripts/{name}"] = _family(forger.played.about, inputs, whole)
    about = "Transcripts in which nothing is wrong, but not everything is there."
    made["transcripts/incomplete"] = _family(about, incomplete(forgers), whole)
    return made


def _family(about: str, inputs: list[dict[str, Any]], whole: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    cases = [{"input": given, "output": transcripts(given, whole)} for given in inputs]
    return {"family": "transcripts", "about": about, "cases": cases}


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
