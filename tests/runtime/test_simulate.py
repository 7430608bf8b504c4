"""A run gives a model that loads anywhere, is as sparse as asked, and is the same every time."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from fedspallm_secure.charter import Charter
from fedspallm_secure.evaluation import Results
from fedspallm_secure.messages import digest, open_envelope
from fedspallm_secure.transcript import BlobStore, read_log
from tests.runtime.conftest import Fedspallm

KINDS = ["letters", "ledger", "poems"]


@pytest.fixture(scope="module")
def run(process: Fedspallm, configuration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a finished run with SparseGPT at 50 %."""
    out = tmp_path_factory.mktemp("run") / "out"
    done = process("simulate", configuration, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def prunable(name: str) -> bool:
    return name.startswith("model.layers.") and name.endswith("_proj.weight")


def test_the_model_loads_with_transformers_and_generates(run: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(run / "model")
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    logits = model(**tokenizer("patient admitted", return_tensors="pt")).logits
    assert torch.isfinite(logits).all()
    assert "sparsity_config" not in model.config.to_dict()


def test_every_pruned_tensor_has_exactly_the_zeros_asked_for_and_all_others_are_the_bases(
    run: Path, tiny: Path
) -> None:
    base, model = weights(tiny), weights(run / "model")
    assert base.keys() == model.keys()
    for name, tensor in model.items():
        if prunable(name):
            assert int((tensor == 0).sum()) == int(Fraction("0.5") * tensor.numel()), name
        else:
            assert torch.equal(tensor, base[name]), name


def test_results_hold_what_is_promised(run: Path, tiny: Path) -> None:
    raw = json.loads((run / "results.json").read_text(encoding="utf-8"))
    results = Results.model_validate(raw)
    for row in (raw["perplexity"][label] for label in ("dense", "federated", "central")):
        assert set(row) == {*KINDS, "mix"}
    assert set(raw["perplexity"]["alone"]) == set(KINDS)
    assert set(results.sparsity) == {name for name in weights(tiny) if prunable(name)}
    assert set(results.sparsity.values()) == {0.5}
    assert set(results.bytes_up) == set(results.bytes_down) == set(KINDS)
    assert all(results.seconds[step] > 0 for step in ("secure sums", "prune at letters", "perplexity of dense"))
    assert results.config["pruning"]["pattern"] == ["0.5"]


def test_the_transcript_holds_every_message_signed_and_every_payload(run: Path) -> None:
    charter = Charter.model_validate_json((run / "transcript" / "charter.json").read_bytes())
    assert digest(charter) == json.loads((run / "results.json").read_text(encoding="utf-8"))["charter_digest"]
    blobs = BlobStore(run / "transcript" / "blobs")
    kinds = []
    for _, envelope in read_log(run / "transcript" / "log.jsonl"):
        message = open_envelope(envelope, charter.keys)
        kinds.append(message.kind)
        for lane in getattr(message, "lanes", ()):
            assert blobs.get(lane.blob).size == lane.words
    keys = ["advertise"] * 3 + ["advertised"] + ["share"] * 3 + ["shares"] * 3
    opened = ["survivors"] + ["confirm"] * 3 + ["confirmed"] + ["unmask"] * 3
    a_sum = ["masked"] * 3 + opened + ["sums"] + ["proof"] * 3 + ["proofs"]
    assert kinds == keys + 2 * a_sum + ["model"] * 4


def test_work_is_removed_and_nothing_unfinished_is_left(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {"model", "transcript", "results.json", "report.html"}
    assert [path.name for path in run.parent.iterdir()] == ["out"]


def test_the_same_seed_gives_the_same_model_and_another_seed_another(
    run: Path, fedspallm: Fedspallm, configuration: Path, tmp_path: Path
) -> None:
    quick = ["--set", "evaluation.alone=false", "--set", "evaluation.central=false"]
    for name, seed in (("same", 0), ("other", 1)):
        done = fedspallm("simulate", configuration, "--out", tmp_path / name, "--set", f"seed={seed}", *quick)
        assert done.returncode == 0, done.stderr
    model = (run / "model" / "model.safetensors").read_bytes()
    assert (tmp_path / "same" / "model" / "model.safetensors").read_bytes() == model
    assert (tmp_path / "other" / "model" / "model.safetensors").read_bytes() != model


def test_two_of_four_keeps_at_most_two_in_every_group(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ["--set", 'pruning.pattern="2:4"', "--set", "evaluation.alone=false", "--set", "evaluation.central=false"]
    done = fedspallm("simulate", configuration, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    for name, tensor in weights(out / "model").items():
        if prunable(name):
            assert int((tensor.reshape(-1, 4) != 0).sum(dim=1).max()) <= 2, name


@pytest.mark.parametrize("method", ["sparsegpt", "wanda", "magnitude"])
def test_layer_sampling_and_a_schedule_of_two_rounds_reach_the_target(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path, method: str
) -> None:
    out, policy = tmp_path / "out", tmp_path / "policy.toml"
    bounds = ("minimum_cohort = 2", "minimum_threshold = 2", "minimum_contributors = 2", "minimum_colluders = 0")
    policy.write_text("\n".join(("allow_two_institutions = true", *bounds)), encoding="utf-8")
    settings = [
        f"pruning.method={method}",
        'pruning.pattern=["0.25", "0.5"]',
        *("protocol.colluders=0", "protocol.minimum_contributors=2", "protocol.minimum_cohort=2"),
        *(f'institution.{index}.capacity="0.7"' for index in range(3)),
        *(f"institution.{index}.policy={policy}" for index in range(3)),
    ]
    options = [item for setting in settings for item in ("--set", setting)]
    done = fedspallm("simulate", configuration, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    results = Results.model_validate_json((out / "results.json").read_text(encoding="utf-8"))
    assert set(results.sparsity.values()) == {0.5}
    assert [[len(cohort) for cohort in cohorts] for cohorts in results.cohorts] == [[2, 2, 2], [2, 2, 2]]
    assert set(results.perplexity.alone) == set(KINDS)


def test_evaluate_agrees_with_the_run(run: Path, fedspallm: Fedspallm, tiny: Path, texts: dict[str, Path]) -> None:
    options = [item for path in texts.values() for item in ("--data", str(path))]
    dense = fedspallm("evaluate", tiny, *options, "--window", "64")
    pruned = fedspallm("evaluate", run / "model", *options, "--window", "64")
    assert dense.returncode == pruned.returncode == 0, dense.stderr + pruned.stderr
    assert set(json.loads(dense.stdout)) == {"letters.txt", "ledger.txt", "poems.txt", "mix"}
    assert json.loads(dense.stdout)["mix"] != json.loads(pruned.stdout)["mix"]
    assert "mix" in dense.stderr
