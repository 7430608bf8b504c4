"""The package's own machines in a round that a vector describes, so that it can be played or played back.

A round vector's `input` holds the charter, everybody's private keys, the weights, and the random bytes that each
institution draws; with these the package says the same words again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import ml_dtypes
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fedspallm_secure.charter import Charter, CkksVotes, Policy, Tensor
from fedspallm_secure.messages import Envelope, Identity, canonical
from fedspallm_secure.rounds import (
    AddingUp,
    After,
    CoordinatorRound,
    InstitutionRound,
    LocalTelemetry,
    Member,
    Outcome,
    OwnCiphertexts,
    PublicWeights,
    attest_sum,
    count_votes,
    plan_round,
)
from fedspallm_secure.secagg import Delivery, Entropy
from fedspallm_secure.tlog import Chain, Evidence, HeldLog, LogView, origin_of
from fedspallm_secure.transcript import BlobStore
from fedspallm_secure.votes import Custodian
from fedspallm_secure.workspace import Journal, LayerStore
from protocol.vectors.making.fixed_ckks import FixedEncryptor, FixedKey, payload

__all__ = ["ANY_CHARTER", "DTYPES", "Stage", "as_json", "drawn", "listed"]

DTYPES: Mapping[str, Any] = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
_MILLION = 10**6

ANY_CHARTER = Policy(
    allow_two_institutions=True,
    minimum_institutions=2,
    minimum_cohort=2,
    minimum_threshold=2,
    minimum_contributors=2,
    minimum_colluders=0,
)
"""Vectors are about the protocol's rules, not about anybody's own."""


def as_json(body: Any) -> Any:
    """A pydantic model as parsed JSON."""
    return json.loads(canonical(body))


class Stage:
    """Everybody of one round.

    Args:
        given: the vector's `input`.
        folder: for weights and payloads.
        entropy: institution's name -> source of its random bytes, where they are not to come from `given`.
        before: the round before, in which the log began.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        folder: Path,
        entropy: Callable[[str], Entropy] | None = None,
        before: Stage | None = None,
    ) -> None:
        self.charter = Charter.model_validate_json(json.dumps(given["charter"]))
        self.plan = plan_round(self.charter, given["round"], None if before is None else before.coordinator.model)
        self.blobs = BlobStore(folder / "blobs")
        self.model = LayerStore(folder / "model")
        self.identities = {
            name: Identity(name, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)))
            for name, key in given["signing"].items()
        }
        self._base = LayerStore(folder / "base")
        self._write(self._base, given["weights"], None)
        public = PublicWeights(self._base)
        for tensor in self.charter.base.pruned if before is None else ():
            public.check(tensor)
        server = self.identities[self.charter.server]
        origin = origin_of(self.plan.context.digest)
        self.log: HeldLog = HeldLog(origin) if before is None else before.log
        outcome = Outcome(self.plan, public, self.blobs)
        adding = AddingUp(self.blobs, self.plan.ckks)
        self.coordinator: CoordinatorRound = CoordinatorRound(self.plan, server, outcome, adding, self.model, self.log)
        self.institutions: dict[str, InstitutionRound] = {}
        self.ciphertexts: dict[str, dict[str, Any]] = {}
        self.entries: list[Envelope] = [] if before is None else [*before.entries]
        self.views = {name: LogView(origin, self.charter.server_key) for name in given["institutions"]}
        self._witness = Chain()
        self._key = None if self.plan.ckks is None else FixedKey(self.plan.ckks, given["custodian"]["secret"])
        if before is not None:
            self.views, self._witness = before.views, before._witness
        for name, own in given["institutions"].items():
            prepared = LayerStore(folder / name)
            if "moments" in own:
                self._write_moments(prepared, own["moments"])
            else:
                self._write(prepared, own["pruned"], own["kept"])
            source = entropy(name) if entropy is not None else drawn(bytes.fromhex(own["entropy"]))
            self.institutions[name] = InstitutionRound(
                self.plan,
                Member(self.identities[name], source, Journal(), self.views[name], ANY_CHARTER),
                public,
                prepared,
                LocalTelemetry(own["tokens"], own["loss"] / _MILLION),
                self.blobs,
                None,
                self._own_ciphertexts(name, own, folder),
            )

    def put(self, blobs: Mapping[str, Any]) -> None:
        """Store payloads under the names they are said to have."""
        self.blobs.folder.mkdir(parents=True, exist_ok=True)
        for name, given in blobs.items():
            (self.blobs.folder / name).write_bytes(payload(given))

    def stored(self) -> dict[str, Any]:
        """All payloads, by digest; of ciphertexts, how they are made."""
        made = {path.name: path.read_bytes().hex() for path in sorted(self.blobs.folder.iterdir())}
        return made | {name: recipe for name, recipe in self.ciphertexts.items() if name in made}

    def weights(self) -> dict[str, str]:
        """The pruned tensors of the model after the round, as hexadecimal bytes."""
        after = After(self._base, self.model, self.charter.layers_of(self.plan.context.round))
        return {
            tensor.name: np.ascontiguousarray(after.weights(tensor.layer, tensor.name)).tobytes().hex()
            for tensor in self.charter.base.pruned
        }

    def evidence(self, envelope: Envelope, to: str) -> Evidence:
        """What goes beside an entry of the log to an institution."""
        seen = self.views[to].chain.seen
        return self.log.evidence(envelope, self.identities[self.charter.server], to, seen)

    def checkpoint(self, time: int) -> str:
        """The log as it is, cosigned at `time` (seconds since 1970) by all who stated the model."""
        note = lines = self.log.checkpoint(self.identities[self.charter.server])
        for name in self.coordinator.agreed:
            view = self.views[name]
            since, own = self.log.since(view.chain.seen), self.log.own(name)
            lines += view.cosign(note, since, own, self.identities[name], time)
        return lines

    def attest(self, log: Sequence[Envelope]) -> Envelope:
        """The witness's word."""
        assert self.charter.witness is not None
        witness = self.identities[self.charter.witness.name]
        return attest_sum(self.plan, witness, log, self.blobs, self._witness)

    def count(self, log: Sequence[Envelope]) -> Envelope:
        """The custodian's word."""
        votes = self.charter.votes
        assert isinstance(votes, CkksVotes)
        assert self._key is not None
        public = SimpleNamespace(parameters=self._key.parameters, digest=votes.contexts[self.plan.context.round])
        custodian = Custodian(cast(Any, SimpleNamespace(public=public)), cast(Any, self._key), Journal())
        return count_votes(self.plan, self.identities[votes.custodian.name], custodian, log, self.blobs)

    def _own_ciphertexts(self, name: str, own: Mapping[str, Any], folder: Path) -> OwnCiphertexts | None:
        """An institution's, and in `ciphertexts` how they are made."""
        if self._key is None:
            return None
        context, streams = self.plan.context, []
        for lane in context.lanes_of(context.indices[name]):
            streams.append(own["streams"][lane.name])
            recipe = {
                "clients": self._key.parameters.clients,
                "secret": self._key.key,
                "stream": streams[-1],
                "votes": own["kept"][lane.name],
            }
            self.ciphertexts[hashlib.sha256(payload(recipe)).hexdigest()] = recipe
        store = BlobStore(folder / f"{name}-ciphertexts")
        return OwnCiphertexts(cast(Any, FixedEncryptor(self._key, streams)), store)

    def _write(self, store: LayerStore, weights: Mapping[str, str], kept: Mapping[str, str] | None) -> None:
        for layer in range(self.charter.base.layers):
            tensors = [one for one in self.charter.base.pruned if one.layer == layer and one.name in weights]
            masks = None if kept is None else {one.name: _mask(one, kept[one.name]) for one in tensors}
            store.write(layer, {one.name: _matrix(one, weights[one.name]) for one in tensors}, masks)

    def _write_moments(self, store: LayerStore, moments: Mapping[str, str]) -> None:
        tensors = {one.name: one for one in self.charter.base.pruned}
        for layer in range(self.charter.base.layers):
            store.write(
                layer,
                {
                    lane: _moment(tensors[lane].columns, data)
                    for lane, data in moments.items()
                    if tensors[lane].layer == layer
                },
            )


