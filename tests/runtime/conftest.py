"""A tiny real model with a tokenizer of its own, and texts of three kinds, on disk."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from fedspallm_secure.cli import main

Fedspallm = Callable[..., subprocess.CompletedProcess[str]]

COMMAND = str(Path(sys.executable).parent / "fedspallm")
ENVIRONMENT = os.environ | {"COLUMNS": "100"}


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> a text file; the kinds share few words."""
    folder = tmp_path_factory.mktemp("texts")
    words = {
        "letters": "patient admitted discharged with chronic pain and treated by the surgeon",
        "ledger": "balance carried forward account credited debited interest at quarter end",
        "poems": "moon silver river whispering night over hills where shepherds dream alone",
    }
    files = {}
    for kind, text in words.items():
        draw = torch.Generator().manual_seed(len(kind))
        vocabulary = text.split()
        picks = torch.randint(len(vocabulary), (4000,), generator=draw).tolist()
        files[kind] = folder / f"{kind}.txt"
        files[kind].write_text(" ".join(vocabulary[pick] for pick in picks), encoding="utf-8")
    return files


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, Path]) -> Path:
    """Directory of a randomly initialised Llama of three layers and its tokenizer."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel()
    trainer = BpeTrainer(vocab_size=300, special_tokens=["<eos>"], initial_alphabet=ByteLevel.alphabet())
    tokenizer.train([str(path) for path in texts.values()], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")  # type: ignore[no-untyped-call]
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory, tiny: Path, texts: dict[str, Path]) -> Path:
    """A configuration file with one institution a kind of text."""
    lines = [f'model = "{tiny}"', "[pruning]", "windows = 4", "window = 64", "[evaluation]", "windows = 2"]
    for kind, path in texts.items():
        lines += ["[[institution]]", f'name = "{kind}"', f'calibration = "{path}"']
    path = tmp_path_factory.mktemp("configuration") / "run.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def fedspallm() -> Fedspallm:
    """Runs a command line as the installed command would, in this process: importing torch anew takes seconds."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = ["fedspallm", *map(str, arguments)]
        out, err = io.StringIO(), io.StringIO()
        handler = signal.getsignal(signal.SIGINT)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patch.object(sys, "argv", words):
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
            else:
                code = 0
            finally:
                signal.signal(signal.SIGINT, handler)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def process() -> Fedspallm:
    """Runs the installed command as a process of its own."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [COMMAND, *map(str, arguments)]
        return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)

    return run
