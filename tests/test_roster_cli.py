"""`fedspallm roster`: institutions agree on a roster, replace a stolen key, and are told what is wrong with a file."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from fedspallm_secure.charter.roster_chain import open_roster
from fedspallm_secure.charter.roster_file import load_roster, save_roster
from fedspallm_secure.cli import main
from fedspallm_secure.messages import digest
from tests.charter.example_rosters import example_roster, holder, signed

Done = subprocess.CompletedProcess[str]


def _roster(*arguments: str | Path) -> Done:
    """What `fedspallm roster` with `arguments` says, run in this process."""
    words = ["fedspallm", "roster", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGINT)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patch.object(sys, "argv", words):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        finally:
            signal.signal(signal.SIGINT, handler)
    return Done(words, code, out.getvalue(), err.getvalue())


def _said(*arguments: str | Path) -> str:
    """The same, of a command that succeeds: standard output without line breaks."""
    done = _roster(*arguments)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def _refused(done: Done, code: int, part: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 2, done.stderr
    assert part in done.stderr
    assert done.stdout == ""


def _keygen(name: str, path: Path) -> str:
    return _said("keygen", "--name", name, "--out", path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a roster that all three signed, and their keys."""
    monkeypatch.chdir(tmp_path)
    identities = [holder(name) for name in ("aachen", "berlin", "celle")]
    for identity in identities:
        pem = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{identity.name}.pem").write_bytes(pem)
    save_roster(signed(example_roster(), *identities), tmp_path / "roster-1.json")
    return tmp_path


def test_institutions_agree_on_a_roster_and_replace_a_stolen_key(tmp_path: Path) -> None:
    names = ("aachen", "berlin", "celle")
    first, second = tmp_path / "roster-1.json", tmp_path / "roster-2.json"
    members = {name: _keygen(name, tmp_path / f"{name}.pem") for name in names}
    options = [word for member in members.values() for word in ("--member", member)]
    _said("new", *options, "--threshold", "2", "--out", first)
    assert "Signatures none" in _said("show", first)
    for name in names:
        _refused(_roster("check", first), 7, "needs signatures of 3 of the 3 members")
        _said("sign", first, "--key", tmp_path / f"{name}.pem", "--name", name)
    assert "Signatures aachen, berlin, celle; not checked" in _said("show", first)
    said = _said("check", first)
    for part in ("Roster 1", f"Digest {digest(open_roster(load_roster(first)))}", "none: it is the first", "2 of 3"):
        assert part in said

    stolen = members["berlin"].removeprefix("berlin=")
    fresh, newcomer = _keygen("berlin", tmp_path / "berlin-2.pem"), _keygen("dresden", tmp_path / "dresden.pem")
    change = ["--rotate", fresh, "--revoke", f"{stolen}=laptop stolen = key out", "--add", newcomer, "--threshold", "3"]
    _said("next", first, *change, "--out", second)
    before = second.read_bytes()
    _refused(_roster("sign", second, "--key", tmp_path / "berlin.pem", "--name", "berlin"), 7, "laptop stolen")
    assert second.read_bytes() == before
    for key, name in (("aachen", "aachen"), ("berlin-2", "berlin")):
        _said("sign", second, "--key", tmp_path / f"{key}.pem", "--name", name)
    _refused(_roster("check", first, second), 7, "needs signatures of 2 of the 3 members of roster 1")
    _said("sign", second, "--key", tmp_path / "celle.pem", "--name", "celle")
    said = _said("check", first, second)
    for part in (
        "Roster 2",
        f"Follows {digest(open_roster(load_roster(first)))}",
        f"Revoked {stolen}: laptop stolen = key out",
        "3 of 4 must sign",
        f"Roster 1 digest {digest(open_roster(load_roster(first)))}: compare",
        *(item.replace("=", " ") for item in (members["aachen"], fresh, members["celle"], newcomer)),
    ):
        assert part in said
    _said("next", second, "--remove", "celle", "--out", tmp_path / "roster-3.json")
    assert list(open_roster(load_roster(tmp_path / "roster-3.json")).keys) == ["aachen", "berlin", "dresden"]


def test_a_key_file_is_pem_for_its_owner_alone_and_no_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "aachen.pem"
    mask = os.umask(0)
    try:
        said = _keygen("aachen", path)
    finally:
        os.umask(mask)
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    assert said == f"aachen={key.public_key().public_bytes_raw().hex()}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = path.read_bytes()
    _refused(_roster("keygen", "--name", "aachen", "--out", path), 2, "There is a file")
    _refused(_roster("keygen", "--name", "no name", "--out", tmp_path / "other"), 2, "name: string should match")
    _refused(_roster("keygen", "--name", "aachen", "--out", tmp_path / "none" / "key"), 9, "can't be written")
    assert path.read_bytes() == written
    assert os.listdir(tmp_path) == ["aachen.pem"]


