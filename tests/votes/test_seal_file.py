"""Words pass out of SEAL and back unchanged, and a SEAL that writes in another form is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedspallm_secure.errors import ConfigError, StorageError
from fedspallm_secure.votes import choose_parameters
from fedspallm_secure.votes.library import sealapi
from fedspallm_secure.votes.seal_file import SealFile
from tests.votes.institutions import Institutions


class _OtherSeal:
    """A ciphertext of a library that writes whatever it likes."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def save(self, path: str) -> None:
        Path(path).write_bytes(self._raw)


def test_words_come_back_from_seal_unchanged(tmp_path: Path) -> None:
    all_of_them = Institutions.of(8, tmp_path)
    file = SealFile(all_of_them.parameters, tmp_path / "here")
    fresh = sealapi().Ciphertext()
    all_of_them.encryptor.encrypt_into(fresh, np.zeros(4096))
    file.words(fresh)
    words = np.random.default_rng(0).integers(0, all_of_them.parameters.q, 8192, np.uint64)
    assert np.array_equal(file.words(file.ciphertext(all_of_them.public.seal, words)), words)


def test_ciphertexts_of_two_scales_do_not_pass_through_one_file(tmp_path: Path) -> None:
    file, fresh = SealFile(choose_parameters(8), tmp_path / "here"), sealapi().Ciphertext()
    Institutions.of(8, tmp_path).encryptor.encrypt_into(fresh, np.zeros(4096))
    file.words(fresh)
    file.words(fresh)
    Institutions.of(3, tmp_path).encryptor.encrypt_into(fresh, np.zeros(4096))
    with pytest.raises(ConfigError, match="differ in more than their words"):
        file.words(fresh)


@pytest.mark.parametrize("place", [0, 2, 5, 8, 16, 17])
def test_a_file_in_another_form_is_refused(place: int, tmp_path: Path) -> None:
    Institutions.of(8, tmp_path)
    raw = bytearray((tmp_path / "ciphertext.seal").read_bytes())
    raw[place] ^= 1
    with pytest.raises(ConfigError, match="in a form that is not known here"):
        SealFile(choose_parameters(8), tmp_path / "here").words(_OtherSeal(bytes(raw)))


@pytest.mark.parametrize("raw", [b"", b"\xa1", bytes(16), bytes(100)])
def test_a_file_that_is_no_ciphertext_is_refused(raw: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in a form that is not known here"):
        SealFile(choose_parameters(8), tmp_path / "here").words(_OtherSeal(raw))


def test_a_folder_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    all_of_them = Institutions.of(8, tmp_path)
    (tmp_path / "ciphertext.seal").unlink()
    (tmp_path / "ciphertext.seal").mkdir()
    with pytest.raises(StorageError, match="can't pass through"):
        next(all_of_them.encryptor.encrypt(np.ones(1, np.bool_)))
    with pytest.raises(StorageError, match="can't pass through"):
        all_of_them.decryptor.decrypt(np.ones(8192, np.uint64))
