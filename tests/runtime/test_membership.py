"""Candidates are drawn as calibration windows are, the model stays as it was, and members show without noise."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from fedspallm_secure.charter import Unstructured
from fedspallm_secure.errors import DataError
from fedspallm_secure.pruning import Method, PruneSettings, prune
from fedspallm_secure.runtime.config import RunConfig, load_config
from fedspallm_secure.runtime.membership import (
    LAYERS,
    Candidates,
    Seen,
    adversary_windows,
    attack,
    pruned_by,
)
from fedspallm_secure.runtime.model import load_tokenizer
from fedspallm_secure.runtime.windows import load_windows
from tests.pruning.tiny_models import VOCABULARY, WINDOW, calibration_windows, tiny_model
from tests.runtime.private_runs import private_configuration

_SETTINGS = PruneSettings(block=8, device="cpu")
_HALF = Unstructured(Fraction(1, 2))
_N = 12


def _candidates(seed: int) -> Candidates:
    """Windows that prefer a few words each."""
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(VOCABULARY, WINDOW, p=rng.dirichlet(np.full(VOCABULARY, 0.05))) for _ in range(3 * _N)]
    return Candidates(*torch.tensor(np.array(drawn)).reshape(3, _N, WINDOW))


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_looking_leaves_the_model_as_it_was_and_sees_what_pruning_gives(method: Method) -> None:
    model, windows = tiny_model(), calibration_windows()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seen = pruned_by(model, windows, method=method, pattern=_HALF, settings=_SETTINGS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    prune(model, windows, method=method, pattern=_HALF, settings=_SETTINGS, layers=range(LAYERS))
    after = model.state_dict()
    for name, weights in seen.weights.items():
        assert torch.allclose(weights, after[name], atol=1e-6)
        assert torch.equal(seen.kept[name], (weights != 0).float())
    assert {name for name, tensor in after.items() if not torch.equal(tensor, before[name])} == set(seen.weights)


def test_what_several_institutions_show_together_is_the_mean_of_votes_and_of_kept_weights() -> None:
    one, other = (
        pruned_by(tiny_model(), calibration_windows(seed=seed), method="sparsegpt", pattern=_HALF, settings=_SETTINGS)
        for seed in (1, 2)
    )
    both = Seen.together([one, other])
    for name, share in both.kept.items():
        assert torch.equal(share * 2, one.kept[name] + other.kept[name])
        alone = (one.kept[name] == 1) & (other.kept[name] == 0)
        assert torch.allclose(both.weights[name][alone], one.weights[name][alone])
        agreed = share == 1
        assert torch.allclose(both.weights[name][agreed] * 2, (one.weights[name] + other.weights[name])[agreed])
    assert all(np.allclose(both.moments[key], one.moments[key] + other.moments[key]) for key in both.moments)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_members_are_told_from_others_by_one_update_and_not_by_somebody_elses(method: Method) -> None:
    model, scores = tiny_model(), {"kept", "moments"} | ({"error"} if method == "sparsegpt" else set())
    found: dict[str, list[dict[str, float]]] = {"own": [], "foreign": []}
    for seed in range(8):
        mine, theirs = _candidates(2 * seed), _candidates(2 * seed + 1)
        own, expected, foreign = (
            pruned_by(model, windows, method=method, pattern=_HALF, settings=_SETTINGS)
            for windows in (mine.members, mine.reference, theirs.members)
        )
        releases = {"own": (own, expected), "foreign": (foreign, expected)}
        areas = attack(model, mine, releases, _SETTINGS, errors=method == "sparsegpt")
        for label, of_label in areas.items():
            assert set(of_label) == scores
            found[label].append({name: area.value for name, area in of_label.items()})
    for name in scores:
        told, guessed = (np.mean([values[name] for values in found[label]]) for label in ("own", "foreign"))
        assert told > 0.6, (name, found)
        assert 0.42 < guessed < 0.58, (name, found)


def test_what_is_just_as_expected_tells_nobody_from_anybody() -> None:
    model, candidates = tiny_model(), _candidates(0)
    seen = pruned_by(model, candidates.reference, method="sparsegpt", pattern=_HALF, settings=_SETTINGS)
    areas = attack(model, candidates, {"": (seen, seen)}, _SETTINGS, errors=True)[""]
    assert {name: area.value for name, area in areas.items()} == {"kept": 0.5, "moments": 0.5, "error": 0.5}


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory, tiny: Path, texts: dict[str, Path]) -> RunConfig:
    """Six windows an institution, each of a document of its own; 24 documents."""
    return load_config(private_configuration(tmp_path_factory.mktemp("private"), tiny, texts))


@pytest.mark.parametrize("epsilon", ["8", "inf"])
def test_others_and_the_adversarys_own_windows_are_of_the_same_source_and_no_members(
    private: RunConfig, epsilon: str
) -> None:
    config = private.model_copy(update={"privacy": private.privacy.model_copy(update={"epsilon": epsilon})})
    tokenizer = load_tokenizer(config.model)
    members = load_windows(config, tokenizer, lambda done, total: None).calibration
    for member in config.institution:
        found = adversary_windows(member, config, tokenizer, members[member.name])
        parts = [found.members, found.others, found.reference]
        assert torch.equal(found.members, members[member.name])
        assert all(part.shape == found.members.shape and part.dtype == torch.int64 for part in parts)
        assert len({tuple(window) for part in parts for window in part.tolist()}) == 3 * len(found.members)


def test_a_text_too_short_for_others_is_said_to_be(private: RunConfig) -> None:
    tokenizer = load_tokenizer(private.model)
    member = private.institution[0]
    many = torch.zeros((20, private.pruning.window), dtype=torch.int64)
    with pytest.raises(DataError):
        adversary_windows(member, private, tokenizer, many)
