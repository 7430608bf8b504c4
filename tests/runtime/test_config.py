"""What a configuration leaves open is settled from what it says, and its paths start from its own folder."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspallm_secure.charter import unmasking_threshold
from fedspallm_secure.errors import ConfigError
from fedspallm_secure.privacy import Budget
from fedspallm_secure.runtime.config import RunConfig, build_config, load_config
from fedspallm_secure.runtime.sections import OFF


def _private(method: str = "wanda", folder: Path = Path(), **privacy: Any) -> RunConfig:
    institutions = [{"name": name, "calibration": f"{name}.txt"} for name in ("aachen", "berlin", "celle")]
    raw = {"model": "model", "institution": institutions, "pruning": {"method": method}, "privacy": privacy}
    return build_config(raw, folder)


def _config(**protocol: Any) -> RunConfig:
    institutions = [{"name": name, "calibration": f"{name}.txt"} for name in ("aachen", "berlin", "celle")]
    return build_config({"model": "model", "institution": institutions, "protocol": protocol}, Path())


def test_by_default_a_sum_needs_everybody_since_three_of_three_must_agree() -> None:
    assert _config().protocol.dropouts == 0


@given(st.integers(2, 65), st.integers(0, 63))
def test_auto_allows_the_most_drop_outs_that_leave_a_quorum(cohort: int, colluders: int) -> None:
    dropouts = _config(minimum_cohort=cohort, colluders=colluders).protocol.dropouts
    assert isinstance(dropouts, int)
    threshold = unmasking_threshold(cohort, colluders)
    assert cohort - (dropouts + 1) < threshold
    assert cohort - dropouts >= threshold or dropouts == 0


@pytest.mark.parametrize(
    ("cohort", "colluders", "dropouts"),
    [(5, 1, 1), (5, 0, 2), (65, 1, 31), (66, 1, 3), (100, 5, 5), (1000, 50, 50), (100, 97, 1)],
)
def test_auto_allows_one_in_twenty_where_a_cohort_is_too_large_for_all_to_share_with_all(
    cohort: int, colluders: int, dropouts: int
) -> None:
    assert _config(minimum_cohort=cohort, colluders=colluders).protocol.dropouts == dropouts


def test_a_number_of_drop_outs_that_is_given_stays() -> None:
    assert _config(minimum_cohort=9, dropouts=1).protocol.dropouts == 1


def test_a_policy_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("", encoding="utf-8")
    lines = ['model = "model"', "[[institution]]", 'name = "aachen"', 'calibration = "a.txt"', 'policy = "policy.toml"']
    (tmp_path / "run.toml").write_text("\n".join(lines), encoding="utf-8")
    assert load_config(tmp_path / "run.toml").institution[0].policy == str(tmp_path / "policy.toml")
    assert _config().institution[0].policy is None


@pytest.mark.parametrize(
    ("number", "text"), [(8, "8"), (0.5, "0.5"), (0.1, "0.1"), (0.000001, "0.000001"), (1.0, "1.0"), ("0.50", "0.50")]
)
def test_a_number_stands_for_its_shortest_text_and_text_for_itself(number: object, text: str) -> None:
    institution = {"name": "aachen", "calibration": "text.txt", "capacity": number}
    sections = {"protocol": {"clip": number}, "privacy": {"clip": number, "budget": number}}
    config = build_config({"model": "model", "institution": [institution], **sections}, Path())
    found = config.institution[0].capacity, config.protocol.clip, config.privacy.clip, config.privacy.budget
    assert found == (text,) * 4


@pytest.mark.parametrize(("pattern", "texts"), [(0.5, ["0.5"]), ([0.25, "0.5"], ["0.25", "0.5"]), ("2:4", ["2:4"])])
def test_patterns_are_texts_too(pattern: object, texts: list[str]) -> None:
    institution = {"name": "aachen", "calibration": "text.txt"}
    raw = {"model": "model", "institution": [institution], "pruning": {"pattern": pattern}}
    assert build_config(raw, Path()).pruning.pattern == texts
    assert _private(epsilon=inf).privacy.epsilon == OFF


def test_by_default_there_is_no_noise() -> None:
    assert not _config().privacy.on
    assert not _private("magnitude").privacy.on
    assert _private(epsilon="8").privacy.on


def test_a_budget_is_that_of_one_run_if_nothing_else_is_said() -> None:
    assert _private(epsilon="8", delta="0.00001").privacy.whole == Budget(epsilon="8", delta="0.00001")
    assert _private(epsilon="8", budget="20").privacy.whole == Budget(epsilon="20", delta="0.000001")


@pytest.mark.parametrize(
    ("method", "privacy", "part"),
    [
        ("magnitude", {"epsilon": "8"}, "reads no text"),
        ("wanda", {"epsilon": "8", "budget": "4"}, "does not fit into a budget of 4"),
        ("wanda", {"epsilon": "0"}, "epsilon 0 at delta 0.000001 is out of range"),
        ("wanda", {"epsilon": "51"}, "epsilon 51"),
        ("wanda", {"epsilon": "8", "budget": "51"}, "epsilon 51"),
        ("wanda", {"epsilon": "8", "delta": "0.0"}, "delta 0.0 "),
        ("wanda", {"epsilon": "8", "clip": "0"}, "above 0 and at most 1, not 0"),
        ("wanda", {"epsilon": "8", "clip": "1.5"}, "not 1.5"),
        ("wanda", {"epsilon": "8", "unit": "person"}, "privacy.unit"),
        ("wanda", {"epsilon": "8", "repair": False}, "privacy.repair: there is no such key"),
        ("wanda", {"epsilon": True}, "privacy.epsilon"),
        ("wanda", {"epsilon": -8}, "privacy.epsilon"),
        ("wanda", {"epsilon": float("nan")}, "privacy.epsilon"),
        ("wanda", {"epsilon": [8]}, "privacy.epsilon"),
    ],
)
def test_privacy_that_can_not_be_had_is_refused(method: str, privacy: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        _private(method, **privacy)


def test_ledgers_and_public_text_are_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "public.txt").write_text("text", encoding="utf-8")
    privacy = _private(folder=tmp_path, epsilon="8", ledger="ledgers", public=["python", "public.txt"]).privacy
    assert privacy.ledger == str(tmp_path / "ledgers")
    assert privacy.public == ["python", str(tmp_path / "public.txt")]
    assert _private(epsilon="8").privacy.ledger == "here"
