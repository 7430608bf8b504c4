"""A model folder as save_pretrained writes it, read without torch, one tensor in memory at a time.

An auditor meets such a folder twice: as the base model that the charter names, and as the model that a run published.
Both come from somebody else, so every header is checked against its file before anything is believed, and a folder is
refused where it is not clear what would be loaded from it.

The charter uses the names of the model in memory. A checkpoint may lack the base model's prefix, keep an older name, or
hold experts one by one that memory holds stacked: it is read by the rules of transformers' loader, and only where the
charter's own name is missing. Of tied tensors the charter lists the first name and save_pretrained keeps that one, so a
published model holds exactly the charter's tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from fedspallm_secure.charter import Base, Tensor, tensor_digest
from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import LaneName
from fedspallm_secure.workspace.safetensors_file import StoredTensor, broken, read_header, read_object, read_tensor

__all__ = ["BaseWeights", "Mismatch", "ModelFolder", "check_model"]

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_FLOATS = ("float64", "float32", "float16", "bfloat16")

# By config.json's model_type: name in memory -> name in the checkpoint.
_OLDER_NAMES = {"gpt_neox": (r"^lm_head\.", "embed_out."), "mixtral": (r"\.mlp\.", ".block_sparse_moe.")}

# Stacked experts in memory -> the matrices of one expert whose rows they are, in the two spellings there are.
_EXPERTS = {
    ".experts.gate_up_proj": (("gate_proj", "up_proj"), ("w1", "w3")),
    ".experts.down_proj": (("down_proj",), ("w2",)),
}

_BASE = "Give the base model that the charter names."


_WEIGHT_MAP = TypeAdapter(dict[LaneName, str])


@dataclass(frozen=True)
class _Source:
    """What the files hold for a tensor of the charter: itself, or the matrices of so many experts in their order."""

    parts: tuple[str, ...]
    experts: int | None


@dataclass(frozen=True)
class Mismatch:
    """A tensor of a model that is not as it should be.

    Attributes:
        name: the charter's name for it; the file's, if the charter knows no such tensor.
        expected: its digest; None if there should be none.
        actual: its digest; None if it is missing.
    """

    name: str
    expected: str | None
    actual: str | None


class ModelFolder:
    """The tensors of a model folder. Opening it reads the headers; a tensor is read each time it is asked for.

    Args:
        path: with config.json and model.safetensors, or the shards that model.safetensors.index.json names.

    Attributes:
        path: as given.
        files: names of the weight files, sorted.
        bytes_read: of headers and tensors so far, those read twice counted twice.

    Raises:
        StorageError: a file is missing or broken, two contradict each other, or it is not clear what would be loaded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        self._model_type = _model_type(path)
        index = _index(path)
        self.files = [_SINGLE] if index is None else sorted(set(index.values()))
        self._stored: dict[str, StoredTensor] = {}
        for file in self.files:
            self._open(file)
        if index is not None:
            self._check_index(index)
        self._transposed: dict[Tensor, bool] = {}

    def names(self) -> list[str]:
        """The tensors' names in the files, sorted."""
        return sorted(self._stored)

    def tensor(self, name: str) -> NDArray[Any]:
        """One tensor as it is stored.

        Args:
            name: in the files.

        Raises:
            StorageError: there is none of this name, or its file can't be read.
        """
        if name not in self._stored:
            raise StorageError(f"{self.path} holds no tensor {name!r}.", "Give the folder of the whole model.")
        stored = self._stored[name]
        data = read_tensor(stored)
        self.bytes_read += stored.size
        return data

    def matrix(self, tensor: Tensor) -> NDArray[Any]:
        """The matrix that the charter describes: cast to its dtype as torch does on loading, and in its layout.

        The digest decides whether the file holds the transpose (GPT-2), as a square matrix does not tell. The first
        read of a tensor checks its digest, later ones rely on that.

        Args:
            tensor: as in the charter.

        Returns:
            Contiguous (outputs, inputs), in the charter's dtype.

        Raises:
            StorageError: the folder holds no such matrix with this digest, or its file can't be read.
        """
        source = self._source(tensor.name, _prefix(tensor))
        if source is None:
            raise StorageError(f"{self.path} holds no tensor {tensor.name!r}.", _BASE)
        stored = self._assembled(source)
        if stored.dtype.name in _FLOATS and stored.dtype.name != tensor.dtype:
            stored = _cast(stored, tensor.dtype)
        if tensor not in self._transposed:
            self._transposed[tensor] = self._is_transposed(stored, tensor)
        return np.ascontiguousarray(stored.T if self._transposed[tensor] else stored)

    def digests(self, base: Base) -> dict[str, str]:
        """The digest of every tensor in the files, as the charter would state it.

        All pruned matrices lie one way, and most of those that are not square show which: by its digest alone a square
        one could be stored as its transpose, which is another model.

        Args:
            base: the charter's base model, for the names and the layout.

        Returns:
            Tensor name -> digest. The name is the charter's, or the file's for a tensor that the charter doesn't know.

        Raises:
            StorageError: a file can't be read, or an expert's matrices differ in shape.
        """
        shapes = {tensor.name: (tensor.rows, tensor.columns) for tensor in base.pruned}
        names = shapes.keys() | base.rest.keys()
        prefix = _prefix(base.pruned[0]) if base.pruned else ""
        sources = {}
        for name in sorted(names):
            source = self._source(name, prefix)
            if source is not None and names.isdisjoint(set(source.parts) - {name}):
                sources[name] = source
        oblong = [name for name, (rows, columns) in shapes.items() if name in sources and rows != columns]
        turned = [name for name in oblong if self._stored[sources[name].parts[0]].shape == shapes[name][::-1]]
        transposed = 2 * len(turned) > len(oblong)
        digests = {}
        for name, source in sources.items():
            W = self._assembled(source)
            digests[name] = tensor_digest(W.T if transposed and name in shapes else W)
        known = {part for source in sources.values() for part in source.parts}
        return digests | {name: tensor_digest(self.tensor(name)) for name in self.names() if name not in known}

    def _open(self, file: str) -> None:
        """Take in the header of one weight file."""
        path = self.path / file
        entries, size = read_header(path)
        self.bytes_read += size
        for name, stored in entries.items():
            if name in self._stored:
                raise _contradiction(self.path, f"{name!r} is in {self._stored[name].path.name} and in {file}")
            self._stored[name] = stored

    def _check_index(self, index: Mapping[str, str]) -> None:
        """The index puts every tensor where it is: some programs go by it, others read whatever the shards hold."""
        for name in sorted(index.keys() | self._stored.keys()):
            file = self._stored[name].path.name if name in self._stored else "no file"
            if index.get(name) != file:
                raise _contradiction(self.path, f"{name!r} is in {file}; {_INDEX} says {index.get(name, 'nothing')!r}")

    def _is_transposed(self, stored: NDArray[Any], tensor: Tensor) -> bool:
        for transposed in (False, True):
            W = stored.T if transposed else stored
            if W.shape == (tensor.rows, tensor.columns) and tensor_digest(W) == tensor.digest:
                return transposed
        raise StorageError(
            f"{tensor.name} in {self.path} is {stored.dtype.name} {stored.shape} with digest {tensor_digest(stored)}; "
            f"the charter says {tensor.dtype} {(tensor.rows, tensor.columns)} with digest {tensor.digest}.",
            _BASE,
        )

    def _source(self, name: str, prefix: str) -> _Source | None:
        """Where the tensor that the charter calls `name` comes from; `prefix` is the base model's in the charter."""
        for spelling in self._spellings(name, prefix):
            if spelling in self._stored:
                return _Source((spelling,), None)
            for stacked, kinds in _EXPERTS.items():
                if spelling.endswith(stacked):
                    stem = spelling.removesuffix(stacked) + ".experts"
                    for kind in kinds:
                        if source := self._experts(stem, kind):
                            return source
        return None

    def _spellings(self, name: str, prefix: str) -> Iterator[str]:
        older = re.sub(*_OLDER_NAMES[self._model_type], name) if self._model_type in _OLDER_NAMES else name
        for spelling in (name, older):
            yield spelling
            if spelling.startswith(prefix):
                yield spelling.removeprefix(prefix)

    def _experts(self, stem: str, kind: tuple[str, ...]) -> _Source | None:
        parts: list[str] = []
        while (
            self._stored.keys() >= (names := {f"{stem}.{len(parts) // len(kind)}.{m}.weight": m for m in kind}).keys()
        ):
            parts += names
        return _Source(tuple(parts), len(parts) // len(kind)) if parts else None

    def _assembled(self, source: _Source) -> NDArray[Any]:
        """The tensor from its parts; of experts it is (experts, rows of all matrices of an expert, columns)."""
        first = source.parts[0]
        if source.experts is None:
            return self.tensor(first)
        kinds = {(self._stored[part].dtype, self._stored[part].shape) for part in source.parts}
        dtype, shape = kinds.pop()
        if kinds or len(shape) != 2:
            raise _contradiction(self.path, f"the experts beside {first!r} differ in shape or dtype")
        matrices = np.empty((len(source.parts), *shape), dtype)
        for place, part in enumerate(source.parts):
            matrices[place] = self.tensor(part)
        return matrices.reshape(source.experts, len(source.parts) // source.experts * shape[0], shape[1])


class BaseWeights:
    """The charter's base weights from a model folder, by layer and name as a layer file serves them.

    Args:
        folder: the base model.
        base: what the charter says of it.
    """

    def __init__(self, folder: ModelFolder, base: Base) -> None:
        self._folder = folder
        self._tensors = {(tensor.layer, tensor.name): tensor for tensor in base.pruned}

    def weights(self, layer: int, name: str) -> NDArray[Any]:
        """The matrix (outputs, inputs) of one parameter, the one that the charter names.

        Raises:
            StorageError: the charter prunes no such parameter, or the folder holds another matrix.
        """
        if (layer, name) not in self._tensors:
            raise StorageError(f"The charter's base model has no pruned {name!r} in layer {layer}.", _BASE)
        return self._folder.matrix(self._tensors[layer, name])


def check_model(folder: ModelFolder, digests: Mapping[str, str], base: Base) -> list[Mismatch]:
    """What differs between a published model and what it should be; empty if nothing does.

    Args:
        folder: the published model.
        digests: pruned tensor's name -> its new digest.
        base: the charter's base model, whose other tensors stay as they were.

    Returns:
        The tensors that have another digest, are missing, or are too many, by name.

    Raises:
        StorageError: a file can't be read, or a weight file lies there that the model does not consist of.
    """
    for path in sorted(folder.path.glob("*.safetensors")):
        if path.name not in folder.files:
            raise _contradiction(folder.path, f"{path.name} is there and is no part of the model")
    expected = {tensor.name: digests[tensor.name] for tensor in base.pruned} | base.rest
    actual = folder.digests(base)
    return [
        Mismatch(name, expected.get(name), actual.get(name))
        for name in sorted(expected.keys() | actual.keys())
        if expected.get(name) != actual.get(name)
    ]


def _prefix(tensor: Tensor) -> str:
    """The base model's prefix ("model.", "transformer."): decoder layers always lie in the base model."""
    return tensor.name.partition(".")[0] + "."


def _cast(stored: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Round to nearest even, beyond the range to infinity; by way of float32, as torch goes from float64 too."""
    with np.errstate(over="ignore"):
        return stored.astype(np.float32).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def _model_type(folder: Path) -> str:
    """The model_type of config.json, after refusing what makes transformers load other weights than the usual files."""
    config = read_object(folder / "config.json")
    if config.get("transformers_weights") is not None:
        raise _contradiction(folder, "config.json names weights of its own under transformers_weights")
    if (folder / "adapter_config.json").exists():
        raise _contradiction(folder, "adapter_config.json makes programs load an adapter on top of the weights")
    return str(config.get("model_type"))


def _index(folder: Path) -> dict[str, str] | None:
    """Tensor name -> shard, or None where there is one file for all."""
    single, index = (folder / _SINGLE).exists(), (folder / _INDEX).exists()
    if single and index:
        raise _contradiction(folder, f"{_SINGLE} and {_INDEX} are both there")
    if single:
        return None
    if not index:
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
            raise StorageError(
                f"{folder} holds its weights as Python pickles, which run code when they are read.",
                "Load the model with transformers where you trust it and save it again: that writes safetensors.",
            )
        raise StorageError(f"{folder} holds neither {_SINGLE} nor {_INDEX}.", "Give the folder of a whole model.")
    path = folder / _INDEX
    try:
        shards = _WEIGHT_MAP.validate_python(read_object(path).get("weight_map"), strict=True)
    except ValidationError as error:
        raise broken(path, "weight_map should give each tensor's file") from error
    for name, file in shards.items():
        if not (file.isprintable() and file.endswith(".safetensors") and Path(file).name == file):
            raise broken(path, f"{name!r} should be in a safetensors file of this folder and is in {file!r}")
    if not shards:
        raise broken(path, "weight_map names no tensor")
    return shards


def _contradiction(folder: Path, what: str) -> StorageError:
    return StorageError(
        f"{folder} does not say plainly which weights are the model's: {what}.",
        "Give a folder as save_pretrained writes it.",
    )
