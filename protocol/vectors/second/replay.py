"""A round vector played back: every word of it is said again, by clients, a server and a witness of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.vectors.second.agreement import Round, check_charter
from protocol.vectors.second.client import Client
from protocol.vectors.second.model import tensor_digest
from protocol.vectors.second.outcome import Outcome
from protocol.vectors.second.refusal import require
from protocol.vectors.second.secrets import Institution
from protocol.vectors.second.server import Server
from protocol.vectors.second.witness import attest

__all__ = ["Replay", "refuse"]


class Replay:
    """Everybody of one round, with the private keys that a vector gives away.

    Args:
        given: the vector's `input`.
        blobs: digest -> bytes in hexadecimal, which replace what anybody makes.
    """

    def __init__(self, given: Mapping[str, Any], blobs: Mapping[str, str]) -> None:
        check_charter(given["charter"], given["round"])
        self.round = Round(dict(given["charter"]), given["round"])
        weights = {name: bytes.fromhex(data) for name, data in given["weights"].items()}
        for tensor in self.round.charter["base"]["pruned"]:
            found = tensor_digest(weights[tensor["name"]], tensor["dtype"], tensor["rows"], tensor["columns"])
            require("C44", found == tensor["digest"])
        self._signing = {name: bytes.fromhex(key) for name, key in given["signing"].items()}
        self.blobs = _Blobs({name: bytes.fromhex(data) for name, data in blobs.items()})
        self.outcome = Outcome(self.round, weights, self.blobs)
        self.server = Server(self.round, self._signing[self.round.server], self.outcome, self.blobs)
        self.clients = {
            name: Client(self.round, self._institution(name, own), self.outcome, self.blobs)
            for name, own in given["institutions"].items()
        }
        self._due: list[tuple[list[str], Any]] = []
        self._answers: dict[str, Any] = {name: client.start() for name, client in self.clients.items()}
        self._log: list[Any] = []

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
                for name in to:
                    answer = self.clients[name].receive(envelope)
                    if answer is not None:
                        self._answers[name] = answer
            else:
                witness = self.round.charter["witness"]
                self._expect(number, to, [self.round.server])
                if sender in self.clients or witness is None or sender != witness["name"]:
                    self._expect(number, self._answers.pop(sender, None), envelope)
                else:
                    self._expect(number, self.attest(self._log), envelope)
                self._due += self.server.receive(envelope)
            self._log.append(envelope)

    def attest(self, log: list[Any]) -> Any:
        """The witness's word for the last sum in `log`."""
        return attest(self.round, self._signing[self.round.charter["witness"]["name"]], log, self.blobs)

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
            {tensor: [bit == "1" for bit in bits] for tensor, bits in own["kept"].items()},
            {tensor: bytes.fromhex(data) for tensor, data in own["pruned"].items()},
            (own["tokens"], own["loss"]),
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
    weights = given.get("weights", good["input"]["weights"])
    replay = Replay({**good["input"], "weights": weights}, given.get("blobs", {}))
    events = good["output"]["events"][: given["after"]]
    replay.take(events)
    if "log" in given:
        log = {number: event.get("envelope") for number, event in enumerate(events)}
        log |= {int(number): envelope for number, envelope in given["log"].items()}
        replay.attest([envelope for _, envelope in sorted(log.items()) if envelope is not None])
    to = replay.server if given["to"] == replay.round.server else replay.clients.get(given["to"])
    for envelope in given.get("deliver", []):
        assert to is not None
        to.receive(envelope)
    if "deadline" in given:
        replay.server.close()
