"""A sweep's file becomes points, each with a configuration of its own, or is refused before anything runs."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.errors import CharterError, ConfigError
from fedspallm_secure.runtime.config import RunConfig
from fedspallm_secure.runtime.first_round import first_round_of
from fedspallm_secure.runtime.sweep import MOST_POINTS, Sweep, load_sweep
from tests.runtime.conftest import Fedspallm
from tests.runtime.test_bad_input import refused

BASE = "\n".join(
    ['model = "org/model"', "[pruning]", "windows = 4"]
    + [f'[[institution]]\nname = "i{index}"\ncalibration = "text"' for index in range(5)]
)


def demo() -> dict[str, Any]:
    """Stands for the demo's configuration."""
    return {"model": "demo/model", "institution": [{"name": f"d{index}", "calibration": "t"} for index in range(5)]}


def load(folder: Path, text: str) -> Sweep:
    (folder / "base.toml").write_text(BASE, encoding="utf-8")
    (folder / "sweep.toml").write_text(text, encoding="utf-8")
    return load_sweep(folder / "sweep.toml", demo)


def swept(folder: Path, axes: str) -> Sweep:
    return load(folder, f'base = "base.toml"\n[axes]\n{axes}')


def test_points_are_all_combinations_in_order_and_each_has_its_own_configuration(tmp_path: Path) -> None:
    sweep = swept(tmp_path, 'pruning.method = ["wanda", "sparsegpt"]\n"pruning.pattern" = ["0.5", ["0.3", "0.5"]]')
    assert sweep.axes == {"pruning.method": ["wanda", "sparsegpt"], "pruning.pattern": ["0.5", ["0.3", "0.5"]]}
    found = [(point.config.pruning.method, point.config.pruning.pattern) for point in sweep.points]
    assert found == [
        ("wanda", ["0.5"]),
        ("wanda", ["0.3", "0.5"]),
        ("sparsegpt", ["0.5"]),
        ("sparsegpt", ["0.3", "0.5"]),
    ]
    assert len({point.name for point in sweep.points}) == 4
    assert {point.config.pruning.windows for point in sweep.points} == {4}


def test_points_can_be_listed_and_share_what_is_set(tmp_path: Path) -> None:
    listed = '[[points]]\nseed = 3\n[[points]]\npruning.method = "wanda"\nseed = 4\n'
    sweep = load(tmp_path, f'base = "demo"\n[set]\nevaluation.alone = false\n{listed}')
    assert [point.axes for point in sweep.points] == [{"seed": 3}, {"pruning.method": "wanda", "seed": 4}]
    assert [point.config.seed for point in sweep.points] == [3, 4]
    assert {(point.config.model, point.config.evaluation.alone) for point in sweep.points} == {("demo/model", False)}


def test_any_key_of_a_configuration_can_be_an_axis(tmp_path: Path) -> None:
    sweep = swept(tmp_path, 'institution.1.capacity = ["1", "0.5"]\nevaluation.windows = [2, 3]')
    assert [point.config.institution[1].capacity for point in sweep.points] == ["1", "1", "0.5", "0.5"]
    assert [point.config.evaluation.windows for point in sweep.points] == [2, 3, 2, 3]


def test_fewer_institutions_are_the_first_ones_and_what_is_auto_follows(tmp_path: Path) -> None:
    few, all_five = swept(tmp_path, "institutions = [3, 5]").points
    assert [member.name for member in few.config.institution] == ["i0", "i1", "i2"]
    assert len(all_five.config.institution) == 5
    digits = [point.config.protocol.digits_per_word for point in (few, all_five)]
    assert digits[0] != "auto"
    assert digits == sorted(digits, key=int, reverse=True)


