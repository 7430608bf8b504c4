"""The test vectors are what the package makes, and what a second implementation that shares no code with it makes."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fedspallm_secure import errors
from fedspallm_secure.messages import Envelope
from fedspallm_secure.rounds import replay as follow
from protocol.vectors.check import VectorError, check, load
from protocol.vectors.generate import FOLDER, write
from protocol.vectors.making.charter_signatures import signatures
from protocol.vectors.making.charters import charters
from protocol.vectors.making.crowd import crowd
from protocol.vectors.making.envelopes import envelopes
from protocol.vectors.making.primitives import RUN
from protocol.vectors.making.replay import replay
from protocol.vectors.making.rosters import rosters
from protocol.vectors.making.stage import Stage
from protocol.vectors.making.tlog import tlog
from protocol.vectors.making.votes import votes
from protocol.vectors.second.replay import Replay

VECTORS = load(FOLDER)
GOOD = sorted(name for name, vector in VECTORS.items() if "cases" in vector)
BAD = sorted(name for name, vector in VECTORS.items() if "refused" in vector)
RAISING = [name for name in BAD if not name.startswith("transcripts/")]
SPECIFICATION = (FOLDER.parent / "SPEC.md").read_text(encoding="utf-8")
CHECKS = re.findall(r"^- \*\*([GELCSKWRT][0-9]+)\*\*", SPECIFICATION, re.MULTILINE)

WITHOUT_VECTOR = {
    "C22": "a journal's, after a crash",
    "C27": "a journal's, after a crash",
    "S19": "found at the clients first",
    "C49": "a journal's, after a crash",
    "C50": "of a public context, which only the library looks into that made it",
    "K1": "a journal's, before there is a round",
    "K11": "a journal's, after a crash",
}
"""Checks that no single message can break, each with the reason."""


def _run(vector: Mapping[str, Any]) -> None:
    """The package, on a bad vector's input."""
    family, given = vector["family"], vector["input"]
    if family == "rounds":
        replay(
            given, {name.removeprefix("rounds/"): VECTORS[name]["cases"][0] for name in GOOD if name.startswith("r")}
        )
    else:
        run: Mapping[str, Callable[[Any], Any]] = {
            **RUN,
            "tlog": tlog,
            "envelopes": envelopes,
            "charters": charters,
            "survivors": crowd,
            "signatures": signatures,
            "rosters": rosters,
            "votes": votes,
        }
        run[family](given)


def test_the_package_makes_every_vector_again(tmp_path: Path) -> None:
    write(tmp_path)
    assert load(tmp_path).keys() == VECTORS.keys()
    for name in VECTORS:
        assert (tmp_path / f"{name}.json").read_bytes() == (FOLDER / f"{name}.json").read_bytes(), name


@pytest.mark.parametrize("name", GOOD)
def test_the_second_implementation_makes_the_same(name: str) -> None:
    check(name, VECTORS[name], VECTORS)


@pytest.mark.parametrize("name", BAD)
def test_the_second_implementation_refuses_by_the_check_that_is_named(name: str) -> None:
    check(name, VECTORS[name], VECTORS)


@pytest.mark.parametrize("name", RAISING)
def test_the_package_refuses_with_the_error_that_is_named(name: str) -> None:
    refused = VECTORS[name]["refused"]
    with pytest.raises(getattr(errors, refused["error"]), match=re.escape(refused["says"])) as caught:
        _run(VECTORS[name])
    assert type(caught.value).__name__ == refused["error"]


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where a text or number stands: (its container, its key)."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, dict | list):
            yield from _leaves(item)
        elif isinstance(item, str | int) and item not in (True, False, ""):
            yield value, key


@pytest.mark.parametrize("name", GOOD)
def test_the_second_implementation_notices_any_change_of_an_output(name: str) -> None:
    rng = Random(name)
    for _ in range(10):
        vector = deepcopy(VECTORS[name])
        container, key = rng.choice(list(_leaves([case["output"] for case in vector["cases"]])))
        value = container[key]
        container[key] = value + 1 if isinstance(value, int) else value[:-1] + ("0" if value[-1] != "0" else "1")
        with pytest.raises(VectorError):
            check(name, vector, VECTORS)


def test_a_bad_vector_that_is_not_refused_is_noticed() -> None:
    vector = deepcopy(VECTORS["sealing/sealing_bad_round"])
    vector["input"]["round"] = 1
    with pytest.raises(VectorError, match="was not refused"):
        check("sealing/sealing_bad_round", vector, VECTORS)


def test_a_bad_vector_that_another_check_refuses_is_noticed() -> None:
    vector = deepcopy(VECTORS["sealing/sealing_bad_round"])
    vector["refused"]["check"] = "C15"
    with pytest.raises(VectorError, match=r"C14: .* came where C15 is due"):
        check("sealing/sealing_bad_round", vector, VECTORS)


