"""A small run without a model: random base weights, and institutions whose pruned copies disagree as real ones do.

Base weights are multiples of 2^-12 below 4, which every dtype here holds or rounds to coarser multiples, so that row
means and root mean squares are exact however they are computed, and no mask hangs on a rounding.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.charter import (
    NM,
    Base,
    Charter,
    CharterSignatures,
    Institution,
    MaskedVotes,
    Method,
    Parameters,
    Pattern,
    Policy,
    Tensor,
    Witness,
    sign_charter,
    tensor_digest,
)
from fedspallm_secure.custodian import Office
from fedspallm_secure.messages import Envelope, Identity, Message, open_envelope
from fedspallm_secure.rounds import LocalTelemetry, PublicWeights, RoundPlan, RoundTelemetry, plan_round
from fedspallm_secure.runtime.embedded import Participants, Traffic, run_round
from fedspallm_secure.secagg import Entropy
from fedspallm_secure.transcript import Transcript, read_log
from fedspallm_secure.votes import choose_parameters, make_key_pair
from fedspallm_secure.workspace import Journal, LayerStore

__all__ = ["CUSTODIAN", "DTYPES", "MANTISSA", "REST", "TWO_SUFFICE", "Run", "Setting"]

DTYPES: Mapping[str, Any] = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
MANTISSA = {"float32": 23, "float16": 10, "bfloat16": 7}
"""Bits of the fraction: one rounding to the dtype errs by at most half of 2^-bits, relatively."""

REST: Mapping[str, NDArray[Any]] = {"embedding.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
"""The tensors that nobody prunes."""

CUSTODIAN = Identity("custodian", Ed25519PrivateKey.from_private_bytes(random.Random("custodian").randbytes(32)))
"""Who counts encrypted votes."""

TWO_SUFFICE = Policy(
    minimum_institutions=2,
    allow_two_institutions=True,
    minimum_cohort=2,
    minimum_threshold=2,
    minimum_contributors=2,
    minimum_colluders=0,
)
"""The policy of institutions that may know each other's votes and changes."""


@dataclass(frozen=True)
class Setting:
    """What a synthetic run is made of; institutions are called i0, i1, ...

    `witness` is the name of an auditor, or of one of them; `policy` is everybody's.
    """

    clients: int = 5
    layers: int = 2
    shapes: Sequence[tuple[int, int]] = ((12, 16), (8, 24))
    method: Method = "sparsegpt"
    schedule: tuple[str, ...] = ("0.5",)
    capacities: tuple[str, ...] | None = None
    minimum_cohort: int = 3
    minimum_contributors: int = 3
    dropout_margin: int = 0
    dropouts: int = 0
    digits_per_word: int = 6
    clip: str = "1"
    dtype: Any = "float32"
    change: float = 0.1
    witness: str | None = None
    ckks: bool = False
    policy: Policy = field(default_factory=Policy)
    seed: int = 0


