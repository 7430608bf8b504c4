"""A server that keeps everything that is sent, and takes off every mask that it can derive from it.

Keys are derived here from the specification's bytes, not by the code that masks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Advertise, Envelope, Masked, Message, Share, SumName, Unmask, digest
from fedspallm_secure.secagg import Delivery, Group, RoundContext
from fedspallm_secure.secagg.keys import ChannelContext
from fedspallm_secure.secagg.sealing import open_sealed
from fedspallm_secure.secagg.shamir import SHARE_BYTES, combine
from tests.secagg.small_round import Digits, SmallRound, entropy

__all__ = ["Knowledge", "Overheard", "Sent", "masks_on"]

Sent = tuple[SumName, int, int, int]
"""Sum, attempt, lane's index, client: one lane of one client."""

_Owned = tuple[int, SumName, int, int]  # group's index, sum, attempt, owner
_SUMS: tuple[SumName, ...] = ("votes", "values")
_Words = NDArray[np.uint64]


class Overheard(SmallRound):
    """A round of which everything that a client sends is kept, with the truth to compare it with.

    Args:
        context: of the round.
        seed: of everybody's entropy; what is derived here belongs to the seed "seed".

    Attributes:
        messages: what clients sent.
        seen: lanes, as they were sent.
        packed: the same without any mask.
    """

    def __init__(self, context: RoundContext, seed: str = "seed") -> None:
        super().__init__(context, seed)
        self.messages: list[Message] = []
        self.seen: dict[Sent, _Words] = {}
        self.packed: dict[Sent, _Words] = {}

    def gather(self, answers: Mapping[int, Envelope | None]) -> list[Delivery]:
        self.messages += [self.context.open(envelope) for envelope in answers.values() if envelope is not None]
        return super().gather(answers)

    def masked(self, index: int, digits: Digits) -> Envelope:
        envelope = super().masked(index, digits)
        message = self.context.open(envelope)
        assert isinstance(message, Masked)
        for lane, blob in zip(self.clients[index].lanes, message.lanes, strict=True):
            sent = message.sum, message.attempt, lane.index, index
            self.seen[sent] = self.words[blob.blob]
            self.packed[sent] = lane.packing(message.sum).pack(digits(index, lane))
        return envelope

    def late(self, index: int, digits: Digits) -> None:
        """A client's lanes come when the sum went on without it."""
        with pytest.raises(RemoteProtocolError, match="is not due in state"):
            self.server.receive(self.masked(index, digits))


class Knowledge:
    """What follows from everything that was sent, and from what colluding clients know.

    Args:
        played: the round.
        colluders: clients that tell all their secrets of the first exchange, and the shares they hold.

    Attributes:
        publics: keys that were advertised.
        keys: private keys that are known.
        seeds: seeds of self masks that are known.
    """

    def __init__(self, played: Overheard, colluders: Collection[int] = ()) -> None:
        self._context = played.context
        self.publics: dict[_Owned, bytes] = {}
        self.keys: dict[_Owned, bytes] = {}
        self.seeds: dict[_Owned, bytes] = {}
        self._shares: dict[tuple[str, _Owned], dict[int, bytes]] = {}
        for message in played.messages:
            if isinstance(message, Advertise):
                self._hear_keys(message)
            if isinstance(message, Unmask):
                self._hear_shares(message)
        for colluder in colluders:
            self._hear_colluder(colluder, played.messages)
        for (what, place), shares in self._shares.items():
            if len(shares) >= played.context.groups[place[0]].threshold:
                (self.seeds if what == "seed" else self.keys)[place] = combine(shares)

    def without_known_masks(self, sent: Sent, words: _Words) -> _Words:
        """A client's lane, less every mask on it that is known."""
        context, (name, attempt, lane, index) = self._context, sent
        group = context.group_of[context.lanes[lane].name]
        left = words.copy()
        own = group.index, name, attempt, index
        if own in self.seeds:
            left -= _self_mask(context, self.seeds[own], sent, words.size)
        for peer in group.neighbours[index]:
            other = group.index, name, attempt, peer
            for private, public in ((own, other), (other, own)):
                if private in self.keys:
                    left -= _pair_mask(context, self.keys[private], self.publics[public], sent, peer, words.size)
                    break
        return left

    def _places(self, index: int, name: SumName, attempt: int) -> list[tuple[Group, _Owned]]:
        return [(group, (group.index, name, attempt, index)) for group in self._context.groups_of(index)]

    def _hear_keys(self, message: Advertise) -> None:
        index = self._context.indices[message.sender]
        for name in _SUMS:
            for (_, place), keys in zip(self._places(index, name, message.attempt), message.groups, strict=True):
                public = keys.votes if name == "votes" else keys.values
                if public is not None:
                    self.publics[place] = bytes.fromhex(public)

    def _hear_shares(self, message: Unmask) -> None:
        holder = self._context.indices[message.sender]
        for group, revealed in zip(self._context.groups_of(holder), message.groups, strict=True):
            for what, shares in (("seed", revealed.seeds), ("key", revealed.keys)):
                for name, share in shares.items():
                    place = group.index, message.sum, message.attempt, self._context.indices[name]
                    self._shares.setdefault((what, place), {})[holder] = bytes.fromhex(share)

    def _hear_colluder(self, colluder: int, messages: Collection[Message]) -> None:
        """Its keys and seeds, and the shares that the others sealed for it."""
        context, drawn = self._context, _Drawn(self._context, colluder)
        self.keys |= drawn.keys
        self.seeds |= drawn.seeds
        channels = {body.sender: body.channel for body in messages if isinstance(body, Advertise) and not body.attempt}
        for message in messages:
            if isinstance(message, Share) and not message.attempt and context.roster[colluder] in message.sealed:
                sender = context.indices[message.sender]
                secret = drawn.channel.exchange(
                    X25519PublicKey.from_public_bytes(bytes.fromhex(channels[message.sender]))
                )
                about = ChannelContext(context.digest, context.round, 0, sender, colluder)
                plain = open_sealed(secret, about, message.sealed[context.roster[colluder]], message.sender)
                places = [
                    (what, (group.index, name, 0, sender))
                    for group in context.groups_of(sender)
                    if colluder in group.holders[sender]
                    for name in _SUMS
                    for what in ("seed", "key")
                ]
                for at, place in enumerate(places):
                    share = plain[at * SHARE_BYTES : (at + 1) * SHARE_BYTES]
                    self._shares.setdefault(place, {})[colluder] = share


