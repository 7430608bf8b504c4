"""A good round, and what somebody could do to one of its messages."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import TypeAdapter

from fedspallm_secure.charter import Charter
from fedspallm_secure.messages import Identity, Message, SumName, seal
from fedspallm_secure.rounds import plan_round
from fedspallm_secure.secagg.keys import ChannelContext, shared_secret
from fedspallm_secure.secagg.sealing import seal_for
from protocol.vectors.making.rounds import signing_key
from protocol.vectors.making.stage import as_json

__all__ = ["Change", "Collector", "Editor", "Json", "message_digest", "with_first"]

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

    def sign(self, body: Json) -> Json:
        """Any body, signed by whom it names."""
        key = Ed25519PrivateKey.from_private_bytes(signing_key(body["sender"]))
        message = _message.validate_json(json.dumps(body))
        return dict(as_json(seal(message, Identity(message.sender, key))))

    def changed(self, number: int, change: Change) -> Json:
        """An event's body after `change`, signed by its sender."""
        body = deepcopy(self.body(number))
        change(body)
        return self.sign(body)

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
        return self.sign(body), {entry["blob"]: data.hex()}

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
        """One vector; `given` is what is delivered."""
        error = given.pop("error", "RemoteProtocolError")
        self._vectors[f"rounds/{self._editor.name}_bad_{defect}"] = {
            "family": "rounds",
            "about": about,
            "input": {"of": self._editor.name, "after": after, "to": to, **given},
            "refused": {"check": check, "error": error, "says": says},
        }

    def change(self, defect: str, about: str, number: int, check: str, says: str, change: Change, to: str = "") -> None:
        """One vector: the message of event `number` is changed and signed again."""
        receiver = to or self._editor.events[number]["to"][0]
        self.add(defect, about, number, receiver, check, says, deliver=[self._editor.changed(number, change)])


def with_first(digits: Any, digit: int) -> Any:
    """`digits` with the first one replaced."""
    changed = digits.copy()
    changed[0] = digit
    return changed


def message_digest(envelope: Json) -> str:
    """Of an envelope's body."""
    return hashlib.sha256(base64.b64decode(envelope["payload"])).hexdigest()
