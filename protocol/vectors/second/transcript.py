"""SPEC.md section 13: a verifier of a whole transcript."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol.vectors.second.agreement import Round, check_charter
from protocol.vectors.second.auditor import Entry, IncompleteError, replay
from protocol.vectors.second.charter import read_charter, rounds
from protocol.vectors.second.encoding import canonical, open_envelope
from protocol.vectors.second.log import Log
from protocol.vectors.second.model import tensor_digest
from protocol.vectors.second.note import origin_of, parse_checkpoint, read_note
from protocol.vectors.second.payloads import payload
from protocol.vectors.second.refusal import CheckError, require
from protocol.vectors.second.roster import check_signatures

__all__ = ["verify"]

Json = dict[str, Any]


@dataclass
class _Evidence:
    """What a verifier holds.

    Attributes:
        files: path in the transcript -> text.
        blobs: digest -> bytes.
        base: pruned tensor's name -> its bytes in the base model; None without it.
        model: the same of the model that is said to have come out.
        missing: what would decide and is not there.
    """

    files: Mapping[str, str]
    blobs: dict[str, bytes]
    base: Mapping[str, bytes] | None
    model: Mapping[str, bytes] | None
    missing: list[str] = field(default_factory=list)


def verify(given: Json, *, full: bool) -> Json:
    """What came of a transcript: "verified" or "incomplete"; its log's head; and the model that follows.

    Args:
        given: `files`, `blobs`, `base` and `model`.
        full: whether sums are added up again.

    Raises:
        CheckError: the first check that fails.
    """
    base, model = (None if given[which] is None else _raw(given[which]) for which in ("base", "model"))
    held = _Evidence(given["files"], _raw(given["blobs"]), base, model)
    charter = _charter(held)
    entries, log = _log(held, charter)
    stated = _follow(held, charter, entries, full)
    _check_notes(held, charter, entries, log)
    for context in charter["votes"].get("contexts", ()):
        require("T9", hashlib.sha256(held.blobs.get(context, b"")).hexdigest() == context)
    if held.model is not None and stated is not None:
        for tensor in charter["base"]["pruned"]:
            found = tensor_digest(held.model[tensor["name"]], tensor["dtype"], tensor["rows"], tensor["columns"])
            due = tensor_digest(stated[1][tensor["name"]], tensor["dtype"], tensor["rows"], tensor["columns"])
            require("T8", found == due, tensor["name"])
    outcome = "incomplete" if held.missing else "verified"
    return {"outcome": outcome, "log": log.head(), "model": None if stated is None else stated[0]}


def _raw(blobs: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: payload(data) for name, data in blobs.items()}


def _charter(held: _Evidence) -> Json:
    """T1 with G1 to G12 and G16 to G23, T2 with G13 to G15."""
    text = held.files.get("charter.json", "")
    charter = read_charter(text)
    require("T1", canonical(charter).decode() == text)
    for number in range(max(1, rounds(charter))):
        check_charter(charter, number)
    text = held.files.get("charter.signatures.json", "")
    try:
        signed = json.loads(text)
        require("T2", canonical(signed).decode() == text)
    except ValueError as error:
        raise CheckError("T2", str(error)) from error
    check_signatures(charter, signed)
    return charter


def _log(held: _Evidence, charter: Json) -> tuple[list[Entry], Log]:
    """T3 and T4, E1 to E8 of every entry, and the links: S21 and S22."""
    require("T3", "log.jsonl" in held.files, "no log")
    lines = held.files["log.jsonl"].split("\n")
    require("T3", lines.pop() == "" and len(set(lines)) == len(lines))
    entries: list[Entry] = []
    whole = Round(charter, 0)
    for line in lines:
        try:
            envelope = json.loads(line)
            require("T3", canonical(envelope).decode() == line)
        except ValueError as error:
            raise CheckError("T3", str(error)) from error
        body = open_envelope(envelope, whole.keys, whole.digest, None)
        before = entries[-1][1]["round"] if entries else 0
        require("T4", before <= body["round"] < rounds(charter), f"entry {len(entries)}")
        entries.append((envelope, body))
    log = Log(origin_of(whole.digest), b"")
    for envelope, body in entries:
        if body["sender"] != whole.server:
            log.check_links(envelope, body)
        log.append(envelope)
    return entries, log


def _follow(held: _Evidence, charter: Json, entries: list[Entry], full: bool) -> tuple[str, dict[str, bytes]] | None:
    """Every round, replayed: the last model's digest and weights, if all came to their end."""
    if held.base is None:
        held.missing.append("the base model")
        return None
    for tensor in charter["base"]["pruned"]:
        data = held.base[tensor["name"]]
        require("C44", tensor_digest(data, tensor["dtype"], tensor["rows"], tensor["columns"]) == tensor["digest"])
    weights, start = dict(held.base), ""
    log = Log(origin_of(Round(charter, 0).digest), b"")
    for number in range(rounds(charter)):
        of_round = [entry for entry in entries if entry[1]["round"] == number]
        try:
            start, weights = replay(Round(charter, number, start), of_round, weights, held.blobs, log, full)
        except IncompleteError as error:
            require(
                "T4",
                all(body["round"] <= number for _, body in entries),
                "a round begins before the one before it ended",
            )
            held.missing.append(str(error))
            return None
    return start, weights


def _check_notes(held: _Evidence, charter: Json, entries: list[Entry], log: Log) -> None:
    """T6 and T7 of every round."""
    whole = Round(charter, 0)
    origin = origin_of(whole.digest)
    for number in range(rounds(charter)):
        text = held.files.get(f"checkpoints/{number + 1:04}.note")
        if text is None:
            held.missing.append("a checkpoint")
            continue
        try:
            signed, found = read_note(text, {**whole.keys, origin: whole.charter["server_key"]})
            head = parse_checkpoint(signed, origin)
        except CheckError as error:
            raise CheckError("T6", str(error)) from error
        names = [name for name, _ in found]
        require("T6", text.rpartition("\n\n")[2].count("\n") == len(names) == len(set(names)))
        require("T6", [name for name, time in found if time is None] == [origin])
        end = sum(body["round"] <= number for _, body in entries)
        require("T7", head["size"] == end and log.head(end) == head)
        of_round = [body for _, body in entries if body["round"] == number and body["kind"] == "model"]
        stated = {body["sender"] for body in of_round} - {whole.server}
        if stated - set(names):
            held.missing.append("a cosignature")
