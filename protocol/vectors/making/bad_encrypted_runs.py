"""Transcripts of encrypted votes that somebody changed, or whose participants did not keep to the protocol."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import rfc8785

from fedspallm_secure.charter import Charter, sign_charter
from protocol.vectors.making.bad_run import BadRun, flipped, other_count, with_members
from protocol.vectors.making.editor import Change, Json, identity
from protocol.vectors.making.stage import as_json

__all__ = ["bad_encrypted_runs"]

_OTHER = "5" * 64


def bad_encrypted_runs(bad: BadRun) -> None:
    """Collect them."""
    _charters(bad)
    _votes(bad)
    _counts(bad)
    _payloads(bad)


def _charters(bad: BadRun) -> None:
    files, charter = bad.forger.played.given["files"], bad.forger.played.charter
    same = deepcopy(charter)
    same["votes"]["contexts"] = [same["votes"]["contexts"][0]] * 2
    others = [charter["votes"]["custodian"]["name"], charter["server"]]
    signers = [identity(name) for name in (*others, *(member["name"] for member in charter["roster"]))]
    agreed = as_json(sign_charter(Charter.model_validate(same, strict=False), signers))
    changed = {"charter.json": rfc8785.dumps(same).decode(), "charter.signatures.json": rfc8785.dumps(agreed).decode()}
    bad.add("same_context", "One key for both rounds, which all signed.", "G16", "A1", {"files": changed})
    few = as_json(sign_charter(Charter.model_validate(charter, strict=False), signers[1:]))
    changed = {"charter.signatures.json": rfc8785.dumps(few).decode()}
    assert changed["charter.signatures.json"] != files["charter.signatures.json"]
    bad.add("custodian_unsigned", "The custodian did not sign.", "G14", "A2", {"files": changed})


def _votes(bad: BadRun) -> None:
    find, bodies = bad.forger.find, bad.forger.bodies
    berlin, release = find("encrypted", sender="berlin"), find("release", sender="berlin")
    theirs = bodies[find("encrypted", sender="aachen")]["lanes"][0]["blob"]
    copied: Change = lambda body: body["lanes"][0].update(blob=theirs)  # noqa: E731
    bad.retold("copied", "berlin commits to aachen's ciphertexts.", "S24", "A10", {berlin: copied})
    words: Change = lambda body: body["lanes"][0].update(words=8191)  # noqa: E731
    bad.retold("words", "berlin commits to too few words.", "S23", "A10", {berlin: words})
    about = "berlin released its ciphertexts for others."
    bad.retold("released_others", about, "S25", "A13", {release: with_members(survivors=_OTHER)})
    collected, fewer = find("collected"), with_members(contributors=["aachen", "berlin", "celle"])
    bad.retold("collected", "The server leaves dresden's ciphertexts out.", "T5", "A11", {collected: fewer})


def _counts(bad: BadRun) -> None:
    forger = bad.forger
    counted, sums = forger.find("counted"), forger.find("sums")
    bad.resigned("unlinked", "The custodian links to nothing.", "S21", "A5", counted, with_members(prev=None))
    fewer = with_members(contributors=["aachen", "berlin", "celle"])
    bad.retold("counted_others", "The custodian counted without dresden.", "S27", "A14", {counted: fewer})
    lanes: Change = lambda body: body["lanes"].clear()  # noqa: E731
    bad.retold("counted_lanes", "The custodian counted no lane.", "S28", "A14", {counted: lanes})
    change, blobs = forger.false_sums(sums, 0, other_count)
    about = "The server publishes other counts than the custodian signed."
    bad.retold("counts", about, "C47", "A14", {sums: change}, blobs=blobs)
    about = "The custodian signs a count that the votes do not give, and the server publishes it."
    bad.retold("invented", about, "C36", "A15", {counted: change}, blobs=blobs)
    about = "The custodian signs counts of another encrypted sum."
    other: Change = lambda body: body["lanes"][0].update(ciphertexts=_OTHER)  # noqa: E731
    bad.retold("encrypted_sum", about, "S29", "A21", {counted: other}, depth="full")


def _payloads(bad: BadRun) -> None:
    forger = bad.forger
    blobs, name = forger.played.given["blobs"], forger.bodies[forger.find("encrypted")]["lanes"][0]["blob"]
    spoilt: Json = {name: {**blobs[name], "stream": flipped(blobs[name]["stream"])}}
    bad.add("ciphertexts", "Ciphertexts are not those that were signed.", "S26", "A20", {"blobs": spoilt}, "full")
    bad.add("no_ciphertexts", "Ciphertexts are missing.", "S26", "A20", {"blobs": {name: None}}, "full")
    context = forger.played.charter["votes"]["contexts"][1]
    bad.add("no_context", "The key of the second round is missing.", "T9", "A23", {"blobs": {context: None}})
    other: dict[str, Any] = {context: flipped(blobs[context])}
    bad.add("context", "The key of the second round is another one.", "T9", "A23", {"blobs": other})
