"""One participant's view of the log: it may only grow, and must hold what this participant is sent.

A keeper that shows two versions of the log can't join them again: each later checkpoint must continue the one seen
before. Among participants the versions meet where they confirm survivors, whose message names the log.
"""

from __future__ import annotations

from fedspallm_secure.errors import EquivocationError, RemoteProtocolError
from fedspallm_secure.messages import Envelope, LogHead, Message, Signer, Survivors, canonical
from fedspallm_secure.tlog.chain import Chain
from fedspallm_secure.tlog.checkpoint import parse_checkpoint
from fedspallm_secure.tlog.evidence import Evidence, OwnPlace
from fedspallm_secure.tlog.merkle import check_consistency, check_inclusion, leaf_hash
from fedspallm_secure.tlog.note import cosign, open_note, signers

__all__ = ["LogView"]

_TODO = "Nothing was answered. Keep both as evidence and show them to the other participants."


class LogView:
    """What one participant has verified of the log.

    Args:
        origin: the log's name.
        key: Ed25519 public key of its keeper, 64 hexadecimal digits.

    Attributes:
        chain: what the participant says of the log.
        note: the last checkpoint that held, as it came; None before the first.
    """

    def __init__(self, origin: str, key: str) -> None:
        self.chain = Chain()
        self.note: str | None = None
        self._origin = origin
        self._key = key

    def accept(self, message: Message, envelope: Envelope, evidence: Evidence) -> None:
        """See that an envelope stands in the log, which continues what was seen.

        Args:
            message: what is in the envelope.
            envelope: as it came.
            evidence: as it came beside it.

        Raises:
            EquivocationError: the log is another one than was shown before.
            RemoteProtocolError: the evidence does not hold.
        """
        head = self._continued(evidence.checkpoint, evidence.since)
        root = bytes.fromhex(head.root)
        leaf = leaf_hash(canonical(envelope))
        check_inclusion(leaf, evidence.place.index, head.size, _bytes(evidence.place.proof), root)
        if isinstance(message, Survivors):
            self._check_named(message, evidence, head)
        self._take(head, evidence.checkpoint, evidence.own)

    def cosign(self, note: str, since: tuple[str, ...], own: OwnPlace | None, signer: Signer, time: int) -> str:
        """Sign a checkpoint that continues what was seen.

        Args:
            note: the keeper's.
            since: proof that it continues what was seen, as `HeldLog.since` gives it.
            own: where this participant's last entry stands, as `HeldLog.own` gives it.
            signer: this participant.
            time: seconds since 1970.

        Returns:
            The line for the note.

        Raises:
            EquivocationError: it does not continue what was seen.
            RemoteProtocolError: no checkpoint of this log.
        """
        self._take(self._continued(note, since), note, own)
        return cosign(note, signer, time)

    def _take(self, head: LogHead, note: str, own: OwnPlace | None) -> None:
        """Go on from a checkpoint that held, if what it is said to hold of ours is ours and there."""
        prev = self.chain.prev
        if own is not None:
            if self.chain.sent and own.leaf not in self.chain.sent:
                raise RemoteProtocolError(
                    f"The log is said to hold a message of ours with the leaf hash {own.leaf}, which we did not send.",
                    _TODO,
                )
            root, proof = bytes.fromhex(head.root), _bytes(own.proof)
            check_inclusion(bytes.fromhex(own.leaf), own.index, head.size, proof, root)
            prev = own.leaf
        self.chain.seen, self.chain.prev, self.note = head, prev, note

    def _continued(self, note: str, since: tuple[str, ...]) -> LogHead:
        text, signatures = open_note(note, {self._origin: self._key})
        checkpoint = parse_checkpoint(text)
        if not signers(signatures, cosigners=False) or checkpoint.origin != self._origin or not checkpoint.head.size:
            raise RemoteProtocolError(
                "The checkpoint is not of this log, or of nothing, or its keeper did not sign it.", _TODO
            )
        head, seen = checkpoint.head, self.chain.seen
        if seen is not None:
            try:
                old, new = bytes.fromhex(seen.root), bytes.fromhex(head.root)
                check_consistency(seen.size, old, head.size, new, _bytes(since))
            except RemoteProtocolError as error:
                raise EquivocationError(
                    f"The log of {head.size} entries with root {head.root} is not shown to continue the one of "
                    f"{seen.size} entries with root {seen.root}, which its keeper signed before.",
                    _TODO,
                    (self.note or "", note),
                ) from error
        return head

    def _check_named(self, message: Survivors, evidence: Evidence, head: LogHead) -> None:
        """What others confirm with us is the log that we see."""
        if message.log.size != evidence.place.index:
            raise RemoteProtocolError(
                f"The survivors are named after {message.log.size} entries with root {message.log.root}, which is not "
                "where they stand in the log.",
                _TODO,
            )
        old, new = bytes.fromhex(message.log.root), bytes.fromhex(head.root)
        check_consistency(message.log.size, old, head.size, new, _bytes(evidence.up_to))


def _bytes(proof: tuple[str, ...]) -> list[bytes]:
    return [bytes.fromhex(part) for part in proof]
