"""A ledger never forgets what was spent, and never allows more than its budget."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fedspallm_secure.errors import ConfigError, LocalProtocolError, StorageError
from fedspallm_secure.messages import Identity
from fedspallm_secure.privacy import (
    Budget,
    Ledger,
    Opening,
    Release,
    Use,
    multiplier_for,
    read_ledger,
)
from fedspallm_secure.workspace import TornLineError
from tests.privacy.independent import entropy_of
from tests.privacy.uses import BUDGET, HOSPITAL, opened, release, use

_IMPORTS = """
import os, signal, sys
from pathlib import Path
from fedspallm_secure.errors import FedspallmError
from tests.privacy.uses import opened, use
path = Path(sys.argv[1])
"""


def _run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _IMPORTS + script, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_was_spent_is_there_in_the_next_run_and_for_a_reader_with_the_public_key(path: Path) -> None:
    account = read_ledger(path, HOSPITAL.public)
    assert account.opening == Opening(institution="hospital", key=HOSPITAL.public, budget=BUDGET)
    assert [spending.use for spending in account.spendings] == [
        use([release(multiplier=20 + run)], run) for run in range(3)
    ]
    assert [spending.number for spending in account.spendings] == [1, 2, 3]
    assert account.head.lines == 4
    with opened(path) as ledger:
        assert ledger.account == account
        ledger.spend(use())
        assert ledger.account == read_ledger(path, HOSPITAL.public)
    assert float(account.spendings[0].epsilon) < float(account.epsilon) < float(ledger.account.epsilon)
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_new_ledger_has_spent_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "ledger.jsonl") as ledger:
        assert ledger.account.epsilon == "0"
        assert ledger.account.spendings == ()


def test_the_budget_can_be_spent_to_the_end_and_not_beyond(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    multiplier = multiplier_for(8, 1e-6, 6)
    with opened(path) as ledger:
        ledger.spend(use([release(str(number), multiplier) for number in range(2)]))
        for run in range(4):
            ledger.spend(use([release(multiplier=multiplier)], run))
        assert Fraction("7.99") < Fraction(ledger.account.epsilon) <= 8
        before = path.read_bytes()
        with pytest.raises(LocalProtocolError, match=r"epsilon of 8\.\d+ at delta 0\.000001; the budget is 8, and"):
            ledger.spend(use([release(multiplier=500)]))
        assert path.read_bytes() == before
    with opened(path) as ledger, pytest.raises(LocalProtocolError, match="budget does not grow"):
        ledger.spend(use([release(multiplier=500)]))
    assert path.read_bytes() == before


def test_a_use_too_large_for_the_budget_leaves_room_for_a_smaller_one(tmp_path: Path) -> None:
    with opened(tmp_path / "ledger.jsonl") as ledger:
        with pytest.raises(LocalProtocolError, match="the budget is 8, and 0 is spent"):
            ledger.spend(use([release(multiplier=0.1)]))
        assert ledger.account.spendings == ()
        ledger.spend(use())


def test_uses_that_fit_one_by_one_and_not_together_are_refused_before_one_is_written(path: Path) -> None:
    planned = [use([release(multiplier=1.05)], run) for run in range(3)]
    before = path.read_bytes()
    with opened(path) as ledger:
        for one in planned:
            ledger.check([one])
        with pytest.raises(
            LocalProtocolError, match=r"With these 3 uses the ledger would come to an epsilon of 8\.\d+"
        ):
            ledger.check(planned)
        ledger.check(planned[:2])
        assert path.read_bytes() == before
        for one in planned[:2]:
            ledger.spend(one)
        with pytest.raises(LocalProtocolError, match="With this use"):
            ledger.spend(planned[2])
        ledger.check([])


def test_the_spending_is_in_the_file_before_the_noise_is_drawn(path: Path) -> None:
    there: list[int] = []

    def entropy(count: int) -> bytes:
        there.append(len(read_ledger(path, HOSPITAL.public).spendings))
        return entropy_of(0)(count)

    with opened(path) as ledger:
        allowance = ledger.spend(use())
        allowance.release("layer 0", np.zeros(8, np.int64), entropy)
    assert there == [4]


def test_the_spend_stands_when_the_process_is_killed_before_it_releases_anything(path: Path) -> None:
    done = _run("opened(path).spend(use())\nos.kill(os.getpid(), signal.SIGKILL)", path)
    assert done.returncode == -signal.SIGKILL
    with opened(path) as ledger:
        assert len(ledger.account.spendings) == 4


def test_a_line_torn_by_a_crash_allowed_nothing_and_is_dropped(path: Path) -> None:
    whole = path.read_bytes()
    with opened(path) as ledger:
        ledger.spend(use())
    torn = path.read_bytes()[:-20]
    path.write_bytes(torn)
    with pytest.raises(TornLineError):
        read_ledger(path, HOSPITAL.public)
    opened(path).close()
    assert path.read_bytes() == whole


def test_what_can_t_be_written_allows_nothing(path: Path) -> None:
    script = """
