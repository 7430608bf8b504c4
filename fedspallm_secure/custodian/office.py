"""The custodian at work: it offers keys, signs one charter that names them, and counts each round of it once.

The charter comes first for a reason. A server could show it another charter, with institutions that it made up, one of
which hands in somebody's real ciphertexts as its own: that one's votes would be decrypted, as a sum with votes that the
server knows. So the keys are bound to the one charter that the custodian signed, in its journal, before any vote is
encrypted under them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, Self

from fedspallm_secure import charter as agreement
from fedspallm_secure.charter import Charter, CharterSignature, CkksVotes, check_charter, sign_charter
from fedspallm_secure.errors import CharterError
from fedspallm_secure.messages import Count, Envelope, Frozen, Hex32, Name, Signer, digest
from fedspallm_secure.rounds import RoundPlan, count_votes
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import (
    Custodian,
    Decryptor,
    KeyPair,
    PublicContext,
    SecretContext,
    bind_key,
    check_bound,
    choose_parameters,
)
from fedspallm_secure.workspace import Journal, make_folder

__all__ = ["Offer", "Office"]

_TODO = "Do not sign. Have the charter made from this custodian's offer, or make new keys for it."


class Offer(Frozen):
    """What a charter is made from.

    Attributes:
        version: of this form.
        name: the custodian's.
        public_key: its Ed25519 public key.
        institutions: of how many institutions the keys add up votes.
        contexts: SHA-256 of the public context of each round.
    """

    version: Literal["fedspallm-secure/custodian/v1"] = "fedspallm-secure/custodian/v1"
    name: Name
    public_key: Hex32
    institutions: Count
    contexts: tuple[Hex32, ...]

    @classmethod
    def of(cls, signer: Signer, institutions: int, keys: Sequence[KeyPair]) -> Self:
        """The offer of `signer`, with one of `keys` a round."""
        return cls(
            name=signer.name,
            public_key=signer.public,
            institutions=institutions,
            contexts=tuple(pair.digest for pair in keys),
        )

    @property
    def votes(self) -> CkksVotes:
        """What goes into the charter."""
        return CkksVotes(
            custodian=agreement.Custodian(name=self.name, public_key=self.public_key), contexts=self.contexts
        )


class Office:
    """A custodian with its keys.

    Args:
        signer: its name and signing key.
        institutions: how many the keys are for.
        keys: one a round.
        journal: in a file wherever the keys outlive the process.
        scratch: a folder of this process alone, made when it is needed; nothing secret comes there.

    Raises:
        ConfigError: TenSEAL is not installed.
    """

    def __init__(
        self, signer: Signer, institutions: int, keys: Sequence[KeyPair], journal: Journal, scratch: Path
    ) -> None:
        self.offer = Offer.of(signer, institutions, keys)
        self._signer = signer
        self._keys = keys
        self._journal = journal
        self._scratch = scratch

    @property
    def contexts(self) -> list[bytes]:
        """The public contexts, for everybody."""
        return [pair.public for pair in self._keys]

    def check(self, charter: Charter) -> None:
        """Refuse a charter that is not for these keys.

        Raises:
            CharterError: it breaks a rule, or does not name this custodian and these keys.
        """
        check_charter(charter)
        if charter.votes != self.offer.votes or len(charter.roster) != self.offer.institutions:
            raise CharterError(
                f"The charter of {len(charter.roster)} institutions and {charter.rounds} rounds does not name "
                f"the custodian {self.offer.name!r} with the {len(self.offer.contexts)} keys, for "
                f"{self.offer.institutions} institutions, that it has here.",
                _TODO,
            )

    def sign(self, charter: Charter) -> CharterSignature:
        """Sign the charter that these keys are for. Another one is never signed with the same keys.

        Raises:
            CharterError: it breaks a rule, or does not name this custodian and these keys.
            LocalProtocolError: the keys are for another charter.
            StorageError: the journal can't be written.
        """
        self.check(charter)
        own = digest(charter)
        for number, context in enumerate(self.offer.contexts):
            bind_key(self._journal, context, own, number)
        return sign_charter(charter, [self._signer]).signatures[0]

    def count(
        self,
        plan: RoundPlan,
        log: Iterable[Envelope],
        blobs: BlobStore,
        progress: Callable[[int, int], None] = lambda done, lanes: None,
    ) -> Envelope:
        """Count the votes of a round.

        Args:
            plan: of the round.
            log: of the run, as far as it goes.
            blobs: where ciphertexts are, and counts go.
            progress: called with (lanes counted, lanes in all).

        Returns:
            What to send to the server.

        Raises:
            CharterError: the charter breaks a rule, or does not name this custodian and these keys.
            RemoteProtocolError: the log does not show that the votes may be counted, or they are no votes.
            LocalProtocolError: this charter was not signed here, or a lane was counted for others before.
            StorageError: a payload is missing or damaged, or can't be written.
        """
        self.check(plan.charter)
        pair = self._keys[plan.context.round]
        check_bound(self._journal, pair.digest, plan.context.digest, plan.context.round)
        public = PublicContext(choose_parameters(self.offer.institutions), pair.public, pair.digest)
        secret = SecretContext(pair.secret, public)
        make_folder(self._scratch)
        custodian = Custodian(secret, Decryptor(secret, self._scratch), self._journal)
        return count_votes(plan, self._signer, custodian, log, blobs, progress)
