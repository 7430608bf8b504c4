"""What makes a file of lines a ledger: the rules by which it is read, and by which a line is added.

They are asked in this order, line by line:

1. each line is the canonical form of one envelope, and the institution's signature under it holds;
2. the first line is an opening, for that institution and key; all others are spendings, numbered 1, 2, 3, ...;
3. each spending names the SHA-256 of the line before it;
4. each use is sound: names of releases are unique, and shares of the noise are large enough;
5. the epsilon of all uses so far is what the line says, and within the budget.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from decimal import ROUND_CEILING
from decimal import Decimal as Exact
from fractions import Fraction
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import TypeAdapter

from fedspallm_secure.errors import ConfigError, StorageError
from fedspallm_secure.messages import canonical, decode_base64, pre_authentication_encoding
from fedspallm_secure.privacy.accounting import (
    LARGEST_EPSILON,
    MOST_NUMBERS,
    SMALLEST_DELTA,
    Gaussian,
    epsilon_together,
)
from fedspallm_secure.privacy.entries import LEDGER_TYPE, Budget, LedgerLine, Line, Opening, Spending, Use
from fedspallm_secure.privacy.noise import share_of_noise

__all__ = ["TODO", "Account", "Book", "Head", "as_text", "check_budget"]

TODO = "What was spent can't be known: release nothing more from this data, and look for the whole ledger."

_PLACES = Exact("0.000001")

_lines: TypeAdapter[Line] = TypeAdapter(Line)


@dataclass(frozen=True)
class Head:
    """How far a ledger has come: for somebody else to remember.

    Attributes:
        lines: it has, the opening included.
        digest: SHA-256 of the last of them, 64 hexadecimal digits.
    """

    lines: int
    digest: str


@dataclass(frozen=True)
class Account:
    """What a ledger says, once everything in it holds.

    Attributes:
        opening: whose it is, and its budget.
        spendings: in order.
        head: of its last line.
    """

    opening: Opening
    spendings: tuple[Spending, ...]
    head: Head

    @property
    def epsilon(self) -> str:
        """What is spent at the budget's delta, decimal text, rounded up."""
        return self.spendings[-1].epsilon if self.spendings else "0"


