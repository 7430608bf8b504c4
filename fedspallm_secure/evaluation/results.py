"""What a run measured: the content of results.json, from which tables, model card and report are made."""

from __future__ import annotations

from math import isfinite
from typing import Any

from pydantic import BaseModel, ConfigDict

from fedspallm_secure.rounds import RoundTelemetry

__all__ = ["LedgerHead", "Perplexities", "PerplexityTable", "Results", "RunPrivacy", "SpentPrivacy"]

Perplexities = dict[str, float]
"""Kind of text -> perplexity, and "mix" -> their geometric mean."""


class PerplexityTable(BaseModel):
    """Perplexity on held-out text of every model of the run.

    Attributes:
        dense: the base model.
        federated: what the secure sums gave.
        central: pruned on everybody's calibration text in one place, the reference that privacy forbids.
        alone: institution -> the model it gets from its own calibration text only.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    dense: Perplexities
    federated: Perplexities
    central: Perplexities | None
    alone: dict[str, Perplexities]

    @property
    def gap_closed(self) -> float | None:
        """Share of the gap between the average institution alone and central that federation closes, on the mix.

        None where one of them was not evaluated, or where there is no gap to close: central no better than the average
        institution, or a perplexity infinite.
        """
        if self.central is None or not self.alone:
            return None
        alone = sum(row["mix"] for row in self.alone.values()) / len(self.alone)
        federated, central = self.federated["mix"], self.central["mix"]
        if not isfinite(alone) or not isfinite(federated) or central >= alone:
            return None
        return (alone - federated) / (alone - central)


class LedgerHead(BaseModel):
    """How far a ledger has come: its lines, and the SHA-256 of the last one."""

    model_config = ConfigDict(extra="forbid")

    lines: int
    digest: str


class SpentPrivacy(BaseModel):
    """What one institution's ledger says after the run.

    Attributes:
        multiplier: of the noise on each release; None where it pruned no layer.
        releases: that the run needed; after a run that was killed and went on, the ledger may hold more.
        epsilon: of everything in the ledger, earlier runs included, decimal text.
        key: Ed25519 public key that signs the ledger, 64 hexadecimal digits.
        head: of the ledger.
    """

    model_config = ConfigDict(extra="forbid")

    multiplier: float | None
    releases: int
    epsilon: str
    key: str
    head: LedgerHead


class RunPrivacy(BaseModel):
    """The differential privacy of a run.

    Attributes:
        epsilon: what the run costs one institution's window, more or less, decimal text.
        epsilon_exchanged: the same where a window is exchanged for another one, rounded up.
        delta: decimal text.
        budget: what all runs with the same ledgers may cost together.
        unit: what is protected: "window", each the beginning of a document of its own.
        institutions: what each one spent.
        not_covered: what else the run tells of the text.
    """

    model_config = ConfigDict(extra="forbid")

    epsilon: str
    epsilon_exchanged: str
    delta: str
    budget: str
    unit: str
    institutions: dict[str, SpentPrivacy]
    not_covered: list[str]


class Results(BaseModel):
    """The whole of results.json.

    Attributes:
        perplexity: see `PerplexityTable`.
        sparsity: pruned tensor's parameter name -> share of its weights that are zero.
        layers: decoder layer -> share of its pruned tensors' weights that are zero.
        cohorts: pattern of the schedule -> decoder layer -> names of the institutions that pruned it, or measured the
            moments of its inputs.
        uplink_bits_per_parameter: bits uploaded by an institution a weight that it pruned, mean over institutions.
        bytes_up: institution -> bytes sent, messages and payloads.
        bytes_down: institution -> bytes received.
        bytes_by_step: institution -> "up" or "down" -> step of the protocol -> bytes.
        telemetry: round -> what its secure sums tell of the institutions' own pruning, and of no single one; empty
            where votes are encrypted. With privacy on, tokens and loss are zero: they are not sent.
        privacy: what was spent; None in a run without noise.
        seconds: step of the run -> seconds.
        damping_raised: institution -> tensors whose Hessian needed more damping than configured.
        base_model: name or directory of the base model as the user gave it.
        base_licence: its licence as its model card says, or "unknown".
        model_digest: SHA-256 that every participant computed for the final model.
        charter_digest: SHA-256 of the charter.
        config: the whole configuration, defaults filled in.
        versions: package -> version that ran, and the number of threads, on which floating-point sums depend.
    """

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    perplexity: PerplexityTable
    sparsity: dict[str, float]
    layers: list[float]
    cohorts: list[list[list[str]]]
    uplink_bits_per_parameter: float
    bytes_up: dict[str, int]
    bytes_down: dict[str, int]
    bytes_by_step: dict[str, dict[str, dict[str, int]]]
    telemetry: list[RoundTelemetry]
    privacy: RunPrivacy | None = None
    seconds: dict[str, float]
    damping_raised: dict[str, list[str]]
    base_model: str
    base_licence: str
    model_digest: str
    charter_digest: str
    config: dict[str, Any]
    versions: dict[str, str]

    @property
    def pooled(self) -> bool:
        """Whether statistics were pooled, and not weights averaged."""
        return bool(self.config["protocol"].get("aggregate") == "statistics")
