"""A roster's file is read back as it was written, and no byte of it can change unnoticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.charter.roster_chain import SignedRoster, check_chain
from fedspallm_secure.charter.roster_file import load_roster, save_roster
from fedspallm_secure.errors import CharterError, ConfigError, ProtocolError, StorageError
from tests.charter.example_rosters import example_roster, holder, signed

_START = signed(example_roster(), *(holder(name) for name in ("aachen", "berlin", "celle")))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A roster on disk."""
    path = tmp_path_factory.mktemp("rosters") / "roster-1.json"
    save_roster(_START, path)
    return path


def _refused(path: Path, data: bytes) -> None:
    changed = path.with_name("changed.json")
    changed.write_bytes(data)
    with pytest.raises((ConfigError, CharterError, ProtocolError)):
        check_chain([load_roster(changed)])


def test_a_roster_comes_back_as_it_was_written(path: Path) -> None:
    assert load_roster(path) == _START
    save_roster(load_roster(path), path)
    assert load_roster(path) == _START
    assert os.listdir(path.parent) == [path.name]


@given(st.data())
def test_any_changed_byte_is_refused(path: Path, data: st.DataObject) -> None:
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(1, 255)) ^ whole[place]
    _refused(path, whole[:place] + bytes([other]) + whole[place + 1 :])


def test_any_end_that_is_missing_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for size in range(len(whole)):
        _refused(path, whole[:size])


def test_another_layout_or_a_member_that_is_there_twice_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for other in (
        _START.model_dump_json(indent=2).encode() + b"\n",
        whole[:-1] + b"\r\n",
        whole + b"\n",
        b" " + whole,
        whole.replace(b'{"payload":', b'{"payload":"","payload":', 1),
    ):
        assert SignedRoster.model_validate_json(other) == _START
        changed = path.with_name("changed.json")
        changed.write_bytes(other)
        with pytest.raises(ConfigError, match="in another form than one line of canonical JSON"):
            load_roster(changed)


def test_what_can_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(StorageError, match="taken can't be written"):
        save_roster(_START, tmp_path / "taken")
    assert os.listdir(tmp_path) == ["taken"]
