"""What the benchmark of privacy computes in the clear is what a whole run's secure sums give."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from rich.console import Console

from benchmarks.private_federation import Aggregate, Averaged, Pooled, Setting, Unit
from fedspallm_secure.cli.progress import TerminalSteps
from fedspallm_secure.pruning import decoder_layers
from fedspallm_secure.runtime.config import load_config
from fedspallm_secure.runtime.model import load_model
from fedspallm_secure.runtime.sections import OFF
from tests.runtime.conftest import Fedspallm

_Method = Literal["wanda", "sparsegpt"]


@pytest.mark.parametrize("aggregate", ["weights", "statistics"])
@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_without_noise_it_is_the_model_of_a_run(
    method: _Method, aggregate: Aggregate, fedspallm: Fedspallm, configuration: Path, tmp_path: Path
) -> None:
    settings = [f"pruning.method={method}", f"protocol.aggregate={aggregate}", "pruning.device=cpu"]
    settings += ["evaluation.alone=false", "evaluation.central=false", "protocol.digits_per_word=1"]
    settings += ["protocol.exchange=once"] if aggregate == "statistics" else ["protocol.clip=100"]
    options = [text for setting in settings for text in ("--set", setting)]
    done = fedspallm("simulate", configuration, "--out", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    steps = TerminalSteps(Console(quiet=True))
    setting = Setting(Unit(method, aggregate, 0), load_config(configuration, settings), steps, evaluated=64)
    (Averaged if aggregate == "weights" else Pooled)(setting).federate(OFF)
    model = load_model(str(tmp_path / "out" / "model"), "auto", torch.device("cpu"))
    for found, due in zip(setting.layers, decoder_layers(model), strict=True):
        for one, other in zip(found.linears, due.linears, strict=True):
            ours, run = one.matrix(), other.matrix()
            assert float(((ours != 0) == (run != 0)).float().mean()) > 0.995, one.name
            assert torch.linalg.norm(ours - run) < 0.03 * torch.linalg.norm(run), one.name
