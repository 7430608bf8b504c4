"""One client's secrets of one exchange: its keys, its seeds, the shares it deals and the shares it holds.

In every group and for every sum a client draws a key pair for the pairwise masks and a seed for its self mask, and
deals t-of-k Shamir shares of both to its holders (Bonawitz et al. 2017, sections 4 and 6; Bell et al. 2020, section 3).
Nothing here is ever written anywhere; `forget` overwrites what Python lets us overwrite.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import (
    Advertise,
    Advertised,
    GroupCommitments,
    GroupKeys,
    Revealed,
    Share,
    Shares,
    SumName,
)
from fedspallm_secure.secagg.advertisement import check_advertisement, sums_of
from fedspallm_secure.secagg.commitment import commit_to_seed
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.groups import Group
from fedspallm_secure.secagg.keys import (
    ChannelContext,
    Entropy,
    MaskContext,
    ephemeral_key,
    pair_mask_key,
    public_key,
    self_mask_key,
    shared_secret,
)
from fedspallm_secure.secagg.keystream import apply_keystream
from fedspallm_secure.secagg.lanes import Lane
from fedspallm_secure.secagg.sealing import open_sealed, seal_for
from fedspallm_secure.secagg.shamir import PRIME, SHARE_BYTES, split

__all__ = ["Exchange"]

_TODO = "Do not go on; the server and the named institution must say what they sent."


class Exchange:
    """One client's side of one exchange.

    Args:
        context: of the round.
        index: the client's roster index.
        attempt: of the exchange.
        invited: roster indices of those that may take part.
        entropy: source of all keys, seeds and shares.
    """

    def __init__(
        self, context: RoundContext, index: int, attempt: int, invited: Collection[int], entropy: Entropy
    ) -> None:
        self.attempt = attempt
        self.sums = sums_of(context, attempt)
        self.mates: frozenset[int] = frozenset()  # peers that shared, and this client: with whom it masks
        self._context = context
        self._index = index
        self._invited = frozenset(invited)
        self._entropy = entropy
        self._groups = context.groups_of(index)
        self._channel = ephemeral_key(entropy)
        self._keys = {(group.index, name): ephemeral_key(entropy) for group in self._groups for name in self.sums}
        self._seeds = {(group.index, name): bytearray(entropy(32)) for group in self._groups for name in self.sums}
        self.advertisement = self._advertise()
        self._channels: dict[int, bytes] = {}
        self._secrets: dict[tuple[int, SumName, int], bytes] = {}
        self._shares: dict[tuple[int, SumName, int], tuple[bytes, bytes]] = {}

    def take_advertised(self, message: Advertised) -> Share:
        """Agree on secrets with every peer that advertised, and deal the shares.

        Returns:
            What to send to the server.

        Raises:
            RemoteProtocolError: an advertisement that is not one of a peer for this exchange, our own changed, a key
                twice or of small order, or too few peers for the threshold.
        """
        advertisements = self._open(message)
        self._check_holders(advertisements, "advertised")
        channels, secrets = self._agree(advertisements)
        shares = self._deal(frozenset(advertisements))
        sealed = {
            self._context.roster[peer]: seal_for(
                secret, self._channel_context(self._index, peer), self._for_holder(peer, shares)
            )
            for peer, secret in channels.items()
        }
        own = {
            (group, name, self._index): dealt[self._index]
            for (group, name), dealt in shares.items()
            if self._index in dealt
        }
        self._channels, self._secrets, self._shares = channels, secrets, own
        return Share(
            charter=self._context.digest,
            round=self._context.round,
            sender=self._context.roster[self._index],
            attempt=self.attempt,
            commitments=tuple(
                GroupCommitments(votes=self._commitment(group, "votes"), values=self._commitment(group, "values"))
                for group in self._groups
            ),
            sealed=sealed,
        )

    def take_shares(self, message: Shares) -> None:
        """Open what the peers sealed for this client.

        Raises:
            RemoteProtocolError: not for this client or exchange, from nobody who advertised, not sealed for us, no
                shares, or too few peers for the threshold.
        """
        name = self._context.roster[self._index]
        if message.to != name or message.attempt != self.attempt:
            raise RemoteProtocolError(f"Shares came for {message.to!r}, attempt {message.attempt}.", _TODO)
        senders = {self._context.indices.get(sender, -1): sealed for sender, sealed in message.sealed.items()}
        if not self._channels.keys() >= senders.keys():
            raise RemoteProtocolError("Shares came from somebody who advertised no keys to us.", _TODO)
        self._check_holders(senders.keys() | {self._index}, "shared")
        held = dict(self._shares)
        for sender, sealed in senders.items():
            held |= self._open_shares(sender, sealed)
        self._shares, self.mates = held, frozenset(senders) | {self._index}

    def mask(self, lane: Lane, name: SumName, words: NDArray[Any], mates: Collection[int]) -> None:
        """Add this client's self mask and its pairwise masks with `mates` to `words`, in place.

        Args:
            lane: one of this client's.
            name: of the sum.
            words: uint64, packed digits.
            mates: roster indices of those that may take part in the sum.
        """
        group = self._context.group_of[lane.name]
        context = MaskContext(self._context.digest, self._context.round, name, self.attempt, lane.index)
        seed = bytes(self._seeds[group.index, name])
        apply_keystream(words, self_mask_key(seed, context, self._index), subtract=False)
        for peer in group.neighbours[self._index]:
            if peer in mates:
                low, high = sorted((self._index, peer))
                key = pair_mask_key(self._secrets[group.index, name, peer], context, low, high)
                apply_keystream(words, key, subtract=self._index == high)

    def reveal(self, name: SumName, participants: Collection[int], survivors: Collection[int]) -> tuple[Revealed, ...]:
        """The shares to hand out: of each survivor's seed, or of the key of a participant that vanished; never both."""
        revealed = []
        for group in self._groups:
            seeds, keys = {}, {}
            for (index, of, owner), (seed_share, key_share) in sorted(self._shares.items()):
                if (index, of) == (group.index, name) and owner in participants:
                    if owner in survivors:
                        seeds[self._context.roster[owner]] = seed_share.hex()
                    else:
                        keys[self._context.roster[owner]] = key_share.hex()
            revealed.append(Revealed(seeds=seeds, keys=keys))
        return tuple(revealed)

    def pair_secrets(self, group: Group, name: SumName, mates: Collection[int]) -> dict[int, bytes]:
        """Neighbour's roster index -> secret shared with it, for those of `mates` in one group."""
        return {peer: self._secrets[group.index, name, peer] for peer in group.neighbours[self._index] if peer in mates}

    def forget(self) -> None:
        """Overwrite seeds and drop keys and shares: best effort, as Python may hold copies until memory is reused."""
        for seed in self._seeds.values():
            seed[:] = bytes(len(seed))
        for secrets in (self._seeds, self._keys, self._secrets, self._shares, self._channels):
            secrets.clear()
        with suppress(AttributeError):  # forgotten before
            del self._channel

    def _advertise(self) -> Advertise:
        """This client's public keys."""
        return Advertise(
            charter=self._context.digest,
            round=self._context.round,
            sender=self._context.roster[self._index],
            attempt=self.attempt,
            channel=public_key(self._channel),
            groups=tuple(
                GroupKeys(votes=self._public(group, "votes"), values=self._public(group, "values"))
                for group in self._groups
            ),
        )

    def _public(self, group: Group, name: SumName) -> str | None:
        key = self._keys.get((group.index, name))
        return None if key is None else public_key(key)

    def _commitment(self, group: Group, name: SumName) -> str | None:
        seed = self._seeds.get((group.index, name))
        return None if seed is None else commit_to_seed(bytes(seed))

    def _channel_context(self, sender: int, receiver: int) -> ChannelContext:
        return ChannelContext(self._context.digest, self._context.round, self.attempt, sender, receiver)

    def _open(self, message: Advertised) -> dict[int, Advertise]:
        """Roster index -> advertisement, of this client's peers and itself."""
        if message.attempt != self.attempt:
            raise RemoteProtocolError(f"Advertisements came for attempt {message.attempt}, not {self.attempt}.", _TODO)
        opened = [self._context.open(envelope) for envelope in message.advertisements]
        allowed = (self._context.peers_of(self._index) | {self._index}) & self._invited
        indices = self._context.members([body.sender for body in opened], allowed, "senders of the advertisements")
        advertisements: dict[int, Advertise] = {}
        seen: dict[str, int] = {}
        for index, body in zip(sorted(indices), opened, strict=True):
            if not isinstance(body, Advertise) or body.attempt != self.attempt:
                raise RemoteProtocolError(f"{body.sender!r} did not advertise keys for this exchange.", _TODO)
            seen |= dict.fromkeys(check_advertisement(self._context, index, body, seen), index)
            advertisements[index] = body
        if advertisements.get(self._index) != self.advertisement:
            raise RemoteProtocolError("Our own advertisement came back changed, or not at all.", _TODO)
        return advertisements

    def _check_holders(self, came: Collection[int], what: str) -> None:
        """In each of its groups, enough of this client's holders must be there to reconstruct its secrets."""
        for group in self._groups:
            there = [holder for holder in group.holders[self._index] if holder in came]
            if len(there) < group.threshold:
                raise RemoteProtocolError(
                    f"Of the {len(group.holders[self._index])} institutions that should hold our shares for lane "
                    f"{group.lanes[0].name}, {len(there)} {what}; {group.threshold} are needed.",
                    "Nothing of ours was sent; start anew, under another charter, when more are there.",
                )

    def _agree(
        self, advertisements: Mapping[int, Advertise]
    ) -> tuple[dict[int, bytes], dict[tuple[int, SumName, int], bytes]]:
        channels, secrets = {}, {}
        for peer, advertisement in advertisements.items():
            if peer == self._index:
                continue
            channels[peer] = shared_secret(self._channel, advertisement.channel, advertisement.sender)
            for group, keys in zip(self._context.groups_of(peer), advertisement.groups, strict=True):
                if self._index in group.neighbours[peer]:
                    for name in self.sums:
                        public = keys.votes if name == "votes" else keys.values
                        assert public is not None  # check_advertisement
                        private = self._keys[group.index, name]
                        secrets[group.index, name, peer] = shared_secret(private, public, advertisement.sender)
        return channels, secrets

    def _deal(self, there: Collection[int]) -> dict[tuple[int, SumName], dict[int, tuple[bytes, bytes]]]:
        """Group and sum -> holder -> (share of the seed, share of the key)."""
        dealt = {}
        for group in self._groups:
            holders = [holder for holder in group.holders[self._index] if holder in there]
            for name in self.sums:
                seed, key = bytes(self._seeds[group.index, name]), self._keys[group.index, name].private_bytes_raw()
                seeds = split(seed, group.threshold, holders, self._entropy)
                keys = split(key, group.threshold, holders, self._entropy)
                dealt[group.index, name] = {holder: (seeds[holder], keys[holder]) for holder in holders}
        return dealt

    def _for_holder(self, peer: int, shares: Mapping[tuple[int, SumName], Mapping[int, tuple[bytes, bytes]]]) -> bytes:
        """Plaintext for one peer: by group, by sum, the seed's share and the key's."""
        return b"".join(
            b"".join(shares[group.index, name][peer])
            for group in self._groups
            if peer in group.holders[self._index]
            for name in self.sums
        )

    def _open_shares(self, sender: int, sealed: str) -> dict[tuple[int, SumName, int], tuple[bytes, bytes]]:
        who = self._context.roster[sender]
        plaintext = open_sealed(self._channels[sender], self._channel_context(sender, self._index), sealed, who)
        places = [
            (group.index, name)
            for group in self._context.groups_of(sender)
            if self._index in group.holders[sender]
            for name in self.sums
        ]
        size = SHARE_BYTES
        pieces = [plaintext[start : start + size] for start in range(0, len(plaintext), size)]
        if len(plaintext) != 2 * size * len(places) or any(int.from_bytes(piece, "big") >= PRIME for piece in pieces):
            raise RemoteProtocolError(f"{who!r} sealed something that is not the shares it owes us.", _TODO)
        return {(group, name, sender): (pieces[2 * at], pieces[2 * at + 1]) for at, (group, name) in enumerate(places)}