@given(st.fractions(0, Fraction(19, 20), max_denominator=20), st.integers(0, 50))
def test_no_more_than_the_share_vanishes_and_more_of_it_is_who_vanished_before_and_others(
    tmp_path_factory: pytest.TempPathFactory, rate: Fraction, seed: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    axes = f'dropout_rate = ["0", "{rate / 2}", "{rate}"]' if rate else 'dropout_rate = ["0"]'
    points = swept(folder, f"{axes}\nseed = [{seed}]").points
    gone = [set(point.vanishing) for point in points]
    assert gone[0] == set()
    assert len(gone[-1]) == int(5 * rate)
    assert all(fewer <= more for fewer, more in pairwise(gone))


def test_the_seed_draws_who_vanishes(tmp_path: Path) -> None:
    points = swept(tmp_path, f'dropout_rate = ["0.2"]\nseed = {list(range(20))}').points
    assert {len(point.vanishing) for point in points} == {1}
    assert len({point.vanishing for point in points}) > 2


def test_a_points_name_changes_with_whatever_it_depends_on_and_with_nothing_else(tmp_path: Path) -> None:
    name = swept(tmp_path, "seed = [0]").points[0].name
    assert swept(tmp_path, "seed = [1, 0]").points[1].name == name
    others = [
        load(tmp_path, f'base = "base.toml"\n[set]\n{line}\n[axes]\nseed = [0]').points[0].name
        for line in ("pruning.windows = 5", 'dropout_rate = "0.2"', "institutions = 4", "protocol.digits_per_word = 5")
    ]
    assert len({name, *others}) == 5


_REFUSED = [
    ('base = "base.toml"', "either [axes] or [[points]]"),
    ('base = "base.toml"\n[axes]\nseed = [1]\n[[points]]\nseed = 1', "either [axes] or [[points]]"),
    ('base = "base.toml"\ngrid = 1\n[axes]\nseed = [1]', "grid: there is no such key"),
    ("[axes]\nseed = [1]", "base: field required"),
    ('base = "none.toml"\n[axes]\nseed = [1]', "none.toml can't be read"),
    ('base = "base.toml"\n[axes]\nseed = []', "axis seed"),
    ('base = "base.toml"\n[axes]\nseed = 1', "axis seed"),
    ('base = "base.toml"\n[axes]\nseed = [1, 2, 1]', "seed of the sweep"),
    ('base = "base.toml"\n[set]\nseed = 1\n[axes]\nseed = [1]', "both sets and varies seed"),
    ('base = "base.toml"\n[axes]\npruning.windws = [1]', "pruning.windws: there is no such key"),
    ('base = "base.toml"\n[axes]\npruning.windows = [1, "two"]', 'pruning.windows = "two"'),
    ('base = "base.toml"\n[axes]\ninstitution.7.name = ["x"]', "institution.7.name names no place"),
    ('base = "base.toml"\n[axes]\ninstitutions = [3, 6]', "has 5 institutions"),
    ('base = "base.toml"\n[axes]\ninstitutions = [true]', "has 5 institutions"),
    ('base = "base.toml"\n[axes]\ndropout_rate = ["1"]', 'dropout_rate = "1" is no share'),
    ('base = "base.toml"\n[axes]\ndropout_rate = ["some"]', 'dropout_rate = "some" is no share'),
    ('base = "base.toml"\n[[points]]\nseed = 1\n[[points]]\nseed = 1', "Points 1 and 2"),
    ('base = "base.toml"\n[[points]]', "Point 1 of the sweep"),
    (
        'base = "base.toml"\n[set]\nprotocol.votes = "ckks"\n[axes]\nprotocol.custodian = ["offer.json"]',
        "can't wait for a custodian elsewhere",
    ),
    (f'base = "base.toml"\n[axes]\nseed = {list(range(MOST_POINTS + 1))}', f"has {MOST_POINTS + 1} points"),
]


@pytest.mark.parametrize(("text", "said"), _REFUSED)
def test_what_is_wrong_with_a_sweep_is_one_error_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)


def test_a_grid_of_the_most_points_is_fine(tmp_path: Path) -> None:
    sweep = swept(tmp_path, f"seed = {list(range(MOST_POINTS // 5))}\npruning.windows = [1, 2, 3, 4, 5]")
    assert len(sweep.points) == MOST_POINTS


def test_a_pattern_that_is_none_keeps_its_own_kind_of_error(tmp_path: Path) -> None:
    with pytest.raises(CharterError, match=r'pruning\.pattern = "half" can\'t be run\. \'half\' is not a pruning'):
        swept(tmp_path, 'pruning.pattern = ["0.5", "half"]')


@pytest.mark.parametrize(("axes", "code"), [("pruning.windws = [1]", 2), ('pruning.pattern = ["half"]', 6)])
def test_the_command_says_it_once_with_its_exit_code_and_makes_nothing(
    fedspallm: Fedspallm, tmp_path: Path, axes: str, code: int
) -> None:
    (tmp_path / "base.toml").write_text(BASE, encoding="utf-8")
    (tmp_path / "sweep.toml").write_text(f'base = "base.toml"\n[axes]\nseed = [0]\n{axes}', encoding="utf-8")
    refused(fedspallm("tradeoff", tmp_path / "sweep.toml", "--out", tmp_path / "out"), code, "can't be run")
    assert {path.name for path in tmp_path.iterdir()} == {"base.toml", "sweep.toml"}


@pytest.mark.parametrize(
    ("axes", "groups"),
    [
        ('protocol.digits_per_word = [4, 8]\nprotocol.votes = ["masked", "ckks"]\ndropout_rate = ["0", "0.2"]', 1),
        ('protocol.clip = ["1", "2"]\nprotocol.witness = ["nobody", "auditor"]', 1),
        ("protocol.minimum_cohort = [3, 4]", 2),
        ('pruning.pattern = ["0.3", "0.5"]\nprotocol.colluders = [1, 0]', 2),
        ('pruning.method = ["wanda", "sparsegpt"]\nseed = [0, 1]', 4),
        ("institutions = [3, 5]", 2),
    ],
)
def test_points_that_differ_in_how_sums_are_made_alone_prune_the_same_layers(
    tmp_path: Path, axes: str, groups: int
) -> None:
    found = [first_round_of(point.config) for point in swept(tmp_path, axes).points]
    assert None not in found
    assert len(set(found)) == groups


class _Later(RunConfig):
    """A configuration with a key that nobody has heard of."""

    aggregate: str = "weights"


def test_a_key_that_is_not_known_is_taken_for_one_that_changes_layers_unless_it_has_its_default(
    tmp_path: Path,
) -> None:
    plain = swept(tmp_path, "seed = [0]").points[0].config.model_dump()
    assert first_round_of(_Later.model_validate(plain)) is not None
    assert first_round_of(_Later.model_validate(plain | {"aggregate": "statistics"})) is None
