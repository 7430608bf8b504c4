"""The one who can decrypt, and how little it decrypts: the sum of a lane's signed contributions, once, as counts.

It takes contributions and adds them up itself; no sum is ever handed to it, so none can be made up. Signatures, and
that each stream is what its digest says, are checked before. Then, in this order, so that a request that can't be
granted costs nothing:

1. who: institutions of the lane's cohort, nobody twice, at least the minimum;
2. what: all under this key, no two with the same bytes; a copy would count its owner's votes twice. A copy with fresh
   randomness can't be told from another's votes, so digests must be signed and logged before anybody's ciphertexts are
   shown: docs/adr/0006;
3. every ciphertext of everybody, before any arithmetic;
4. the journal: this key serves one round of one charter, and this lane is decrypted for these contributions and never
   for others. The difference of two sums would be somebody's votes. Written before the key is used, as a refusal in
   the next step tells something too;
5. add, decrypt, round, and check: no number further than the margin from a whole one, no count above the contributors.

Counts leave, and nothing else: who saw the approximate values could compute the key (Li, Micciancio 2021, ePrint
2020/1533).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rfc8785
from numpy.typing import NDArray

from fedspallm_secure.errors import CharterError, LocalProtocolError, RemoteProtocolError
from fedspallm_secure.votes.ciphertexts import add_ciphertexts, check_ciphertexts, sum_digest
from fedspallm_secure.votes.context import SecretContext
from fedspallm_secure.votes.encryption import Decryptor
from fedspallm_secure.votes.packing import unpack_counts
from fedspallm_secure.workspace import Journal

__all__ = ["Contribution", "Custodian", "LaneCounts", "VotesLane", "bind_key", "check_bound"]

_TODO = "Nothing was decrypted."


@dataclass(frozen=True)
class VotesLane:
    """One tensor's votes in one round.

    Attributes:
        charter: its digest.
        round: number.
        name: of the tensor.
        length: votes.
        cohort: the institutions that may contribute.
        minimum: fewest that must have contributed; at least 2, since a sum of one is that one's votes.
    """

    charter: str
    round: int
    name: str
    length: int
    cohort: frozenset[str]
    minimum: int

    def __post_init__(self) -> None:
        if self.minimum < 2:
            raise CharterError(
                f"Lane {self.name} could be decrypted with {self.minimum} contributors; at least 2 are needed.",
                "Raise minimum_cohort in the charter.",
            )


@dataclass(frozen=True)
class Contribution:
    """What one institution sent for a lane, its signature checked.

    Attributes:
        client: who.
        context: digest of the public context it encrypted with, as it signed.
        digest: SHA-256 of its words, as it signed.
        read: a new pass over its words, a ciphertext at a time. A pass must end with an error of its own when the words
            do not have the digest.
    """

    client: str
    context: str
    digest: str
    read: Callable[[], Iterator[NDArray[np.uint64]]]


@dataclass(frozen=True)
class LaneCounts:
    """What leaves the custodian.

    Attributes:
        counts: how many kept each weight: the smallest unsigned dtype that holds n, shape (L,).
        contributors: whose votes they are, sorted.
        sum_digest: of the homomorphic sum, for those who add it up without the key.
    """

    counts: NDArray[Any]
    contributors: tuple[str, ...]
    sum_digest: str


class Custodian:
    """Holds the key.

    Args:
        secret: context of the charter.
        decryptor: with the same.
        journal: a file, wherever the key outlives the process.
    """

    def __init__(self, secret: SecretContext, decryptor: Decryptor, journal: Journal) -> None:
        self._public = secret.public
        self._decryptor = decryptor
        self._journal = journal

    def counts(self, lane: VotesLane, contributions: Sequence[Contribution]) -> LaneCounts:
        """Add up, decrypt and round a lane. Asked again for the same, it gives the same again.

        Args:
            lane: of the charter.
            contributions: of those who arrived in time.

        Raises:
            RemoteProtocolError: contributors, contexts, digests or ciphertexts are not as they must be, or the sum is
                no sum of votes.
            LocalProtocolError: the lane was decrypted for others before, or the key serves another charter.
            StorageError: the journal or the scratch folder can't be written.
        """
        given = sorted(contributions, key=lambda contribution: contribution.client)
        self._check_who(lane, given)
        self._check_what(lane, given)
        for contribution in given:
            for _ in self._stream(lane, contribution):
                pass
        bind_key(self._journal, self._public.digest, lane.charter, lane.round)
        what = f"votes of {lane.charter} round {lane.round} lane {lane.name}"
        self._journal.once(what, f"decrypted for {_set_digest(given)}")
        counts = np.empty(lane.length, np.min_scalar_type(self._public.parameters.clients))
        sums = add_ciphertexts(self._public.parameters, lane.length, [self._stream(lane, one) for one in given])
        try:
            digest = sum_digest(self._decrypted(sums, len(given), counts))
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"Lane {lane.name}: {error.problem}", error.todo) from error
        return LaneCounts(counts, tuple(contribution.client for contribution in given), digest)

    def _decrypted(
        self, sums: Iterable[NDArray[np.uint64]], contributors: int, counts: NDArray[Any]
    ) -> Iterator[NDArray[np.uint64]]:
        """Fill `counts` from sums, and give the sums on."""
        parameters, start = self._public.parameters, 0
        for total in sums:
            part = counts[start : start + parameters.votes]
            unpack_counts(parameters, self._decryptor.decrypt(total), contributors, part)
            start += parameters.votes
            yield total

    def _stream(self, lane: VotesLane, contribution: Contribution) -> Iterator[NDArray[np.uint64]]:
        return check_ciphertexts(self._public.parameters, lane.length, contribution.client, contribution.read())

    def _check_who(self, lane: VotesLane, given: Sequence[Contribution]) -> None:
        names = [contribution.client for contribution in given]
        strangers = sorted(set(names) - lane.cohort)
        if strangers:
            raise _refused(lane, f"{', '.join(strangers)} are not of its cohort")
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise _refused(lane, f"{', '.join(twice)} contributed twice")
        if len(names) < lane.minimum:
            raise _refused(lane, f"{len(names)} contributed; at least {lane.minimum} must")
        if len(names) > self._public.parameters.clients:
            raise _refused(lane, f"{len(names)} contributed; the key is for {self._public.parameters.clients}")

    def _check_what(self, lane: VotesLane, given: Sequence[Contribution]) -> None:
        owners = dict[str, str]()
        for contribution in given:
            if contribution.context != self._public.digest:
                raise _refused(
                    lane,
                    f"{contribution.client!r} encrypted under context {contribution.context}; "
                    f"the charter's is {self._public.digest}",
                )
            owner = owners.setdefault(contribution.digest, contribution.client)
            if owner != contribution.client:
                raise _refused(lane, f"{contribution.client!r} sent the same bytes as {owner!r}")


def bind_key(journal: Journal, context: str, charter: str, round_index: int) -> None:
    """Decide what a key is for: one round of one charter.

    A server that showed a charter with institutions of its own, one of which sends somebody's ciphertexts as its own,
    would have that one's votes decrypted. So this is decided when the charter is signed.

    Args:
        journal: the custodian's.
        context: digest of the key's public context.
        charter: digest of the charter.
        round_index: from 0.

    Raises:
        LocalProtocolError: the key is for something else.
        StorageError: the journal can't be written.
    """
    journal.once(f"CKKS key {context}", _purpose(charter, round_index))


def check_bound(journal: Journal, context: str, charter: str, round_index: int) -> None:
    """Refuse to use a key for what it was not bound to.

    Raises:
        LocalProtocolError: as said.
    """
    bound = journal.decided(f"CKKS key {context}")
    if bound != _purpose(charter, round_index):
        raise LocalProtocolError(
            f"The CKKS key {context} is {bound or 'for no charter yet'}, not {_purpose(charter, round_index)}.",
            "Nothing was decrypted. Sign the charter before anything is encrypted under it.",
        )


def _purpose(charter: str, round_index: int) -> str:
    return f"for charter {charter} round {round_index}"


def _set_digest(given: Sequence[Contribution]) -> str:
    """SHA-256 of the canonical JSON of who -> digest."""
    return hashlib.sha256(rfc8785.dumps({one.client: one.digest for one in given})).hexdigest()


def _refused(lane: VotesLane, what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"Lane {lane.name} of round {lane.round} is not decrypted: {what}.", _TODO)
