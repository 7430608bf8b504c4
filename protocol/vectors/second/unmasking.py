"""SPEC.md section 9.3, step 10: from shares to sums, for a server and for a witness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from protocol.vectors.second import crypto
from protocol.vectors.second.agreement import Lane, Round
from protocol.vectors.second.participation import Participation

__all__ = ["Unmasking", "owed"]

Bodies = Mapping[int, dict[str, Any]]
"""Client's index -> what it sent."""


def owed(the_round: Round, client: int, which: str, participation: Participation) -> list[dict[str, set[str]]]:
    """What `unmask` of a client must hold: by group, whose seeds and whose keys."""
    participants, survivors = participation.participants[which], participation.survivors[which]
    due = []
    for group in the_round.groups_of(client):
        owners = {owner for owner in participants & set(group.cohort) if client in group.holders[owner]}
        due.append(
            {"seeds": set(the_round.names(owners & survivors)), "keys": set(the_round.names(owners - survivors))}
        )
    return due


class Unmasking:
    """S17 and S18: the secrets that open one attempt at a sum.

    Args:
        the_round: which.
        which: sum.
        attempt: at it.
        advertised: of the exchange.
        shared: of the exchange.
        participation: with the sum's participants and survivors.
        unmasks: what was handed out.
    """

    def __init__(
        self,
        the_round: Round,
        which: str,
        attempt: int,
        advertised: Bodies,
        shared: Bodies,
        participation: Participation,
        unmasks: Bodies,
    ) -> None:
        self._round, self._which, self._attempt = the_round, which, attempt
        self._advertised = advertised
        self._survivors = participation.survivors[which]
        self._seeds: dict[tuple[int, int], bytes] = {}
        self._keys: dict[tuple[int, int], bytes] = {}
        for group in the_round.groups:
            for owner in sorted(participation.participants[which] & set(group.cohort)):
                at, survived = the_round.place(owner, group), owner in self._survivors
                kind = "seeds" if survived else "keys"
                shares = {
                    holder: bytes.fromhex(
                        unmasks[holder]["groups"][the_round.place(holder, group)][kind][the_round.roster[owner]]
                    )
                    for holder in group.holders[owner]
                    if holder in unmasks
                }
                public = crypto.commitment if survived else crypto.public_key
                due = (shared[owner]["commitments"] if survived else advertised[owner]["groups"])[at][which]
                secrets = self._seeds if survived else self._keys
                secrets[group.index, owner] = crypto.reconstruct(shares, group.threshold, _gives(public, due))

    def open(self, lane: Lane, contributions: Sequence[Sequence[int]]) -> list[int]:
        """The words of a lane's sum."""
        group = self._round.group_of(lane)
        context = crypto.lane_context(self._round.digest, self._round.index, self._which, self._attempt, lane.index)
        masks = []
        for survivor in self._survivors & set(group.cohort):
            masks.append((1, crypto.self_key(self._seeds[group.index, survivor], context, survivor)))
            at = self._round.place(survivor, group)
            public = self._advertised[survivor]["groups"][at][self._which]
            for vanished in group.neighbours[survivor]:
                if (group.index, vanished) in self._keys:
                    secret = crypto.agree(self._keys[group.index, vanished], public)
                    sign = 1 if survivor < vanished else -1
                    masks.append((sign, crypto.pair_key(secret, context, survivor, vanished)))
        words = [sum(column) for column in zip(*contributions, strict=True)]
        for sign, key in masks:
            stream = crypto.keystream(key, len(words))
            words = [word - sign * mask for word, mask in zip(words, stream, strict=True)]
        return [word % 2**64 for word in words]


def _gives(public: Callable[[bytes], str], due: str) -> Callable[[bytes], bool]:
    """Whether a secret has this commitment or public key."""
    return lambda secret: public(secret) == due
