"""SPEC.md sections 9 and 11: a server, with every check that it makes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, MutableMapping
from typing import Any

from protocol.vectors.second import crypto
from protocol.vectors.second.agreement import Lane, Round
from protocol.vectors.second.ckks import sum_digest
from protocol.vectors.second.encoding import digest
from protocol.vectors.second.encrypted import check_counted_lanes, check_encrypted, encrypted_sum
from protocol.vectors.second.graph import quorum
from protocol.vectors.second.log import Log
from protocol.vectors.second.model import model_digest
from protocol.vectors.second.outcome import Outcome
from protocol.vectors.second.participation import Participation
from protocol.vectors.second.published import blob_of, words_of
from protocol.vectors.second.refusal import CheckError, require
from protocol.vectors.second.secrets import one_each
from protocol.vectors.second.unmasking import Unmasking, owed

__all__ = ["Server"]

_Out = list[tuple[list[str], dict[str, Any]]]
"""What is sent: receivers' names and an envelope, in order."""


class Server:
    """The server in one round.

    Args:
        the_round: which.
        say: gives the envelope of a body that it has to send.
        outcome: of the round.
        blobs: digest -> bytes, of everybody; it puts its own there.
        log: of the run.
    """

    def __init__(
        self,
        the_round: Round,
        say: Callable[[dict[str, Any]], dict[str, Any]],
        outcome: Outcome,
        blobs: MutableMapping[str, bytes],
        log: Log,
    ) -> None:
        self._round = the_round
        self._say = say
        self._outcome = outcome
        self._blobs = blobs
        self.log = log
        self._due = the_round.everybody
        self._came: dict[int, dict[str, Any]] = {}
        self._envelopes: dict[int, dict[str, Any]] = {}
        self._kind = "advertise"  # what is gathered
        self._which = "votes"
        self._attempt = 0
        self._used_keys: set[str] = set()
        self._owners: dict[str, str] = {}  # digest of ciphertexts -> whose they are
        self._exchange: dict[str, dict[int, dict[str, Any]]] = {}
        self._of_sum: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
        self._attempts = {"votes": 0, "values": 0}
        self._participation = Participation(the_round)
        self._lengths = [lane.length for lane in the_round.lanes]
        self._survivors = ""
        self._masked: dict[int, dict[str, Any]] = {}
        self._published: dict[str, dict[str, Any]] = {}
        self.agreed: frozenset[int] = frozenset()  # who stated the model
        self.model = ""
        self.weights: dict[str, bytes] = {}

    def receive(self, envelope: Any) -> _Out:
        """A message; what is sent then."""
        body = self._round.open(envelope)
        self.log.check_links(envelope, body)
        if body["kind"] == "attest":
            return self._logged(self._take_attest(body, envelope))
        if body["kind"] == "counted":
            return self._logged(self._take_counted(body, envelope))
        require("S1", body["sender"] in self._round.roster)
        sender = self._round.roster.index(body["sender"])
        require("S2", body["kind"] == self._kind, f"{body['kind']}; due: {self._kind}")
        require("S3", sender in self._due and sender not in self._came)
        self._check(sender, body)
        size = len(self.log)
        self._came[sender], self._envelopes[sender] = body, envelope
        self.log.append(envelope)
        if self._due - self._came.keys():
            return []
        try:
            return self._logged(self._go_on())
        except CheckError:
            del self._came[sender], self._envelopes[sender]
            self.log.rollback(size)
            raise

    def close(self) -> _Out:
        """The deadline passed."""
        if self._kind == "attest":
            return self._logged(self._send_unproven())
        require("S30", self._kind != "counted")
        if self._kind == "model":
            needed = quorum(len(self._round.roster), self._round.parameters["colluders"])
            require("S20", len(self._came) >= needed)
        return self._logged(self._go_on())

    def _logged(self, out: _Out) -> _Out:
        for _, envelope in out:
            self.log.append(envelope)
        return out

    def _check(self, sender: int, body: dict[str, Any]) -> None:
        groups, sums = self._round.groups_of(sender), self._round.sums_of(self._attempt)
        if body["kind"] in ("masked", "confirm", "unmask", "proof"):
            require("S4", (body["sum"], body["attempt"]) == (self._which, self._attempts[self._which]))
        if body["kind"] in ("advertise", "share"):
            require("S8" if body["kind"] == "share" else "S4", body["attempt"] == self._attempt)
        match body["kind"]:
            case "advertise":
                require("S5", one_each(body["groups"], len(groups), sums))
                keys = [body["channel"], *(key for entry in body["groups"] for key in entry.values() if key)]
                require("S6", len(set(keys)) == len(keys) and not self._used_keys & set(keys))
                for key in keys:
                    crypto.checked_agree("S7", bytes(31) + b"\x01", key)
                self._used_keys |= set(keys)
            case "share":
                peers = self._round.peers_of(sender) & self._exchange["advertise"].keys()
                require("S8", body["sealed"].keys() == set(self._round.names(peers)))
                require("S9", one_each(body["commitments"], len(groups), sums))
            case "masked":
                due = [
                    (lane.name, lane.packing[self._which].words(self._lengths[lane.index]))
                    for lane in self._round.lanes_of(sender)
                ]
                require("S10", [(blob["lane"], blob["words"]) for blob in body["lanes"]] == due)
            case "encrypted":
                self._owners = check_encrypted("S23", "S24", self._round, body, self._owners)
            case "release":
                self._check_released(sender)
                require("S25", body["survivors"] == self._survivors)
            case "confirm":
                require("S12", body["survivors"] == self._survivors)
            case "unmask":
                given = [{kind: set(entry[kind]) for kind in ("seeds", "keys")} for entry in body["groups"]]
                require("S13", given == owed(self._round, sender, self._which, self._participation))
            case "proof":
                require("S14", len(body["products"]) == len(groups))
            case "model":
                require("S20", body["model"] == self.model)

    def _go_on(self) -> _Out:
        came, envelopes = dict(sorted(self._came.items())), dict(sorted(self._envelopes.items()))
        if self._kind in ("advertise", "share", "masked", "encrypted", "confirm", "release"):
            for group in self._round.groups:
                require("S16", len(set(group.cohort) & came.keys()) >= group.quorum and group.spread(came))
        match self._kind:
            case "advertise":
                self._exchange = {"advertise": came}
                out = []
                for client in came:
                    wanted = self._round.peers_of(client) | {client}
                    advertisements = [envelope for peer, envelope in envelopes.items() if peer in wanted]
                    out.append(self._send([client], "advertised", attempt=self._attempt, advertisements=advertisements))
                self._wait("share", came)
                return out
            case "share":
                return self._send_shares(came)
            case "masked" | "encrypted":
                return self._send_survivors(came)
            case "release":
                return self._send_collected(came)
            case "confirm":
                signatures = self._quorum_of(envelopes)
                encrypted = self._which == "votes" and self._round.custodian is not None
                self._wait("release" if encrypted else "unmask", self._participation.survivors[self._which])
                return [self._in_sum("confirmed", survivors=self._survivors, signatures=signatures)]
            case "unmask":
                return self._publish(came)
            case "proof":
                return self._send_proofs(envelopes)
            case "model":
                self.agreed = frozenset(came)
                due = self._due
                self._wait("", ())
                return [self._send(due, "model", model=self.model, prev=None, seen=None)]
        return []

    def _wait(self, kind: str, due: Any) -> None:
        self._kind, self._due, self._came, self._envelopes = kind, frozenset(due), {}, {}

    def _send(self, clients: Any, kind: str, **members: Any) -> tuple[list[str], dict[str, Any]]:
        head = {"charter": self._round.digest, "round": self._round.index, "sender": self._round.server}
        return self._round.names(clients), self._say({"kind": kind, **head, **members})

    def _in_sum(self, kind: str, **members: Any) -> tuple[list[str], dict[str, Any]]:
        """To everybody who is waited for."""
        return self._send(self._due, kind, sum=self._which, attempt=self._attempts[self._which], **members)

    def _send_shares(self, came: dict[int, dict[str, Any]]) -> _Out:
        self._exchange["share"] = came
        for which in self._round.sums_of(self._attempt):
            self._of_sum[which] = self._exchange
            self._attempts[which] = self._attempt
        out = []
        for client in came:
            mine = self._round.roster[client]
            sealed = {body["sender"]: body["sealed"][mine] for body in came.values() if mine in body["sealed"]}
            out.append(self._send([client], "shares", attempt=self._attempt, to=mine, sealed=sealed))
        if self._attempt:
            self._begin_values()
        else:
            self._wait("masked" if self._round.custodian is None else "encrypted", came)
        return out

    def _participants(self, which: str) -> frozenset[int]:
        return self._participation.eligible(which) & self._of_sum[which]["share"].keys()

    def _begin_values(self) -> None:
        self._which = "values"
        self._lengths = self._outcome.lengths(self._published["votes"], self._participation)
        self._wait("masked", self._participants("values"))

    def _send_survivors(self, came: dict[int, dict[str, Any]]) -> _Out:
        survivors = frozenset(came)
        if self._which == "values" and self._participation.exceeded(survivors):
            self._attempt += 1
            gone = self._round.names(self._participation.survivors["votes"] - survivors)
            self._wait("advertise", survivors)
            out = self._send(survivors, "again", attempt=self._attempt, gone=gone)
            self._participation = self._participation.after_again({"gone": gone}, None)
            return [out]
        self._masked = came
        self._wait("confirm", survivors)
        named = {
            "participants": self._round.names(self._participants(self._which)),
            "survivors": self._round.names(survivors),
            "gone": self._round.names(self._participation.gone),
            "start": self._round.start,
            "log": self.log.head(),
        }
        message = self._in_sum("survivors", **named)
        body = self._round.open(message[1])
        self._participation = self._participation.after_survivors(body, None, ())
        self._survivors = digest(body)
        return [message]

    def _quorum_of(self, envelopes: dict[int, dict[str, Any]]) -> dict[str, str]:
        """No more signatures than give every group its quorum, in order of names."""
        lacking = {group.index: group.quorum for group in self._round.groups}
        signatures = {}
        for client in sorted(envelopes, key=lambda index: self._round.roster[index]):
            helped = [group.index for group in self._round.groups_of(client) if lacking[group.index] > 0]
            for index in helped:
                lacking[index] -= 1
            if helped:
                signatures[self._round.roster[client]] = envelopes[client]["signatures"][0]["sig"]
        return signatures

    def _publish(self, unmasks: dict[int, dict[str, Any]]) -> _Out:
        which, exchange = self._which, self._of_sum[self._which]
        unmasking = Unmasking(
            self._round,
            which,
            self._attempts[which],
            exchange["advertise"],
            exchange["share"],
            self._participation,
            unmasks,
        )
        return self._send_sums([self._total(lane, unmasking) for lane in self._round.lanes], None)

    def _send_sums(self, lanes: list[dict[str, Any]], counted: dict[str, Any] | None) -> _Out:
        self._wait("proof", self._participation.survivors[self._which])
        message = self._in_sum("sums", lanes=lanes, counted=counted)
        self._published[self._which] = self._round.open(message[1])
        return [message]

    def _check_released(self, sender: int) -> None:
        """S26."""
        for lane in self._round.lanes_of(sender):
            encrypted_sum("S26", self._round, lane, {sender: self._masked[sender]}, self._blobs)

    def _send_collected(self, came: dict[int, dict[str, Any]]) -> _Out:
        names = self._round.names(came)
        self._participation = self._participation.after_collected("S16", names, None)
        self._wait("counted", ())
        named = {"survivors": self._survivors, "contributors": names, "log": self.log.head()}
        head = {"charter": self._round.digest, "round": self._round.index, "sender": self._round.server}
        return [([self._round.custodian or ""], self._say({"kind": "collected", **head, **named}))]

    def _take_counted(self, body: dict[str, Any], envelope: dict[str, Any]) -> _Out:
        require("S2", self._kind == "counted", f"due: {self._kind}")
        require("S27", body["sender"] == self._round.custodian)
        contributors = self._participation.survivors["votes"]
        due = (self._survivors, self._round.names(contributors))
        require("S27", (body["survivors"], body["contributors"]) == due)
        check_counted_lanes("S28", self._round, body)
        sent = {client: self._masked[client] for client in contributors}
        self.log.append(envelope)
        lanes = [self._counted(lane, blob, sent) for lane, blob in zip(self._round.lanes, body["lanes"], strict=True)]
        return self._send_sums(lanes, envelope)

    def _counted(self, lane: Lane, blob: dict[str, Any], sent: dict[int, dict[str, Any]]) -> dict[str, Any]:
        """S29: a lane of `sums`, where the custodian counted it."""
        found = sum_digest(encrypted_sum("S26", self._round, lane, sent, self._blobs))
        require("S29", found == blob["ciphertexts"], lane.name)
        return {name: blob[name] for name in ("lane", "words", "blob")}

    def _total(self, lane: Lane, unmasking: Unmasking) -> dict[str, Any]:
        """A lane of `sums`."""
        data = blob_of(self._added(lane, unmasking))
        name = hashlib.sha256(data).hexdigest()
        self._blobs[name] = data
        return {"lane": lane.name, "words": len(data) // 8, "blob": name}

    def _added(self, lane: Lane, unmasking: Unmasking) -> list[int]:
        contributions = [
            words_of("S11", blob, self._blobs)
            for client, body in self._masked.items()
            if client in lane.cohort
            for blob in body["lanes"]
            if blob["lane"] == lane.name
        ]
        return unmasking.open(lane, contributions)

    def _send_proofs(self, envelopes: dict[int, dict[str, Any]]) -> _Out:
        if self._due - envelopes.keys():
            if self._round.charter["witness"] is None or self._published[self._which]["counted"] is not None:
                return self._send_unproven()
            self._kind = "attest"
            return []
        return self._send_verdict(self._in_sum("proofs", proofs=list(envelopes.values())))

    def _take_attest(self, body: dict[str, Any], envelope: dict[str, Any]) -> _Out:
        require("S15", self._kind == "attest" and body["sender"] == self._round.charter["witness"]["name"])
        due = (self._which, self._attempts[self._which], digest(self._published[self._which]))
        require("S15", (body["sum"], body["attempt"], body["sums"]) == due)
        self.log.append(envelope)
        return self._send_verdict(self._in_sum("attested", attestation=envelope))

    def _send_verdict(self, message: tuple[list[str], dict[str, Any]]) -> _Out:
        self._participation = self._participation.after_verdict(self._which)
        if self._which == "votes" and self._round.changes_weights:
            self._begin_values()
        else:
            self._compute_model()
        return [message]

    def _send_unproven(self) -> _Out:
        message = self._in_sum("unproven", missing=self._round.names(self._due - self._came.keys()))
        self._compute_model()
        return [message]

    def _compute_model(self) -> None:
        values = self._published.get("values") if "values" in self._participation.accepted else None
        self.weights = self._outcome.weights(self._published["votes"], values, self._participation)
        self.model = model_digest(self._round, self.weights)
        self._wait("model", self._participation.survivors[self._which])