def test_every_check_of_the_specification_has_a_vector_that_breaks_it() -> None:
    broken = {vector["refused"]["check"] for vector in VECTORS.values() if "refused" in vector}
    assert len(CHECKS) == len(set(CHECKS)) > 120
    assert set(CHECKS) - broken == WITHOUT_VECTOR.keys()
    assert broken <= set(CHECKS)


def test_every_kind_of_message_is_in_a_round() -> None:
    kinds = set(re.findall(r"^\| `(\w+)` \| (?:client|server|witness|custodian),", SPECIFICATION, re.MULTILINE))
    text = "".join(
        json.dumps([_body(event) for event in VECTORS[name]["cases"][0]["output"]["events"]])
        for name in GOOD
        if name.startswith("rounds/")
    )
    assert len(kinds) == 21
    assert {kind for kind in kinds if f'"kind": "{kind}"' in text} == kinds


def _body(event: Mapping[str, Any]) -> Any:
    return json.loads(base64.b64decode(event["envelope"]["payload"])) if "envelope" in event else None


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith("rounds/")])
def test_the_second_implementation_answers_a_message_that_comes_again_as_it_did(name: str) -> None:
    case = VECTORS[name]["cases"][0]
    events, answered = case["output"]["events"], 0
    again = Replay(case["input"], {})
    again.take(events)
    for number, event in enumerate(events):
        for receiver, evidence in event.get("evidence", {}).items():
            client = again.clients[receiver]
            before = client.view.prev, client.view.seen
            later = [one["envelope"] for one in events[number:] if one.get("from") == receiver]
            assert client.receive(event["envelope"], evidence) == (later[0] if later else None)
            assert (client.view.prev, client.view.seen) == before
            answered += bool(later)
    assert answered > 10


@pytest.mark.parametrize("name", [name for name in GOOD if name.startswith("rounds/")])
def test_from_the_log_alone_follows_what_the_server_said_wherever_the_log_ends(name: str, tmp_path: Path) -> None:
    case = VECTORS[name]["cases"][0]
    log = [
        Envelope.model_validate_json(json.dumps(one["envelope"])) for one in case["output"]["events"] if "from" in one
    ]
    for end in (*Random(name).sample(range(len(log)), 4), len(log)):
        stage = Stage(case["input"], tmp_path / str(end))
        stage.put(case["output"]["blobs"])
        replayed = follow(stage.coordinator, stage.plan, stage.log, log[:end])
        assert [*log[:end], *replayed.unwritten] == log[: end + len(replayed.unwritten)]
    assert stage.coordinator.model == case["output"]["model"]


def test_the_log_of_a_round_is_linked_from_end_to_end() -> None:
    for name in (name for name in GOOD if name.startswith("rounds/")):
        entries: list[tuple[str, str]] = []  # sender, leaf hash
        linked = 0
        for event in VECTORS[name]["cases"][0]["output"]["events"]:
            if "envelope" not in event:
                continue
            body = _body(event)
            if "prev" in body and body["sender"] != "coordinator":
                seen = 0 if body["seen"] is None else body["seen"]["size"]
                own = [leaf for sender, leaf in entries[:seen] if sender == body["sender"]]
                assert body["prev"] == (own[-1] if own else None)
                linked += bool(own)
            entry = json.dumps(event["envelope"], sort_keys=True, separators=(",", ":")).encode()
            entries.append((body["sender"], hashlib.sha256(b"\x00" + entry).hexdigest()))
        assert linked > 8


def test_the_checker_is_independent_of_the_package() -> None:
    allowed = {"cryptography", "protocol", *sys.stdlib_module_names}
    for path in [FOLDER / "check.py", *(FOLDER / "second").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.split(".")[0] in allowed, (path, name)
                assert not name.startswith("protocol") or name.startswith("protocol.vectors.second"), (path, name)


def test_the_checker_as_a_command_says_how_many_vectors_are_right(tmp_path: Path) -> None:
    for name in ("shamir/shamir", "shamir/shamir_bad_few"):
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(VECTORS[name]))
    command = [sys.executable, "-m", "protocol.vectors.check", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent.parent, check=False)
    assert (run.returncode, run.stdout) == (0, "shamir        1 good, 1 bad, 0 wrong\n")
    (tmp_path / "shamir" / "shamir.json").write_text(json.dumps(VECTORS["shamir/shamir_bad_few"] | {"input": {}}))
    run = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent.parent, check=False)
    assert run.returncode == 1


def test_all_vectors_together_are_smaller_than_three_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*/*.json")) < 3_000_000
