"""Transcripts that were changed, by somebody with all keys or with none."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import rfc8785

from fedspallm_secure.charter import Charter
from fedspallm_secure.messages import Envelope
from fedspallm_secure.rounds import plan_round
from fedspallm_secure.tlog import Checkpoint, HeldLog, checkpoint_text, cosign, origin_of, sign_note
from protocol.vectors.making.editor import Change, Json, identity, message_digest, sign
from protocol.vectors.making.rounds import TIME
from protocol.vectors.making.runs import Played
from protocol.vectors.making.stage import as_json

__all__ = ["Forger", "line"]


class Forger:
    """What can be done to a transcript.

    Args:
        played: as it was.
    """

    def __init__(self, played: Played) -> None:
        self.played = played
        self.bodies: list[Json] = [json.loads(base64.b64decode(envelope["payload"])) for envelope in played.envelopes]
        self.server = played.charter["server"]
        self.plan = plan_round(Charter.model_validate_json(json.dumps(played.charter)), 0)

    def find(self, kind: str, **members: Any) -> int:
        """Index of the last entry whose body has these members."""
        due = {"kind": kind, **members}.items()
        return max(index for index, body in enumerate(self.bodies) if due <= body.items())

    def resigned(self, index: int, change: Change) -> Json:
        """An entry with another body, signed by its sender, which no other entry knows of."""
        body = deepcopy(self.bodies[index])
        change(body)
        return sign(body)

    def retold(self, changes: Mapping[int, Change]) -> tuple[list[Json], Json]:
        """The log after some bodies were changed, as if everybody had seen them so.

        Returns:
            The envelopes, and what a vector says of it: the `lines` that changed, and the last checkpoint.
        """
        envelopes = list(self.played.envelopes)
        said: dict[str, Json] = {}  # payload before -> envelope after
        for index in range(min(changes), len(envelopes)):
            body = deepcopy(self.bodies[index])
            self._refer(body, self._log(envelopes[:index]), envelopes[:index], said)
            if index in changes:
                changes[index](body)
            before, envelopes[index] = envelopes[index], sign(body)
            said[before["payload"]] = envelopes[index]
        lines = {str(n): line(new) for n, new in enumerate(envelopes) if new != self.played.envelopes[n]}
        return envelopes, {"lines": lines, "files": {self.last_note: self.note(envelopes)}}

    @property
    def last_note(self) -> str:
        """Name of the last checkpoint's file."""
        return f"checkpoints/{len(self.played.stated):04}.note"

    def note(
        self,
        envelopes: Sequence[Json],
        size: int | None = None,
        *,
        cosigners: Sequence[str] | None = None,
        keeper: str = "",
        origin: str = "",
        charter: str = "",
    ) -> str:
        """A checkpoint.

        Args:
            envelopes: the log.
            size: how much of it, all if None.
            cosigners: those who stated the model, if None.
            keeper: who signs as the log's keeper, if it is not the server.
            origin: what the keeper signs under, if it is not the log's name.
            charter: digest of the charter of another run, whose log it names.
        """
        log = self._log(envelopes)
        named = origin_of(charter) if charter else log.origin
        text = checkpoint_text(Checkpoint(named, log.head(size)))
        note = sign_note(text, origin or named, identity(keeper or self.server))
        names = self.played.stated[-1] if cosigners is None else cosigners
        return note + "".join(cosign(note, identity(name), TIME) for name in names)

    def false_sums(self, index: int, lane: int, change: Callable[[Any], Any]) -> tuple[Change, dict[str, str]]:
        """A change of a `sums` by which one lane's digits are others, and the payload that goes with it."""
        body = self.bodies[index]
        entry, packing = body["lanes"][lane], self.plan.context.lanes[lane].packing(body["sum"])
        words = np.frombuffer(bytes.fromhex(self.played.given["blobs"][entry["blob"]]), "<u8")
        length = self.plan.context.lanes[lane].length if body["sum"] == "votes" else packing.digits * words.size
        digits = packing.unpack(words, length).astype(np.uint64)
        data = packing.pack(change(digits)).astype("<u8").tobytes()
        name = hashlib.sha256(data).hexdigest()
        return lambda body: body["lanes"][lane].update(blob=name), {name: data.hex()}

    def _refer(self, body: Json, log: HeldLog, before: Sequence[Json], said: Mapping[str, Json]) -> None:
        """Let a body name what was said before it as it is said now."""
        sender, kind = body["sender"], body["kind"]
        if body.get("seen") is not None:
            body["seen"] = as_json(log.head(body["seen"]["size"]))
            own = self._log(before[: body["seen"]["size"]]).own(sender)
            body["prev"] = None if own is None else own.leaf
        if kind == "survivors":
            body["log"] = as_json(log.head())
        if kind == "collected":
            body["log"] = as_json(log.head())
        if kind in ("confirm", "confirmed"):
            body["survivors"] = self._said(before, "survivors", body)
        if kind in ("release", "collected", "counted"):
            body["survivors"] = self._said(before, "survivors", {**body, "sum": "votes", "attempt": 0})
        if kind == "sums" and body["counted"] is not None:
            body["counted"] = said.get(body["counted"]["payload"], body["counted"])
            lanes = _body(body["counted"])["lanes"]
            body["lanes"] = [{name: lane[name] for name in ("lane", "words", "blob")} for lane in lanes]
        if kind == "confirmed":
            signed = {
                envelope["signatures"][0]["keyid"]: envelope["signatures"][0]["sig"]
                for envelope in before
                if _kind(envelope) == "confirm" and _of_sum(envelope) == _of_sum(body)
            }
            body["signatures"] = {name: signed[name] for name in body["signatures"]}
        if kind == "attest":
            body["sums"] = self._said(before, "sums", body)
        if kind == "proofs":
            body["proofs"] = [said.get(envelope["payload"], envelope) for envelope in body["proofs"]]
        if kind == "attested":
            body["attestation"] = said.get(body["attestation"]["payload"], body["attestation"])

    def _said(self, before: Sequence[Json], kind: str, body: Json) -> str:
        """Digest of the last such message of the same sum."""
        found = [one for one in before if _kind(one) == kind and _of_sum(one) == _of_sum(body)]
        return message_digest(found[-1])

    def _log(self, envelopes: Sequence[Json]) -> HeldLog:
        log = HeldLog(origin_of(self.plan.context.digest))
        for envelope in envelopes:
            log.append(Envelope.model_validate_json(json.dumps(envelope)))
        return log


def line(envelope: Json) -> str:
    """An entry of the log as it stands in its file."""
    return rfc8785.dumps(envelope).decode()


def _body(envelope: Json) -> Json:
    return dict(json.loads(base64.b64decode(envelope["payload"])))


def _kind(envelope: Json) -> str:
    return str(_body(envelope)["kind"])


def _of_sum(of: Json) -> tuple[int, str, int]:
    """Round, sum and attempt of a body or an envelope."""
    body = _body(of) if "payload" in of else of
    return body["round"], body["sum"], body["attempt"]
