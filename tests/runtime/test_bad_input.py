"""Whatever is wrong: one message that says what to do, the documented exit code, and nothing lost."""

from __future__ import annotations

import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.runtime.conftest import COMMAND, ENVIRONMENT, Fedspallm

Settings = Sequence[str]


def refused(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """Assert that the command ended with `code` and one message that holds `parts`."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr[done.stderr.index("error: ") :]
    assert message.count("\n") == 2, message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("settings", "code", "part"),
    [
        (["pruning.windws=3"], 2, "pruning.windws: there is no such key"),
        (["pruning.windows=three"], 2, "pruning.windows"),
        (["pruning.method=wandb"], 2, "pruning.method"),
        (["institution.7.name=x"], 2, "institution.7.name"),
        (["seed"], 2, "KEY=VALUE"),
        (["protocol.dropouts=some"], 2, "protocol.dropouts"),
        (["protocol.dropouts=-1"], 2, "protocol.dropouts"),
        (["institution.0.policy=/no/such/policy.toml"], 2, "/no/such/policy.toml can't be read"),
        (['pruning.pattern="1.0"'], 6, "'1.0' is not a pruning pattern"),
        (['pruning.pattern="4:2"'], 6, "'4:2' is not a pruning pattern"),
        (['pruning.pattern="half"'], 6, "'half' is not a pruning pattern"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_loaded(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path, settings: Settings, code: int, part: str
) -> None:
    options = [item for setting in settings for item in ("--set", setting)]
    refused(fedspallm("simulate", configuration, "--out", tmp_path / "out", *options), code, part)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "code", "part"),
    [
        (["model=/no/such/model"], 4, "There is no directory '/no/such/model'"),
        (["model=no-such/model"], 4, "'no-such/model' is no causal language model"),
        (["institution.0.calibration=/no/such/text.txt"], 5, "/no/such/text.txt"),
        (["pruning.windows=4000"], 5, "tokens"),
        (["pruning.window=4096"], 5, "tokens"),
        (["protocol.minimum_cohort=4"], 6, "3 institutions are fewer than the minimum cohort of 4"),
        (["protocol.minimum_contributors=2"], 6, "minimum_contributors"),
        (["protocol.dropouts=1"], 6, "Of a cohort of 3, 1 drop-outs leave fewer than the 3"),
        (['institution.1.capacity="0.4"'], 6, "capacities"),
        (["protocol.digits_per_word=32"], 6, "64-bit word"),
        (['pruning.pattern=["0.5", "0.25"]'], 6, "higher sparsity"),
        (['pruning.pattern="3:5"'], 6, "not a multiple of 5"),
    ],
)
def test_what_can_not_be_run_is_refused_by_name(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path, settings: Settings, code: int, part: str
) -> None:
    options = [item for setting in settings for item in ("--set", setting)]
    refused(fedspallm("simulate", configuration, "--out", tmp_path / "out", *options), code, part)
    assert not list(tmp_path.iterdir())


def test_what_one_institutions_policy_does_not_allow_is_refused_in_its_name(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path
) -> None:
    policy, out = tmp_path / "policy.toml", tmp_path / "out"
    policy.write_text('methods = ["wanda"]', encoding="utf-8")
    done = fedspallm("simulate", configuration, "--out", out, "--set", f"institution.1.policy={policy}")
    refused(done, 6, "ledger does not take part. methods: the charter prunes with sparsegpt; the policy allows wanda")
    policy.write_text("methods = wanda", encoding="utf-8")
    done = fedspallm("simulate", configuration, "--out", out, "--set", f"institution.1.policy={policy}")
    refused(done, 2, "policy.toml is not TOML")
    assert [path.name for path in tmp_path.iterdir()] == ["policy.toml"]


def test_two_institutions_are_refused_with_the_reason_unless_they_say_that_they_know_it(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path
) -> None:
    two = tmp_path / "two.toml"
    two.write_text(configuration.read_text(encoding="utf-8").rpartition("[[institution]]")[0], encoding="utf-8")
    refused(fedspallm("simulate", two, "--out", tmp_path / "out"), 6, "2 institutions are fewer")
    settings = ["protocol.minimum_cohort=2", "protocol.minimum_contributors=2", "protocol.colluders=0"]
    options = [item for setting in settings for item in ("--set", setting)]
    done = fedspallm("simulate", two, "--out", tmp_path / "out", *options)
    refused(done, 6, "letters does not take part", "subtracts its own input from the sum and learns the other's")


def test_an_empty_text_is_refused(fedspallm: Fedspallm, configuration: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    setting = f"institution.0.calibration={tmp_path / 'empty.txt'}"
    refused(fedspallm("simulate", configuration, "--out", tmp_path / "out", "--set", setting), 5, "empty.txt")


def test_weights_that_are_not_numbers_are_refused(
    fedspallm: Fedspallm, configuration: Path, tiny: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(tiny / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    done = fedspallm("simulate", configuration, "--out", tmp_path / "out", "--set", f"model={broken}")
    refused(done, 4, "model.layers.1.mlp.up_proj.weight")


def test_a_finished_folder_is_never_overwritten(fedspallm: Fedspallm, configuration: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work", encoding="utf-8")
    refused(fedspallm("simulate", configuration, "--out", tmp_path / "out"), 9, "is there already")
    assert (tmp_path / "out" / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_a_disk_that_is_full_is_told_and_leaves_no_finished_folder(configuration: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [COMMAND, "simulate", str(configuration), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False, preexec_fn=limit
    )
    refused(done, 9, "can't be written")
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_an_unfinished_folder_and_the_same_command_goes_on_to_the_same_model(
    fedspallm: Fedspallm, configuration: Path, tmp_path: Path
) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    command = [COMMAND, "simulate", str(configuration), "--out", str(out)]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 200
        while not list(partial.glob("work/round-0/*/layer-*.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    assert process.returncode == 130, said
    assert "Interrupted" in said
    assert "Traceback" not in said
    assert partial.exists()
    assert not out.exists()

    other = fedspallm("simulate", configuration, "--out", out, "--set", "seed=5")
    refused(other, 9, "another configuration")

    assert fedspallm("simulate", configuration, "--out", out).returncode == 0
    assert fedspallm("simulate", configuration, "--out", tmp_path / "undisturbed").returncode == 0
    models = [folder / "model" / "model.safetensors" for folder in (out, tmp_path / "undisturbed")]
    assert models[0].read_bytes() == models[1].read_bytes()