import resource
ledger = opened(path)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100,) * 2)
try:
    ledger.spend(use())
except FedspallmError as error:
    print(type(error).__name__, len(ledger.account.spendings))
"""
    before = path.read_bytes()
    assert _run(script, path).stdout.split() == ["StorageError", "3"]
    assert path.read_bytes() == before


def test_two_processes_do_not_spend_at_the_same_time(path: Path) -> None:
    script = """
try:
    opened(path).spend(use())
except FedspallmError as error:
    print(error.problem)
else:
    print("spent")
"""
    with opened(path):
        assert "can't be locked" in _run(script, path).stdout
    assert _run(script, path).stdout == "spent\n"
    assert len(read_ledger(path, HOSPITAL.public).spendings) == 4


@pytest.mark.parametrize("budget", [Budget(epsilon="9", delta="0.000001"), Budget(epsilon="8", delta="0.00001")])
def test_a_budget_is_fixed_for_good(path: Path, budget: Budget) -> None:
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"with a budget of epsilon 8 at delta 0\.000001"):
        Ledger(path, HOSPITAL, budget)
    with pytest.raises(ConfigError, match="is that of 'hospital'"):
        Ledger(path, Identity("clinic", HOSPITAL.key), BUDGET)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("epsilon", "delta"), [("0", "0.1"), ("50.1", "0.1"), ("1", "0.0"), ("1", "0.000000000000000")]
)
def test_a_budget_out_of_range_is_refused_and_no_ledger_made(tmp_path: Path, epsilon: str, delta: str) -> None:
    with pytest.raises(ConfigError, match="is out of range"):
        Ledger(tmp_path / "ledger.jsonl", HOSPITAL, Budget(epsilon=epsilon, delta=delta))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "unsound",
    [
        use([release("a"), release("a")]),
        use().model_copy(update={"dropouts": 1}),
        use([Release(name="a", kind="diagonal", inputs=1, bound=1, exponent=0, variance=127)]),
        use(
            [
                Release(name=str(number), kind="matrix", inputs=2**20, bound=1, exponent=0, variance=2**52)
                for number in range(65)
            ]
        ),
    ],
    ids=["name twice", "nobody left", "grid too coarse", "too many numbers"],
)
def test_a_use_that_is_not_sound_is_refused_and_not_written_down(path: Path, unsound: Use) -> None:
    before = path.read_bytes()
    with opened(path) as ledger, pytest.raises(ConfigError):
        ledger.spend(unsound)
    assert path.read_bytes() == before


def test_the_numbers_of_all_uses_together_stay_within_what_delta_was_kept_for(tmp_path: Path) -> None:
    many = use(
        [
            Release(name=str(number), kind="matrix", inputs=2**20, bound=1, exponent=0, variance=2**52)
            for number in range(40)
        ]
    )
    for _ in range(2):  # the second time from the file
        with opened(tmp_path / "ledger.jsonl") as ledger:
            if not ledger.account.spendings:
                ledger.spend(many)
            with pytest.raises(ConfigError, match="goes beyond"):
                ledger.spend(many)
            assert len(ledger.account.spendings) == 1


def test_a_ledger_that_is_closed_spends_nothing(path: Path) -> None:
    ledger = opened(path)
    ledger.close()
    with pytest.raises(StorageError, match="is closed"):
        ledger.spend(use())
    assert len(read_ledger(path, HOSPITAL.public).spendings) == 3
