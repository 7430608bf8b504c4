"""What the lines of a privacy ledger say: one opening with the budget, then one line a use of the data.

Numbers are whole numbers or decimal text, never floats. A release is given by what decides its price and its meaning:
the clipping bound C in steps of the grid, the step 2^exponent, the variance of the noise in steps squared; its noise
multiplier is sqrt(variance) / C.

The calibration data is named, not hashed: who can guess a text could check the guess against a hash of it.
"""

from __future__ import annotations

from math import ldexp, sqrt
from typing import Annotated, Final, Literal

from pydantic import Field

from fedspallm_secure.charter import Decimal
from fedspallm_secure.messages import Base64, Count, Frozen, Hex32, LaneName, Name
from fedspallm_secure.privacy.clipping import Clipping

__all__ = [
    "LEDGER_TYPE",
    "Budget",
    "LedgerLine",
    "LedgerSignature",
    "Line",
    "Opening",
    "Release",
    "Spending",
    "Use",
]

LEDGER_TYPE: Final = "application/vnd.fedspallm-secure.ledger.v1+json"

_Text = Annotated[str, Field(min_length=1, max_length=256)]


class Budget(Frozen):
    """What all uses of an institution's data may cost together; `delta` is text like 0.000001."""

    epsilon: Decimal
    delta: Annotated[str, Field(pattern=r"^0\.[0-9]{1,15}$")]


class Release(Frozen):
    """One sum of clipped second moments that is released once, with noise.

    For a matrix `bound` limits the Frobenius norm of a record, and `variance` is that of the noise on the diagonal. The
    unit of all three is the moment's, or where an institution prunes for itself the whitened moment's: every input over
    its mean square on public text.
    """

    name: LaneName
    kind: Literal["diagonal", "matrix"]
    inputs: Annotated[int, Field(ge=1, le=2**20)]
    bound: Annotated[int, Field(ge=1, le=2**26)]
    exponent: Annotated[int, Field(ge=-500, le=500)]
    variance: Annotated[int, Field(ge=1, le=2**52)]

    @property
    def numbers(self) -> int:
        """How many numbers are released."""
        return self.inputs if self.kind == "diagonal" else self.inputs * (self.inputs + 1) // 2

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise (on the diagonal), in units of what is clipped."""
        return ldexp(sqrt(self.variance), self.exponent)

    @property
    def clipping(self) -> Clipping:
        """How its records are to be clipped."""
        return Clipping(self.bound, self.exponent)


class Use(Frozen):
    """What is to be done with the data: releases of one round, and what they do not cover.

    The noise is that of `institutions`, of which `colluders` may tell theirs and `dropouts` may vanish: 1, 0, 0 where
    the institution adds all of it. `not_covered` names what leaves the institution besides, without such noise.
    """

    data: _Text
    run: Hex32
    round: Count
    method: _Text
    institutions: Annotated[int, Field(ge=1, le=2**16)]
    colluders: Count
    dropouts: Count
    releases: Annotated[tuple[Release, ...], Field(min_length=1)]
    not_covered: Annotated[tuple[_Text, ...], Field(min_length=1)]


class Opening(Frozen):
    """The first line: whose ledger this is, the Ed25519 key that signs it, and the budget for good."""

    kind: Literal["opening"] = "opening"
    institution: Name
    key: Hex32
    budget: Budget


class Spending(Frozen):
    """Each other line: its number from 1 on, SHA-256 of the line before it, and what is spent.

    `epsilon` is that of all uses up to this one at the budget's delta, rounded up.
    """

    kind: Literal["spending"] = "spending"
    number: Count
    previous: Hex32
    use: Use
    epsilon: Decimal


Line = Annotated[Opening | Spending, Field(discriminator="kind")]


class LedgerSignature(Frozen):
    """One Ed25519 signature (RFC 8032) over the pre-authentication encoding, and who made it."""

    keyid: Name
    sig: Base64


class LedgerLine(Frozen):
    """A line as it stands in the file: a DSSE envelope with exactly one signature."""

    payloadType: Literal["application/vnd.fedspallm-secure.ledger.v1+json"] = LEDGER_TYPE  # noqa: N815
    payload: Base64
    signatures: tuple[LedgerSignature]
