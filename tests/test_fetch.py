"""Fetching a pinned wheel, with the real pip against a real package index on this machine."""

from __future__ import annotations

import hashlib
import io
import os
import random
import socket
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fedspallm_secure.errors import FetchError, StorageError
from fedspallm_secure.runtime.assets import Wheel, fetch_wheel

NAME = "tiny_wheel-1.0-py3-none-any.whl"


class Index:
    """A package index with one wheel, which can give other bytes or hang up in the middle.

    Attributes:
        given: what is served as the wheel.
        hang_ups: how many more answers end after half of the file.
        ranges: the Range header of every request for the wheel.
    """

    def __init__(self, given: bytes) -> None:
        self.given = given
        self.hang_ups = 0
        self.ranges: list[str | None] = []

    def handler(index) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if not self.path.endswith(".whl"):
                    self.answer(200, f'<a href="/{NAME}">{NAME}</a>'.encode(), "text/html")
                    return
                wanted = self.headers["Range"]
                index.ranges.append(wanted)
                first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                self.answer(206 if first else 200, index.given, "application/zip", first)

            def answer(self, status: int, body: bytes, kind: str, first: int = 0) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("ETag", '"one"')
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(body) - first))
                if first:
                    self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
                self.end_headers()
                last = len(body)
                if kind == "application/zip" and index.hang_ups:
                    index.hang_ups -= 1
                    last = len(body) // 2
                    self.close_connection = True
                self.wfile.write(body[first:last])

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def wheel_bytes(seed: int) -> bytes:
    """A valid wheel of a little over a megabyte that does not compress."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("tiny_wheel/data.bin", random.Random(seed).randbytes(1 << 20))
        wheel.writestr("tiny_wheel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-wheel\nVersion: 1.0\n")
        wheel.writestr(
            "tiny_wheel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_wheel-1.0.dist-info/RECORD", "")
    return file.getvalue()


GOOD = wheel_bytes(1)
WHEEL = Wheel(NAME, hashlib.sha256(GOOD).hexdigest())


def use_index(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Point pip at this machine's port and at nothing else."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    index = Index(GOOD)
    with ThreadingHTTPServer(("127.0.0.1", 0), index.handler()) as server:
        use_index(monkeypatch, server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield index
        server.shutdown()


def files_under(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def test_a_good_wheel_is_fetched_once_and_stands_alone_in_the_cache(index: Index, tmp_path: Path) -> None:
    assert fetch_wheel(WHEEL, tmp_path).read_bytes() == GOOD
    assert fetch_wheel(WHEEL, tmp_path).read_bytes() == GOOD
    assert len(index.ranges) == 1
    assert files_under(tmp_path) == [f"wheels/{NAME}"]


def test_a_wheel_with_another_digest_is_tried_twice_refused_and_not_kept(index: Index, tmp_path: Path) -> None:
    index.given = wheel_bytes(2)
    with pytest.raises(FetchError, match=f"{WHEEL.sha256}.*{hashlib.sha256(index.given).hexdigest()}"):
        fetch_wheel(WHEEL, tmp_path)
    assert len(index.ranges) == 2
    assert files_under(tmp_path) == []


def test_a_cached_file_that_was_damaged_is_fetched_again(index: Index, tmp_path: Path) -> None:
    fetch_wheel(WHEEL, tmp_path).write_bytes(GOOD[:-1])
    assert fetch_wheel(WHEEL, tmp_path).read_bytes() == GOOD


def test_a_broken_connection_is_resumed_where_it_broke(index: Index, tmp_path: Path) -> None:
    index.hang_ups = 1
    seen: list[tuple[int, int]] = []
    assert fetch_wheel(WHEEL, tmp_path, lambda done, total: seen.append((done, total))).read_bytes() == GOOD
    assert index.ranges == [None, f"bytes={len(GOOD) // 2}-"]
    assert seen[-1][0] == seen[-1][1]


def test_two_at_once_do_not_harm_each_other(index: Index, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch_wheel(WHEEL, tmp_path), range(2)))
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == GOOD
    assert files_under(tmp_path) == [f"wheels/{NAME}"]


def test_an_index_that_cannot_be_reached_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        use_index(monkeypatch, unused.getsockname()[1])
        with pytest.raises(FetchError, match=r"can't be fetched.*--model with a local directory"):
            fetch_wheel(WHEEL, tmp_path)
    assert files_under(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "wheels").write_text("a file in the way")
    with pytest.raises(StorageError, match="cache"):
        fetch_wheel(WHEEL, tmp_path)


def test_a_compiled_wheel_is_asked_for_by_its_own_platform_and_not_by_this_one() -> None:
    wheel = Wheel("some_name-1.2-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl", "0" * 64)
    assert wheel.requirement() == [
        "some_name==1.2",
        "--implementation=cp",
        "--python-version=311",
        "--abi=cp311",
        "--platform=manylinux_2_24_x86_64",
        "--platform=manylinux_2_28_x86_64",
    ]
