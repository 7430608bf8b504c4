"""The tables of a configuration file, one class each; docs/configuration.md has every key.

Numbers that enter the charter (patterns, capacities, the clipping bound) are text here too: they are exact there.
"""

from __future__ import annotations

from decimal import Decimal as ExactDecimal
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fedspallm_secure.charter import Decimal, Method
from fedspallm_secure.messages import Name
from fedspallm_secure.privacy import Budget

__all__ = [
    "CKKS",
    "FINE_ENOUGH",
    "FINE_ENOUGH_POOLED",
    "HERE",
    "LARGEST_BOUND",
    "NOBODY",
    "OFF",
    "PYTHON",
    "ROOM_FOR_NOISE",
    "STATISTICS",
    "EvaluationConfig",
    "InstitutionConfig",
    "PrivacyConfig",
    "ProtocolConfig",
    "PruningConfig",
    "Section",
    "Texts",
]


def _text(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return format(ExactDecimal(repr(value)), "f") if isfinite(value) else str(value)


def _texts(value: object) -> object:
    return [_text(one) for one in value] if isinstance(value, list) else [_text(value)]


Number = Annotated[Decimal, BeforeValidator(_text)]
"""Decimal text; or a number, which becomes the shortest text that stands for it."""

Texts = Annotated[list[str], BeforeValidator(_texts), Field(min_length=1)]
"""One text or number, or a list of them."""


class Section(BaseModel):
    """A table of the file: no other keys, and values of their types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PruningConfig(Section):
    """What every institution does with its own text.

    Attributes:
        method: "sparsegpt", "wanda" or "magnitude".
        pattern: sparsity ("0.5") or N:M ("2:4"); a list of them is a schedule, one round each, the last is the target.
        windows: calibration windows an institution.
        window: tokens a window; evaluation uses the same length.
        damping: SparseGPT's damping, as a share of the mean of the Hessian's diagonal.
        block: SparseGPT's block, in columns.
        batch: windows that run through a layer together.
        device: "auto" (cuda when there), or a torch device.
        dtype: of the model: "auto" takes the checkpoint's.
    """

    method: Method = "sparsegpt"
    pattern: Texts = ["0.5"]
    windows: int = Field(16, ge=1)
    window: int = Field(512, ge=2)
    damping: float = Field(0.01, gt=0)
    block: int = Field(128, ge=1)
    batch: int = Field(1, ge=1)
    device: str = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"

    @property
    def solver(self) -> dict[str, Any]:
        """What `pruning.PruneSettings` is made of."""
        return self.model_dump(include={"damping", "block", "device", "batch"})


FINE_ENOUGH = 25
"""Q, steps between no change and the clipping bound, below which quantisation may show; docs/choices.md."""

FINE_ENOUGH_POOLED = 4096
"""Q, steps between no correlation of two inputs and the largest one, below which quantisation may show."""

LARGEST_BOUND = 2**15
"""Steps that bounds from public text have at most."""

ROOM_FOR_NOISE = 2**12
"""Bounds that a digit of a pooled sum can hold besides one a window."""

STATISTICS = "statistics"
"""What is summed where everybody prunes from pooled second moments."""

NOBODY = "nobody"
"""The witness's name where there is none."""


CKKS = "ckks"
"""How votes are counted under encryption."""

HERE = "here"
"""The custodian is in the run's own process, with new keys."""


class ProtocolConfig(Section):
    """Parameters of the secure sums; see `charter.Parameters`.

    `aggregate` says what is summed: "weights" (FedSpaLLM), or "statistics", from which everybody prunes the same way.
    `exchange` says how often statistics are: "once", for the dense model's inputs, or in "each layer", for inputs that
    went through the layers pruned before; "auto" is replaced by the first for Wanda and the second for SparseGPT.
    `digits_per_word = "auto"` is replaced by the most digits that leave `FINE_ENOUGH` steps, `dropouts = "auto"` by the
    most drop-outs that still leave a quorum of the smallest cohort, though no more than one in twenty of a large one.
    `votes` is "masked", or "ckks" to have them encrypted and counted by a custodian. `custodian` is the file of its
    offer (`fedspallm custodian keygen`), or `HERE`. `witness` is the name of an
    auditor, who gets a key of its own, of an institution, or `NOBODY`.
    """

    aggregate: Literal["weights", "statistics"] = "weights"
    exchange: Literal["auto", "once", "each layer"] = "auto"
    minimum_cohort: int = Field(3, ge=1)
    minimum_contributors: int = Field(3, ge=1)
    dropout_margin: int = Field(0, ge=0)
    colluders: int = Field(1, ge=0)
    dropouts: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    digits_per_word: Literal["auto"] | Annotated[int, Field(ge=1, le=32)] = "auto"
    clip: Number = "1"
    votes: Literal["masked", "ckks"] = "masked"
    custodian: str = HERE
    witness: Name = NOBODY


OFF = "inf"
"""The epsilon of a run without noise."""

PYTHON = "python"
"""The public text that every Python brings: the language reference that `help()` reads."""


class PrivacyConfig(Section):
    """Differential privacy of one calibration window against everybody else; docs/privacy.md says what it covers.

    Attributes:
        epsilon: what this run may cost, decimal text; `OFF` for no noise.
        delta: decimal text like "0.000001".
        unit: what is protected. Each window is then the beginning of a document of its own.
        clip: share of the public text's windows that would not be clipped, above 0 and at most 1.
        public: the text that bounds come from: `PYTHON`, or files and names as for calibration; nobody's private text.
        public_windows: windows of it. What noise hides of SparseGPT's moments is taken from theirs, which take several
            times as many tokens as an input has numbers.
        ledger: folder of the institutions' ledgers and their keys, made if it is missing; `HERE` for one in the output.
        budget: what all runs with these ledgers may cost together, decimal text, fixed when they are made; "epsilon"
            for what this run may.
    """

    epsilon: Annotated[Literal["inf"] | Decimal, BeforeValidator(_text)] = OFF
    delta: Annotated[str, BeforeValidator(_text), Field(pattern=r"^0\.[0-9]{1,15}$")] = "0.000001"
    unit: Literal["window"] = "window"
    clip: Number = "0.5"
    public: Texts = [PYTHON]
    public_windows: int = Field(32, ge=1)
    ledger: str = HERE
    budget: Annotated[Literal["epsilon"] | Decimal, BeforeValidator(_text)] = "epsilon"

    @property
    def on(self) -> bool:
        """Whether there is noise."""
        return self.epsilon != OFF

    @property
    def whole(self) -> Budget:
        """What the ledgers are opened with; only where there is noise."""
        return Budget(epsilon=self.epsilon if self.budget == "epsilon" else self.budget, delta=self.delta)


class EvaluationConfig(Section):
    """What is measured afterwards.

    Attributes:
        windows: held-out windows a kind of text.
        alone: whether every institution's own pruned model is evaluated.
        central: whether a model pruned on the pooled text is made and evaluated.
    """

    windows: int = Field(8, ge=1)
    alone: bool = True
    central: bool = True


class InstitutionConfig(Section):
    """One institution.

    Attributes:
        name: letters, digits, dot, underscore, dash.
        kind: what reports call its held-out text; the name when left out.
        calibration: files (txt, jsonl, json, parquet), `datasets` directories or hub names.
        heldout: the same, for evaluation; when left out, windows that calibration did not take.
        field: name of the text field in jsonl, json, parquet and datasets.
        split: split of a datasets directory or hub dataset.
        capacity: share of the decoder layers that it can prune, above 0 and at most 1.
        policy: TOML file of what it insists on; the defaults of `charter.Policy` when left out.
    """

    name: Name
    kind: str | None = None
    calibration: Texts
    heldout: Texts | None = None
    field: str = "text"
    split: str = "train"
    capacity: Number = "1"
    policy: str | None = None

    @property
    def label(self) -> str:
        """What reports call its text."""
        return self.kind or self.name