class Book:
    """A ledger as far as it was read.

    Args:
        path: of the ledger, for the errors' texts.
        key: the institution's Ed25519 public key, 64 hexadecimal digits.
        seen: a head that the ledger must have come by.
    """

    def __init__(self, path: Path, key: str, seen: Head | None) -> None:
        self.opening: Opening | None = None
        self._path = path
        self._key = key
        self._seen = seen
        self._found = seen is None
        self._spendings: list[Spending] = []
        self._head = Head(0, "")
        self._releases: Counter[tuple[int, int]] = Counter()
        self._numbers = 0

    def take(self, signed: LedgerLine) -> None:
        """The next line.

        Raises:
            StorageError: it is not the next line of this ledger.
        """
        line = self._opened(signed)
        if isinstance(line, Opening):
            self._check(self._head.lines == 0, "is an opening, and not the first line")
            self._check(line.key == self._key, f"opens the ledger of the key {line.key}")
            self._take_opening(line)
        else:
            self._check(self._head.lines > 0, "is a spending, and there is no opening")
            self._check(line.number == self._head.lines, f"has the number {line.number}")
            self._check(line.previous == self._head.digest, "does not follow the line before it")
            self._take_spending(line)
        self._head = Head(self._head.lines + 1, hashlib.sha256(canonical(signed)).hexdigest())
        self._found = self._found or self._head == self._seen

    def account(self) -> Account:
        """What was taken so far; StorageError if that is nothing."""
        if self.opening is None:
            raise StorageError(f"The ledger {self._path} is empty.", TODO)
        return Account(self.opening, tuple(self._spendings), self._head)

    def check_seen(self) -> None:
        """Refuse a ledger that is not the one once seen, gone on."""
        if not self._found and self._seen is not None:
            raise StorageError(
                f"The ledger {self._path} does not have the line {self._seen.lines} that it had before.", TODO
            )

    def price(self, *uses: Use) -> float:
        """The epsilon of all uses with these, once they are sound; ConfigError if one is not."""
        assert self.opening is not None
        releases, numbers = self._releases.copy(), self._numbers
        for use in uses:
            if len({release.name for release in use.releases}) < len(use.releases):
                raise ConfigError("A use names a release twice.", "Give each release a name of its own.")
            for release in use.releases:
                share_of_noise(release.variance, use.institutions, use.colluders, use.dropouts)
            releases += _counted(use)
            numbers += _numbers(use)
        if numbers > MOST_NUMBERS:
            raise ConfigError(f"A ledger covers {MOST_NUMBERS} numbers, and this use goes beyond.", "Release fewer.")
        return epsilon_together(
            [Gaussian.of(variance, bound, times) for (variance, bound), times in releases.items()],
            float(Fraction(self.opening.budget.delta)),
        )

    def _take_opening(self, line: Opening) -> None:
        try:
            check_budget(line.budget)
        except ConfigError as error:
            raise self._broken(f"has no sound budget: {error.problem}") from error
        self.opening = line

    def _take_spending(self, line: Spending) -> None:
        assert self.opening is not None
        try:
            epsilon = self.price(line.use)
        except ConfigError as error:
            raise self._broken(f"has a use that is not sound: {error.problem}") from error
        # Machines differ in the last digit of an exponential, and so perhaps in the last digit of the text.
        off = abs(Fraction(line.epsilon) - Fraction(epsilon))
        self._check(off <= 2 * Fraction(_PLACES), f"says an epsilon of {line.epsilon}, which is {as_text(epsilon)}")
        self._check(epsilon <= Fraction(self.opening.budget.epsilon), "goes beyond the budget")
        self._spendings.append(line)
        self._releases += _counted(line.use)
        self._numbers += _numbers(line.use)

    def _opened(self, signed: LedgerLine) -> Opening | Spending:
        signature = signed.signatures[0]
        try:
            payload = decode_base64(signed.payload)
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self._key))
            public.verify(decode_base64(signature.sig), pre_authentication_encoding(LEDGER_TYPE, payload))
            line = _lines.validate_json(payload)
        except (InvalidSignature, ValueError) as error:
            raise self._broken("is not signed with the institution's key") from error
        self._check(canonical(line) == payload, "is not in canonical form")
        owner = line if isinstance(line, Opening) else self.opening
        self._check(owner is None or signature.keyid == owner.institution, "is signed in another name")
        return line

    def _check(self, holds: bool, problem: str) -> None:
        if not holds:
            raise self._broken(problem)

    def _broken(self, problem: str) -> StorageError:
        return StorageError(f"Line {self._head.lines + 1} of the ledger {self._path} {problem}.", TODO)


def check_budget(budget: Budget) -> None:
    """Refuse a budget that is no use, or that the accounting can't answer for; ConfigError."""
    epsilon, delta = Fraction(budget.epsilon), Fraction(budget.delta)
    if not (0 < epsilon <= LARGEST_EPSILON and delta >= SMALLEST_DELTA):
        raise ConfigError(
            f"A budget of epsilon {budget.epsilon} at delta {budget.delta} is out of range.",
            f"Give an epsilon above 0 and up to {LARGEST_EPSILON}, and a delta of 10^-15 at least.",
        )


def _counted(use: Use) -> Counter[tuple[int, int]]:
    return Counter((release.variance, release.bound) for release in use.releases)


def _numbers(use: Use) -> int:
    return sum(release.numbers for release in use.releases)


def as_text(epsilon: float) -> str:
    """Decimal text, rounded up."""
    return str(Exact(epsilon).quantize(_PLACES, ROUND_CEILING))
