"""Encrypted votes that a client, the server, the custodian or the witness must refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from protocol.vectors.making.editor import Change, Collector, Editor, Json, message_digest, sign, with_first
from protocol.vectors.making.fixed_ckks import key_of, payload
from protocol.vectors.making.stage import as_json

__all__ = ["bad_encrypted"]

_OTHER = "5" * 64
_RESIDUE = 2**60 - 2**14 + 1


def bad_encrypted(one: Editor, bad: Collector) -> None:
    """Collect them, from a round in which erfurt commits to its ciphertexts and does not hand them over."""
    _counts_at_a_client(one, bad)
    _verdicts_at_a_client(one, bad)
    _at_the_server(one, bad)
    _counted_at_the_server(one, bad)
    _log_at_the_custodian(one, bad)
    _ciphertexts_at_the_custodian(one, bad)
    about = "The witness is to vouch for counts that only the custodian can know."
    number, says = one.find("proofs", sum="votes"), "nobody else can decrypt"
    bad.add("witness_of_counts", about, number, "auditor", "W7", says, log={})


def _with(**members: Any) -> Change:
    return lambda body: body.update(members)


def _recounted(one: Editor, change: Change) -> Json:
    """`sums` with another word of the custodian."""
    counted = one.changed(one.find("counted"), change)
    return one.changed(one.find("sums", sum="votes"), _with(counted=counted))


def _counts_at_a_client(one: Editor, bad: Collector) -> None:
    sums, values = one.find("sums", sum="votes"), one.find("sums", sum="values")
    word = one.body(sums)["counted"]
    a, b, c, d = one.body(one.find("counted"))["contributors"]
    without = "come without the custodian's word"
    bad.change("no_counted", "Counts for which nobody stands.", sums, "C45", without, _with(counted=None))
    about = "The custodian's word beside a sum of changes."
    bad.change("counted_of_values", about, values, "C45", "that it does not count", _with(counted=word))
    confirm = one.envelope(one.find("confirm", sender="berlin"))
    bad.change("counted_confirm", "A confirmation as counts.", sums, "C45", without, _with(counted=confirm))

    def at_aachen(defect: str, about: str, check: str, says: str, change: Change) -> None:
        bad.add(f"counted_{defect}", about, sums, "aachen", check, says, deliver=[_recounted(one, change)])

    at_aachen("by_berlin", "berlin counts.", "C45", "is not the charter's custodian", _with(sender="berlin"))
    others = "counted votes for other survivors"
    at_aachen("survivors", "The custodian counted for other survivors.", "C46", others, _with(survivors=_OTHER))
    at_aachen("lane", "A lane is missing.", "C46", "that are not the", lambda body: body["lanes"].pop())
    may = "are not institutions that may be named here"
    at_aachen("order", "Contributors out of order.", "C48", may, _with(contributors=[b, a, c, d]))
    at_aachen("without_us", "aachen is not counted.", "C48", "Our votes are not counted", _with(contributors=[b, c, d]))
    at_aachen("too_few", "Two of five are counted.", "C48", "3 are needed", _with(contributors=[a, b]))
    about, says = "Other counts than the custodian signed.", "are not those that the custodian signed"
    other: Change = lambda body: body["lanes"][0].update(blob=_OTHER)  # noqa: E731
    bad.change("counts_otherwise", about, sums, "C47", says, other)


def _verdicts_at_a_client(one: Editor, bad: Collector) -> None:
    sums, proofs = one.find("sums", sum="votes"), one.find("proofs", sum="votes")
    _, blobs = one.false_sums("votes", 0, lambda digits: with_first(digits, 4 - int(digits[0])))
    blob = next(iter(blobs))
    counted = one.changed(one.find("counted"), lambda body: body["lanes"][0].update(blob=blob))
    lied = one.changed(sums, lambda body: (body["lanes"][0].update(blob=blob), body.update(counted=counted)))
    about = "The custodian signs a count that nobody's votes gave."
    bad.add(
        "counted_invented",
        about,
        sums,
        "aachen",
        "C36",
        "are not the sum of what the institutions sent",
        blobs=blobs,
        deliver=[lied, one.envelope(proofs)],
    )
    head = {name: one.body(proofs)[name] for name in ("charter", "round", "sender", "sum", "attempt")}
    published = message_digest(one.envelope(sums))
    word = {**head, "kind": "attest", "sender": "auditor", "sums": published, "prev": None, "seen": None}
    attested = sign({**head, "kind": "attested", "attestation": sign(word)})
    about = "A witness vouches for counts that it can't know."
    bad.add("counts_attested", about, proofs, "aachen", "C51", "can't vouch for counts", deliver=[attested])


def _at_the_server(one: Editor, bad: Collector) -> None:
    encrypted, release = one.find("encrypted", sender="berlin"), one.find("release", sender="berlin")
    body, server = one.body(encrypted), "coordinator"
    masked = sign({**body, "kind": "masked", "sum": "votes", "attempt": 0})
    bad.add("masked_votes", "berlin masks its votes.", encrypted, server, "S2", "is not due", deliver=[masked])
    cut: Change = lambda body: body["lanes"].pop()  # noqa: E731
    bad.change("encrypted_lanes", "berlin leaves a lane out.", encrypted, "S23", "named 1 lanes", cut)
    words: Change = lambda body: body["lanes"][0].update(words=8191)  # noqa: E731
    bad.change("encrypted_words", "berlin announces a word too few.", encrypted, "S23", "announced 8191", words)
    theirs = one.body(one.find("encrypted", sender="aachen"))["lanes"][0]["blob"]
    copied: Change = lambda body: body["lanes"][0].update(blob=theirs)  # noqa: E731
    bad.change(
        "encrypted_copied", "berlin commits to aachen's.", encrypted, "S24", "the ciphertexts of 'aachen'", copied
    )
    few = one.find("encrypted", sender="celle")
    about = "The deadline passes with two of five."
    bad.add("few_encrypted", about, few, server, "S16", "3 are needed", deadline=True)
    others = "released its votes for other survivors"
    bad.change("release_others", "berlin releases for others.", release, "S25", others, _with(survivors=_OTHER))
    blobs = {body["lanes"][0]["blob"]: {"runs": [["0" * 15 + "1", 8192]]}}
    about = "berlin hands over other ciphertexts than it named."
    bad.add(
        "release_blob",
        about,
        release,
        server,
        "S26",
        "released no votes for lane",
        blobs=blobs,
        deliver=[one.envelope(release)],
    )
    number = one.find("release", sender="celle")
    bad.add("few_released", about, number, server, "S16", "3 are needed", deadline=True)


def _counted_at_the_server(one: Editor, bad: Collector) -> None:
    counted, server = one.find("counted"), "coordinator"
    a, b, c, *_ = one.plan.context.roster
    about = "The custodian counts before it is asked to."
    early = one.changed(counted, _with(prev=None, seen=None))
    number = one.find("release", sender="dresden")
    bad.add("counted_early", about, number, server, "S2", "get counted is not due", deliver=[early])
    by_berlin = one.changed(one.find("release", sender="berlin"), lambda body: None)
    own = message_leaf(one, by_berlin)
    stolen = one.changed(counted, lambda body: body.update(sender="berlin", prev=own))
    says = "is not the charter's custodian"
    bad.add("server_counted_by_berlin", "berlin counts.", counted, server, "S27", says, deliver=[stolen])
    others, sums = "counted the votes of others", "whose encrypted sum is"
    bad.change("server_counted_others", "Of other contributors.", counted, "S27", others, _with(contributors=[a, b, c]))
    says = "counted votes for other survivors"
    bad.change("server_counted_survivors", "For other survivors.", counted, "S27", says, _with(survivors=_OTHER))
    cut: Change = lambda body: body["lanes"].pop(0)  # noqa: E731
    bad.change("server_counted_lane", "A lane is missing.", counted, "S28", "that are not the 2 due", cut)
    other: Change = lambda body: body["lanes"][1].update(ciphertexts=_OTHER)  # noqa: E731
    bad.change("server_counted_sum", "Counts of another encrypted sum.", counted, "S29", sums, other)
    about = "The deadline passes without the custodian's answer."
    bad.add("not_counted", about, counted, server, "S30", "has not counted the votes", deadline=True)


def message_leaf(one: Editor, envelope: Json) -> str:
    """Leaf hash of an envelope."""
    number = next(at for at, event in enumerate(one.events) if event.get("envelope") == envelope)
    return one.leaf(number)


def _log_at_the_custodian(one: Editor, bad: Collector) -> None:
    survivors, confirmed = one.find("survivors", sum="votes"), one.find("confirmed", sum="votes")
    collected, release = one.find("collected"), one.find("release", sender="dresden")
    deadline = collected - 1
    a, b, *_ = one.plan.context.roster

    def add(defect: str, about: str, check: str, says: str, **log: Any) -> None:
        shown = {name.removeprefix("at_"): envelope for name, envelope in log.items()}
        bad.add(f"custodian_{defect}", about, collected + 1, "custodian", check, says, log=shown)

    def at(number: int, envelope: Json | None) -> dict[str, Any]:
        return {f"at_{number}": envelope}

    forged = {**one.envelope(release), "signatures": one.envelope(collected)["signatures"]}
    forged["signatures"] = [{**forged["signatures"][0], "keyid": "dresden"}]
    add("forged", "A message that nobody signed.", "K2", "does not hold", **at(release, forged))
    foreign = one.changed(release, _with(charter=_OTHER))
    add("charter", "A message under another charter.", "K2", "speaks of charter", **at(release, foreign))
    twice = sign({**one.body(survivors), "log": one.head(deadline)})
    add("survivors_twice", "Two sets of survivors.", "K3", "survivors of votes 2 times", **at(deadline, twice))
    fork = one.changed(survivors, lambda body: body["log"].update(root=_OTHER))
    add("fork", "The survivors name another log.", "K3", "confirmed in another log", **at(survivors, fork))
    few = one.changed(survivors, _with(survivors=[a, b]))
    add("few_survivors", "Two survivors of five.", "K4", "3 are needed", **at(survivors, few))
    add("unconfirmed", "Nobody confirmed.", "K5", "are not confirmed", **at(confirmed, None))
    lacking = one.changed(confirmed, lambda body: body["signatures"].pop("aachen"))
    quorum = "not confirmed by a quorum"
    add("few_confirmed", "Too few confirmations.", "K5", quorum, **at(confirmed, lacking))
    false = one.changed(confirmed, lambda body: body["signatures"].update(aachen=body["signatures"]["berlin"]))
    add("confirmed_forged", "berlin's signature as aachen's.", "K5", "does not hold", **at(confirmed, false))
    add("uncollected", "The server did not collect.", "K6", "did not say, or not once", **at(collected, None))
    other = one.changed(collected, _with(survivors=_OTHER))
    add("collected_others", "Collected for others.", "K6", "did not say, or not once", **at(collected, other))
    small = one.changed(collected, _with(contributors=[a, b]))
    add("few_collected", "Two contributors of five.", "K6", "3 are needed", **at(collected, small))
    add("unreleased", "dresden did not release.", "K7", "dresden did not release", **at(release, None))
    named = one.changed(release, _with(survivors=_OTHER))
    add("released_others", "dresden released for others.", "K7", "dresden did not release", **at(release, named))
    late = one.changed(collected, lambda body: body["log"].update(root=_OTHER))
    add("collected_elsewhere", "Collected in another log.", "K8", "collected in another log", **at(collected, late))


def _ciphertexts_at_the_custodian(one: Editor, bad: Collector) -> None:
    encrypted, collected = one.find("encrypted", sender="berlin"), one.find("collected")
    own = one.body(encrypted)["lanes"][0]
    theirs = one.body(one.find("encrypted", sender="aachen"))["lanes"][0]["blob"]

    def add(defect: str, about: str, check: str, says: str, change: Change | None, **given: Any) -> None:
        log = _retold(one, {encrypted: change} if change else {}, given.pop("moved", {}))
        bad.add(f"custodian_{defect}", about, collected + 1, "custodian", check, says, log=log, **given)

    def named(blob: Json) -> tuple[Change, dict[str, Json]]:
        name = hashlib.sha256(payload(blob)).hexdigest()
        return lambda body: body["lanes"][0].update(blob=name), {name: blob}

    copied: Change = lambda body: body["lanes"][0].update(blob=theirs)  # noqa: E731
    add("copied", "berlin committed to aachen's ciphertexts.", "K9", "the ciphertexts of 'aachen'", copied)
    cut: Change = lambda body: body["lanes"].pop()  # noqa: E731
    add("lanes", "berlin committed to too few lanes.", "K9", "named 1 lanes", cut)
    again = one.find("encrypted", sender="erfurt")
    log = _retold(one, {again: lambda body: body.update(deepcopy(one.body(encrypted)), prev=_OTHER)}, {})
    about, says = "berlin commits twice.", "signed its ciphertexts twice"
    bad.add("custodian_twice", about, collected + 1, "custodian", "K9", says, log=log)
    about, says = "berlin commits after the survivors are named.", "berlin signed no ciphertexts before"
    add("late", about, "K9", says, None, moved={encrypted: collected - 1})
    changed = {own["blob"]: {"runs": [["0" * 15 + "1", 8192]]}}
    says = "does not hold what its name says"
    add("blob", "The payload is another one.", "K10", says, None, blobs=changed, error="StorageError")
    change, blobs = named({"runs": [["0" * 15 + "1", 8191], [f"{_RESIDUE:016x}", 1]]})
    add("residue", "berlin committed to words that are no residues.", "K10", "no residues", change, blobs=blobs)
    made = one.vector["output"]["blobs"][own["blob"]]
    change, blobs = named({**made, "secret": key_of("another", 0)})
    add("key", "berlin encrypted under another key.", "K12", "further than 0.25", change, blobs=blobs)


def _retold(one: Editor, changes: Mapping[int, Change], moved: Mapping[int, int]) -> dict[str, Json | None]:
    """The log as if all had seen it so: what is another envelope in it, by event; null where there is none now."""
    told: dict[str, Json | None] = {}
    entries: list[Json] = []
    survivors, signed = "", dict[str, str]()
    sources = {target: source for source, target in moved.items()}
    for number in range(one.find("collected") + 1):
        source = sources.get(number, number)
        if number in moved or "envelope" not in one.events[source]:
            if number in moved:
                told[str(number)] = None
            continue
        body = deepcopy(one.body(source))
        kind = body["kind"]
        if kind in ("survivors", "collected"):
            body["log"] = as_json(one.log(0, entries).head())
        if kind in ("confirm", "confirmed", "release", "collected"):
            body["survivors"] = survivors
        if kind == "confirmed":
            body["signatures"] = {name: signed[name] for name in body["signatures"]}
        if number in changes:
            changes[number](body)
        envelope = sign(body)
        if kind == "survivors":
            survivors = message_digest(envelope)
        if kind == "confirm":
            signed[body["sender"]] = envelope["signatures"][0]["sig"]
        entries.append(envelope)
        if envelope != one.events[number].get("envelope"):
            told[str(number)] = envelope
    return told
