"""A good round, and what somebody could do to one of its messages."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import TypeAdapter

from fedspallm_secure.charter import Charter
from fedspallm_secure.messages import Envelope, Identity, LogHead, Message, SumName, canonical, seal
from fedspallm_secure.rounds import plan_round
from fedspallm_secure.secagg.keys import ChannelContext, shared_secret
from fedspallm_secure.secagg.sealing import seal_for
from fedspallm_secure.tlog import HeldLog, leaf_hash, open_note, origin_of, parse_checkpoint
from protocol.vectors.making.replay import replay
from protocol.vectors.making.rounds import signing_key
from protocol.vectors.making.stage import as_json

__all__ = ["Change", "Collector", "Editor", "Json", "identity", "message_digest", "sign", "with_first"]

Json = dict[str, Any]

Change = Callable[[Json], Any]
"""Alters a body in place."""

_message: TypeAdapter[Message] = TypeAdapter(Message)


class Editor:
    """One good round, and what can be done to its messages.

    Args:
        name: of its vector.
        vector: with `input` and `output`.
    """

    def __init__(self, name: str, vector: Json) -> None:
        self.name = name
        self.vector = vector
        self.events = vector["output"]["events"]
        self.plan = plan_round(Charter.model_validate_json(json.dumps(vector["input"]["charter"])), 0)

    def find(self, kind: str, **members: Any) -> int:
        """Number of the first event whose body has these members; `to` is the event's."""
        to = members.pop("to", None)
        found: list[int] = [
            number
            for number, event in enumerate(self.events)
            if "envelope" in event
            and (to is None or to in event["to"])
            and {"kind": kind, **members}.items() <= self.body(number).items()
        ]
        return found[0]

    def body(self, number: int) -> Json:
        """What an event says."""
        return dict(json.loads(base64.b64decode(self.events[number]["envelope"]["payload"])))

    def envelope(self, number: int) -> Json:
        """An event's envelope."""
        return dict(self.events[number]["envelope"])

    def changed(self, number: int, change: Change) -> Json:
        """An event's body after `change`, signed by its sender."""
        body = deepcopy(self.body(number))
        change(body)
        return sign(body)

    def false_sums(self, which: SumName, lane: int, change: Callable[[Any], Any]) -> tuple[Json, dict[str, str]]:
        """The server's `sums` with digits of one lane changed, and the payload that goes with it."""
        number = self.find("sums", sum=which)
        body = self.body(number)
        entry, packing = body["lanes"][lane], self.plan.context.lanes[lane].packing(which)
        words = np.frombuffer(bytes.fromhex(self.vector["output"]["blobs"][entry["blob"]]), "<u8")
        length = packing.digits * words.size
        if which == "votes":
            length = self.plan.context.lanes[lane].length
        digits = packing.unpack(words, length).astype(np.uint64)
        data = packing.pack(change(digits)).astype("<u8").tobytes()
        entry["blob"] = hashlib.sha256(data).hexdigest()
        return sign(body), {entry["blob"]: data.hex()}

    def log(self, after: int, more: Sequence[Json] = ()) -> HeldLog:
        """The log after so many events, and then `more` entries."""
        log = HeldLog(origin_of(self.plan.context.digest))
        for event in [*self.events[:after], *({"envelope": envelope} for envelope in more)]:
            if "envelope" in event:
                log.append(self.parsed(event["envelope"]))
        return log

    def head(self, after: int) -> Json:
        """Size and root of the log after so many events."""
        return dict(as_json(self.log(after).head()))

    def leaf(self, number: int) -> str:
        """Leaf hash of an event's envelope."""
        return leaf_hash(canonical(self.parsed(self.envelope(number)))).hex()

    def parsed(self, envelope: Json) -> Envelope:
        """As the package has it."""
        return Envelope.model_validate_json(json.dumps(envelope))

    def evidence(self, log: HeldLog, envelope: Json, to: str, after: int, since: Sequence[Json] = ()) -> Json:
        """What goes beside an entry of `log` to somebody who heard and said its part of so many events.

        Args:
            log: in which the envelope stands.
            envelope: which.
            to: its receiver.
            after: number of events.
            since: what the receiver got after those, with evidence, and answered.
        """
        events = [*self.events[:after], *since]
        heard = [event["evidence"][to] for event in events if to in event.get("evidence", {})]
        server = identity(self.plan.charter.server)
        return dict(as_json(log.evidence(self.parsed(envelope), server, to, _seen(heard))))

    def sealed_by(self, sender: str, receiver: str, plaintext: bytes) -> str:
        """What `sender` could have sealed for `receiver` in the first exchange."""
        own = bytes.fromhex(self.vector["input"]["institutions"][sender]["entropy"])[:32]
        public = self.body(self.find("advertise", sender=receiver))["channel"]
        secret = shared_secret(X25519PrivateKey.from_private_bytes(own), public, receiver)
        context = self.plan.context
        at = ChannelContext(context.digest, 0, 0, context.indices[sender], context.indices[receiver])
        return seal_for(secret, at, plaintext)


