"""A model folder is read as torch would load it, and one that is broken or unclear is refused in one sentence."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM, MixtralConfig, PreTrainedModel, Qwen3MoeConfig

from fedspallm_secure.charter import Base, Tensor, model_digest, tensor_digest
from fedspallm_secure.errors import StorageError
from fedspallm_secure.pruning import snapshot, to_numpy
from fedspallm_secure.runtime.model import describe, load_model
from fedspallm_secure.workspace import LayerStore
from fedspallm_secure.workspace.model_folder import BaseWeights, Mismatch, ModelFolder, check_model
from tests.pruning.tiny_models import FAMILIES, tiny_model

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
WHOLE, SHARDS = "50GB", "4KB"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def _saved(model: PreTrainedModel, path: Path, shard: str = WHOLE) -> ModelFolder:
    model.save_pretrained(path, max_shard_size=shard)
    assert (path / INDEX).exists() == (shard == SHARDS)
    return ModelFolder(path)


def _digests(base: Base) -> dict[str, str]:
    return {tensor.name: tensor.digest for tensor in base.pruned}


def _tiny(config: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return model


@pytest.mark.parametrize("shard", [WHOLE, SHARDS])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_digest_read_without_torch_is_that_of_the_model_in_memory(
    tmp_path: Path, family: str, dtype: str, shard: str
) -> None:
    model = tiny_model(family, dtype=DTYPES[dtype])
    base = describe(model)
    folder = _saved(model, tmp_path, shard)
    assert model_digest(folder.digests(base)) == base.model
    assert check_model(folder, _digests(base), base) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_loaded_from_a_folder_and_saved_again_has_the_same_digest(tmp_path: Path, family: str) -> None:
    _saved(tiny_model(family), tmp_path / "first")
    loaded = load_model(str(tmp_path / "first"), "bfloat16", torch.device("cpu"))
    base = describe(loaded)
    assert check_model(_saved(loaded, tmp_path / "second"), _digests(base), base) == []


@pytest.mark.parametrize(("stored", "loaded"), product(DTYPES, DTYPES))
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_base_weights_are_those_that_torch_loads_in_the_charters_dtype(
    tmp_path: Path, family: str, stored: str, loaded: str
) -> None:
    folder = _saved(tiny_model(family, dtype=DTYPES[stored]), tmp_path / "model", SHARDS)
    model = load_model(str(tmp_path / "model"), loaded, torch.device("cpu"))
    store = LayerStore(tmp_path / "layers")
    snapshot(model, store)
    base = describe(model)
    weights = BaseWeights(folder, base)
    for tensor in base.pruned:
        expected = store.weights(tensor.layer, tensor.name)
        for _ in ("checked", "relied on"):
            W = weights.weights(tensor.layer, tensor.name)
            assert (W.dtype.name, W.shape, W.flags.c_contiguous) == (loaded, (tensor.rows, tensor.columns), True)
            assert W.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("stored", "loaded"), product([*DTYPES, "float64"], DTYPES))
def test_every_number_is_cast_as_torch_casts_it(tmp_path: Path, stored: str, loaded: str) -> None:
    if stored in ("float16", "bfloat16"):
        bits: NDArray[Any] = np.arange(2**16, dtype=np.uint16)
        numbers = torch.from_numpy(bits).view(DTYPES[stored])
    else:
        # Every float16 and bfloat16 number, the middle between it and the next, and a little beside that.
        rng = np.random.default_rng(0)
        fine = np.arange(2**16, dtype=np.uint64).repeat(4) << 16
        fine += rng.choice(np.array([0, 0x1000, 0x8000, 0x7FFF, 0x8001, 0x0FFF, 0x1001], np.uint64), fine.size)
        numbers = torch.from_numpy(fine.astype(np.uint32)).view(torch.float32)
        if stored == "float64":
            numbers = numbers.double() * (1 + torch.from_numpy(rng.choice([0, 2.0**-40, -(2.0**-40)], fine.size)))
    numbers = numbers[numbers.isfinite()]
    matrix = numbers[: numbers.numel() // 8 * 8].reshape(-1, 8)
    name = "model.layers.0.weight"
    _write(tmp_path, {name: to_numpy(matrix)})
    expected = to_numpy(matrix.to(DTYPES[loaded]))
    found = ModelFolder(tmp_path).matrix(_tensor(name, expected))
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
def test_a_checkpoint_of_the_base_model_alone_serves_without_its_prefix(tmp_path: Path, family: str) -> None:
    model: Any = tiny_model(family)
    model.base_model.save_pretrained(tmp_path)
    folder = ModelFolder(tmp_path)
    base = describe(load_model(str(tmp_path), "float32", torch.device("cpu")))
    assert not {tensor.name for tensor in base.pruned} & set(folder.names())
    for tensor in base.pruned:
        assert tensor_digest(BaseWeights(folder, base).weights(tensor.layer, tensor.name)) == tensor.digest


@pytest.mark.parametrize("config", [MixtralConfig, Qwen3MoeConfig])
@pytest.mark.parametrize("shard", [WHOLE, SHARDS])
def test_experts_stored_one_by_one_are_the_stacked_ones_in_memory(tmp_path: Path, config: Any, shard: str) -> None:
    sizes = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
    experts = {"num_local_experts": 3} if config is MixtralConfig else {"num_experts": 3, "moe_intermediate_size": 8}
    model = _tiny(config(**sizes, **heads, **experts))
    base = describe(model)
    folder = _saved(model, tmp_path, shard)
    assert any("experts.gate_up_proj" in name for name in base.rest)
    assert any("experts.2.w1" in name or "experts.2.up_proj" in name for name in folder.names())
    assert check_model(folder, _digests(base), base) == []


def test_of_tied_tensors_only_the_charters_belongs_into_the_folder(tmp_path: Path) -> None:
    config = FAMILIES["llama"]()
    config.tie_word_embeddings = True
    model = _tiny(config)
    base = describe(model)
    assert "lm_head.weight" not in base.rest
    assert check_model(_saved(model, tmp_path), _digests(base), base) == []
    _change(tmp_path, lambda tensors: {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"] + 1})
    (found,) = check_model(ModelFolder(tmp_path), _digests(base), base)
    assert (found.name, found.expected) == ("lm_head.weight", None)


_NORM, _HEAD, _UP = "model.norm.weight", "lm_head.weight", "model.layers.0.mlp.up_proj.weight"
_Q, _O = "model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.o_proj.weight"


def _one_weight(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    changed = tensors[_Q].copy()
    changed[3, 5] = np.nextafter(changed[3, 5], np.inf)
    return tensors | {_Q: changed}


_CHANGES: dict[str, tuple[Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]], list[str]]] = {
    "one weight": (_one_weight, [_Q]),
    "one weight's sign": (lambda t: t | {_NORM: t[_NORM] * np.where(np.arange(16) == 7, -1, 1).astype("f4")}, [_NORM]),
    "two swapped": (lambda t: t | {_Q: t[_O], _O: t[_Q]}, [_O, _Q]),
    "a square one transposed": (lambda t: t | {_Q: np.ascontiguousarray(t[_Q].T)}, [_Q]),
    "an oblong one transposed": (lambda t: t | {_UP: np.ascontiguousarray(t[_UP].T)}, [_UP]),
    "one missing": (lambda t: {name: W for name, W in t.items() if name != _HEAD}, [_HEAD]),
    "one more": (lambda t: t | {"model.norm.bias": t[_NORM]}, ["model.norm.bias"]),
    "one renamed": (lambda t: {"x" if name == _NORM else name: W for name, W in t.items()}, [_NORM, "x"]),
    "one once more without the prefix": (lambda t: t | {"norm.weight": t[_NORM]}, ["norm.weight"]),
    "another dtype": (lambda t: t | {_NORM: t[_NORM].astype(np.float16)}, [_NORM]),
    "another shape": (lambda t: t | {_NORM: t[_NORM].reshape(4, 4)}, [_NORM]),
}


@pytest.mark.parametrize("change", _CHANGES)
def test_whatever_is_changed_in_a_published_model_is_named(tmp_path: Path, change: str) -> None:
    model = tiny_model()
    base = describe(model)
    _saved(model, tmp_path)
    how, names = _CHANGES[change]
    _change(tmp_path, how)
    found = check_model(ModelFolder(tmp_path), _digests(base), base)
    assert [mismatch.name for mismatch in found] == names
    expected = _digests(base) | base.rest
    tensors = load_file(tmp_path / WEIGHTS)
    for mismatch in found:
        actual = tensor_digest(tensors[mismatch.name]) if mismatch.name in tensors else None
        assert mismatch == Mismatch(mismatch.name, expected.get(mismatch.name), actual)


def test_a_tensor_of_the_charter_does_not_stand_in_for_another_that_is_missing(tmp_path: Path) -> None:
    W = np.ones((2, 3), np.float32)
    _write(tmp_path, {"model.layers.0.weight": W, "scale": W})
    same = tensor_digest(W)
    base = Base(layers=1, pruned=(_tensor("model.layers.0.weight", W),), rest={"scale": same, "model.scale": same})
    assert check_model(ModelFolder(tmp_path), _digests(base), base) == [Mismatch("model.scale", same, None)]


def test_pruned_tensors_are_held_against_their_new_digests_and_the_rest_against_the_charter(tmp_path: Path) -> None:
    model = tiny_model()
    base = describe(model)
    _saved(model, tmp_path)
    _change(tmp_path, lambda tensors: tensors | {_Q: tensors[_Q] * 2, _NORM: tensors[_NORM] * 2})
    new = load_file(tmp_path / WEIGHTS)
    digests = _digests(base) | {_Q: tensor_digest(new[_Q]), _NORM: tensor_digest(new[_NORM])}
    found = check_model(ModelFolder(tmp_path), digests, base)
    assert [mismatch.name for mismatch in found] == [_NORM]


@pytest.mark.parametrize("part", ["attn.c_proj", "mlp.c_fc"])
def test_a_published_matrix_stored_as_its_transpose_is_another_model_even_if_it_is_square(
    tmp_path: Path, part: str
) -> None:
    model = tiny_model("gpt2")
    base = describe(model)
    name = f"transformer.h.1.{part}.weight"
    _saved(model, tmp_path)
    _change(tmp_path, lambda tensors: tensors | {name: np.ascontiguousarray(tensors[name].T)})
    assert [mismatch.name for mismatch in check_model(ModelFolder(tmp_path), _digests(base), base)] == [name]


def test_a_base_model_with_other_weights_is_refused_by_the_name_of_the_tensor(tmp_path: Path) -> None:
    base = describe(tiny_model(seed=1))
    folder = _saved(tiny_model(seed=2), tmp_path)
    tensor = base.pruned[0]
    with pytest.raises(
        StorageError, match=rf"{tensor.name} in .* with digest .* the charter says float32 .*{tensor.digest}"
    ):
        BaseWeights(folder, base).weights(tensor.layer, tensor.name)
    with pytest.raises(StorageError, match="holds no tensor"):
        folder.matrix(tensor.model_copy(update={"name": "model.layers.9.weight"}))
    with pytest.raises(StorageError, match=r"no pruned 'model\.norm\.weight' in layer 0"):
        BaseWeights(folder, base).weights(0, "model.norm.weight")


def test_a_check_holds_one_tensor_at_a_time_and_says_how_much_it_read(tmp_path: Path) -> None:
    names = [f"model.layers.{index}.weight" for index in range(24)]
    tensors = {name: np.full((256, 512), index, np.float32) for index, name in enumerate(names)}
    _write(tmp_path, tensors)
    base = Base(layers=24, pruned=tuple(_tensor(name, tensors[name]) for name in names), rest={})
    folder = ModelFolder(tmp_path)
    headers = folder.bytes_read
    one = tensors[names[0]].nbytes
    tracemalloc.start()
    try:
        assert check_model(folder, _digests(base), base) == []
        assert tracemalloc.get_traced_memory()[1] < 3 * one
    finally:
        tracemalloc.stop()
    assert headers + 24 * one == folder.bytes_read == (tmp_path / WEIGHTS).stat().st_size


def test_every_dtype_and_shape_is_read_as_it_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = "f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 ?".split()
    tensors: dict[str, NDArray[Any]] = {kind: rng.integers(0, 2, (3, 5)).astype(kind) for kind in kinds}
    tensors |= {"scalar": np.array(7, np.int64), "empty": np.zeros((0, 4), np.float32)}
    _write(tmp_path, tensors)
    folder = ModelFolder(tmp_path)
    assert folder.names() == sorted(tensors)
    for name, tensor in tensors.items():
        found = folder.tensor(name)
        assert (found.dtype, found.shape, found.tobytes()) == (tensor.dtype, tensor.shape, tensor.tobytes())
    with pytest.raises(StorageError, match="holds no tensor 'other'"):
        folder.tensor("other")


# Headers that contradict their file. Each is (tensors, bytes of data) and what the refusal says.
_A = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
_BAD_HEADERS: dict[str, tuple[Any, int, str]] = {
    "past the end": ({"a": _A}, 4, r"'a' should begin at 0 and end by 4 and lies at 0 to 8"),
    "bytes left over": ({"a": _A}, 12, "4 bytes at its end belong to no tensor"),
    "overlap": ({"a": _A, "b": _A | {"data_offsets": [4, 12]}}, 12, "'b' should begin at 8"),
    "the same bytes twice": ({"a": _A, "b": _A}, 8, "'b' should begin at 8"),
    "gap": ({"a": _A, "b": _A | {"data_offsets": [12, 20]}}, 20, "'b' should begin at 8"),
    "backwards": ({"a": _A | {"data_offsets": [8, 0]}}, 8, "'a' should begin at 0"),
    "unknown dtype": ({"a": _A | {"dtype": "F8_E4M3"}}, 8, "dtype 'F8_E4M3', and known are F64"),
    "shape and size differ": ({"a": _A | {"shape": [3]}}, 8, r"'a' is 8 bytes for F32 \[3\]"),
    "negative side": ({"a": _A | {"shape": [-2, -1]}}, 8, "every tensor's dtype, shape and offsets"),
    "fraction": ({"a": _A | {"shape": [2.0]}}, 8, "every tensor's dtype, shape and offsets"),
    "truth as a number": ({"a": _A | {"shape": [2, True]}}, 8, "every tensor's dtype, shape and offsets"),
    "sides beyond any array": (
        {"a": {"dtype": "F32", "shape": [0, 2**52, 2**52], "data_offsets": [0, 0]}},
        0,
        "sides beyond any array",
    ),
    "too many sides": ({"a": _A | {"shape": [2] + [1] * 64}}, 8, "every tensor's dtype, shape and offsets"),
    "another field": ({"a": _A | {"more": 1}}, 8, "every tensor's dtype, shape and offsets"),
    "no offsets": ({"a": {"dtype": "F32", "shape": [2]}}, 8, "every tensor's dtype, shape and offsets"),
    "a name that moves the cursor": ({"a\x1b[2J": _A}, 8, r"'a\\x1b\[2J' is no name of a tensor"),
    "half a character as a name": ({"a\ud800": _A}, 8, "every tensor's dtype, shape and offsets"),
    "no name": ({"": _A}, 8, "every tensor's dtype, shape and offsets"),
    "a list": ([_A], 8, "every tensor's dtype, shape and offsets"),
}


@pytest.mark.parametrize("defect", _BAD_HEADERS)
def test_a_header_that_contradicts_its_file_is_refused(tmp_path: Path, defect: str) -> None:
    header, size, said = _BAD_HEADERS[defect]
    _raw(tmp_path, json.dumps(header).encode(), bytes(size))
    with pytest.raises(StorageError, match=rf"{WEIGHTS} is broken: .*{said}"):
        ModelFolder(tmp_path)


_BAD_BYTES = {
    "empty": b"",
    "shorter than a length": b"\x02\0\0",
    "header longer than the file": (9).to_bytes(8, "little") + b"{}",
    "header longer than any": (2**63).to_bytes(8, "little") + b"{}",
    "no JSON": (2).to_bytes(8, "little") + b"{]",
    "no UTF-8": (4).to_bytes(8, "little") + b'{"\xff"',
    "UTF-16": (len('{"":1}'.encode("utf-16"))).to_bytes(8, "little") + '{"":1}'.encode("utf-16"),
    "deeper than the stack": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "a tensor twice": (2 * 58 + 3).to_bytes(8, "little")
    + b'{"a":{"dtype": "U8", "shape": [2], "data_offsets": [0, 2]  },'
    + b'"a":{"dtype": "I8", "shape": [2], "data_offsets": [0, 2]}}'
    + b"\0\0",
}


@pytest.mark.parametrize("defect", _BAD_BYTES)
def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path: Path, defect: str) -> None:
    _write(tmp_path, {})
    (tmp_path / WEIGHTS).write_bytes(_BAD_BYTES[defect])
    with pytest.raises(StorageError, match=rf"{WEIGHTS} is broken: "):
        ModelFolder(tmp_path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, {"a": np.arange(6, dtype=np.float32), "b": np.arange(4, dtype=np.int8)})
    whole = (tmp_path / WEIGHTS).read_bytes()
    ModelFolder(tmp_path)
    for size in range(len(whole)):
        (tmp_path / WEIGHTS).write_bytes(whole[:size])
        with pytest.raises(StorageError, match="is broken"):
            ModelFolder(tmp_path)


def test_a_file_cut_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, {"a": np.arange(6, dtype=np.float32)})
    folder = ModelFolder(tmp_path)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-1])
    with pytest.raises(StorageError, match="it ends inside a tensor"):
        folder.tensor("a")
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(StorageError, match="can't be read"):
        folder.tensor("a")


def test_no_byte_of_a_published_model_can_change_unnoticed(tmp_path: Path) -> None:
    name, W, head = "model.layers.0.weight", np.arange(12, dtype=np.float32).reshape(3, 4), np.ones(3, np.float16)
    _write(tmp_path, {name: W, "head": head})
    base = Base(layers=1, pruned=(_tensor(name, W),), rest={"head": tensor_digest(head)})
    whole = (tmp_path / WEIGHTS).read_bytes()
    assert check_model(ModelFolder(tmp_path), _digests(base), base) == []
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        (tmp_path / WEIGHTS).write_bytes(changed)
        try:
            assert check_model(ModelFolder(tmp_path), _digests(base), base) != [], place
        except StorageError as error:
            assert str(tmp_path) in str(error)  # noqa: PT017 both outcomes notice it


_BAD_INDEX: dict[str, tuple[Any, str]] = {
    "no map": ({}, "weight_map should give each tensor's file"),
    "a number for a file": ({"a": 1}, "weight_map should give each tensor's file"),
    "nothing": ({"weight_map": {}}, "weight_map names no tensor"),
    "a shard elsewhere": ({"weight_map": {"a": "../one.safetensors"}}, "'a' should be in a safetensors file of this"),
    "a shard at the root": ({"weight_map": {"a": "/one.safetensors"}}, "'a' should be in a safetensors file of this"),
    "a pickle": ({"weight_map": {"a": "one.bin"}}, "'a' should be in a safetensors file of this"),
    "a list": ([], "should hold one JSON object"),
    "a missing shard": ({"weight_map": {"a": "one.safetensors", "b": "three.safetensors"}}, "can't be read"),
    "the wrong shard": (
        {"weight_map": {"a": "two.safetensors", "b": "one.safetensors"}},
        "'a' is in one.safetensors; .* says 'two.safetensors'",
    ),
    "one too many": (
        {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}},
        "'c' is in no file; .* says 'two.safetensors'",
    ),
}


@pytest.mark.parametrize("defect", _BAD_INDEX)
def test_an_index_that_contradicts_its_shards_is_refused(tmp_path: Path, defect: str) -> None:
    _config(tmp_path)
    save_file({"a": np.zeros(2)}, tmp_path / "one.safetensors")
    save_file({"b": np.zeros(2)}, tmp_path / "two.safetensors")
    index, said = _BAD_INDEX[defect]
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    assert ModelFolder(tmp_path).names() == ["a", "b"]
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(StorageError, match=said):
        ModelFolder(tmp_path)


def test_a_tensor_in_two_shards_or_in_none_of_the_index_is_refused(tmp_path: Path) -> None:
    _config(tmp_path)
    save_file({"a": np.zeros(2)}, tmp_path / "one.safetensors")
    save_file({"b": np.zeros(2), "a": np.ones(2)}, tmp_path / "two.safetensors")
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    with pytest.raises(StorageError, match=r"'a' is in one\.safetensors and in two\.safetensors"):
        ModelFolder(tmp_path)
    save_file({"b": np.zeros(2), "c": np.ones(2)}, tmp_path / "two.safetensors")
    with pytest.raises(StorageError, match=r"'c' is in two\.safetensors; .* says 'nothing'"):
        ModelFolder(tmp_path)


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "consolidated.00.pth"])
def test_pickled_weights_are_refused_with_what_to_do(tmp_path: Path, pickle: str) -> None:
    _config(tmp_path)
    (tmp_path / pickle).write_bytes(b"\x80\x04.")
    with pytest.raises(StorageError, match=r"Python pickles.*save it again: that writes safetensors"):
        ModelFolder(tmp_path)


def test_a_folder_that_would_load_other_weights_than_the_checked_ones_is_refused(tmp_path: Path) -> None:
    weights = {"model.layers.0.weight": np.ones((2, 3), np.float32)}
    _write(tmp_path, weights)
    base = Base(layers=1, pruned=(_tensor(*next(iter(weights.items()))),), rest={})

    save_file(weights, tmp_path / "more.safetensors")
    with pytest.raises(StorageError, match=r"more\.safetensors is there and is no part of the model"):
        check_model(ModelFolder(tmp_path), _digests(base), base)
    (tmp_path / "more.safetensors").unlink()

    for name in (INDEX, "adapter_config.json"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(StorageError, match="does not say plainly which weights are the model's"):
            ModelFolder(tmp_path)
        (tmp_path / name).unlink()

    _config(tmp_path, transformers_weights="more.safetensors")
    with pytest.raises(StorageError, match="transformers_weights"):
        ModelFolder(tmp_path)


def test_what_is_no_model_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"config\.json can't be read"):
        ModelFolder(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(StorageError, match=r"config\.json is broken: it should hold one JSON object"):
        ModelFolder(tmp_path)
    _config(tmp_path)
    with pytest.raises(StorageError, match=rf"holds neither {WEIGHTS} nor {INDEX}"):
        ModelFolder(tmp_path)


def test_experts_of_different_shapes_are_refused(tmp_path: Path) -> None:
    stem = "model.layers.0.mlp.experts"
    _write(tmp_path, {f"{stem}.0.down_proj.weight": np.zeros((2, 3)), f"{stem}.1.down_proj.weight": np.zeros((3, 2))})
    base = Base(layers=1, pruned=(), rest={f"{stem}.down_proj": "00" * 32})
    with pytest.raises(StorageError, match="differ in shape or dtype"):
        check_model(ModelFolder(tmp_path), {}, base)


def _tensor(name: str, W: NDArray[Any]) -> Tensor:
    rows, columns = W.shape
    described = {"name": name, "layer": 0, "rows": rows, "columns": columns, "dtype": W.dtype.name}
    return Tensor.model_validate(described | {"digest": tensor_digest(W)})


def _config(folder: Path, **fields: Any) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"} | fields))


def _raw(folder: Path, header: bytes, data: bytes) -> None:
    """A folder whose only weight file holds `header` and `data`."""
    _config(folder)
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + data)


def _write(folder: Path, tensors: dict[str, NDArray[Any]]) -> None:
    """A folder with these tensors, in order."""
    names = {ml_dtypes.bfloat16: "BF16", np.float64: "F64", np.float32: "F32", np.float16: "F16", np.bool_: "BOOL"}
    header, begin = {}, 0
    for name, W in tensors.items():
        dtype = names.get(W.dtype.type, f"{W.dtype.kind.upper()}{8 * W.dtype.itemsize}")
        header[name] = {"dtype": dtype, "shape": list(W.shape), "data_offsets": [begin, begin + W.nbytes]}
        begin += W.nbytes
    _raw(folder, json.dumps(header).encode(), b"".join(W.tobytes() for W in tensors.values()))


def _change(folder: Path, how: Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]) -> None:
    """Write the folder's only weight file again, with other tensors."""
    save_file(how(load_file(folder / WEIGHTS)), folder / WEIGHTS)
