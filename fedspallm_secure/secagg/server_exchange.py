"""What the server knows of one exchange of keys and shares: whose came, and what it passes on to whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fedspallm_secure.errors import RemoteProtocolError
from fedspallm_secure.messages import Advertise, Advertised, Envelope, Share, Shares
from fedspallm_secure.secagg.advertisement import check_advertisement, check_commitments
from fedspallm_secure.secagg.context import RoundContext
from fedspallm_secure.secagg.keys import check_point

__all__ = ["ServerExchange"]


@dataclass(frozen=True)
class ServerExchange:
    """Never changed: every step gives a new one.

    Attributes:
        context: of the round.
        attempt: of the exchange.
        advertised: roster index -> advertisement.
        envelopes: roster index -> that, as it was signed.
        shared: roster index -> shares.
    """

    context: RoundContext
    attempt: int
    advertised: Mapping[int, Advertise] = field(default_factory=dict)
    envelopes: Mapping[int, Envelope] = field(default_factory=dict)
    shared: Mapping[int, Share] = field(default_factory=dict)

    def check_advertise(self, sender: int, message: Advertise, known: Mapping[str, int]) -> dict[str, int]:
        """Refuse keys that are not for this exchange, of small order, or that somebody advertised before.

        Args:
            sender: roster index.
            message: its advertisement.
            known: key -> roster index of who advertised it in this round.

        Returns:
            `known` with the new keys.

        Raises:
            RemoteProtocolError: as said.
        """
        if message.attempt != self.attempt:
            raise RemoteProtocolError(
                f"{message.sender!r} advertised for attempt {message.attempt}, not {self.attempt}.",
                "The message was ignored.",
            )
        keys = check_advertisement(self.context, sender, message, known)
        for key in keys:
            check_point(key, message.sender)
        return {**known, **dict.fromkeys(keys, sender)}

    def check_share(self, sender: int, message: Share) -> None:
        """Refuse shares that are not of this exchange, leave a peer out, or lack a commitment.

        Raises:
            RemoteProtocolError: as said.
        """
        peers = self.context.names(self.context.peers_of(sender).intersection(self.advertised))
        if message.attempt != self.attempt or message.sealed.keys() != set(peers):
            raise RemoteProtocolError(
                f"{message.sender!r} did not seal shares of this exchange for each peer that advertised.",
                "The message was ignored.",
            )
        check_commitments(self.context, sender, message)

    def with_advertised(self, came: Mapping[int, Advertise], envelopes: Mapping[int, Envelope]) -> ServerExchange:
        """These advertised, and nobody else will."""
        return replace(self, advertised=came, envelopes=envelopes)

    def with_shared(self, came: Mapping[int, Share]) -> ServerExchange:
        """These shared, and nobody else will."""
        return replace(self, shared=came)

    def advertised_to(self, header: Mapping[str, Any]) -> Iterator[tuple[int, Advertised]]:
        """Who advertised -> the advertisements of its peers and its own; one message for all that get the same."""
        made = dict[tuple[int, ...], Advertised]()
        for index in self.envelopes:
            wanted = self.context.peers_of(index) | {index}
            due = tuple(peer for peer in self.envelopes if peer in wanted)
            if due not in made:
                advertisements = tuple(self.envelopes[peer] for peer in due)
                made[due] = Advertised(**header, attempt=self.attempt, advertisements=advertisements)
            yield index, made[due]

    def shares_to(self, header: Mapping[str, Any]) -> Iterator[tuple[int, Shares]]:
        """Who shared -> what was sealed for it."""
        inboxes: dict[str, dict[str, str]] = {self.context.roster[index]: {} for index in self.shared}
        for message in self.shared.values():
            for receiver, sealed in message.sealed.items():
                if receiver in inboxes:
                    inboxes[receiver][message.sender] = sealed
        for name, inbox in inboxes.items():
            yield self.context.indices[name], Shares(**header, attempt=self.attempt, to=name, sealed=inbox)
