"""Everything in the documents that follows from the code: JSON Schemas, state tables and state diagrams.

    .venv/bin/python -m protocol.generate

writes `protocol/schemas/`, `docs/states.md` and the state tables of `protocol/SPEC.md`; a test holds all three to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from fedspallm_secure.charter import Charter, CharterSignatures, Roster, SignedRoster
from fedspallm_secure.messages import Envelope, Message
from fedspallm_secure.secagg.states import CLIENT_STEPS, SERVER_STEPS
from fedspallm_secure.tlog import Evidence

__all__ = ["documents"]

ROOT = Path(__file__).parent.parent
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BEGIN = "<!-- states: made by `python -m protocol.generate` -->\n"
_END = "<!-- end of states -->\n"

_Steps = Sequence[tuple[Enum, Enum, Enum]]  # of (state, step, state after it)
_ROLES: Mapping[str, _Steps] = {
    "client": [(*before, after) for before, after in CLIENT_STEPS.items()],
    "server": [(*before, after) for before, after in SERVER_STEPS.items()],
}


class _Signed(GenerateJsonSchema):
    """Schemas of what is signed: every member is there, and no other one is."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        return True

    def dict_schema(self, schema: core_schema.DictSchema) -> dict[str, Any]:
        return super().dict_schema(schema) | {"additionalProperties": False}


def documents() -> dict[Path, str]:
    """Path below the repository's root -> what must stand there."""
    specification = ROOT / "protocol" / "SPEC.md"
    return {
        **{Path("protocol", "schemas", f"{name}.json"): text for name, text in _schemas().items()},
        Path("docs", "states.md"): _diagrams(),
        Path("protocol", "SPEC.md"): _with_tables(specification.read_text(encoding="utf-8")),
    }


def _schemas() -> dict[str, str]:
    """Name -> JSON Schema of what is agreed, the envelope, what comes beside it, and each message by its kind."""
    bodies = get_args(get_args(Message)[0])
    models: dict[str, type[BaseModel]] = {
        "charter": Charter,
        "charter_signatures": CharterSignatures,
        "roster": Roster,
        "signed_roster": SignedRoster,
        "envelope": Envelope,
        "evidence": Evidence,
    }
    models |= {body.model_fields["kind"].default: body for body in bodies}
    return {name: _schema(model) for name, model in models.items()}


def _schema(model: type[BaseModel]) -> str:
    schema = model.model_json_schema(mode="serialization", schema_generator=_Signed)
    return json.dumps({"$schema": _DIALECT, **schema}, indent=2, ensure_ascii=False) + "\n"


def _with_tables(text: str) -> str:
    """The specification with its state tables as the code has them."""
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    tables = "\n".join(_table(role, steps) for role, steps in _ROLES.items())
    return f"{head}{_BEGIN}\n{tables}\n{_END}{tail}"


def _table(role: str, steps: _Steps) -> str:
    rows = [
        f"| {before.value} | {step.value} | {'' if after is before else after.value} |" for before, step, after in steps
    ]
    return "\n".join([f"| state of a {role} | step | next state, if another |", "| --- | --- | --- |", *rows, ""])


def _diagrams() -> str:
    """Both machines, as Mermaid draws them."""
    text = (
        "# States of a round\n\n"
        "Drawn by `.venv/bin/python -m protocol.generate` from the tables in `fedspallm_secure/secagg/states.py`,\n"
        "which the machines follow: a step that is not drawn is refused, and the machine stays as it was.\n"
        "[`protocol/SPEC.md`](../protocol/SPEC.md) says what is sent in each and what is checked. Behind a comma\n"
        "stands what a client answers at once.\n"
    )
    return text + "".join(f"\n## The {role}\n\n{_diagram(steps)}" for role, steps in _ROLES.items())


def _diagram(steps: _Steps) -> str:
    states = dict.fromkeys(state for before, _, after in steps for state in (before, after))
    left = {before for before, _, _ in steps}
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        *(f'    state "{state.value}" as {state.name}' for state in states),
        f"    [*] --> {next(iter(states)).name}",
        *(f"    {before.name} --> {after.name}: {step.value}" for before, step, after in steps),
        *(f"    {state.name} --> [*]" for state in states if state not in left),
        "```",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Write everything."""
    for path, text in documents().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
