"""SPEC.md section 12: a witness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from protocol.vectors.second.agreement import Round
from protocol.vectors.second.encoding import digest
from protocol.vectors.second.log import View
from protocol.vectors.second.participation import Participation
from protocol.vectors.second.published import words_of
from protocol.vectors.second.refusal import CheckError, require
from protocol.vectors.second.unmasking import Unmasking, owed

__all__ = ["attest"]


def attest(
    the_round: Round, signing: bytes, log: Sequence[Any], blobs: Mapping[str, bytes], view: View
) -> dict[str, Any]:
    """W1 to W6 for the last published sum; the witness's envelope.

    Args:
        the_round: which.
        signing: the witness's Ed25519 private key.
        log: every envelope of the round so far, in order.
        blobs: digest -> bytes.
        view: what the witness said before.
    """
    try:
        bodies = [the_round.open(envelope) for envelope in log]
    except CheckError as error:
        raise CheckError("W1", str(error)) from error
    from_server = [body for body in bodies if body["sender"] == the_round.server]
    sums = [body for body in from_server if body["kind"] == "sums"][-1]
    which, attempt = sums["sum"], sums["attempt"]
    require("W7", sums["counted"] is None)
    participation = Participation(the_round)
    try:
        for body in from_server:
            if body["kind"] == "survivors":
                participation = participation.after_survivors(body, None, ())
            if body["kind"] == "collected":
                participation = participation.after_collected("W2", body["contributors"], None)
            if body["kind"] == "again":
                participation = participation.after_again(body, None)
    except CheckError as error:
        raise CheckError("W2", str(error)) from error
    survivors = participation.survivors[which]

    def sent(kind: str, **members: Any) -> dict[int, dict[str, Any]]:
        return {
            the_round.roster.index(body["sender"]): body
            for body in bodies
            if body["kind"] == kind
            and body["sender"] in the_round.roster
            and all(body[name] == value for name, value in members.items())
        }

    masked, unmasks = sent("masked", sum=which, attempt=attempt), sent("unmask", sum=which, attempt=attempt)
    for client, body in unmasks.items():
        given = [{kind: set(entry[kind]) for kind in ("seeds", "keys")} for entry in body["groups"]]
        require("W3", given == owed(the_round, client, which, participation))
    require("W4", survivors <= masked.keys())
    try:
        unmasking = Unmasking(
            the_round,
            which,
            attempt,
            sent("advertise", attempt=attempt),
            sent("share", attempt=attempt),
            participation,
            unmasks,
        )
    except CheckError as error:
        raise CheckError("W5", str(error)) from error
    for lane, published in zip(the_round.lanes, sums["lanes"], strict=True):
        contributions = [
            words_of("W4", blob, blobs)
            for client in sorted(survivors & set(lane.cohort))
            for blob in masked[client]["lanes"]
            if blob["lane"] == lane.name
        ]
        require("W6", unmasking.open(lane, contributions) == words_of("W6", published, blobs), lane.name)
    witness = the_round.charter["witness"]["name"]
    head = {"charter": the_round.digest, "round": the_round.index, "sender": witness}
    return view.sign({"kind": "attest", **head, "sum": which, "attempt": attempt, "sums": digest(sums)}, signing)