def test_signing_again_changes_nothing(folder: Path) -> None:
    path = folder / "roster-1.json"
    written = path.read_bytes()
    _said("sign", path, "--key", folder / "berlin.pem", "--name", "berlin")
    assert path.read_bytes() == written


def test_whoever_signs_with_a_key_that_the_roster_does_not_list_is_told(folder: Path) -> None:
    _said("next", "roster-1.json", "--remove", "berlin", "--out", "roster-2.json")
    kept = _roster("sign", "roster-2.json", "--key", "aachen.pem", "--name", "aachen")
    assert "does not list" not in kept.stderr
    left = _roster("sign", "roster-2.json", "--key", "berlin.pem", "--name", "berlin")
    assert left.returncode == 0
    assert "This roster does not list that key for berlin" in left.stderr
    _refused(_roster("check", "roster-1.json", "roster-2.json"), 7, "2 of the 2 members of roster 2")
    _said("sign", "roster-2.json", "--key", "celle.pem", "--name", "celle")
    assert "Roster 2" in _said("check", "roster-1.json", "roster-2.json")


_KEY = holder("dresden").public


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ("new --member aachen --threshold 1 --out new.json", 2, "--member aachen is not NAME=KEY"),
        ("new --member aachen=12 --threshold 1 --out new.json", 2, "public_key: string should match"),
        (f"new --member a/b={_KEY} --threshold 1 --out new.json", 2, "name: string should match"),
        (f"new --member a={_KEY} --member a={_KEY} --threshold 2 --out new.json", 6, "2 members have the name a"),
        (f"new --member dresden={_KEY} --threshold 2 --out new.json", 6, "threshold 2 with 1 member"),
        (f"new --member dresden={_KEY} --threshold -1 --out new.json", 2, "threshold: input should be"),
        (f"new --member dresden={_KEY} --threshold 1 --out roster-1.json", 2, "There is a file roster-1.json"),
        (f"new --member dresden={_KEY} --threshold 1 --out none/new.json", 9, "can't be written"),
        ("next roster-1.json --remove dresden --out new.json", 2, "has no member 'dresden'"),
        ("next roster-1.json --remove celle --remove berlin --out new.json", 6, "threshold 2 with 1 member"),
        (f"next roster-1.json --revoke {_KEY} --out new.json", 2, "is not KEY=REASON"),
        (f"next roster-1.json --revoke {_KEY}= --out new.json", 2, "reason: string should match"),
        (f"next roster-1.json --revoke {holder('celle').public}=lost --out new.json", 6, "'celle' is revoked: lost"),
        ("next none.json --out new.json", 2, "none.json can't be read"),
        ("next celle.pem --out new.json", 2, "celle.pem is no signed roster"),
        ("show celle.pem", 2, "celle.pem is no signed roster"),
        ("sign roster-1.json --key none.pem --name celle", 2, "none.pem can't be read"),
        ("sign roster-1.json --key roster-1.json --name celle", 2, "holds no private key that can be read"),
        ("sign roster-1.json --key locked.pem --name celle", 2, "holds no private key that can be read"),
        ("sign roster-1.json --key other.pem --name celle", 2, "of another kind than Ed25519"),
        ("sign roster-1.json --key celle.pem --name -/-", 2, "name: string should match"),
        ("check roster-1.json roster-1.json", 7, "Roster 1 came where roster 2 was due"),
        ("check roster-1.json none.json", 2, "none.json can't be read"),
    ],
)
def test_what_is_wrong_ends_with_its_exit_code_and_changes_nothing(
    folder: Path, words: str, code: int, part: str
) -> None:
    locked = holder("celle").key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (folder / "locked.pem").write_bytes(locked)
    other = x25519.X25519PrivateKey.from_private_bytes(bytes(range(32)))
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "other.pem").write_bytes(pem)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    _refused(_roster(*words.split()), code, part)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_it_needs_no_torch(folder: Path) -> None:
    program = """if True:
        import sys
        sys.modules |= {"torch": None, "transformers": None}
        sys.argv = ["fedspallm", "roster", "check", "roster-1.json"]
        from fedspallm_secure.cli import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 must sign the next one" in done.stdout
