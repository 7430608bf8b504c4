"""The ledger of the privacy that an institution has spent on its data, which survives runs and refuses to overspend.

Its first line fixes a budget for all that is ever released from any of the institution's records: it does not ask
whether two uses touch the same ones. A use is written down and on the disk before its noise is drawn, and whatever
happens afterwards, it stays spent. Later uses may be planned from earlier results, their noise and their number too:
for Gaussian noise such an adaptive sequence that keeps to a fixed budget costs no more than a planned one (Smith,
Thakurta 2022, arXiv 2210.17520). What is guaranteed in that case is the budget; the epsilon of a single line is the
price of the uses so far as if they had been planned.

A line that is changed, moved, or missing before another one is noticed. Lines gone from the end, or an older copy in
the ledger's place, are noticed only by who remembers its head: give it to somebody else.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from fedspallm_secure.errors import ConfigError, LocalProtocolError
from fedspallm_secure.messages import Signer, canonical, pre_authentication_encoding
from fedspallm_secure.privacy.allowance import Allowance
from fedspallm_secure.privacy.book import TODO, Account, Book, Head, as_text, check_budget
from fedspallm_secure.privacy.entries import (
    LEDGER_TYPE,
    Budget,
    LedgerLine,
    LedgerSignature,
    Opening,
    Spending,
    Use,
)
from fedspallm_secure.workspace import LineFile, LineForm, read_lines

__all__ = ["Ledger", "read_ledger"]

_FORM = LineForm("ledger", LedgerLine, TODO, 0o600)


class Ledger:
    """A ledger that this process holds alone, until `close` or its end.

    Args:
        path: made if it is missing, for its owner's eyes only; its folder is made too.
        signer: the institution.
        budget: written down in a new ledger; an old one must have the same.
        seen: a head that the ledger once had, if it is known.

    Raises:
        ConfigError: the ledger is another institution's, has another budget, or the budget is out of range.
        StorageError: another process holds the file, it can't be read or written, or something in it does not hold for
            this key.
    """

    def __init__(self, path: Path, signer: Signer, budget: Budget, seen: Head | None = None) -> None:
        check_budget(budget)
        self.path = path
        self._signer = signer
        self._budget = budget
        self._file = LineFile(path, _FORM)
        try:
            self._book = Book(path, signer.public, seen)
            for line in self._file:
                self._book.take(line)
            self._book.check_seen()
            if self._book.opening is None:
                self._append(Opening(institution=signer.name, key=signer.public, budget=budget))
            self._check_owner()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """This ledger."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def account(self) -> Account:
        """What stands in it now."""
        return self._book.account()

    def check(self, uses: Sequence[Use]) -> None:
        """Refuse uses that the budget does not allow all together. Nothing is written, nothing is kept free for them.

        Args:
            uses: all that is planned.

        Raises:
            ConfigError: one is not sound.
            LocalProtocolError: the budget does not allow them.
        """
        self._price(*uses)

    def spend(self, use: Use) -> Allowance:
        """Write a use down; when this returns it is on the disk, and its releases may be made.

        Args:
            use: all that is to be released in one go.

        Raises:
            ConfigError: the use is not sound.
            LocalProtocolError: the budget does not allow it. The ledger is as it was.
            StorageError: it can't be written; the ledger is as it was.
        """
        epsilon = self._price(use)
        account = self.account
        number, previous = len(account.spendings) + 1, account.head.digest
        self._append(Spending(number=number, previous=previous, use=use, epsilon=as_text(epsilon)))
        return Allowance(use)

    def _price(self, *uses: Use) -> float:
        epsilon = self._book.price(*uses)
        if epsilon > Fraction(self._budget.epsilon):
            raise LocalProtocolError(
                f"With {'this use' if len(uses) == 1 else f'these {len(uses)} uses'} the ledger would come to an "
                f"epsilon of {as_text(epsilon)} at delta {self._budget.delta}; the budget is {self._budget.epsilon}, "
                f"and {self.account.epsilon} is spent.",
                "Release fewer sums, or with more noise; a budget does not grow.",
            )
        return epsilon

    def close(self) -> None:
        """Let go of the file. Nothing can be spent afterwards."""
        self._file.close()

    def _append(self, line: Opening | Spending) -> None:
        signed = _sign(line, self._signer)
        self._file.extend([signed])
        self._book.take(signed)

    def _check_owner(self) -> None:
        opening = self.account.opening
        wanted = Opening(institution=self._signer.name, key=self._signer.public, budget=self._budget)
        if opening != wanted:
            raise ConfigError(
                f"The ledger {self.path} is that of {opening.institution!r}, with a budget of epsilon "
                f"{opening.budget.epsilon} at delta {opening.budget.delta}.",
                "Go on with that name and budget, which are fixed for good.",
            )


def read_ledger(path: Path, key: str, seen: Head | None = None) -> Account:
    """What a ledger says, without holding or changing it.

    Args:
        path: of the ledger.
        key: the institution's Ed25519 public key, 64 hexadecimal digits.
        seen: a head that the ledger once had, if it is known.

    Raises:
        StorageError: it can't be read, is empty, or something in it does not hold.
    """
    book = Book(path, key, seen)
    for _, line in read_lines(path, _FORM):
        book.take(line)
    book.check_seen()
    return book.account()


def _sign(line: Opening | Spending, signer: Signer) -> LedgerLine:
    payload = canonical(line)
    signature = signer.sign(pre_authentication_encoding(LEDGER_TYPE, payload))
    return LedgerLine(
        payload=base64.b64encode(payload).decode(),
        signatures=(LedgerSignature(keyid=signer.name, sig=base64.b64encode(signature).decode()),),
    )