def masks_on(context: RoundContext, sent: Sent, size: int) -> list[_Words]:
    """The masks that belong on a lane of the first exchange: the self mask, then one for each peer."""
    name, _, lane, index = sent
    group = context.group_of[context.lanes[lane].name]
    drawn = _Drawn(context, index)
    masks = [_self_mask(context, drawn.seeds[group.index, name, 0, index], sent, size)]
    for peer in group.neighbours[index]:
        theirs = X25519PrivateKey.from_private_bytes(_Drawn(context, peer).keys[group.index, name, 0, peer])
        own, public = drawn.keys[group.index, name, 0, index], theirs.public_key().public_bytes_raw()
        masks.append(_pair_mask(context, own, public, sent, peer, size))
    return masks


class _Drawn:
    """All secrets of one client's first exchange, drawn again from its entropy."""

    def __init__(self, context: RoundContext, index: int) -> None:
        source = entropy(f"seed {context.roster[index]}")
        places = [(group.index, name, 0, index) for group in context.groups_of(index) for name in _SUMS]
        self.channel = X25519PrivateKey.from_private_bytes(source(32))
        self.keys: dict[_Owned, bytes] = {place: source(32) for place in places}
        self.seeds: dict[_Owned, bytes] = {place: source(32) for place in places}


def _info(context: RoundContext, label: bytes, sent: Sent, *ends: int) -> bytes:
    """A mask key's info, byte by byte."""
    name, attempt, lane, _ = sent
    numbers = [context.round.to_bytes(4, "big"), b"\x01" if name == "votes" else b"\x02"]
    numbers += [number.to_bytes(4, "big") for number in (attempt, lane, *ends)]
    return b"fedspallm-secure/v1/" + label + bytes.fromhex(digest(context.charter)) + b"".join(numbers)


def _stream(secret: bytes, info: bytes, size: int) -> _Words:
    key = HKDF(SHA256(), length=32, salt=None, info=info).derive(secret)
    return np.frombuffer(Cipher(AES(key), CTR(bytes(16))).encryptor().update(bytes(8 * size)), "<u8")


def _self_mask(context: RoundContext, seed: bytes, sent: Sent, size: int) -> _Words:
    """What the sender added alone."""
    return _stream(seed, _info(context, b"self-mask", sent, sent[3]), size)


def _pair_mask(context: RoundContext, private: bytes, public: bytes, sent: Sent, peer: int, size: int) -> _Words:
    """What the sender added because of `peer`."""
    low, high = sorted((sent[3], peer))
    secret = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    stream = _stream(secret, _info(context, b"pairwise-mask", sent, low, high), size)
    return stream if sent[3] == low else np.uint64(0) - stream