class Collector:
    """Collects vectors of one round."""

    def __init__(self, editor: Editor, vectors: dict[str, Json]) -> None:
        self._editor = editor
        self._vectors = vectors

    def add(self, defect: str, about: str, after: int, to: str, check: str, says: str, **given: Any) -> None:
        """One vector. Of what is given, `deliver` are envelopes; `beside` alters the evidence of the last one."""
        error = given.pop("error", "RemoteProtocolError")
        beside = given.pop("beside", None)
        given = {"of": self._editor.name, "after": after, "to": to, **given}
        if "deliver" in given:
            given["deliver"] = self._with_evidence(given)
        if beside is not None:
            beside(given["deliver"][-1]["evidence"])
        self._vectors[f"rounds/{self._editor.name}_bad_{defect}"] = {
            "family": "rounds",
            "about": about,
            "input": given,
            "refused": {"check": check, "error": error, "says": says},
        }

    def _with_evidence(self, given: Json) -> list[Json]:
        """An institution's answer to one envelope stands in the log before the next."""
        editor, envelopes, to, after = self._editor, given["deliver"], given["to"], given["after"]
        if to not in editor.plan.context.roster:
            return [{"envelope": envelope} for envelope in envelopes]
        delivered: list[Json] = []
        since: list[Json] = []
        for envelope in envelopes:
            log = editor.log(after, [*(event["envelope"] for event in since), envelope])
            evidence = editor.evidence(log, envelope, to, after, since)
            delivered.append({"envelope": envelope, "evidence": evidence})
            since.append({"envelope": envelope, "evidence": {to: evidence}})
            if len(delivered) < len(envelopes):
                answer = replay({**given, "deliver": delivered}, {editor.name: editor.vector})
                since.append({"from": to, "envelope": as_json(answer)})
        return delivered

    def change(self, defect: str, about: str, number: int, check: str, says: str, change: Change, to: str = "") -> None:
        """One vector: the message of event `number` is changed and signed again."""
        receiver = to or self._editor.events[number]["to"][0]
        self.add(defect, about, number, receiver, check, says, deliver=[self._editor.changed(number, change)])


def _seen(heard: Sequence[Json]) -> LogHead | None:
    """What somebody saw last, by the evidence that it got."""
    if not heard:
        return None
    text, _ = open_note(heard[-1]["checkpoint"], {})
    return parse_checkpoint(text).head


def sign(body: Json) -> Json:
    """Any body, signed by whom it names."""
    message = _message.validate_json(json.dumps(body))
    return dict(as_json(seal(message, identity(message.sender))))


def identity(name: str) -> Identity:
    """A participant of the vectors."""
    return Identity(name, Ed25519PrivateKey.from_private_bytes(signing_key(name)))


def with_first(digits: Any, digit: int) -> Any:
    """`digits` with the first one replaced."""
    changed = digits.copy()
    changed[0] = digit
    return changed


def message_digest(envelope: Json) -> str:
    """Of an envelope's body."""
    return hashlib.sha256(base64.b64decode(envelope["payload"])).hexdigest()