@dataclass
class Run:
    """A setting in a folder, ready to run its rounds.

    Args:
        setting: which.
        folder: for layer files and the transcript of all rounds.
    """

    setting: Setting
    folder: Path
    traffic: Traffic = field(default_factory=Traffic)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.setting.seed)
        self.names = [f"i{index}" for index in range(self.setting.clients)]
        self.entropy: Entropy = random.Random(self.setting.seed).randbytes
        self.participants = self._participants()
        self.transcript = Transcript(self.folder / "transcript")
        self.base = LayerStore(self.folder / "base")
        self.office = self._office() if self.setting.ckks else None
        self.participants = replace(self.participants, custodian=self.office)
        self.charter = self._charter()
        if self.office is not None:
            self.sign(self.office)

    def sign(self, custodian: Office) -> None:
        """Everybody signs the charter."""
        signed = sign_charter(self.charter, self.participants.everybody).signatures
        every = CharterSignatures(signatures=(*signed, custodian.sign(self.charter)))
        self.transcript.write_charter(self.charter, every)

    def plan(self, number: int = 0) -> RoundPlan:
        """The plan of a round: the first one, or the one that follows the last that was run."""
        return plan_round(self.charter, number, self.result.model if number else None)

    def prune(self, plan: RoundPlan, current: LayerStore) -> dict[str, LayerStore]:
        """Every institution's pruned copy of the layers it samples: its own mask, and its own changes of what stays."""
        stores = {}
        for name in self.names:
            store = stores[name] = LayerStore(self.folder / name / f"round-{plan.context.round}")
            for layer in plan.layers_of(name):
                weights, kept = {}, {}
                for tensor in self.tensors(layer):
                    W = current.weights(layer, tensor.name)
                    mask = self._mask(W, plan.pattern)
                    new = W.astype(np.float64)
                    if self.charter.changes_weights:
                        new += self.rng.normal(scale=self.setting.change, size=W.shape)
                    weights[tensor.name] = np.where(mask, new, 0.0).astype(W.dtype)
                    kept[tensor.name] = mask
                store.write(layer, weights, kept)
        return stores

    def round(
        self,
        plan: RoundPlan,
        current: LayerStore,
        pruned: Mapping[str, LayerStore],
        telemetry: Mapping[str, LocalTelemetry] | None = None,
    ) -> tuple[str, LayerStore]:
        """One secure round: the digest that all agreed on, and the new model's layers. `result` has all it gave."""
        output = LayerStore(self.folder / f"global-{plan.context.round + 1}")
        self.result = run_round(
            plan,
            self.participants,
            PublicWeights(current),
            pruned,
            self.transcript.folder,
            output,
            self.traffic,
            telemetry,
            self.entropy,
        )
        return self.result.model, output

    @property
    def telemetry(self) -> RoundTelemetry:
        """What the operator learned of the last round."""
        assert self.result.telemetry is not None
        return self.result.telemetry

    def entries(self) -> list[Envelope]:
        """The log of all rounds that were run."""
        return [envelope for _, envelope in read_log(self.transcript.log)]

    def messages(self, plan: RoundPlan) -> list[Message]:
        """What was said in a round, as the log has it."""
        messages = [open_envelope(envelope, self.charter.keys) for envelope in self.entries()]
        return [message for message in messages if message.round == plan.context.round]

    def said(self, plan: RoundPlan) -> list[str]:
        """The same in brief: "masked votes", "again", ..."""
        return [f"{message.kind} {getattr(message, 'sum', '')}".strip() for message in self.messages(plan)]

    def tensors(self, layer: int) -> Iterator[Tensor]:
        """The tensors of one decoder layer."""
        return (tensor for tensor in self.charter.base.pruned if tensor.layer == layer)

    def _mask(self, W: NDArray[Any], pattern: Pattern) -> NDArray[np.bool_]:
        """An institution's own opinion: the pattern's number of zeros, by |W| times a factor that is its own."""
        score = np.abs(W.astype(np.float64)) * self.rng.lognormal(sigma=0.5, size=W.shape)
        groups = score.reshape(-1, pattern.group) if isinstance(pattern, NM) else score.reshape(1, -1)
        zeros = pattern.zeros(groups.shape[1])
        mask = np.ones(groups.shape, np.bool_)
        np.put_along_axis(mask, np.argsort(groups, axis=1, kind="stable")[:, :zeros], False, axis=1)
        mask &= W.reshape(mask.shape) != 0
        return mask.reshape(W.shape)

    def _participants(self) -> Participants:
        fresh = Participants.fresh(self.names, self.entropy)
        policies = dict.fromkeys(self.names, self.setting.policy)
        if self.setting.witness is None:
            return replace(fresh, policies=policies)
        auditor = Identity(self.setting.witness, Ed25519PrivateKey.from_private_bytes(self.entropy(32)))
        return replace(fresh, policies=policies, witness=fresh.institutions.get(auditor.name, auditor))

    def _office(self) -> Office:
        """A custodian with new keys, and their public halves where everybody finds them."""
        clients, scratch = self.setting.clients, self.folder / "custodian"
        scratch.mkdir(parents=True)
        keys = [make_key_pair(choose_parameters(clients)) for _ in self.setting.schedule]
        office = Office(CUSTODIAN, clients, keys, Journal(), scratch)
        for context in office.contexts:
            self.transcript.blobs.put_bytes(context)
        return office

    def _charter(self) -> Charter:
        setting, tensors, witness = self.setting, [], self.participants.witness
        for layer in range(setting.layers):
            weights: dict[str, NDArray[Any]] = {}
            for number, shape in enumerate(setting.shapes):
                fine = np.rint(self.rng.normal(size=shape).clip(-3.9, 3.9) * 2**12) / 2**12
                weights[f"layers.{layer}.{number}.weight"] = fine.astype(DTYPES[setting.dtype])
            self.base.write(layer, weights)
            tensors += [
                Tensor(
                    name=name,
                    layer=layer,
                    rows=W.shape[0],
                    columns=W.shape[1],
                    dtype=setting.dtype,
                    digest=tensor_digest(W),
                )
                for name, W in weights.items()
            ]
        return Charter(
            run="synthetic",
            server="coordinator",
            server_key=self.participants.server.public,
            roster=tuple(
                Institution(name=name, public_key=self.participants.institutions[name].public, capacity=capacity)
                for name, capacity in zip(self.names, setting.capacities or ["1"] * setting.clients, strict=True)
            ),
            method=setting.method,
            schedule=setting.schedule,
            beacon=self.entropy(32).hex(),
            base=Base(
                layers=setting.layers, pruned=tuple(tensors), rest={n: tensor_digest(W) for n, W in REST.items()}
            ),
            parameters=Parameters(
                minimum_cohort=setting.minimum_cohort,
                minimum_contributors=setting.minimum_contributors,
                dropout_margin=setting.dropout_margin,
                colluders=setting.minimum_contributors - 2,
                dropouts=setting.dropouts,
                digits_per_word=setting.digits_per_word,
                clip=setting.clip,
            ),
            votes=MaskedVotes() if self.office is None else self.office.offer.votes,
            witness=None if witness is None else Witness(name=witness.name, public_key=witness.public),
        )
