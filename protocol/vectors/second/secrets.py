"""SPEC.md sections 7.1 and 9.2: what a client brings, and what it draws for one exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from protocol.vectors.second.agreement import Group, Round

__all__ = ["Exchange", "Institution", "one_each"]


@dataclass
class Institution:
    """What a client brings.

    Attributes:
        name: its own.
        signing: Ed25519 private key.
        entropy: what its random generator will give, in order.
        kept: tensor's name -> its own mask; none where statistics are pooled.
        pruned: tensor's name -> bytes of its own pruned weights; none where statistics are pooled.
        moments: lane's name -> its own second moment, row by row, or the diagonal; none where weights are averaged.
        telemetry: tokens, and loss in millionths of a nat.
        ciphertexts: tensor's name -> its encrypted votes; none where votes are masked.
    """

    name: str
    signing: bytes
    entropy: bytes
    kept: dict[str, list[bool]]
    pruned: dict[str, bytes]
    moments: dict[str, list[float]]
    telemetry: tuple[int, int]
    ciphertexts: dict[str, bytes]

    def draw(self, number: int) -> bytes:
        """The next random bytes."""
        drawn, self.entropy = self.entropy[:number], self.entropy[number:]
        assert len(drawn) == number
        return drawn


class Exchange:
    """The secrets of one exchange: keys and seeds by (group's index, sum), shares by (group's index, sum, owner)."""

    def __init__(self, the_round: Round, client: int, attempt: int, draw: Callable[[int], bytes]) -> None:
        self.attempt = attempt
        self.sums = the_round.sums_of(attempt)
        self.groups = the_round.groups_of(client)
        self.channel = draw(32)
        self.keys = {(group.index, which): draw(32) for group in self.groups for which in self.sums}
        self.seeds = {(group.index, which): draw(32) for group in self.groups for which in self.sums}
        self.peers: dict[int, dict[str, Any]] = {}
        self.shares: dict[tuple[int, str, int], tuple[bytes, bytes]] = {}
        self.mates: frozenset[int] = frozenset()

    def by_sum(self, group: Group, secrets: dict[tuple[int, str], bytes], public: Callable[[bytes], str]) -> Any:
        """An entry of `groups` or `commitments`."""
        return {
            which: public(secrets[group.index, which]) if which in self.sums else None for which in ("votes", "values")
        }


def one_each(entries: list[dict[str, Any]], due: int, sums: list[str]) -> bool:
    """C6, S5, S9: one entry a group, with something for exactly the sums that are served."""
    return len(entries) == due and all(
        (entry[which] is not None) is (which in sums) for entry in entries for which in ("votes", "values")
    )
