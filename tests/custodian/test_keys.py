"""A custodian's folder is its own, serves one charter, and says what is wrong with it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspallm_secure.charter import load_key, save_key
from fedspallm_secure.custodian import load_contexts, load_offer, open_office
from fedspallm_secure.messages import digest
from tests.custodian.waiting_run import NAME, Waiting, custodian, keygen, refused, start

_FILES = {"signing-key.pem", "round-0001.secret", "round-0001.context", "offer.json", "journal"}


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Waiting:
    """A run that proposes its charter, and the folder of the custodian that it names."""
    waiting = start(tmp_path_factory.mktemp("waiting"))
    waiting.exchange.propose(waiting.run.charter)
    return waiting


def test_the_folder_and_every_file_in_it_are_their_owners_alone(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        folder = keygen(tmp_path / "new" / "keys")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == _FILES
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_what_is_printed_is_what_the_others_need(tmp_path: Path) -> None:
    done = custodian("keygen", tmp_path / "keys", "--name", NAME, "--institutions", "5", "--rounds", "2")
    offer = load_offer(tmp_path / "keys" / "offer.json")
    assert len(set(offer.contexts)) == 2
    assert len(load_contexts(offer, tmp_path / "keys")) == 2
    printed = done.stdout.split()
    for text in (NAME, offer.public_key, digest(offer), *offer.contexts):
        assert text in [word.rstrip(",") for word in printed]
    with open_office(tmp_path / "keys") as office:
        assert office.offer == offer


def test_no_two_folders_have_a_key_in_common(tmp_path: Path) -> None:
    one, other = (load_offer(keygen(tmp_path / name) / "offer.json") for name in ("one", "other"))
    assert one.public_key != other.public_key
    assert set(one.contexts).isdisjoint(other.contexts)


def test_a_signing_key_may_be_brought_along(tmp_path: Path) -> None:
    save_key(Ed25519PrivateKey.generate(), tmp_path / "mine.pem")
    options = ["--name", NAME, "--institutions", "3", "--rounds", "1", "--key", str(tmp_path / "mine.pem")]
    assert custodian("keygen", tmp_path / "keys", *options).returncode == 0
    public = load_key(tmp_path / "mine.pem").public_key().public_bytes_raw().hex()
    assert load_offer(tmp_path / "keys" / "offer.json").public_key == public
    assert (tmp_path / "keys" / "signing-key.pem").read_bytes() == (tmp_path / "mine.pem").read_bytes()


@pytest.mark.parametrize(
    ("changes", "code", "part"),
    [
        ({"--name": "no name"}, 2, "'no name' is no custodian's name"),
        ({"--institutions": "1000000000000000000"}, 6, "institutions"),
        ({"--key": "none.pem"}, 2, "none.pem can't be read"),
    ],
)
def test_what_can_not_be_made_leaves_no_folder(tmp_path: Path, changes: dict[str, str], code: int, part: str) -> None:
    options = {"--name": NAME, "--institutions": "3", "--rounds": "1"} | changes
    words = [word for option in options.items() for word in option]
    refused(custodian("keygen", tmp_path / "keys", *words), code, part)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["--institutions 1 --rounds 1", "--institutions 3 --rounds 0", "--rounds 1"])
def test_numbers_that_mean_nothing_are_wrong_arguments(tmp_path: Path, words: str) -> None:
    assert custodian("keygen", tmp_path / "keys", "--name", NAME, *words.split()).returncode == 2
    assert not list(tmp_path.iterdir())


def test_keys_are_never_written_over(tmp_path: Path) -> None:
    folder = keygen(tmp_path / "keys")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    refused(custodian("keygen", folder, "--name", "x", "--institutions", "3", "--rounds", "1"), 2, "There is")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _flipped(name: str, place: int = 200) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[place % len(data)] ^= 1
        (folder / name).write_bytes(data)

    return damage


def _cut(name: str, left: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(left * len(data))])

    return damage


def _of_another(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        shutil.copy(keygen(folder.with_name("another")) / name, folder / name)

    return damage


@pytest.mark.parametrize(
    ("damage", "code", "part"),
    [
        (_without("offer.json"), 2, "offer.json can't be read"),
        (_cut("offer.json", 0.5), 2, "is no custodian's offer"),
        (lambda folder: (folder / "offer.json").write_bytes((folder / "offer.json").read_bytes() + b" "), 2, "another"),
        (_of_another("offer.json"), 9, "round-0001.context is not the context"),
        (_without("signing-key.pem"), 9, "signing-key.pem can't be read"),
        (_cut("signing-key.pem", 0.5), 9, "holds no private key"),
        (_of_another("signing-key.pem"), 9, f"is not the key of the custodian '{NAME}'"),
        (_without("round-0001.context"), 9, "round-0001.context can't be read"),
        (_flipped("round-0001.context"), 9, "round-0001.context is not the context"),
        (_without("round-0001.secret"), 9, "round-0001.secret can't be read"),
        (_cut("round-0001.secret", 0), 9, "round-0001.secret is of no use"),
        (_cut("round-0001.secret", 0.5), 9, "round-0001.secret is of no use"),
        (_of_another("round-0001.secret"), 9, "does not belong to the charter's CKKS context"),
        (
            lambda folder: shutil.copy(folder / "round-0001.context", folder / "round-0001.secret"),
            9,
            "holds no secret key",
        ),
        (_without("journal"), 9, "journal is missing"),
        (_cut("journal", 0), 9, "journal is empty"),
        (_cut("journal", 0.5), 9, "journal is empty"),
        (_of_another("journal"), 9, "is the journal of other keys"),
        (_flipped("journal", 5), 9, "Line 1 of the journal"),
    ],
)
def test_every_damage_is_one_clear_error(
    waiting: Waiting, tmp_path: Path, damage: Callable[[Path], object], code: int, part: str
) -> None:
    folder = tmp_path / "keys"
    shutil.copytree(waiting.keys, folder)
    damage(folder)
    refused(custodian("sign", folder, waiting.folder, "--yes"), code, part)
    refused(custodian("count", folder, waiting.folder), code, part)
    assert not waiting.exchange.signature.exists()


def test_a_folder_that_is_not_there_is_a_wrong_argument(waiting: Waiting, tmp_path: Path) -> None:
    refused(custodian("sign", tmp_path / "none", waiting.folder), 2, "none/offer.json can't be read")


def test_one_process_at_a_time_opens_a_folder(waiting: Waiting) -> None:
    with open_office(waiting.keys):
        refused(custodian("sign", waiting.keys, waiting.folder, "--yes"), 9, "Another process holds it")


@pytest.mark.parametrize("verb", ["keygen", "sign", "count"])
def test_without_tenseal_each_command_says_what_to_install(waiting: Waiting, tmp_path: Path, verb: str) -> None:
    made = ["--name", NAME, "--institutions", "3", "--rounds", "1"]
    rest = [str(tmp_path / "keys"), *made] if verb == "keygen" else [str(waiting.keys), str(waiting.folder)]
    words = ["fedspallm", "custodian", verb, *rest]
    script = (
        "import sys; sys.modules |= dict.fromkeys(['tenseal', 'torch', 'transformers']);"
        f"sys.argv = {words!r}; from fedspallm_secure.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    refused(done, 2, "need TenSEAL", "pip install 'fedspallm-secure[ckks]'")
    assert not (tmp_path / "keys").exists()
