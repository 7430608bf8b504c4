"""Transcripts that somebody changed, or whose participants did not keep to the protocol: one defect each."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import rfc8785

from fedspallm_secure.charter import Charter, sign_charter
from fedspallm_secure.tlog import cosign
from protocol.vectors.making.bad_encrypted_runs import bad_encrypted_runs
from protocol.vectors.making.bad_run import BadRun, flipped, other_count, with_members
from protocol.vectors.making.editor import Change, identity, sign, with_first
from protocol.vectors.making.forger import Forger, line
from protocol.vectors.making.rounds import TIME
from protocol.vectors.making.stage import as_json

__all__ = ["bad_transcripts"]

Json = dict[str, Any]

_OTHER = "5" * 64


def bad_transcripts(forgers: Mapping[str, Forger]) -> dict[str, Json]:
    """transcripts/NAME -> vector that must fail."""
    vectors: dict[str, Json] = {}
    masks, values, encrypted, pooled = (
        BadRun(name, forgers[name], vectors) for name in ("masks", "values", "encrypted", "pooled")
    )
    _charters(masks)
    _lines(masks)
    _links(masks)
    _messages(masks)
    _sums(masks)
    _values(values)
    _notes(masks)
    _models(masks)
    bad_encrypted_runs(encrypted)
    _pooled(pooled)
    return vectors


def _charters(bad: BadRun) -> None:
    files, charter = bad.forger.played.given["files"], bad.forger.played.charter
    signed = json.loads(files["charter.signatures.json"])

    def add(defect: str, about: str, check: str, audit: str, text: str | None, signatures: str | None) -> None:
        changed = {"charter.json": text, "charter.signatures.json": signatures}
        bad.add(defect, about, check, audit, {"files": {at: new for at, new in changed.items() if new != files[at]}})

    def jcs(value: Any) -> str:
        return rfc8785.dumps(value).decode()

    loose = {**charter, "parameters": {**charter["parameters"], "dropouts": 1}}
    signers = [identity(one["keyid"]) for one in signed["signatures"]]
    agreed = as_json(sign_charter(Charter.model_validate_json(json.dumps(loose)), signers))
    few = {**signed, "signatures": signed["signatures"][1:]}
    good, word = jcs(charter), jcs(signed)
    add("no_charter", "No charter.", "G1", "A1", None, word)
    add("charter_spaced", "A charter with white space.", "T1", "A1", json.dumps(charter), word)
    add("charter_rule", "A charter that breaks a rule, and that all signed.", "G6", "A1", jcs(loose), jcs(agreed))
    add("charter_run", "A charter with another run's name.", "G15", "A2", jcs({**charter, "run": "another"}), word)
    add("no_signatures", "No signatures.", "T2", "A2", good, None)
    add("signatures_spaced", "Signatures with white space.", "T2", "A2", good, json.dumps(signed))
    add("server_unsigned", "The server did not sign.", "G14", "A2", good, jcs(few))


def _lines(bad: BadRun) -> None:
    forger = bad.forger
    envelopes, bodies = forger.played.envelopes, forger.bodies
    last = len(envelopes) - 1
    index = forger.find("proof", sender="berlin", round=0)

    def add(defect: str, about: str, check: str, audit: str, at: int, text: str | None) -> None:
        bad.add(defect, about, check, audit, {"lines": {str(at): text}})

    def signed(number: int, **changes: Any) -> str:
        return line(sign({**bodies[number], **changes}))

    there = line(envelopes[index])
    payload = base64.b64decode(envelopes[index]["payload"]).replace(b'"round":0', b'"round":1')
    unsigned = {**envelopes[index], "payload": base64.b64encode(payload).decode()}
    stranger = {**envelopes[index], "signatures": [{**envelopes[index]["signatures"][0], "keyid": "zwickau"}]}
    bad.add("no_log", "No log.", "T3", "A3", {"files": {"log.jsonl": None}})
    add("line_spaced", "White space in a line.", "T3", "A3", index, json.dumps(envelopes[index]))
    add("line_twice", "An entry twice.", "T3", "A3", index, f"{there}\n{there}")
    add("line_empty", "An empty line.", "T3", "A3", index, "")
    add("payload", "A payload that nobody signed.", "E4", "A4", index, line(unsigned))
    add("stranger", "A signer whom the charter does not name.", "E2", "A4", index, line(stranger))
    add("charter", "A message under another charter.", "E8", "A4", index, signed(index, charter=_OTHER))
    add("third_round", "A message of a third round.", "T4", "A4", index, signed(index, round=2))
    add("round_again", "The first round after the second.", "T4", "A9", last - 1, signed(last - 2, round=0))
    add("dropped", "A message is missing that others saw.", "S22", "A6", index, None)
    add("last_dropped", "The last entry is missing, which the checkpoint has.", "T7", "A7", last, None)
    more = signed(last - 1, model=_OTHER)
    add("more", "A statement after the end.", "S2", "A18", last, f"{line(envelopes[last])}\n{more}")
    swapped = {str(last - 2): line(envelopes[last - 1]), str(last - 1): line(envelopes[last - 2])}
    bad.add("swapped", "Two statements in the other order.", "T7", "A7", {"lines": swapped})


def _links(bad: BadRun) -> None:
    forger = bad.forger
    index, votes = forger.find("model", sender="berlin"), forger.find("sums", round=1)
    bad.resigned("unlinked", "berlin links to nothing.", "S21", "A5", index, with_members(prev=None))
    bad.resigned("saw_another", "berlin saw another log.", "S22", "A6", index, _within("seen", root=_OTHER))
    change, blobs = forger.false_sums(votes, 0, other_count)
    lines = {str(votes): line(forger.resigned(votes, change))}
    about = "A count was changed after everybody had seen it."
    bad.add("count_after", about, "S22", "A6", {"lines": lines, "blobs": blobs})


def _messages(bad: BadRun) -> None:
    find = bad.forger.find
    survivors, confirm = find("survivors", round=1), find("confirm", sender="berlin", round=1)
    unmasks = [find("unmask", sender=name, round=1) for name in ("aachen", "berlin")]
    fewer: Change = lambda body: body["survivors"].pop()  # noqa: E731
    bad.retold("survivors", "The server leaves out somebody who voted.", "T5", "A11", {survivors: fewer})
    about = "The second round does not start from the first one's model."
    bad.retold("start", about, "T5", "A11", {survivors: with_members(start=_OTHER)})
    bad.retold("log", "The survivors name another log.", "T5", "A11", {survivors: _within("log", root=_OTHER)})
    words: Change = lambda body: body["lanes"][0].update(words=99)  # noqa: E731
    bad.retold("words", "berlin sends too many words.", "S10", "A10", {find("masked", sender="berlin", round=1): words})
    bad.retold("confirm", "berlin confirmed others.", "S12", "A12", {confirm: with_members(survivors=_OTHER)})
    both: Change = lambda body: body["groups"][0]["keys"].update(aachen="00" * 33)  # noqa: E731
    bad.retold("both_shares", "berlin hands out a key besides a seed.", "S13", "A13", {unmasks[1]: both})
    bad.retold("shares", "Two of three shares open nothing.", "S18", "A13", dict.fromkeys(unmasks, _wrong_shares))


def _sums(bad: BadRun) -> None:
    forger = bad.forger
    votes, proof = forger.find("sums", round=1), forger.find("proof", sender="berlin", round=1)
    change, blobs = forger.false_sums(votes, 0, other_count)
    about = "A count is another one, and everybody went on with it."
    bad.retold("count", about, "C36", "A15", {votes: change}, blobs=blobs)
    bad.retold("count_in_full", about, "W6", "A21", {votes: change}, blobs=blobs, depth="full")
    published = forger.bodies[votes]["lanes"][0]["blob"]
    bad.add("no_sum", "A published sum's payload is missing.", "C29", "A14", {"blobs": {published: None}})
    masked = forger.bodies[forger.find("masked", sender="berlin", round=1)]["lanes"][0]["blob"]
    spoilt = {masked: flipped(forger.played.given["blobs"][masked])}
    bad.add("masked", "A masked lane is not what was signed.", "S11", "A20", {"blobs": spoilt}, "full")
    false: Change = lambda body: body["products"][0].__setitem__(0, "0" * 16)  # noqa: E731
    bad.retold("proof", "berlin proves something else.", "C36", "A15", {proof: false}, depth="full")


def _values(bad: BadRun) -> None:
    forger = bad.forger
    sums, attest = forger.find("sums", sum="values"), forger.find("attest")
    change, blobs = forger.false_sums(sums, 0, lambda digits: with_first(digits, int(digits[0]) + 1))
    about = "A sum of changes is another one, for which the witness vouches."
    bad.retold("sum", about, "W6", "A21", {sums: change}, blobs=blobs, depth="full")
    bad.retold("attest", "The witness vouches for another sum.", "S15", "A15", {attest: with_members(sums=_OTHER)})


def _pooled(bad: BadRun) -> None:
    forger = bad.forger
    votes, values = (forger.find("sums", sum=which, round=0) for which in ("votes", "values"))
    change, blobs = forger.false_sums(votes, 1, lambda digits: with_first(digits, int(digits[0]) + 1))
    bad.retold("diagonal", "An entry of a diagonal is another one.", "C36", "A15", {votes: change}, blobs=blobs)
    most = 2 * forger.plan.lanes[1].values.top
    change, blobs = forger.false_sums(values, 1, lambda digits: with_first(digits, most + 1))
    about = "An entry larger than that of two institutions."
    bad.retold("entry", about, "C32", "A14", {values: change}, blobs=blobs)


def _notes(bad: BadRun) -> None:
    forger = bad.forger
    envelopes, size = forger.played.envelopes, len(forger.played.envelopes)
    good = forger.played.given["files"][forger.last_note]

    def add(defect: str, about: str, check: str, note: str) -> None:
        bad.add(f"note_{defect}", about, check, "A7", {"files": {forger.last_note: note}})

    _, fork = forger.retold({size - 2: with_members(model=_OTHER)})
    add("another_run", "The checkpoint of another run.", "T6", forger.note(envelopes, charter=_OTHER))
    add("of_aachen", "aachen signed it as the server.", "T6", forger.note(envelopes, keeper="aachen"))
    add("unsigned", "The server signed under another name.", "T6", forger.note(envelopes, origin="zwickau"))
    add("changed", "Another size than was signed.", "T6", good.replace(f"\n{size}\n", f"\n{size - 1}\n"))
    add("stranger", "A stranger cosigned it.", "T6", good + cosign(good, identity("zwickau"), TIME))
    add("twice", "aachen cosigned it twice.", "T6", good + cosign(good, identity("aachen"), TIME + 1))
    add("early", "The log before the round's end.", "T7", forger.note(envelopes, size - 1))
    add("fork", "The checkpoint of another log.", "T7", fork["files"][forger.last_note])


def _models(bad: BadRun) -> None:
    forger, given = bad.forger, bad.forger.played.given
    stated = [n for n, body in enumerate(forger.bodies) if body["kind"] == "model" and body["round"] == 1]
    lie = with_members(model=_OTHER)
    bad.retold("model", "Everybody states another model.", "S20", "A17", dict.fromkeys(stated, lie))
    bad.retold("stated", "celle states another model.", "S20", "A18", {stated[2]: lie})
    tensor = forger.played.charter["base"]["pruned"][0]["name"]
    about = "One weight of the model given is another one."
    bad.add("given_model", about, "T8", "A19", {"model": {tensor: flipped(given["model"][tensor])}})
    about = "The base model is not the charter's."
    bad.add("base", about, "C44", "A17", {"base": {tensor: flipped(given["base"][tensor])}})


def _within(member: str, **members: Any) -> Change:
    return lambda body: body[member].update(members)


def _wrong_shares(body: Json) -> None:
    seeds = body["groups"][0]["seeds"]
    seeds.update({name: flipped(share) for name, share in seeds.items()})
