"""The safetensors format: one tensor at a time, and no header is believed before it was held against its file.

A file is 8 bytes (the header's length, little-endian), a JSON header (name -> dtype, shape, offsets), and the data
(https://github.com/huggingface/safetensors). NumPy knows no bfloat16, so a tensor is read as bytes and viewed as the
dtype that it has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from fedspallm_secure.errors import StorageError
from fedspallm_secure.messages import Count, Frozen, LaneName

__all__ = ["StoredTensor", "broken", "read_header", "read_object", "read_tensor"]

_LENGTH = 8  # bytes that say how long the header is
_LARGEST_HEADER = 100_000_000  # bytes; the limit of the reference implementation
_LARGEST_ARRAY = 2**62  # bytes that the sides of an empty tensor may pretend to; NumPy's limit is next

_DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


class _Entry(Frozen):
    dtype: str
    shape: Annotated[list[Count], Field(max_length=64)]  # NumPy's limit
    data_offsets: Annotated[list[Count], Field(min_length=2, max_length=2)]


_ENTRIES = TypeAdapter(dict[LaneName, _Entry])


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: `size` bytes of a file, from `begin` on."""

    path: Path
    begin: int
    size: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def read_header(path: Path) -> tuple[dict[str, StoredTensor], int]:
    """The tensors of a safetensors file by name, and how many bytes were read to know them.

    Raises:
        StorageError: the file can't be read, or its header does not fit it.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(_LENGTH), "little")
            if size < _LENGTH or length > min(size - _LENGTH, _LARGEST_HEADER):
                raise broken(path, f"of its {size} bytes the header should take {length}")
            header = file.read(length)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        value = _object(header)
        value.pop("__metadata__", None)
        entries = _ENTRIES.validate_python(value)
    except (ValueError, RecursionError) as error:
        raise broken(path, "its header should give every tensor's dtype, shape and offsets, once") from error
    begin = _LENGTH + length
    return _laid_out(path, entries, begin, size - begin), begin


def _laid_out(path: Path, entries: Mapping[str, _Entry], begin: int, size: int) -> dict[str, StoredTensor]:
    """The tensors by name: they must fill the `size` bytes from `begin` on, one after the other, without gaps."""
    found: dict[str, StoredTensor] = {}
    reached = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        first, last = entry.data_offsets
        if not name.isprintable():
            raise broken(path, f"{name!r} is no name of a tensor")
        if entry.dtype not in _DTYPES:
            raise broken(path, f"{name!r} has dtype {entry.dtype!r}, and known are {', '.join(_DTYPES)}")
        dtype = np.dtype(_DTYPES[entry.dtype])
        if first != reached or last > size:
            raise broken(path, f"{name!r} should begin at {reached} and end by {size} and lies at {first} to {last}")
        if last - first != prod(entry.shape) * dtype.itemsize:
            raise broken(path, f"{name!r} is {last - first} bytes for {entry.dtype} {entry.shape}")
        if prod(side or 1 for side in entry.shape) * dtype.itemsize > _LARGEST_ARRAY:
            raise broken(path, f"{name!r} has sides beyond any array: {entry.shape}")
        found[name] = StoredTensor(path, begin + first, last - first, dtype, tuple(entry.shape))
        reached = last
    if reached != size:
        raise broken(path, f"{size - reached} bytes at its end belong to no tensor")
    return found


def read_tensor(stored: StoredTensor) -> NDArray[Any]:
    """One tensor, in its own dtype and shape.

    Raises:
        StorageError: the file can't be read any more, or got shorter.
    """
    data = np.empty(stored.size, np.uint8)
    try:
        with stored.path.open("rb") as file:
            file.seek(stored.begin)
            whole = file.readinto(data.data) == stored.size
    except OSError as error:
        raise _unreadable(stored.path, error) from error
    if not whole:
        raise broken(stored.path, "it ends inside a tensor")
    return data.view(stored.dtype).reshape(stored.shape)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        StorageError: the file can't be read, or holds something else.
    """
    try:
        return _object(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise broken(path, "it should hold one JSON object") from error


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object in which no key comes twice: of two, one program would take the first and another the last.

    Raises:
        ValueError: it is something else.
        RecursionError: it is nested too deeply.
    """
    value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key twice")
    return value


def broken(path: Path, what: str) -> StorageError:
    """The error that says what is wrong with a file."""
    return StorageError(f"{path} is broken: {what}.", "Fetch the model again.")


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path} can't be read: {error}.", "Give the folder of a whole model, readable.")
