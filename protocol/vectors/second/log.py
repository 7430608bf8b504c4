"""SPEC.md section 17: the log as the server keeps it, and as a client sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.vectors.second import merkle, note
from protocol.vectors.second.encoding import canonical, seal
from protocol.vectors.second.refusal import require

__all__ = ["Log", "View"]

_LINKED = (*("advertise", "share", "masked", "encrypted", "release", "counted", "unmask", "proof", "attest", "model"),)


class Log:
    """The server's.

    Args:
        origin: its name.
        key: the server's Ed25519 private key.
    """

    def __init__(self, origin: str, key: bytes) -> None:
        self._origin = origin
        self._key = key
        self._leaves: list[bytes] = []
        self._signers: list[str] = []

    def __len__(self) -> int:
        return len(self._leaves)

    def append(self, envelope: Mapping[str, Any]) -> None:
        """Add an entry, unless it is there."""
        leaf = merkle.leaf_hash(canonical(envelope))
        if leaf not in self._leaves:
            self._leaves.append(leaf)
            self._signers.append(envelope["signatures"][0]["keyid"])

    def rollback(self, size: int) -> None:
        """Take back what follows the first so many entries."""
        del self._leaves[size:], self._signers[size:]

    def last(self, signer: str, size: int) -> int | None:
        """Index of somebody's last among the first so many entries."""
        own = [index for index, whose in enumerate(self._signers[:size]) if whose == signer]
        return own[-1] if own else None

    def head(self, size: int | None = None) -> dict[str, Any]:
        """Size and root of the first so many entries."""
        leaves = self._leaves[:size]
        return {"size": len(leaves), "root": merkle.root(leaves).hex()}

    def check_links(self, envelope: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        """S21 and S22."""
        if merkle.leaf_hash(canonical(envelope)) in self._leaves or body["kind"] not in _LINKED:
            return
        seen = body["seen"]
        last = self.last(body["sender"], 0 if seen is None else seen["size"])
        require("S21", body["prev"] == (None if last is None else self._leaves[last].hex()), body["sender"])
        require("S22", seen is None or (seen["size"] <= len(self._leaves) and self.head(seen["size"]) == seen))

    def checkpoint(self) -> str:
        """The note that says how far the log goes."""
        text = note.checkpoint_text(self._origin, self.head())
        return f"{text}\n{note.signature_line(text, self._origin, self._key)}"

    def since(self, seen: Mapping[str, Any] | None) -> list[str]:
        """That the log continues what somebody saw."""
        return [] if seen is None else _hexes(merkle.consistency(seen["size"], self._leaves))

    def own(self, name: str) -> dict[str, Any] | None:
        """Where somebody's last entry stands."""
        index = self.last(name, len(self))
        return None if index is None else {**self._place(index), "leaf": self._leaves[index].hex()}

    def evidence(self, envelope: Mapping[str, Any], to: str, seen: Mapping[str, Any] | None) -> dict[str, Any]:
        """What goes beside an entry to a client that saw `seen`."""
        place = self._place(self._leaves.index(merkle.leaf_hash(canonical(envelope))))
        return {
            "checkpoint": self.checkpoint(),
            "place": place,
            "own": self.own(to),
            "since": self.since(seen),
            "up_to": self.since(self.head(place["index"])) if place["index"] else [],
        }

    def _place(self, index: int) -> dict[str, Any]:
        return {"index": index, "proof": _hexes(merkle.inclusion(index, self._leaves))}


class View:
    """What one participant says of the log, and has seen of it.

    Args:
        origin: the log's name.
        key: the server's Ed25519 public key.
    """

    def __init__(self, origin: str, key: str) -> None:
        self._origin = origin
        self._key = key
        self.prev: str | None = None
        self.seen: dict[str, Any] | None = None
        self._sent: set[str] = set()

    def link(self, body: dict[str, Any]) -> dict[str, Any]:
        """With `prev` and `seen`, if that kind has them."""
        return {**body, "prev": self.prev, "seen": self.seen} if body["kind"] in _LINKED else body

    def sign(self, body: dict[str, Any], key: bytes) -> dict[str, Any]:
        """Our next message."""
        envelope = seal(self.link(body), key)
        self._sent.add(merkle.leaf_hash(canonical(envelope)).hex())
        return envelope

    def accept(self, envelope: Mapping[str, Any], body: Mapping[str, Any], evidence: Mapping[str, Any]) -> None:
        """L1 to L6."""
        head = self._continued(evidence["checkpoint"], evidence["since"])
        self._included("L3", merkle.leaf_hash(canonical(envelope)), evidence["place"], head)
        self._check_own(evidence["own"], head)
        if body["kind"] == "survivors":
            require("L5", body["log"]["size"] == evidence["place"]["index"])
            self._continues("L6", body["log"], head, evidence["up_to"])
        self._take(head, evidence["own"])

    def cosign(
        self, checkpoint: str, since: list[str], own: Mapping[str, Any] | None, name: str, key: bytes, time: int
    ) -> str:
        """The line for the checkpoint at the end of a round."""
        head = self._continued(checkpoint, since)
        self._check_own(own, head)
        self._take(head, own)
        return note.cosignature_line(note.checkpoint_text(self._origin, head), name, key, time)

    def _take(self, head: dict[str, Any], own: Mapping[str, Any] | None) -> None:
        self.seen, self.prev = head, self.prev if own is None else own["leaf"]

    def _check_own(self, own: Mapping[str, Any] | None, head: Mapping[str, Any]) -> None:
        if own is not None:
            require("L4", not self._sent or own["leaf"] in self._sent)
            self._included("L4", bytes.fromhex(own["leaf"]), own, head)

    def _continued(self, checkpoint: str, since: list[str]) -> dict[str, Any]:
        head = note.read_checkpoint(checkpoint, self._origin, self._key)
        if self.seen is not None:
            self._continues("L2", self.seen, head, since)
        return head

    def _included(self, check: str, leaf: bytes, place: Mapping[str, Any], head: Mapping[str, Any]) -> None:
        proof, top = [bytes.fromhex(part) for part in place["proof"]], bytes.fromhex(head["root"])
        merkle.check_inclusion(check, leaf, place["index"], head["size"], proof, top)

    def _continues(self, check: str, old: Mapping[str, Any], new: Mapping[str, Any], proof: list[str]) -> None:
        roots = [bytes.fromhex(head["root"]) for head in (old, new)]
        merkle.check_consistency(
            check, old["size"], roots[0], new["size"], roots[1], [bytes.fromhex(part) for part in proof]
        )


def _hexes(proof: list[bytes]) -> list[str]:
    return [part.hex() for part in proof]
