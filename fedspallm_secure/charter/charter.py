"""The charter: everything the institutions agree on before a run, in one message whose digest enters every other one.

Numbers that are not whole are decimal text: a charter holds no floats.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from fedspallm_secure.charter.digests import model_digest
from fedspallm_secure.charter.pattern import Pattern, parse_pattern
from fedspallm_secure.messages import Count, Frozen, Hex32, LaneName, Name

__all__ = [
    "Base",
    "Charter",
    "CkksVotes",
    "Custodian",
    "Decimal",
    "Institution",
    "MaskedVotes",
    "Method",
    "Parameters",
    "Tensor",
    "Votes",
    "Witness",
]

Method = Literal["sparsegpt", "wanda", "magnitude"]

Decimal = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$")]
"""A non-negative number, exact: "1", "0.5"."""


class Institution(Frozen):
    """One client: its name, its Ed25519 public key, and the share of decoder layers it can prune."""

    name: Name
    public_key: Hex32
    capacity: Decimal

    @property
    def share(self) -> Fraction:
        """`capacity` as an exact number."""
        return Fraction(self.capacity)


class Witness(Frozen):
    """Who may vouch for a sum that the institutions can't check, as one of them vanished; it may be one of them."""

    name: Name
    public_key: Hex32


class Custodian(Frozen):
    """Who holds the key under which votes are encrypted; neither the server nor an institution."""

    name: Name
    public_key: Hex32


class MaskedVotes(Frozen):
    """Votes are summed under masks, as values are."""

    backend: Literal["masked"] = "masked"


class CkksVotes(Frozen):
    """Votes are encrypted under CKKS, and counted by the custodian.

    Attributes:
        custodian: who.
        contexts: SHA-256 of the public context of each round. A round has its own key, so that a ciphertext of an
            earlier one is worth nothing in a later one.
    """

    backend: Literal["ckks"] = "ckks"
    custodian: Custodian
    contexts: tuple[Hex32, ...]


Votes = Annotated[MaskedVotes | CkksVotes, Field(discriminator="backend")]
"""How votes are counted."""


class Tensor(Frozen):
    """One linear weight that is pruned: a matrix of `rows` outputs by `columns` inputs in decoder layer `layer`."""

    name: LaneName
    layer: Count
    rows: Count
    columns: Count
    dtype: Literal["float32", "float16", "bfloat16"]
    digest: Hex32


class Base(Frozen):
    """The public base model, tensor by tensor.

    Attributes:
        layers: number of decoder layers.
        pruned: the linear weights of the decoder layers, in the order in which lanes are sent.
        rest: every other tensor's name -> digest; they stay as they are.
    """

    layers: Count
    pruned: tuple[Tensor, ...]
    rest: dict[LaneName, Hex32]

    @property
    def model(self) -> str:
        """The whole model's digest, as participants state it of every later one."""
        return model_digest({tensor.name: tensor.digest for tensor in self.pruned} | self.rest)


class Parameters(Frozen):
    """Parameters of the secure sums.

    Attributes:
        minimum_cohort: fewest institutions that contribute to a lane.
        minimum_contributors: fewest votes at which a position's values are summed, at least colluders + 2.
        dropout_margin: how many contributors may vanish between votes and values before the values sum is run again.
        colluders: c, how many institutions may pool what they know, with the server.
        dropouts: d, how many members of any lane's cohort may vanish from a sum that still succeeds.
        digits_per_word: k, deltas a 64-bit word of the values sum.
        clip: where a weight's change is clipped, in root mean squares of its output row of the base weight.
    """

    minimum_cohort: Count
    minimum_contributors: Count
    dropout_margin: Count
    colluders: Count
    dropouts: Count
    digits_per_word: Count
    clip: Decimal

    @property
    def bar(self) -> int:
        """Fewest votes of a position that takes part in the values sum."""
        return self.minimum_contributors + self.dropout_margin


class Charter(Frozen):
    """The signed agreement.

    Attributes:
        version: of this form.
        run: a name for people.
        server: the coordinator's name.
        server_key: its Ed25519 public key.
        roster: the institutions; the order gives every one its index.
        method: the local pruner.
        schedule: one pattern a round, the last one is the target.
        beacon: public randomness that nobody could choose alone; layer sampling is drawn from it.
        base: the public base model.
        parameters: of the secure sums.
        votes: how they are counted.
        witness: an auditor or an institution that may vouch for a sum, or null.
    """

    version: Literal["fedspallm-secure/charter/v1"] = "fedspallm-secure/charter/v1"
    run: Name
    server: Name
    server_key: Hex32
    roster: tuple[Institution, ...]
    method: Method
    schedule: tuple[str, ...]
    beacon: Hex32
    base: Base
    parameters: Parameters
    votes: Votes = MaskedVotes()
    witness: Witness | None = None

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """`schedule`, parsed."""
        return tuple(parse_pattern(text) for text in self.schedule)

    @property
    def keys(self) -> dict[str, str]:
        """Every participant's name -> Ed25519 public key."""
        keys = {self.server: self.server_key} | {member.name: member.public_key for member in self.roster}
        others = [other for other in (self.custodian, self.witness) if other is not None]
        return keys | {other.name: other.public_key for other in others}

    @property
    def custodian(self) -> Custodian | None:
        """Who counts encrypted votes; None where votes are masked."""
        return self.votes.custodian if isinstance(self.votes, CkksVotes) else None

    @property
    def changes_weights(self) -> bool:
        """Whether the method moves the weights it keeps, so that a values sum is needed."""
        return self.method == "sparsegpt"
