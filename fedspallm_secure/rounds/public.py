"""The weights that a round starts from: public, the same for everybody, read one tensor at a time."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Protocol

from numpy.typing import NDArray

from fedspallm_secure.aggregation import RowScales, row_scales
from fedspallm_secure.charter import Tensor, tensor_digest
from fedspallm_secure.errors import StorageError

__all__ = ["After", "MatrixSource", "PublicWeights"]


class MatrixSource(Protocol):
    """Where a model's matrices are read from: layer files, or a model folder."""

    def weights(self, layer: int, name: str) -> NDArray[Any]:
        """The matrix (outputs, inputs) of one parameter; StorageError if it can't be read."""


class After:
    """A model after a round that pruned some of its layers.

    Args:
        before: the model at the start of the round.
        pruned: where the new layers are.
        layers: which they are.
    """

    def __init__(self, before: MatrixSource, pruned: MatrixSource, layers: Container[int]) -> None:
        self._before = before
        self._pruned = pruned
        self._layers = layers

    def weights(self, layer: int, name: str) -> NDArray[Any]:
        """One matrix of it."""
        return (self._pruned if layer in self._layers else self._before).weights(layer, name)


class PublicWeights:
    """The global model's pruned-to-be matrices at the start of a round.

    Args:
        store: where they are read.

    Attributes:
        outcomes: what a lane's sums came to -> the new tensors' digests. Participants that share a process, and so this
            object, need not compute the same thing from the same payloads again.
    """

    def __init__(self, store: MatrixSource) -> None:
        self._store = store
        self._scales: dict[str, RowScales] = {}
        self._digests: dict[str, str] = {}
        self.outcomes: dict[tuple[object, ...], dict[str, str]] = {}

    def weight(self, tensor: Tensor) -> NDArray[Any]:
        """The matrix, shape (rows, columns).

        Raises:
            StorageError: it is not there, or of another shape than the charter says.
        """
        W = self._store.weights(tensor.layer, tensor.name)
        if W.shape != (tensor.rows, tensor.columns):
            raise StorageError(
                f"{tensor.name} is {W.shape} on disk; the charter says {(tensor.rows, tensor.columns)}.",
                "Use the base model that the charter names.",
            )
        return W

    def scales(self, tensor: Tensor) -> RowScales:
        """Its row scales, computed once."""
        if tensor.name not in self._scales:
            self._scales[tensor.name] = row_scales(self.weight(tensor))
        return self._scales[tensor.name]

    def digest(self, tensor: Tensor) -> str:
        """Its digest, computed once."""
        if tensor.name not in self._digests:
            self._digests[tensor.name] = tensor_digest(self.weight(tensor))
        return self._digests[tensor.name]

    def check(self, tensor: Tensor) -> None:
        """Refuse a base weight that is not the one the charter names (first round only: later ones follow from sums).

        Raises:
            StorageError: another digest.
        """
        found = self.digest(tensor)
        if found != tensor.digest:
            raise StorageError(
                f"{tensor.name} has digest {found}; the charter says {tensor.digest}.",
                "Use the base model that the charter names.",
            )