def listed(deliveries: Sequence[Delivery]) -> Iterator[tuple[list[str], Envelope]]:
    """What the server sends, each envelope once with all who get it."""
    receivers: dict[str, tuple[list[str], Envelope]] = {}
    for delivery in deliveries:
        receivers.setdefault(delivery.envelope.payload, ([], delivery.envelope))[0].append(delivery.to)
    yield from receivers.values()


def drawn(data: bytes) -> Entropy:
    """A source of randomness that gives `data`, piece by piece, and then no more."""
    rest = bytearray(data)

    def draw(number: int) -> bytes:
        piece = bytes(rest[:number])
        del rest[:number]
        if len(piece) != number:
            raise ValueError("the vector holds fewer random bytes than are drawn")
        return piece

    return draw


def _matrix(tensor: Tensor, data: str) -> NDArray[Any]:
    return np.frombuffer(bytes.fromhex(data), DTYPES[tensor.dtype]).reshape(tensor.rows, tensor.columns)


def _moment(inputs: int, data: str) -> NDArray[np.float64]:
    numbers = np.frombuffer(bytes.fromhex(data), "<f8")
    return numbers if numbers.size == inputs else numbers.reshape(inputs, inputs)


def _mask(tensor: Tensor, bits: str) -> NDArray[np.bool_]:
    return np.array([bit == "1" for bit in bits], np.bool_).reshape(tensor.rows, tensor.columns)
