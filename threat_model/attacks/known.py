"""What follows for a server from everything that it heard, and from what colluding institutions hold.

Every share that anybody handed out is used, whatever it was handed out for, and every key and seed that enough of them
give takes masks off.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.errors import ProtocolError
from fedspallm_secure.messages import Advertise, Message, SumName, Unmask
from fedspallm_secure.secagg import Lane, RoundContext
from fedspallm_secure.secagg.keys import MaskContext, pair_mask_key, self_mask_key, shared_secret
from fedspallm_secure.secagg.keystream import apply_keystream
from fedspallm_secure.secagg.shamir import combine

if TYPE_CHECKING:
    from fedspallm_secure.rounds import InstitutionRound

__all__ = ["Known"]

_Owned = tuple[int, SumName, int]  # group's index, sum, owner's roster index


class Known:
    """Keys and seeds of the first attempt at a round's sums.

    Args:
        context: of the round.
    """

    def __init__(self, context: RoundContext) -> None:
        self._context = context
        self._publics: dict[_Owned, str] = {}
        self._secrets: dict[tuple[str, _Owned], bytes] = {}  # "seed" or "key", of whom
        self._shares: dict[tuple[str, _Owned], dict[int, bytes]] = {}

    def hear(self, message: Message) -> None:
        """Keep public keys, and shares that were handed out."""
        index = self._context.indices.get(message.sender, -1)
        if isinstance(message, Advertise) and not message.attempt:
            for group, keys in zip(self._context.groups_of(index), message.groups, strict=True):
                if keys.votes is not None:
                    self._publics[group.index, "votes", index] = keys.votes
                if keys.values is not None:
                    self._publics[group.index, "values", index] = keys.values
        if isinstance(message, Unmask) and not message.attempt:
            for group, revealed in zip(self._context.groups_of(index), message.groups, strict=True):
                for what, shares in (("seed", revealed.seeds), ("key", revealed.keys)):
                    for owner, share in shares.items():
                        place = group.index, message.sum, self._context.indices[owner]
                        self._shares.setdefault((what, place), {})[index] = bytes.fromhex(share)

    def tell_all(self, index: int, institution: InstitutionRound) -> None:
        """An institution that colludes tells its own keys and seeds, and the shares that it holds of the others'."""
        exchange = institution._sums._exchange
        for (group, name), private in exchange._keys.items():
            self._secrets["key", (group, name, index)] = private.private_bytes_raw()
        for (group, name), seed in exchange._seeds.items():
            self._secrets["seed", (group, name, index)] = bytes(seed)
        for place, (seed_share, key_share) in exchange._shares.items():
            self._shares.setdefault(("seed", place), {})[index] = seed_share
            self._shares.setdefault(("key", place), {})[index] = key_share

    def without_masks(self, of: SumName, lane: Lane, index: int, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """A lane of the institution with roster index `index`, less every mask on it that is known."""
        group = self._context.group_of[lane.name]
        about = MaskContext(self._context.digest, self._context.round, of, 0, lane.index)
        left = words.copy()
        own: _Owned = group.index, of, index
        seed = self._secret("seed", own)
        if seed is not None:
            apply_keystream(left, self_mask_key(seed, about, index), subtract=True)
        for peer in group.neighbours[index]:
            secret = self._pair(own, (group.index, of, peer))
            if secret is not None:
                low, high = sorted((index, peer))
                apply_keystream(left, pair_mask_key(secret, about, low, high), subtract=index == low)
        return left

    def _pair(self, one: _Owned, other: _Owned) -> bytes | None:
        """What two institutions share, if the private key of either is known."""
        for private, public in ((one, other), (other, one)):
            raw = self._secret("key", private)
            if raw is not None and public in self._publics:
                return shared_secret(X25519PrivateKey.from_private_bytes(raw), self._publics[public], "a peer")
        return None

    def _secret(self, what: str, place: _Owned) -> bytes | None:
        """A seed or key that was told, or that enough shares give."""
        shares = self._shares.get((what, place), {})
        if (what, place) not in self._secrets and len(shares) >= self._context.groups[place[0]].threshold:
            with suppress(ProtocolError):
                self._secrets[what, place] = combine(shares)
        return self._secrets.get((what, place))
