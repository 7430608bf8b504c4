"""From shares to what has to be taken off a sum: survivors' self masks, and the masks shared with those that vanished.

Everything here follows from signed messages, so the server, a witness and an auditor compute the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Advertise, GroupCommitments, GroupKeys, Share, SumName, Unmask
from fedspallm_secure.secagg.advertisement import check_advertisement, check_commitments
from fedspallm_secure.secagg.commitment import commit_to_seed
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.groups import Group
from fedspallm_secure.secagg.keys import MaskContext, pair_mask_key, public_key, self_mask_key, shared_secret
from fedspallm_secure.secagg.keystream import apply_keystream
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.shamir import robust_combine

__all__ = ["Unmasking", "check_unmask"]


class Unmasking:
    """What unmasks one attempt at one sum.

    Args:
        context: of the round.
        name: of the sum.
        attempt: at it.
        advertised: roster index -> advertisement of the exchange.
        shared: roster index -> share message of the exchange.
        participants: who could have contributed.
        survivors: who did.
        unmasks: roster index -> what it handed out.

    Raises:
        RemoteProtocolError: messages that are missing or not of this round's form, too few shares of somebody's
            secret, or shares that do not give what it advertised or committed to.
    """

    def __init__(
        self,
        context: RoundContext,
        name: SumName,
        attempt: int,
        advertised: Mapping[int, Advertise],
        shared: Mapping[int, Share],
        participants: Collection[int],
        survivors: Collection[int],
        unmasks: Mapping[int, Unmask],
    ) -> None:
        self.liars: set[int] = set()
        self._context = context
        self._name = name
        self._attempt = attempt
        self._survivors = frozenset(survivors)
        silent = context.names(i for i in participants if i not in advertised or i not in shared)
        if silent:
            raise RemoteProtocolError(
                f"Keys or shares are missing of {', '.join(silent)}, who are said to have taken part.",
                "Nothing can be unmasked; the server must show what it was sent.",
            )
        for index in participants:
            check_advertisement(context, index, advertised[index], {})
            check_commitments(context, index, shared[index])
        for index, unmask in unmasks.items():
            check_unmask(context, index, unmask, participants, survivors)
        self._seeds: dict[tuple[int, int], bytes] = {}
        self._pairs: dict[int, list[tuple[int, int, bytes]]] = {}
        for group in context.groups:
            self._pairs[group.index] = []
            for owner in group.cohort:
                if owner not in participants:
                    continue
                shares = self._shares_of(group, owner, unmasks)
                at = context.place(owner, group)
                if owner in self._survivors:
                    expected = _of(shared[owner].commitments[at], name)
                    seed = self._reconstruct(group, owner, shares, commit_to_seed, expected)
                    self._seeds[group.index, owner] = seed
                else:
                    expected = _of(advertised[owner].groups[at], name)
                    raw = self._reconstruct(group, owner, shares, lambda raw: public_key(_key(raw)), expected)
                    self._pairs[group.index] += self._leftover(group, owner, _key(raw), advertised)

    def subtract_masks(self, lane: Lane, total: NDArray[np.uint64]) -> None:
        """Take all masks off `total`, the sum of the survivors' masked words of `lane` modulo 2^64; in place."""
        for key, subtract in self._masks(lane):
            apply_keystream(total, key, subtract=subtract)

    def _masks(self, lane: Lane) -> Iterator[tuple[bytes, bool]]:
        group = self._context.group_of[lane.name]
        context = MaskContext(self._context.digest, self._context.round, self._name, self._attempt, lane.index)
        for owner in group.cohort:
            if owner in self._survivors:
                yield self_mask_key(self._seeds[group.index, owner], context, owner), True
        for survivor, vanished, secret in self._pairs[group.index]:
            low, high = sorted((survivor, vanished))
            yield pair_mask_key(secret, context, low, high), survivor == low

    def _shares_of(self, group: Group, owner: int, unmasks: Mapping[int, Unmask]) -> dict[int, bytes]:
        shares = {}
        for holder in group.holders[owner]:
            if holder in unmasks:
                revealed = unmasks[holder].groups[self._context.place(holder, group)]
                handed = revealed.seeds if owner in self._survivors else revealed.keys
                shares[holder] = bytes.fromhex(handed[self._context.roster[owner]])
        return shares

    def _reconstruct(
        self, group: Group, owner: int, shares: Mapping[int, bytes], public: Callable[[bytes], str], expected: str
    ) -> bytes:
        who = self._context.roster[owner]
        if len(shares) < group.threshold:
            raise RemoteProtocolError(
                f"{len(shares)} shares of {who!r}'s secret came for lane {group.lanes[0].name}; "
                f"{group.threshold} are needed. Missing: "
                f"{', '.join(self._context.names(set(group.holders[owner]) - shares.keys()))}.",
                "Nothing can be unmasked; start anew, under another charter, when more are there.",
            )
        try:
            secret, wrong = robust_combine(shares, group.threshold, lambda raw: public(raw) == expected)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(
                f"The shares of {who!r}'s secret for lane {group.lanes[0].name} do not give what it committed to: "
                f"{error.problem}",
                "It dealt wrong shares, or too many handed out wrong ones; start anew, under another charter.",
            ) from error
        self.liars.update(wrong)
        return secret

    def _leftover(
        self, group: Group, vanished: int, key: X25519PrivateKey, advertised: Mapping[int, Advertise]
    ) -> list[tuple[int, int, bytes]]:
        """(survivor, vanished, their secret): the masks that the survivors added and nobody else took off."""
        pairs = []
        for peer in group.neighbours[vanished]:
            if peer in self._survivors:
                keys = advertised[peer].groups[self._context.place(peer, group)]
                public = _of(keys, self._name)
                pairs.append((peer, vanished, shared_secret(key, public, self._context.roster[peer])))
        return pairs


def check_unmask(
    context: RoundContext, index: int, message: Unmask, participants: Collection[int], survivors: Collection[int]
) -> None:
    """Refuse shares that are not exactly those that the client with roster index `index` owes.

    Raises:
        RemoteProtocolError: as said.
    """
    groups = context.groups_of(index)
    due = tuple(_owed(context, group, index, participants, survivors) for group in groups)
    if tuple((set(given.seeds), set(given.keys)) for given in message.groups) != due:
        raise RemoteProtocolError(
            f"{message.sender!r} handed out other shares than those of the survivors' seeds and the vanished's keys.",
            "Nothing was changed; both ends must run the same charter and version.",
        )


def _owed(
    context: RoundContext, group: Group, holder: int, participants: Collection[int], survivors: Collection[int]
) -> tuple[set[str], set[str]]:
    owners = [owner for owner in group.holders[holder] if owner in participants]  # whoever holds mine, I hold theirs
    return (
        {context.roster[owner] for owner in owners if owner in survivors},
        {context.roster[owner] for owner in owners if owner not in survivors},
    )


def _of(keys: GroupKeys | GroupCommitments, name: SumName) -> str:
    found = keys.votes if name == "votes" else keys.values
    assert found is not None  # check_advertisement, and the server's check of commitments
    return found


def _key(raw: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(raw)
