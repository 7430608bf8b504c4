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
    "Aggregate",
    "AveragedWeights",
    "Base",
    "Charter",
    "CkksVotes",
    "Custodian",
    "Decimal",
    "Institution",
    "MaskedVotes",
    "Method",
    "Parameters",
    "PooledInput",
    "PooledNoise",
    "PooledStatistics",
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


class AveragedWeights(Frozen):
    """Institutions prune on their own; masks are voted on, and weights averaged (FedSpaLLM)."""

    kind: Literal["weights"] = "weights"


class PooledNoise(Frozen):
    """Noise on an input's sums, which all institutions add together (docs/privacy.md).

    Attributes:
        bound: the largest length of what one calibration window adds, in steps of the sums' grid.
        variance: of the noise on each sum, in steps squared; of a matrix, on its diagonal, and half of it elsewhere.
        scale: what each number of the input is divided by before its moment is taken, in 2^-16; so that noise which is
            the same for all drowns none.
    """

    bound: Annotated[int, Field(ge=1, le=2**26)]
    variance: Annotated[int, Field(ge=1, le=2**52)]
    scale: tuple[Annotated[int, Field(ge=1, le=2**16)], ...]


class PooledInput(Frozen):
    """One input of a decoder layer, with the linear weights that see it.

    Attributes:
        tensors: their names, in the order of `Base.pruned`; the first one's is the lane's.
        exponent: how many binary places of the diagonal of its second moment are summed; may be negative.
        matrix: whether the rest of the second moment is summed too.
        noise: on the sums, or null; with noise, the rest of the second moment has as many binary places, and both are
            of scaled inputs.
    """

    tensors: tuple[LaneName, ...]
    exponent: Annotated[int, Field(ge=-64, le=64)]
    matrix: bool
    noise: PooledNoise | None = None


class PooledStatistics(Frozen):
    """The second moments of the inputs are summed, and everybody prunes the same way from the sums. Our own addition.

    Attributes:
        exchange: "once", all layers in one round, from inputs as the round's first model gives them; or "each layer",
            a round a decoder layer, from inputs that went through the layers pruned before.
        inputs: of all decoder layers, in the order of their first tensors.
        damping: SparseGPT's, as a share of the mean of the moment's diagonal.
        block: SparseGPT's block, in columns.
    """

    kind: Literal["statistics"] = "statistics"
    exchange: Literal["once", "each layer"]
    inputs: tuple[PooledInput, ...]
    damping: Decimal
    block: Count


Aggregate = Annotated[AveragedWeights | PooledStatistics, Field(discriminator="kind")]
"""What is summed, and so how everybody comes to the same model."""


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
        aggregate: what is summed.
        schedule: one pattern after the other, the last one is the target.
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
    aggregate: Aggregate = AveragedWeights()
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
    def pooled(self) -> PooledStatistics | None:
        """What is said of pooled statistics; None where weights are averaged."""
        return self.aggregate if isinstance(self.aggregate, PooledStatistics) else None

    @property
    def rounds(self) -> int:
        """How many there are: one a pattern of the schedule, or one a pattern and decoder layer."""
        return len(self.schedule) * self._rounds_a_pattern

    def position_of(self, round_index: int) -> int:
        """Where the round's pattern stands in the schedule."""
        return round_index // self._rounds_a_pattern

    def pattern_of(self, round_index: int) -> Pattern:
        """What a round's mask satisfies."""
        return self.patterns[self.position_of(round_index)]

    def layers_of(self, round_index: int) -> range:
        """The decoder layers that a round prunes."""
        if self._rounds_a_pattern == 1:
            return range(self.base.layers)
        layer = round_index % self._rounds_a_pattern
        return range(layer, layer + 1)

    @property
    def changes_weights(self) -> bool:
        """Whether the method moves the weights it keeps, so that a values sum is needed."""
        return self.method == "sparsegpt"

    @property
    def _rounds_a_pattern(self) -> int:
        return self.base.layers if self.pooled is not None and self.pooled.exchange == "each layer" else 1
