"""SPEC.md sections 7, 9 and 10: a client, with every check that it must make."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from protocol.vectors.second import crypto
from protocol.vectors.second.agreement import Group, Lane, Round
from protocol.vectors.second.encoding import digest
from protocol.vectors.second.encrypted import commitments, counted_in
from protocol.vectors.second.log import View
from protocol.vectors.second.outcome import Outcome
from protocol.vectors.second.participation import Participation
from protocol.vectors.second.products import check_proofs, public_vector, totals
from protocol.vectors.second.published import blob_of
from protocol.vectors.second.quorum import check_quorum
from protocol.vectors.second.refusal import CheckError, require
from protocol.vectors.second.secrets import Exchange, Institution, one_each

__all__ = ["Client"]

_DUE = {
    ("advertised", "advertised"): "shared",
    ("shared", "shares"): "voting",
    ("voted", "survivors"): "votes confirmed",
    ("votes confirmed", "confirmed"): "votes unmasked",
    ("votes unmasked", "sums"): "counts proved",
    ("released", "sums"): "counts proved",
    ("counts proved", "proofs"): "checked",
    ("counts proved", "attested"): "checked",
    ("counts proved", "unproven"): "done",
    ("valued", "again"): "advertised again",
    ("advertised again", "advertised"): "shared again",
    ("shared again", "shares"): "checked",
    ("valued", "survivors"): "values confirmed",
    ("values confirmed", "confirmed"): "values unmasked",
    ("values unmasked", "sums"): "sums proved",
    ("sums proved", "proofs"): "done",
    ("sums proved", "attested"): "done",
    ("sums proved", "unproven"): "done",
    ("done", "model"): "done",
}


class Client:
    """One institution in one round.

    Args:
        the_round: which.
        who: the institution.
        outcome: of the round.
        blobs: digest -> bytes, of everybody; it puts its own there.
        view: what it said and saw of the log.
    """

    def __init__(
        self, the_round: Round, who: Institution, outcome: Outcome, blobs: MutableMapping[str, bytes], view: View
    ) -> None:
        self._round = the_round
        self._institution = who
        self._index = the_round.roster.index(who.name)
        self._outcome = outcome
        self._blobs = blobs
        self.view = view
        self._state = "advertised"
        self._participation = Participation(the_round)
        self._exchange = Exchange(the_round, self._index, 0, who.draw)
        self._in_sum = dict.fromkeys(self._exchange.sums, self._exchange)
        self._invited = the_round.everybody
        self._lengths = [lane.length for lane in the_round.lanes]
        self._confirmed = ("", "")
        self._totals: dict[int, list[int]] = {}
        self._published: dict[str, dict[str, Any]] = {}
        self._model = ""
        self._own: dict[str, Any] = {}  # its advertisement in this exchange, as it was signed
        self._answers: dict[str, dict[str, Any] | None] = {}

    def start(self) -> dict[str, Any]:
        """Step 1."""
        return self.view.sign(self._advertise(), self._institution.signing)

    def receive(self, envelope: Any, evidence: Mapping[str, Any]) -> dict[str, Any] | None:
        """A message of the server, with what came beside it; the answer, if any."""
        came = digest(envelope)
        if came not in self._answers:
            body = self._round.open(envelope)
            self.view.accept(envelope, body, evidence)
            self._answers[came] = self._take(body)
        return self._answers[came]

    def _take(self, body: dict[str, Any]) -> dict[str, Any] | None:
        require("C1", body["sender"] == self._round.server)
        kind = body["kind"]
        require("C2", (self._state, kind) in _DUE, f"{kind} in state {self._state}")
        take: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
            "advertised": self._take_advertised,
            "shares": self._take_shares,
            "survivors": self._take_survivors,
            "confirmed": self._take_confirmed,
            "sums": self._take_sums,
            "proofs": self._take_verdict,
            "attested": self._take_verdict,
            "unproven": self._take_unproven,
            "again": self._take_again,
            "model": self._take_model,
        }
        before = self._state
        self._state = _DUE[before, kind]
        if self._state == "votes unmasked" and self._round.custodian is not None:
            self._state = "released"
        try:
            answer = take[kind](body)
        except CheckError:
            self._state = before
            raise
        return None if answer is None else self.view.sign(answer, self._institution.signing)

    def _body(self, kind: str, **members: Any) -> dict[str, Any]:
        head = {"charter": self._round.digest, "round": self._round.index, "sender": self._institution.name}
        return {"kind": kind, **head, **members}

    def _of_sum(self, kind: str, which: str, **members: Any) -> dict[str, Any]:
        return self._body(kind, sum=which, attempt=self._in_sum[which].attempt, **members)

    def _check_attempt(self, body: dict[str, Any], which: str) -> None:
        require("C3", body["sum"] == which and body["attempt"] == self._in_sum[which].attempt)

    def _advertise(self) -> dict[str, Any]:
        exchange = self._exchange
        body = self._body(
            "advertise",
            attempt=exchange.attempt,
            channel=crypto.public_key(exchange.channel),
            groups=[exchange.by_sum(group, exchange.keys, crypto.public_key) for group in exchange.groups],
        )
        self._own = self.view.link(body)
        return body

    def _check_holders(self, check: str, there: frozenset[int]) -> None:
        for group in self._exchange.groups:
            require(check, len(there & set(group.holders[self._index])) >= group.threshold, f"group {group.index}")

    def _take_advertised(self, body: dict[str, Any]) -> dict[str, Any]:
        exchange, me = self._exchange, self._index
        require("C3", body["attempt"] == exchange.attempt)
        opened = [self._round.open(envelope) for envelope in body["advertisements"]]
        allowed = (self._round.peers_of(me) | {me}) & self._invited
        senders = self._round.indices("C4", [one["sender"] for one in opened], allowed)
        seen: list[str] = []
        for sender, one in zip(sorted(senders), opened, strict=True):
            require("C5", one["kind"] == "advertise" and one["attempt"] == exchange.attempt)
            require("C6", one_each(one["groups"], len(self._round.groups_of(sender)), exchange.sums))
            seen += [one["channel"], *(key for group in one["groups"] for key in group.values() if key is not None)]
        require("C7", len(set(seen)) == len(seen))
        peers = dict(zip(sorted(senders), opened, strict=True))
        require("C8", peers.get(me) == self._own)
        self._check_holders("C9", senders)
        exchange.peers = {peer: one for peer, one in peers.items() if peer != me}
        for peer, one in exchange.peers.items():
            used = [one["channel"]]
            for group in exchange.groups:
                if peer in group.neighbours[me]:
                    entry = one["groups"][self._round.place(peer, group)]
                    used += [entry[which] for which in exchange.sums]
            for key in used:
                crypto.checked_agree("C10", exchange.channel, key)
        return self._share(frozenset(peers))

    def _share(self, there: frozenset[int]) -> dict[str, Any]:
        exchange, me, draw = self._exchange, self._index, self._institution.draw
        dealt = {}
        for group in exchange.groups:
            holders = sorted(there & set(group.holders[me]))
            for which in exchange.sums:
                seeds, keys = (
                    crypto.deal(
                        secret[group.index, which],
                        [int.from_bytes(draw(64), "big") % crypto.PRIME for _ in range(group.threshold - 1)],
                        holders,
                    )
                    for secret in (exchange.seeds, exchange.keys)
                )
                dealt[group.index, which] = {holder: (seeds[holder], keys[holder]) for holder in holders}
                if me in holders:
                    exchange.shares[group.index, which, me] = seeds[me], keys[me]
        sealed = {}
        for peer, one in exchange.peers.items():
            plaintext = b"".join(
                b"".join(dealt[group.index, which][peer])
                for group in exchange.groups
                if peer in group.holders[me]
                for which in exchange.sums
            )
            secret = crypto.agree(exchange.channel, one["channel"])
            sealed[self._round.roster[peer]] = crypto.seal_shares(secret, self._channel(me, peer), plaintext)
        commitments = [exchange.by_sum(group, exchange.seeds, crypto.commitment) for group in exchange.groups]
        return self._body("share", attempt=exchange.attempt, commitments=commitments, sealed=sealed)

    def _channel(self, sender: int, receiver: int) -> bytes:
        return crypto.channel_context(self._round.digest, self._round.index, self._exchange.attempt, sender, receiver)

    def _take_shares(self, body: dict[str, Any]) -> dict[str, Any]:
        exchange, me = self._exchange, self._index
        require("C3", body["attempt"] == exchange.attempt)
        require("C11", body["to"] == self._institution.name)
        require("C12", all(one in self._round.names(exchange.peers) for one in body["sealed"]))
        senders = frozenset(self._round.roster.index(one) for one in body["sealed"])
        self._check_holders("C13", senders | {me})
        shares = dict(exchange.shares)
        for sender in senders:
            secret = crypto.agree(exchange.channel, exchange.peers[sender]["channel"])
            try:
                text = crypto.unseal(secret, self._channel(sender, me), body["sealed"][self._round.roster[sender]])
            except ValueError as error:
                raise CheckError("C14", str(error)) from error
            owed = [
                (group.index, which, sender)
                for group in self._round.groups_of(sender)
                if me in group.holders[sender]
                for which in exchange.sums
            ]
            pieces = [text[start : start + 33] for start in range(0, len(text), 33)]
            require("C15", len(text) == 66 * len(owed))
            require("C15", all(int.from_bytes(piece, "big") < crypto.PRIME for piece in pieces))
            shares |= {place: (pieces[2 * at], pieces[2 * at + 1]) for at, place in enumerate(owed)}
        exchange.shares, exchange.mates = shares, senders | {me}
        self._in_sum |= dict.fromkeys(exchange.sums, exchange)
        if exchange.attempt:
            return self._value()
        self._state = "voted"
        return self._send("votes") if self._round.custodian is None else self._encrypt()

    def _take_survivors(self, body: dict[str, Any]) -> dict[str, Any]:
        which = "votes" if self._state.startswith("votes") else "values"
        self._check_attempt(body, which)
        self._participation = self._participation.after_survivors(body, self._index, self._in_sum[which].mates)
        self._confirmed = which, digest(body)
        return self._of_sum("confirm", which, survivors=digest(body))

    def _take_confirmed(self, body: dict[str, Any]) -> dict[str, Any]:
        which, chosen = self._confirmed
        self._check_attempt(body, which)
        require("C23", body["survivors"] == chosen)
        survivors = self._participation.survivors[which]
        check_quorum(self._round, body, self._round.groups_of(self._index), survivors)
        if self._state == "released":
            return self._release()
        held = self._in_sum[which].shares
        groups = []
        for group in self._round.groups_of(self._index):
            entry: dict[str, dict[str, str]] = {"seeds": {}, "keys": {}}
            for owner in self._participation.participants[which] & set(group.cohort):
                if (group.index, which, owner) in held:
                    seed, key = held[group.index, which, owner]
                    kind, share = ("seeds", seed) if owner in survivors else ("keys", key)
                    entry[kind][self._round.roster[owner]] = share.hex()
            groups.append(entry)
        return self._of_sum("unmask", which, groups=groups)

    def _encrypt(self) -> dict[str, Any]:
        """Step 5 of encrypted votes: digests of ciphertexts that nobody gets yet."""
        return self._body("encrypted", lanes=commitments(self._round, self._index, self._institution.ciphertexts))

    def _release(self) -> dict[str, Any]:
        """Step 9 of encrypted votes: the ciphertexts, where everybody finds them."""
        mine = self._institution.ciphertexts
        for blob in commitments(self._round, self._index, mine):
            self._blobs[blob["blob"]] = mine[blob["lane"]]
        return self._body("release", survivors=self._confirmed[1])

    def _secret(self, group: Group, which: str, peer: int) -> bytes:
        exchange = self._in_sum[which]
        public = exchange.peers[peer]["groups"][self._round.place(peer, group)][which]
        return crypto.agree(exchange.keys[group.index, which], public)

    def _send(self, which: str) -> dict[str, Any]:
        """Step 5: mask every lane."""
        mates = self._in_sum[which].mates & self._participation.eligible(which)
        blobs = []
        for lane in self._round.lanes_of(self._index):
            words = self._mask(lane, which, mates)
            data = blob_of(words)
            name = hashlib.sha256(data).hexdigest()
            self._blobs[name] = data
            blobs.append({"lane": lane.name, "words": len(words), "blob": name})
        return self._of_sum("masked", which, lanes=blobs)

    def _mask(self, lane: Lane, which: str, mates: frozenset[int]) -> list[int]:
        exchange, me, group = self._in_sum[which], self._index, self._round.group_of(lane)
        words = lane.packing[which].pack(self._digits(lane, which))
        context = crypto.lane_context(self._round.digest, self._round.index, which, exchange.attempt, lane.index)
        masks = [(1, crypto.self_key(exchange.seeds[group.index, which], context, me))]
        for peer in set(group.neighbours[me]) & mates:
            key = crypto.pair_key(self._secret(group, which, peer), context, me, peer)
            masks.append((1 if me < peer else -1, key))
        streams = [(sign, crypto.keystream(key, len(words))) for sign, key in masks]
        return [(word + sum(sign * stream[i] for sign, stream in streams)) % 2**64 for i, word in enumerate(words)]

    def _digits(self, lane: Lane, which: str) -> list[int]:
        """This client's digits of a lane."""
        mine = self._institution
        if lane not in self._round.tensors:
            return list(mine.telemetry) if which == "votes" else self._clipped()
        if which == "votes":
            return self._outcome.votes(mine, lane)
        return self._outcome.values(mine, lane, self._published["votes"], self._participation)

    def _clipped(self) -> list[int]:
        """Telemetry with the values."""
        at_bound = entries = 0
        for lane in self._round.lanes_of(self._index):
            if lane not in self._round.tensors:
                continue
            digits = self._digits(lane, "values")
            entries += len(digits)
            at_bound += sum(digit in (0, lane.packing["values"].q) for digit in digits)
        return [round(at_bound * 10**6 / entries) if entries else 0, int(entries > 0)]

    def _take_sums(self, body: dict[str, Any]) -> dict[str, Any]:
        which = "votes" if self._state == "counts proved" else "values"
        self._check_attempt(body, which)
        lengths = [lane.length for lane in self._round.lanes] if which == "votes" else self._lengths
        self._totals = totals(self._round, self._outcome, body, lengths, lambda: self._check_counted(body))
        own = {group.index: [0, 0] for group in self._round.groups_of(self._index)}
        for lane in self._round.lanes_of(self._index):
            digits = self._digits(lane, which)
            for m in range(2):
                r = public_vector(body, m, lane, len(digits))
                own[self._round.group_of(lane).index][m] += sum(map(int.__mul__, r, digits))
        self._published[which] = body
        mine, challenge = self._round.groups_of(self._index), bytes.fromhex(digest(body))
        products = [[self._product(own, group, m, which, challenge) for m in range(2)] for group in mine]
        return self._of_sum("proof", which, products=products)

    def _check_counted(self, body: dict[str, Any]) -> None:
        """C45 to C48."""
        counted = counted_in(self._round, body, self._confirmed[1])
        if counted is not None:
            self._participation = self._participation.after_collected("C48", counted["contributors"], self._index)

    def _product(self, own: dict[int, list[int]], group: Group, m: int, which: str, challenge: bytes) -> str:
        me, total = self._index, own[group.index][m]
        for peer in set(group.neighbours[me]) & self._participation.survivors[which]:
            mask = crypto.product_mask(self._secret(group, which, peer), challenge, m, group.index, me, peer)
            total += mask if me < peer else -mask
        return f"{total % crypto.MODULI[m]:016x}"

    def _take_verdict(self, body: dict[str, Any]) -> dict[str, Any] | None:
        which = "votes" if "votes" in self._published and "values" not in self._published else "values"
        self._check_attempt(body, which)
        published = self._published[which]
        if body["kind"] == "proofs":
            check_proofs(self._round, body, self._participation.survivors[which], self._totals)
        else:
            require("C51", published["counted"] is None)
            attest, witness = self._round.open(body["attestation"]), self._round.charter["witness"]
            require("C37", witness is not None and attest["sender"] == witness["name"] and attest["kind"] == "attest")
            named = (attest["sum"], attest["attempt"], attest["sums"])
            require("C38", named == (which, body["attempt"], digest(published)))
        self._participation = self._participation.after_verdict(which)
        if which == "values" or not self._round.changes_weights:
            self._state = "done"
            return self._state_model()
        return self._value()

    def _value(self) -> dict[str, Any]:
        """From checked to valued."""
        self._lengths = self._outcome.lengths(self._published["votes"], self._participation)
        self._state = "valued"
        return self._send("values")

    def _take_unproven(self, body: dict[str, Any]) -> dict[str, Any]:
        which = "values" if "values" in self._published else "votes"
        self._check_attempt(body, which)
        missing = self._round.indices("C39", body["missing"], self._participation.survivors[which])
        require("C39", len(missing) > 0)
        return self._state_model()

    def _take_again(self, body: dict[str, Any]) -> dict[str, Any]:
        attempt = self._in_sum["values"].attempt + 1
        require("C3", body["attempt"] == attempt)
        self._participation = self._participation.after_again(body, self._index)
        self._invited = self._participation.eligible("values")
        self._exchange = Exchange(self._round, self._index, attempt, self._institution.draw)
        return self._advertise()

    def _state_model(self) -> dict[str, Any]:
        values = self._published.get("values") if "values" in self._participation.accepted else None
        self._model = self._outcome.model(self._published["votes"], values, self._participation)
        return self._body("model", model=self._model)

    def _take_model(self, body: dict[str, Any]) -> None:
        require("C43", body["model"] == self._model)
