"""The model card says what was done and measured, parses where the hub parses it, and names no machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedspallm_secure.errors import StorageError
from fedspallm_secure.evaluation import Results, write_model_card
from tests.sample_results import HOSTILE, hostile, sampled

_BOTH = pytest.mark.parametrize("make", [hostile, sampled])


def _card(results: Results, folder: Path) -> tuple[dict[str, Any], str]:
    """Front matter and body."""
    write_model_card(results, folder)
    before, front, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert before == ""
    return yaml.safe_load(front), body


def _cells(body: str) -> dict[str, list[str]]:
    """Rows of all tables by their first cell."""
    lines = [line.replace("\\|", "\0") for line in body.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def test_the_front_matter_is_what_the_hub_reads(tmp_path: Path) -> None:
    front, _ = _card(sampled(), tmp_path)
    assert front == {
        "license": "apache-2.0",
        "base_model": "HuggingFaceTB/SmolLM2-135M",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["pruned", "sparse", "federated", "fedspallm", "sparsegpt"],
    }


def test_a_licence_of_ones_own_and_a_base_model_in_a_folder_are_told_as_such(tmp_path: Path) -> None:
    front, body = _card(hostile(), tmp_path)
    assert front["license"] == "other"
    assert front["license_name"] == "Own licence: ask us"
    assert "base_model" not in front
    assert "/srv/models" not in body


@_BOTH
def test_every_perplexity_is_in_the_card(make: Callable[[], Results], tmp_path: Path) -> None:
    results = make()
    rows = _cells(_card(results, tmp_path)[1])
    models = {"dense": results.perplexity.dense, "federated": results.perplexity.federated}
    models |= {f"{name} alone": values for name, values in results.perplexity.alone.items()}
    models |= {"central": results.perplexity.central} if results.perplexity.central else {}
    for label, values in models.items():
        assert [cell.strip("*") for cell in rows[label]] == [f"{value:.2f}" for value in values.values()]


def test_the_sparsity_and_the_cohort_of_every_layer_are_in_the_card(tmp_path: Path) -> None:
    results = sampled()
    rows = _cells(_card(results, tmp_path)[1])
    for layer, share in enumerate(results.layers):
        cohorts = [", ".join(turn[layer]) for turn in results.cohorts]
        assert rows[str(layer)] == [f"{100 * share:.2f} %", *cohorts]
    full = hostile()
    rows = _cells(_card(full, tmp_path)[1])
    assert [rows[str(layer)] for layer in range(3)] == [["49.94 %"], ["50.00 %"], ["50.00 %"]]
    assert f"all institutions: {', '.join(full.bytes_up)}." in _card(full, tmp_path)[1]


@_BOTH
def test_method_pattern_digest_privacy_and_loading_are_in_the_card(make: Callable[[], Results], tmp_path: Path) -> None:
    results = make()
    _, body = _card(results, tmp_path)
    assert "SparseGPT" in body
    assert f"Pattern: {results.config['pruning']['pattern'][-1]} (" in body
    assert results.model_digest in body
    assert results.base_licence in body
    assert "AutoModelForCausalLM.from_pretrained(folder)" in body
    assert "every institution of the roster know" in body
    assert ("whoever measured it held them all" in body) == (results.perplexity.central is not None)


def test_how_votes_were_hidden_is_told_as_it_was(tmp_path: Path) -> None:
    masked = sampled()
    protocol = masked.config["protocol"] | {"votes": "ckks"}
    encrypted = masked.model_copy(update={"config": masked.config | {"protocol": protocol}})
    told = "Votes were encrypted for a custodian, who counted them; changes are hidden under random masks"
    assert told in _card(encrypted, tmp_path)[1]
    body = _card(masked, tmp_path)[1]
    assert "Both are hidden under random masks that cancel in the sum.\n" in body
    assert "custodian" not in body


def test_a_name_is_text_in_markdown_too(tmp_path: Path) -> None:
    _, body = _card(hostile(), tmp_path)
    assert HOSTILE not in body
    assert "<script" not in body
    assert "<b>" not in body
    (heading,) = [line for line in body.splitlines() if "alert(1)" in line and line.startswith("|")]
    assert heading.replace("\\|", "").count("|") == 8


@_BOTH
def test_equal_results_give_equal_cards(make: Callable[[], Results], tmp_path: Path) -> None:
    write_model_card(make(), tmp_path / "first")
    write_model_card(make(), tmp_path / "second")
    assert (tmp_path / "first" / "README.md").read_bytes() == (tmp_path / "second" / "README.md").read_bytes()
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["README.md"]


def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("not a folder")
    with pytest.raises(StorageError, match=r"README\.md can't be written"):
        write_model_card(sampled(), tmp_path / "model")
