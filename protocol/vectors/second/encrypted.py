"""SPEC.md sections 10, 11 and 21.6: what is refused of encrypted votes, by whoever can see it, and the custodian."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from protocol.vectors.second import ckks
from protocol.vectors.second.agreement import Lane, Round
from protocol.vectors.second.encoding import digest, open_envelope
from protocol.vectors.second.log import Log, View
from protocol.vectors.second.participation import Participation
from protocol.vectors.second.published import blob_of, words_of
from protocol.vectors.second.quorum import check_quorum
from protocol.vectors.second.refusal import CheckError, require

__all__ = ["check_counted_lanes", "check_encrypted", "commitments", "count", "counted_in", "encrypted_sum"]

Json = dict[str, Any]
Decrypt = Callable[[Sequence[int]], list[float]]


def check_encrypted(check: str, twice: str, the_round: Round, body: Json, owners: Mapping[str, str]) -> dict[str, str]:
    """S23 and S24: what a client names; the owners of all digests so far."""
    lanes = the_round.lanes_of(the_round.roster.index(body["sender"]))
    due = [(lane.name, the_round.ciphertext_words(lane)) for lane in lanes]
    require(check, [(blob["lane"], blob["words"]) for blob in body["lanes"]] == due)
    names = [blob["blob"] for blob in body["lanes"]]
    require(twice, all(owners.get(name, body["sender"]) == body["sender"] for name in names))
    return {**owners, **dict.fromkeys(names, body["sender"])}


def commitments(the_round: Round, client: int, ciphertexts: Mapping[str, bytes]) -> list[Json]:
    """The lanes of a client's `encrypted`."""
    mine = [(lane.name, ciphertexts[lane.name]) for lane in the_round.lanes_of(client)]
    return [{"lane": name, "words": len(d) // 8, "blob": hashlib.sha256(d).hexdigest()} for name, d in mine]


def check_counted_lanes(check: str, the_round: Round, body: Json) -> None:
    """C46 and S28: all lanes, in order."""
    due = [(lane.name, lane.packing["votes"].words(lane.length)) for lane in the_round.lanes]
    require(check, [(blob["lane"], blob["words"]) for blob in body["lanes"]] == due)


def counted_in(the_round: Round, sums: Json, survivors: str) -> Json | None:
    """C45 to C47: the custodian's word in the body of `sums`, where there must be one.

    Args:
        the_round: which.
        sums: the body.
        survivors: digest of the confirmed survivors of votes.
    """
    if sums["sum"] == "values" or the_round.custodian is None:
        require("C45", sums["counted"] is None)
        return None
    require("C45", sums["counted"] is not None)
    counted = the_round.open(sums["counted"])
    require("C45", counted["kind"] == "counted" and counted["sender"] == the_round.custodian)
    require("C46", counted["survivors"] == survivors)
    check_counted_lanes("C46", the_round, counted)
    require("C47", sums["lanes"] == [_published(blob) for blob in counted["lanes"]])
    return counted


def _published(blob: Json) -> Json:
    return {name: blob[name] for name in ("lane", "words", "blob")}


def encrypted_sum(
    check: str, the_round: Round, lane: Lane, sent: Mapping[int, Json], blobs: Mapping[str, bytes]
) -> list[int]:
    """Section 21.5: the words of a lane's homomorphic sum, from its contributors' `encrypted`."""
    contributions = []
    for client in sorted(sent.keys() & set(lane.cohort)):
        blob = next(blob for blob in sent[client]["lanes"] if blob["lane"] == lane.name)
        words = words_of(check, blob, blobs)
        ckks.check_ciphertexts(check, the_round.ckks, lane.length, words)
        contributions.append(words)
    return ckks.add(contributions)


def count(
    the_round: Round,
    signing: bytes,
    decrypt: Decrypt,
    log: Sequence[Any],
    blobs: MutableMapping[str, bytes],
    view: View,
) -> Json:
    """K2 to K13: the custodian's envelope.

    Args:
        the_round: which.
        signing: the custodian's Ed25519 private key.
        decrypt: numbers of a ciphertext, with the round's key.
        log: every envelope of the run so far, in order.
        blobs: digest -> bytes; counts go there.
        view: what the custodian says of the log.
    """
    held = Log("", b"")
    bodies: list[Json] = []
    for envelope in log:
        try:
            bodies.append(open_envelope(envelope, the_round.keys, the_round.digest, None))
        except CheckError as error:
            raise CheckError("K2", str(error)) from error
        held.append(envelope)
    survivors, sent = _read(the_round, bodies, held)
    lanes = [_count(the_round, lane, sent, decrypt, blobs) for lane in the_round.lanes]
    head = {"charter": the_round.digest, "round": the_round.index, "sender": the_round.custodian}
    own = held.own(the_round.custodian or "")
    view.seen, view.prev = held.head(), None if own is None else own["leaf"]
    contributors = the_round.names(sent)
    body = {"kind": "counted", **head, "survivors": survivors, "contributors": contributors, "lanes": lanes}
    return view.sign(body, signing)


def _read(the_round: Round, bodies: Sequence[Json], held: Log) -> tuple[str, dict[int, Json]]:
    """K3 to K9: digest of the survivors, and the `encrypted` of each contributor."""
    of_round = [(at, body) for at, body in enumerate(bodies) if body["round"] == the_round.index]

    def said(kind: str, since: int = 0) -> list[tuple[int, Json]]:
        mine = [(at, body) for at, body in of_round if body["kind"] == kind and at >= since]
        return [(at, body) for at, body in mine if body["sender"] == the_round.server]

    named = [(at, body) for at, body in said("survivors") if body["sum"] == "votes"]
    require("K3", len(named) == 1, "survivors of votes")
    at, body = named[0]
    require("K3", body["log"] == held.head(at))
    survivors = digest(body)
    try:
        participation = Participation(the_round).after_survivors(body, None, ())
    except CheckError as error:
        raise CheckError("K4", str(error)) from error
    confirmed = [one for _, one in said("confirmed", at) if one["survivors"] == survivors]
    require("K5", bool(confirmed), "nobody confirmed")
    try:
        check_quorum(the_round, confirmed[0], the_round.groups, participation.survivors["votes"])
    except CheckError as error:
        raise CheckError("K5", str(error)) from error
    collected = said("collected", at)
    require("K6", len(collected) == 1 and collected[0][1]["survivors"] == survivors)
    end, last = collected[0]
    contributors = participation.after_collected("K6", last["contributors"], None).survivors["votes"]
    released = {
        one["sender"]
        for place, one in of_round
        if place > at and one["kind"] == "release" and one["survivors"] == survivors
    }
    require("K7", set(the_round.names(contributors)) <= released)
    require("K8", last["log"] == held.head(end))
    owners: dict[str, str] = {}
    sent: dict[int, Json] = {}
    for place, one in of_round:
        if place < at and one["kind"] == "encrypted" and one["sender"] in the_round.roster:
            require("K9", the_round.roster.index(one["sender"]) not in sent, "twice")
            owners = check_encrypted("K9", "K9", the_round, one, owners)
            sent[the_round.roster.index(one["sender"])] = one
    require("K9", contributors <= sent.keys())
    return survivors, {client: sent[client] for client in sorted(contributors)}


def _count(
    the_round: Round, lane: Lane, sent: Mapping[int, Json], decrypt: Decrypt, blobs: MutableMapping[str, bytes]
) -> Json:
    """K10, K12 and K13: one lane of `counted`."""
    parameters, found = the_round.ckks, list[int]()
    total = encrypted_sum("K10", the_round, lane, sent, blobs)
    contributors = len(sent.keys() & set(lane.cohort))
    for start in range(0, len(total), ckks.WORDS):
        numbers = decrypt(total[start : start + ckks.WORDS])
        left = min(lane.length - len(found), parameters.v * ckks.RING)
        found += ckks.counts(parameters, numbers, contributors, left)
    data = blob_of(lane.packing["votes"].pack(found))
    name = hashlib.sha256(data).hexdigest()
    blobs[name] = data
    return {"lane": lane.name, "words": len(data) // 8, "blob": name, "ciphertexts": ckks.sum_digest(total)}
