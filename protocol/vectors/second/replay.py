"""A round vector played back: every word of it is said again, by clients, a server and a witness of our own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from protocol.vectors.second import ckks
from protocol.vectors.second.agreement import Round, check_charter
from protocol.vectors.second.client import Client
from protocol.vectors.second.encoding import seal
from protocol.vectors.second.encrypted import count
from protocol.vectors.second.log import Log, View
from protocol.vectors.second.model import decode, tensor_digest
from protocol.vectors.second.note import origin_of
from protocol.vectors.second.outcome import Outcome
from protocol.vectors.second.payloads import payload, recipe
from protocol.vectors.second.refusal import require
from protocol.vectors.second.secrets import Institution
from protocol.vectors.second.server import Server
from protocol.vectors.second.witness import attest

__all__ = ["Replay", "refuse"]


class Replay:
    """Everybody of one round, with the private keys that a vector gives away.

    Args:
        given: the vector's `input`.
        blobs: digest -> payload, which replace what anybody makes.
    """

    def __init__(self, given: Mapping[str, Any], blobs: Mapping[str, Any]) -> None:
        check_charter(given["charter"], given["round"])
        self.round = Round(dict(given["charter"]), given["round"])
        weights = {name: bytes.fromhex(data) for name, data in given["weights"].items()}
        for tensor in self.round.charter["base"]["pruned"]:
            found = tensor_digest(weights[tensor["name"]], tensor["dtype"], tensor["rows"], tensor["columns"])
            require("C44", found == tensor["digest"])
        self.recipes: dict[str, Any] = {}  # digest -> how ciphertexts are made
        self._secret = given["custodian"]["secret"] if "custodian" in given else ""
        self._signing = {name: bytes.fromhex(key) for name, key in given["signing"].items()}
        self.blobs = _Blobs({name: payload(data) for name, data in blobs.items()})
        self.outcome = Outcome(self.round, weights, self.blobs)
        origin, key = origin_of(self.round.digest), self._signing[self.round.server]
        self._log = Log(origin, key)
        self.server = Server(self.round, partial(seal, key=key), self.outcome, self.blobs, self._log)
        self._views = {name: View(origin, self.round.keys[self.round.server]) for name in self._signing}
        self.clients = {
            name: Client(self.round, self._institution(name, own), self.outcome, self.blobs, self._views[name])
            for name, own in given["institutions"].items()
        }
        self._due: list[tuple[list[str], Any]] = []
        self._answers: dict[str, Any] = {name: client.start() for name, client in self.clients.items()}
        self._entries: list[Any] = []

    def take(self, events: list[Any]) -> None:
        """Go through events; ValueError where somebody says something else than we would."""
        for number, event in enumerate(events):
            if "deadline" in event:
                self._expect(number, event["deadline"], self.round.server)
                self._due += self.server.close()
                continue
            sender, to, envelope = event["from"], event["to"], event["envelope"]
            if sender == self.round.server:
                receivers: list[str] = []
                while self._due and self._due[0][1] == envelope:
                    receivers += self._due.pop(0)[0]
                self._expect(number, receivers, to)
                for name, evidence in event["evidence"].items():
                    self._expect(number, name in to, True)
                    view = self._views[name]
                    self._expect(number, self._log.evidence(envelope, name, view.seen), evidence)
                    answer = self.clients[name].receive(envelope, evidence)
                    if answer is not None:
                        self._answers[name] = answer
            else:
                witness = self.round.charter["witness"]
                self._expect(number, to, [self.round.server])
                if sender == self.round.custodian:
                    self._expect(number, self.count(self._entries), envelope)
                elif sender in self.clients or witness is None or sender != witness["name"]:
                    self._expect(number, self._answers.pop(sender, None), envelope)
                else:
                    self._expect(number, self.attest(self._entries), envelope)
                self._due += self.server.receive(envelope)
            self._entries.append(envelope)

    def checkpoint(self, time: int) -> str:
        """The log at the end of the round, cosigned at `time` by those who stated the model."""
        checkpoint = lines = self._log.checkpoint()
        for name in self.round.names(self.server.agreed):
            view = self._views[name]
            since, own = self._log.since(view.seen), self._log.own(name)
            lines += view.cosign(checkpoint, since, own, name, self._signing[name], time)
        return lines

    def attest(self, log: list[Any]) -> Any:
        """The witness's word for the last sum in `log`."""
        witness = self.round.charter["witness"]["name"]
        return attest(self.round, self._signing[witness], log, self.blobs, self._views[witness])

    def count(self, log: list[Any]) -> Any:
        """The custodian's word, with the secret key that the vector gives away."""
        secret = ckks.secret_key(bytes.fromhex(self._secret))
        decrypt = partial(ckks.decrypt, self.round.ckks, secret)
        name = self.round.custodian or ""
        return count(self.round, self._signing[name], decrypt, log, self.blobs, self._views[name])

    def _ciphertexts(self, own: Mapping[str, Any]) -> dict[str, bytes]:
        """An institution's, which follow from what they are drawn from."""
        made = {}
        for lane, stream in own.get("streams", {}).items():
            given = recipe(len(self.round.roster), self._secret, stream, own["kept"][lane])
            made[lane] = payload(given)
            self.recipes[hashlib.sha256(made[lane]).hexdigest()] = given
        return made

    def made(self) -> dict[str, Any]:
        """All payloads, by digest; of ciphertexts, how they are made."""
        return {name: self.recipes.get(name, data.hex()) for name, data in sorted(self.blobs.made.items())}

    def _expect(self, number: int, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            raise ValueError(f"event {number} is not what we would have sent, or not to those")

    def finish(self) -> None:
        """ValueError if something is still to be said by the server."""
        if self._due:
            raise ValueError("something that we would have sent is missing")

    def _institution(self, name: str, own: Mapping[str, Any]) -> Institution:
        return Institution(
            name,
            self._signing[name],
            bytes.fromhex(own["entropy"]),
            {tensor: [bit == "1" for bit in bits] for tensor, bits in own.get("kept", {}).items()},
            {tensor: bytes.fromhex(data) for tensor, data in own.get("pruned", {}).items()},
            {lane: decode(bytes.fromhex(data), "float64") for lane, data in own.get("moments", {}).items()},
            (own["tokens"], own["loss"]),
            self._ciphertexts(own),
        )


class _Blobs(dict[str, bytes]):
    """Payloads; those that a vector gives stay as they are, and what anybody makes is compared with them."""

    def __init__(self, given: Mapping[str, bytes]) -> None:
        super().__init__(given)
        self.made: dict[str, bytes] = {}

    def __setitem__(self, name: str, data: bytes) -> None:
        self.made[name] = data
        if name not in self:
            super().__setitem__(name, data)


def refuse(given: Mapping[str, Any], good: Mapping[str, Any]) -> None:
    """Play a good round up to the message in question, and deliver that message.

    Args:
        given: a bad vector's `input`.
        good: `input` and `output` of the round it names.
    """
    weights, blobs = given.get("weights", good["input"]["weights"]), given.get("blobs", {})
    to_custodian = given["to"] == "custodian"
    replay = Replay({**good["input"], "weights": weights}, {} if to_custodian else blobs)
    events = good["output"]["events"][: given["after"]]
    replay.take(events)
    if to_custodian:
        replay.blobs.update({name: payload(data) for name, data in blobs.items()})
    if "log" in given:
        log = {number: event.get("envelope") for number, event in enumerate(events)}
        log |= {int(number): envelope for number, envelope in given["log"].items()}
        shown = [envelope for _, envelope in sorted(log.items()) if envelope is not None]
        if to_custodian:
            replay.count(shown)
        else:
            replay.attest(shown)
    for one in given.get("deliver", []):
        if given["to"] == replay.round.server:
            replay.server.receive(one["envelope"])
        else:
            replay.clients[given["to"]].receive(one["envelope"], one["evidence"])
    if "deadline" in given:
        replay.server.close()
