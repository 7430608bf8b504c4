"""A tensor's digest is its dtype, shape and bytes; a model's digest is its tensors' by name."""

from __future__ import annotations

import hashlib
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from fedspallm_secure.charter import model_digest, tensor_digest

_MATRIX = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_digest_covers_the_bytes_that_are_documented() -> None:
    written = b"float32 2x3\n" + bytes.fromhex("00000000 0000803f 00000040 00004040 00008040 0000a040")
    assert tensor_digest(_MATRIX) == hashlib.sha256(written).hexdigest()


@pytest.mark.parametrize("bit", [0, 7, 8 * 24 - 1])
def test_one_changed_bit_changes_the_digest(bit: int) -> None:
    data = bytearray(_MATRIX.tobytes())
    data[bit // 8] ^= 1 << bit % 8
    assert tensor_digest(np.frombuffer(data, np.float32).reshape(2, 3)) != tensor_digest(_MATRIX)


def test_the_sign_of_zero_and_the_bits_of_nan_count() -> None:
    zeros = np.array([0.0, -0.0, np.nan, -np.nan], np.float32)
    assert len({tensor_digest(zeros[index : index + 1]) for index in range(4)}) == 4


def test_the_same_bytes_under_another_dtype_or_shape_are_another_tensor() -> None:
    halves = _MATRIX.view(np.float16)
    variants: list[NDArray[Any]] = [
        _MATRIX,
        _MATRIX.reshape(3, 2),
        _MATRIX.reshape(6),
        _MATRIX.reshape(1, 6),
        _MATRIX.view(np.int32),
    ]
    variants += [halves, halves.view(ml_dtypes.bfloat16), halves.view(np.int16)]
    assert len({tensor_digest(variant) for variant in variants}) == len(variants)


def test_layout_in_memory_does_not_matter() -> None:
    fortran = np.asfortranarray(_MATRIX)
    strided = np.repeat(_MATRIX, 2, axis=1)[:, ::2]
    assert tensor_digest(fortran) == tensor_digest(strided) == tensor_digest(_MATRIX)


def test_scalars_and_empty_tensors_have_digests_too() -> None:
    shapes: list[tuple[int, ...]] = [(), (1,), (0,), (0, 3), (3, 0)]
    assert len({tensor_digest(np.zeros(shape, np.float32)) for shape in shapes}) == len(shapes)


def test_a_model_digest_covers_names_and_digests_but_no_order() -> None:
    a, b = "a" * 64, "b" * 64
    written = b'{"x":"%b","y":"%b"}' % (a.encode(), b.encode())
    assert model_digest({"y": b, "x": a}) == model_digest({"x": a, "y": b}) == hashlib.sha256(written).hexdigest()
    others = [{"x": a}, {"x": b, "y": a}, {"x": a, "z": b}, {"x": a, "y": a}, {"x": a, "y": b, "z": a}, {}]
    assert len({model_digest(other) for other in others}) == len(others)
    assert model_digest({"x": a, "y": b}) not in {model_digest(other) for other in others}
