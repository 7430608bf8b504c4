"""Two verifiers that share no code, the package's audit and the one of the vectors, say the same of any transcript."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from fedspallm_secure.audit.checks import TITLES
from protocol.vectors.check import load
from protocol.vectors.generate import FOLDER
from protocol.vectors.making.transcripts import audited, transcripts
from protocol.vectors.second.families import transcripts as verified
from protocol.vectors.second.refusal import CheckError
from protocol.vectors.second.transcript import verify

Json = dict[str, Any]

VECTORS = {name: vector for name, vector in load(FOLDER).items() if vector["family"] == "transcripts"}
WHOLE = {
    name: VECTORS[f"transcripts/{name}"]["cases"][0]["input"] for name in ("masks", "values", "encrypted", "pooled")
}
BAD = sorted(name for name, vector in VECTORS.items() if "refused" in vector)


def test_the_audit_comes_to_the_outcome_that_is_named() -> None:
    cases = [case for vector in VECTORS.values() for case in vector.get("cases", [])]
    for case in cases:
        assert transcripts(case["input"], WHOLE) == case["output"]
    assert [case["output"]["outcome"] for case in cases].count("incomplete") == 5
    assert [case["output"]["outcome"] for case in cases].count("verified") == 8


@pytest.mark.parametrize("name", BAD)
def test_the_audit_fails_the_check_that_is_named(name: str) -> None:
    verdict = audited(VECTORS[name]["input"], WHOLE)
    assert verdict.status == "failed"
    assert VECTORS[name]["refused"]["audit"] in {finding.number for finding in verdict.failed}


def test_every_check_of_the_audit_that_can_fail_alone_does_in_a_vector() -> None:
    failed = {VECTORS[name]["refused"]["audit"] for name in BAD}
    assert TITLES.keys() - failed == {
        "A8",  # who did not cosign may have lost its connection: then the verdict is "incomplete"
        "A16",  # no position can be found if counts are impossible, which is A14
        "A22",  # rosters are no part of a transcript; they have vectors of their own
    }


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_both_find_any_changed_letter_of_any_file_and_any_payload(name: str) -> None:
    rng, whole = Random(name), WHOLE[name]
    places = [(which, at) for which in ("files", "blobs", "base", "model") for at in whole[which] if whole[which][at]]
    for part, at in rng.sample(places * 2, min(2 * len(places), 44)):
        drawn = isinstance(whole[part][at], dict)  # ciphertexts: what they are made of is changed
        old = whole[part][at]["stream"] if drawn else whole[part][at]
        place = rng.randrange(len(old))
        new = rng.choice([letter for letter in "0123456789abcdef" if letter != old[place].lower()])
        text = old[:place] + new + old[place + 1 :]
        others = whole[part] if part in ("base", "model") else {}  # of these, all tensors are named
        changed = {**others, at: {**whole[part][at], "stream": text} if drawn else text}
        given = {"of": name, "depth": "full", part: changed}
        assert audited(given, WHOLE).status == "failed", (part, at, place)
        with pytest.raises(CheckError):
            verify({**whole, part: {**whole[part], **changed}}, full=True)


def _mishap(rng: Random, whole: Json) -> Json:
    """A transcript that lost its end, an entry, a payload or its checkpoints, or in which entries changed places."""
    lines = whole["files"]["log.jsonl"].splitlines()
    one, other = rng.sample(range(len(lines)), 2)
    notes = {path: None for path in whole["files"] if path.startswith("checkpoints/")}
    cut = {str(number): None for number in range(one, len(lines))}
    return rng.choice(
        [
            {"lines": cut},
            {"lines": cut, "files": notes},
            {"lines": {str(one): None}},
            {"lines": {str(one): lines[other], str(other): lines[one]}},
            {"lines": {str(one): f"{lines[one]}\n{lines[other]}"}},
            {"blobs": {rng.choice(sorted(whole["blobs"])): None}},
        ]
    )


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_both_come_to_the_same_outcome_whatever_was_lost_or_changed_places(name: str) -> None:
    rng, outcomes = Random(name), set[str]()
    for _ in range(25):
        given = {"of": name, "depth": rng.choice(["public", "full"]), **_mishap(rng, WHOLE[name])}
        try:
            outcome = verified(given, VECTORS)["outcome"]
        except CheckError:
            outcome = "failed"
        assert audited(given, WHOLE).status == outcome, given
        outcomes.add(outcome)
    assert outcomes >= {"incomplete", "failed"}


def _bodies(name: str) -> Iterator[tuple[Json, str]]:
    """Of every entry: what it says, and its leaf hash."""
    for line in WHOLE[name]["files"]["log.jsonl"].splitlines():
        payload = base64.b64decode(json.loads(line)["payload"])
        yield json.loads(payload), hashlib.sha256(b"\x00" + line.encode()).hexdigest()


def test_who_vanished_before_it_saw_its_own_last_entry_is_back_in_the_next_round_and_links_to_what_it_saw() -> None:
    entries = list(_bodies("masks"))
    said = [(body, leaf) for body, leaf in entries if body["sender"] == "celle"]
    first = [(body["kind"], leaf) for body, leaf in said if body["round"] == 0]
    back = next(body for body, _ in said if body["round"] == 1)
    assert [kind for kind, _ in first] == ["advertise", "share"]
    assert back["prev"] == first[0][1]
    assert entries[back["seen"]["size"] - 1][0]["kind"] == "advertised"
    assert [body["kind"] for body, _ in said][-1] == "model"


def test_what_a_transcript_was_changed_to_is_not_what_it_was() -> None:
    for name in BAD:
        given = VECTORS[name]["input"]
        whole = WHOLE[given["of"]]
        lines = dict(enumerate(whole["files"]["log.jsonl"].splitlines()))
        assert all(lines[int(number)] != text for number, text in given.get("lines", {}).items()), name
        for part in ("files", "blobs", "base", "model"):
            for at, new in given.get(part, {}).items():
                assert whole[part].get(at) != new, (name, part, at)
