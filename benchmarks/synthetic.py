"""A model of random weights and institutions that pruned it, for measurements that need sizes and not meaning."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from fedspallm_secure.charter import Base, Charter, Institution, Parameters, Tensor, tensor_digest
from fedspallm_secure.runtime.embedded import Participants
from fedspallm_secure.workspace import LayerStore

__all__ = ["SyntheticRun", "synthetic_run"]

# The linear weights of one decoder layer of SmolLM2-135M, outputs x inputs.
_SHAPES = {
    "self_attn.q_proj": (576, 576),
    "self_attn.k_proj": (192, 576),
    "self_attn.v_proj": (192, 576),
    "self_attn.o_proj": (576, 576),
    "mlp.gate_proj": (1536, 576),
    "mlp.up_proj": (1536, 576),
    "mlp.down_proj": (576, 1536),
}


@dataclass(frozen=True)
class SyntheticRun:
    """What `run_round` needs.

    Attributes:
        charter: of the run.
        participants: everybody's keys.
        base: layer files of the base.
        pruned: institution -> its layer files.
    """

    charter: Charter
    participants: Participants
    base: LayerStore
    pruned: dict[str, LayerStore]

    @property
    def parameters(self) -> int:
        """Weights that are pruned."""
        return sum(tensor.rows * tensor.columns for tensor in self.charter.base.pruned)


def synthetic_run(folder: Path, clients: int, sparsity: str, digits_per_word: int, layers: int) -> SyntheticRun:
    """Institutions that prune by a noisy magnitude and move what they keep, so that their masks agree in part.

    Args:
        folder: where layer files go.
        clients: number of institutions.
        sparsity: of every institution's masks and of the target.
        digits_per_word: of the values sum.
        layers: decoder layers.
    """
    rng = np.random.default_rng(0)
    names = [f"institution-{index}" for index in range(clients)]
    participants = Participants.fresh(names)
    base = LayerStore(folder / "base")
    pruned = {name: LayerStore(folder / name) for name in names}
    tensors = []
    for layer in range(layers):
        W = {f"layers.{layer}.{name}.weight": rng.normal(size=shape) for name, shape in _SHAPES.items()}
        base.write(layer, {name: matrix.astype(np.float32) for name, matrix in W.items()})
        for name, matrix in W.items():
            rows, columns = matrix.shape
            digest = tensor_digest(base.weights(layer, name))
            tensors.append(Tensor(name=name, layer=layer, rows=rows, columns=columns, dtype="float32", digest=digest))
        for store in pruned.values():
            kept = {}
            for name, matrix in W.items():
                score = np.abs(matrix) * rng.lognormal(0, 0.5, matrix.shape)
                kept[name] = score > np.quantile(score, float(Fraction(sparsity)))
            moved = {
                name: np.where(kept[name], matrix + rng.normal(0, 0.2, matrix.shape), 0).astype(np.float32)
                for name, matrix in W.items()
            }
            store.write(layer, moved, kept)
    charter = Charter(
        run="benchmark",
        server=participants.server.name,
        server_key=participants.server.public,
        roster=tuple(
            Institution(name=name, public_key=identity.public, capacity="1")
            for name, identity in participants.institutions.items()
        ),
        method="sparsegpt",
        schedule=(sparsity,),
        beacon="00" * 32,
        base=Base(layers=layers, pruned=tuple(tensors), rest={}),
        parameters=Parameters(
            minimum_cohort=3,
            minimum_contributors=3,
            dropout_margin=0,
            colluders=1,
            dropouts=0,
            digits_per_word=digits_per_word,
            clip="1",
        ),
    )
    return SyntheticRun(charter, participants, base, pruned)
