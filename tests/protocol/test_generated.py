"""Schemas, state tables, diagrams and constants in the documents are those of the code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspallm_secure.aggregation.factor import _MAX_RAISES, _PRECISION, FEW
from fedspallm_secure.audit.checks import TITLES
from fedspallm_secure.charter import Charter, Roster
from fedspallm_secure.charter.roster_chain import ROSTER_TYPE
from fedspallm_secure.charter.signed_charter import CHARTER_TYPE
from fedspallm_secure.messages import Identity
from fedspallm_secure.messages.envelope import PAYLOAD_TYPE
from fedspallm_secure.secagg import COMPLETE_UP_TO, moments_packing, values_packing
from fedspallm_secure.secagg.check import PRIMES
from fedspallm_secure.secagg.degree import CORRECTNESS, SECURITY
from fedspallm_secure.secagg.shamir import PRIME
from fedspallm_secure.secagg.states import CLIENT_STEPS, SERVER_STEPS
from fedspallm_secure.tlog import cosign, origin_of, sign_note
from protocol.generate import ROOT, documents

DOCUMENTS = documents()
SPECIFICATION = (ROOT / "protocol" / "SPEC.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_a_document_is_what_the_code_says(path: Path) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == DOCUMENTS[path], "run: python -m protocol.generate"


def test_no_schema_is_left_over() -> None:
    folder = Path("protocol", "schemas")
    assert {path.name for path in (ROOT / folder).iterdir()} == {p.name for p in DOCUMENTS if p.parent == folder}


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from _objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _objects(value)


def test_every_object_in_every_schema_has_exactly_its_members() -> None:
    found = 0
    for path, text in DOCUMENTS.items():
        if path.suffix == ".json":
            for schema in _objects(json.loads(text)):
                found += 1
                assert schema["additionalProperties"] is False, path
                assert sorted(schema.get("required", [])) == sorted(schema.get("properties", {})), path
    assert found > 40


def test_every_step_of_both_machines_is_drawn() -> None:
    diagrams = DOCUMENTS[Path("docs", "states.md")]
    for (before, step), after in [*CLIENT_STEPS.items(), *SERVER_STEPS.items()]:
        assert f"    {before.name} --> {after.name}: {step.value}\n" in diagrams


def test_the_constants_of_the_specification_are_those_of_the_code() -> None:
    section = SPECIFICATION.split("## 3. Constants")[1].split("## 4.")[0]
    table = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE))
    assert table["charter version"] == f"`{Charter.model_fields['version'].default}`"
    assert table["payload type"] == f"`{PAYLOAD_TYPE}`"
    assert (table["prime of the shares, p"], PRIME) == ("2^256 + 297", 2**256 + 297)
    assert (table["moduli of the checks, p_0 and p_1"], PRIMES) == (
        "2^61 - 1 and 2^61 - 31",
        (2**61 - 1, 2**61 - 31),
    )
    assert table["largest complete graph by rule"] == f"{COMPLETE_UP_TO} members"
    assert table["a sparse graph hides too little with probability at most"] == f"2^-{SECURITY}"
    assert table["a sparse graph stops a sum that it should not with probability below"] == f"2^-{CORRECTNESS}"
    assert (table["largest quantised change, Q"], values_packing(1, 1).top) == ("2^23", 2 * 2**23)
    steps, sums = moments_packing(3, 1), moments_packing(2**14, 1)
    assert (table["largest entry of a second moment, in steps, Q"], steps.top) == ("2^51", 2 * 2**51)
    assert (table["a sum of such entries' digits is below"], sums.radix) == ("2^60", 2**60 - 2**15 + 1)
    assert table["rows or columns that a solver does one by one, at most"] == str(FEW)
    assert table["how often damping is raised"] == str(_MAX_RAISES)
    assert (table["least pivot, as a share of its damped diagonal entry"], _PRECISION) == ("10 2^-23", 10 * 2.0**-23)
    assert table["prefix of a log's origin"] == f"`{origin_of('')}`"
    assert table["charter type"] == f"`{CHARTER_TYPE}`"
    assert table["roster version"] == f"`{Roster.model_fields['version'].default}`"
    assert table["roster type"] == f"`{ROSTER_TYPE}`"
    assert table["types of a note's signatures"] == "0x01 (Ed25519), 0x04 (`cosignature/v1`)"


def test_the_specification_lists_every_check_of_the_audit_once_in_order_and_beside_it_checks_that_there_are() -> None:
    rows = re.findall(r"^\| (A[0-9]+): .+? \| (.+?) \|$", SPECIFICATION, re.MULTILINE)
    assert [number for number, _ in rows] == list(TITLES)
    numbered = set(re.findall(r"^- \*\*([A-Z][0-9]+)\*\*", SPECIFICATION, re.MULTILINE))
    named = {check for _, checks in rows for check in re.findall(r"\b[GELCSKWT][0-9]+\b", checks)}
    assert named
    assert named <= numbered


def test_the_types_of_a_note_are_those_of_the_code() -> None:
    aachen = Identity("aachen", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    note = sign_note("text\n", "aachen", aachen)
    for kind, line in ((1, note.split("\n")[2]), (4, cosign(note, aachen, 0))):
        key = b"aachen\n" + bytes([kind]) + bytes.fromhex(aachen.public)
        assert base64.b64decode(line.split(" ")[2])[:4] == hashlib.sha256(key).digest()[:4]


def test_the_labels_of_the_specification_are_all_that_the_code_derives_with() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "fedspallm_secure").rglob("*.py"))
    used = set(re.findall(r'derive\(\s*[\w.]+, b"([\w/-]+)"', source))
    listed = re.search(r"^\| HKDF labels \| (.+?) \|$", SPECIFICATION, re.MULTILINE)
    assert listed is not None
    assert set(re.findall(r"`([^`]+)`", listed[1])) == used
    for prefix in ("prefix of every HKDF label", "prefix of drawn orders", "prefix of commitments"):
        found = re.search(rf"^\| {prefix} \| `(.+?)` \|$", SPECIFICATION, re.MULTILINE)
        assert found is not None
        assert found[1] in source
    assert '"fedspallm-secure/telemetry"' in source
