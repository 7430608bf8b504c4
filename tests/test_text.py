"""Documents out of every kind of source, and windows out of documents."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import datasets
import pytest
import torch
from huggingface_hub import constants
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from fedspallm_secure.errors import DataError
from fedspallm_secure.runtime.text import document_windows, load_documents, token_windows

DOCUMENTS = ["first text", "second\ntext with two lines", "third café"]
EOS = 0


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """One token a number: the word "n" is token n + 1."""
    words = {"<eos>": EOS} | {str(number): number + 1 for number in range(20000)}
    backend = Tokenizer(WordLevel(words, unk_token="<eos>"))
    backend.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")  # type: ignore[no-untyped-call]


def numbers(first: int, last: int) -> str:
    return " ".join(str(number) for number in range(first, last))


def rows_in(path: Path, kind: str, field: str = "text") -> str:
    """Write `DOCUMENTS` as a source of `kind`."""
    rows = [{field: text, "page": page} for page, text in enumerate(DOCUMENTS)]
    source = path / f"source.{kind}"
    if kind == "jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == "json":
        source.write_text(json.dumps(rows), encoding="utf-8")
    elif kind == "parquet":
        datasets.Dataset.from_list(rows).to_parquet(source)
    elif kind == "saved":
        datasets.Dataset.from_list(rows).save_to_disk(source)
    elif kind == "splits":
        datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(source)
    return str(source)


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "saved", "splits"])
def test_every_kind_of_source_gives_its_documents_in_order(tmp_path: Path, kind: str) -> None:
    assert list(load_documents([rows_in(tmp_path, kind)])) == DOCUMENTS


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "saved"])
def test_another_field_can_be_named(tmp_path: Path, kind: str) -> None:
    assert list(load_documents([rows_in(tmp_path, kind, field="body")], field="body")) == DOCUMENTS


def test_a_text_file_is_one_document_and_sources_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("one\n\ndocument", encoding="utf-8")
    assert list(load_documents([str(path), rows_in(tmp_path, "jsonl")])) == ["one\n\ndocument", *DOCUMENTS]


def test_blank_and_missing_documents_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"text": " \\n"}\n{"text": null}\n{"text": "words"}\n')
    assert list(load_documents([str(path)])) == ["words"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.txt", None, "No such file"),
        ("missing.jsonl", None, "No such file"),
        ("empty.txt", b"", "empty"),
        ("empty.jsonl", b"", "empty"),
        ("blank.txt", b" \n\n", "blank"),
        ("blank.jsonl", b"\n\n", "Text was expected in"),
        ("broken.jsonl", b'{"text": "good"}\n{"text": oops\n', "JSON"),
        ("latin.txt", b"caf\xe9", "utf-8"),
        ("latin.jsonl", b'{"text": "caf\xe9"}\n', "utf-8"),
        ("broken.parquet", b"not parquet at all", "Parquet"),
        ("other.jsonl", b'{"body": "x", "page": 1}\n', "'text' was expected.*body, page"),
        ("number.jsonl", b'{"text": 7}\n', "int came"),
        ("strange.docx", b"x", r"\.txt, \.jsonl, \.json or \.parquet"),
    ],
)
def test_a_source_that_gives_no_text_is_named_with_the_reason(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=said) as refused:
        list(load_documents([str(path)]))
    assert name in str(refused.value)


def test_a_directory_that_is_no_dataset_and_a_split_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither"):
        load_documents([str(tmp_path)])
    with pytest.raises(DataError, match=r"'test' was expected.*has train"):
        load_documents([rows_in(tmp_path, "splits")], split="test")


def test_a_missing_file_is_said_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent"):
        load_documents([rows_in(tmp_path, "jsonl"), str(tmp_path / "absent.txt")])


def test_no_source_is_refused() -> None:
    with pytest.raises(DataError, match="At least one"):
        load_documents([])


def test_a_hub_name_is_refused_when_the_hub_cannot_be_reached_or_may_not_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        with pytest.raises(DataError, match=r"some/dataset.*can't be reached"):
            load_documents(["some/dataset"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"some/dataset.*HF_HUB_OFFLINE"):
        load_documents(["some/dataset:config"])


def test_reading_shows_no_progress_bar(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = rows_in(tmp_path, "parquet")
    capfd.readouterr()
    list(load_documents([source]))
    assert capfd.readouterr() == ("", "")


def test_windows_are_cut_from_documents_joined_by_the_end_of_sequence_token(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    documents = [numbers(0, 5), numbers(5, 10)]
    got = token_windows(documents, tokenizer, count=2, length=6, seed=0)
    assert got.dtype == torch.int64
    assert got.tolist() == [[1, 2, 3, 4, 5, EOS], [6, 7, 8, 9, 10, EOS]]


def test_windows_do_not_overlap_and_none_is_drawn_twice(tokenizer: PreTrainedTokenizerFast) -> None:
    got = token_windows([numbers(0, 1000)], tokenizer, count=50, length=10, seed=3)
    assert got.shape == (50, 10)
    assert len(set(got.flatten().tolist())) == 500
    assert all((row[0] - 1) % 10 == 0 for row in got.tolist())


def test_the_seed_alone_decides_which_windows_are_drawn(tokenizer: PreTrainedTokenizerFast) -> None:
    first, again, other = (
        token_windows([numbers(0, 5000)], tokenizer, count=8, length=10, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_more_is_read_than_thirty_two_times_what_is_needed(tokenizer: PreTrainedTokenizerFast) -> None:
    read = 0

    def endless() -> object:
        nonlocal read
        while True:
            read += 1
            yield numbers(0, 9)

    got = token_windows(endless(), tokenizer, count=10, length=10, seed=0)  # type: ignore[arg-type]
    assert got.shape == (10, 10)
    assert read < 10 * 32 + 64


def test_too_short_a_text_is_said_in_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="3 windows of 10 tokens need 30 tokens of text, and only 29 came"):
        token_windows([numbers(0, 28)], tokenizer, count=3, length=10, seed=0)
    assert token_windows([numbers(0, 29)], tokenizer, count=3, length=10, seed=0).shape == (3, 10)


def _own_windows(
    documents: list[str], tokenizer: PreTrainedTokenizerFast, count: int = 4, seed: int = 7
) -> list[tuple[int, ...]]:
    drawn = document_windows(documents, tokenizer, count=count, length=5, seed=seed)
    assert drawn.dtype == torch.int64
    assert drawn.shape == (count, 5)
    return [tuple(window) for window in drawn.tolist()]


def test_each_window_can_be_the_beginning_of_a_document_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    documents = [numbers(100 * i, 100 * i + 3 + i) for i in range(20)]
    beginnings = {tuple(range(100 * i + 1, 100 * i + 6)) for i in range(2, 20)}
    drawn = _own_windows(documents, tokenizer)
    assert len(set(drawn)) == 4
    assert set(drawn) <= beginnings
    assert _own_windows(documents[::-1], tokenizer) == drawn
    assert _own_windows(documents, tokenizer, seed=8) != drawn


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("documents", [10, 32 * 4 + 9])
def test_a_document_more_or_less_exchanges_one_window_at_most(
    tokenizer: PreTrainedTokenizerFast, count: int, documents: int
) -> None:
    # More documents than are looked at, too: then another one moves up.
    texts = [numbers(100 * i, 100 * i + 8) for i in range(documents)]
    before = set(_own_windows(texts, tokenizer, count))
    exchanged = [
        len(before - set(_own_windows(texts[:gone] + texts[gone + 1 :], tokenizer, count))) for gone in range(documents)
    ]
    assert set(exchanged) == {0, 1}
    assert sum(exchanged) >= count


def test_too_few_documents_that_are_long_enough_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    documents = [numbers(0, 500), numbers(600, 603), numbers(700, 705), numbers(800, 804)]
    with pytest.raises(DataError, match=r"4 windows of 5 tokens, .*; 2 came"):
        _own_windows(documents, tokenizer)
