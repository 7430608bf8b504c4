"""Digests of tensors and of whole models: the same on every machine, whatever file the weights came from.

A tensor's digest covers its dtype, its shape and its bytes (little-endian, row-major, the checkpoint's own layout
except for pruned matrices, which count as (outputs, inputs)). A model's digest is the SHA-256 of the canonical JSON
of {tensor name: tensor digest}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import rfc8785
from numpy.typing import NDArray

__all__ = ["model_digest", "tensor_digest"]


def tensor_digest(tensor: NDArray[Any]) -> str:
    """SHA-256 over "DTYPE SHAPE", a line feed and the bytes; DTYPE as NumPy or ml_dtypes spells it, SHAPE as "AxB"."""
    shape = "x".join(str(side) for side in tensor.shape)
    hasher = hashlib.sha256(f"{tensor.dtype.name} {shape}\n".encode())
    hasher.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def model_digest(tensors: Mapping[str, str]) -> str:
    """SHA-256 of the canonical JSON of parameter name -> tensor digest."""
    return hashlib.sha256(rfc8785.dumps(dict(tensors))).hexdigest()
