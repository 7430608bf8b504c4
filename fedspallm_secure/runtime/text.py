"""An institution's own text: documents out of files, token windows out of documents.

A source is a .txt file (one document), a .jsonl, .json or .parquet file (a document a row), a directory written by
`datasets.save_to_disk`, or the name of a dataset on the Hugging Face hub, "NAME" or "NAME:CONFIG". Files and hub are
read as streams: nothing private is copied into a cache of `datasets`, and only as much is read as is needed.

Calibration and evaluation draw their windows alike: the documents are joined with the tokenizer's end-of-sequence
token between them, cut into windows that don't overlap, and of these `count` are drawn at random without replacement,
in place of the first `count`, which may all be of one document. They are drawn from the first 32 * count windows, so
that a source larger than memory costs no more; one that is sorted should be shuffled first.

Where one document is to be protected, no window may hold parts of two, and no document may give two: then each window
is the beginning of a document of its own (`document_windows`).
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import torch
from datasets.exceptions import DatasetsError
from transformers import PreTrainedTokenizerBase

from fedspallm_secure.errors import DataError
from fedspallm_secure.runtime.hub import reach_hub

__all__ = ["document_windows", "load_documents", "token_windows"]

_BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}
_POOL = 32
_AT_ONCE = 64


def load_documents(sources: Sequence[str], *, split: str = "train", field: str = "text") -> Iterator[str]:
    """The documents of all sources, one after the other; blank ones are left out.

    Args:
        sources: files, directories and names on the hub, as the module's first lines say.
        split: which split of a hub dataset, or of a directory that holds several.
        field: the column that holds a document.

    Raises:
        DataError: at once, a source is missing, of no known kind or can't be reached; while reading, one is damaged,
            holds no text, or has no such field.
    """
    if not sources:
        raise DataError("At least one source of text was expected, and none came.", "Name a file or a dataset.")
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    opened = [(source, _rows(source, split, field)) for source in sources]
    return (document for source, rows in opened for document in _documents(source, rows, field))


def token_windows(
    documents: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, count: int, length: int, seed: int
) -> torch.Tensor:
    """Windows of text for calibration or evaluation.

    Args:
        documents: text, read only as far as needed.
        tokenizer: of the model. Without an end-of-sequence token, documents follow each other with nothing between.
        count: windows to draw.
        length: tokens a window.
        seed: decides which windows, and nothing else does.

    Returns:
        int64 (count, length), token ids, windows in the order of the text.

    Raises:
        DataError: the documents have fewer than count * length tokens.
    """
    needed = count * length
    separator = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    tokens: list[int] = []
    remaining = iter(documents)
    while len(tokens) < _POOL * needed and (some := list(islice(remaining, _AT_ONCE))):
        for ids in tokenizer(some, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]:
            tokens += ids
            tokens += separator
    if len(tokens) < needed:
        raise DataError(
            f"{count} windows of {length} tokens need {needed} tokens of text, and only {len(tokens)} came.",
            "Add text, or ask for fewer or shorter windows.",
        )
    whole = min(len(tokens) // length, _POOL * count)
    drawn = torch.randperm(whole, generator=torch.Generator().manual_seed(seed))[:count].sort().values
    return torch.tensor(tokens[: whole * length], dtype=torch.int64).view(whole, length)[drawn]


def document_windows(
    documents: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, count: int, length: int, seed: int
) -> torch.Tensor:
    """Windows of text, each the beginning of another document; documents that are shorter than that are left out.

    Of the first 32 * count documents that are long enough those with the smallest hashes are taken. So one document
    more or less in the source exchanges one window at most, and leaves all others as they are.

    Args:
        documents: text, read only as far as needed.
        tokenizer: of the model.
        count: windows to draw.
        length: tokens a window.
        seed: goes into the hashes.

    Returns:
        int64 (count, length), token ids, in the order of the hashes.

    Raises:
        DataError: fewer than count documents are long enough.
    """
    long_enough = islice(_beginnings(documents, tokenizer, length), _POOL * count)
    drawn = heapq.nsmallest(count, long_enough, key=lambda ids: hashlib.sha256(f"{seed}/{ids}".encode()).digest())
    if len(drawn) < count:
        raise DataError(
            f"{count} windows of {length} tokens, each of a document of its own, need as many documents of that length;"
            f" {len(drawn)} came.",
            "Add documents, or ask for fewer or shorter windows; a .txt file is one document.",
        )
    return torch.tensor(drawn, dtype=torch.int64)


def _beginnings(documents: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int) -> Iterator[list[int]]:
    """The first tokens of each document that has as many."""
    remaining = iter(documents)
    while some := list(islice(remaining, _AT_ONCE)):
        for ids in tokenizer(some, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]:
            if len(ids) >= length:
                yield ids[:length]


def _rows(source: str, split: str, field: str) -> Iterable[Mapping[str, Any]]:
    """Open one source as rows."""
    path = Path(source)
    try:
        if path.is_dir():
            return _saved(source, split)
        if path.suffix in (".txt", *_BUILDERS):
            if path.stat().st_size == 0:
                raise DataError(f"Text was expected in {source}, and the file is empty.", "Leave it out, or fill it.")
            if path.suffix == ".txt":
                return [{field: path.read_text(encoding="utf-8")}]
            return _stream(_BUILDERS[path.suffix], split="train", data_files=source)
        if path.is_file() or path.is_absolute() or source.startswith("."):
            raise DataError(
                f"A file that ends in .txt, .jsonl, .json or .parquet was expected, or a directory, and {source} came.",
                "Rename or convert the file, or correct the path.",
            )
        reach_hub()
        name, _, config = source.partition(":")
        return _stream(name, config or None, split=split)
    except (OSError, ValueError, DatasetsError) as error:
        raise _unreadable(source, error) from error


def _stream(*what: str | None, **options: str) -> Iterable[Mapping[str, Any]]:
    rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(*what, streaming=True, **options)
    return rows


def _saved(source: str, split: str) -> Iterable[Mapping[str, Any]]:
    """A directory of `save_to_disk`: a dataset, or several under the names of their splits."""
    saved = datasets.load_from_disk(source)
    if isinstance(saved, datasets.DatasetDict):
        if split not in saved:
            raise DataError(
                f"A split {split!r} was expected in {source}, which has {', '.join(saved)}.", "Choose one of these."
            )
        saved = saved[split]
    rows: Iterable[Mapping[str, Any]] = saved
    return rows


def _documents(source: str, rows: Iterable[Mapping[str, Any]], field: str) -> Iterator[str]:
    """The texts of one source's rows."""
    empty = True
    try:
        for row in rows:
            if field not in row:
                raise DataError(
                    f"A field {field!r} was expected in {source}, which has {', '.join(row)}.", "Choose one of these."
                )
            text = row[field]
            if not isinstance(text, str | None):
                raise DataError(
                    f"Text was expected in the field {field!r} of {source}, and {type(text).__name__} came.",
                    "Choose the field that holds the documents.",
                )
            if text and text.strip():
                empty = False
                yield text
    except (OSError, ValueError, DatasetsError) as error:
        raise _unreadable(source, error) from error
    if empty:
        raise DataError(f"Text was expected in {source}, and every document is blank.", "Leave it out, or fill it.")


def _unreadable(source: str, error: Exception) -> DataError:
    return DataError(
        f"Text was expected in {source}: {str(error).rstrip('.')}.",
        "Give a UTF-8 .txt, .jsonl, .json or .parquet file, a directory of `datasets.save_to_disk`, or a hub name.",
    )
