"""Who installed the package for an audit and asks for more is told what is missing, not shown a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_WITHOUT = (
    "import sys; sys.modules |= dict.fromkeys({absent!r}); sys.argv = {words!r};"
    "from fedspallm_secure.cli import main; main()"
)
_EXTRA = ["torch", "transformers", "datasets", "matplotlib", "yaml", "gguf", "accelerate", "huggingface_hub"]


def _run(absent: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    script = _WITHOUT.format(absent=absent, words=["fedspallm", *words])
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", ["demo --out OUT", "simulate RUN --out OUT", "evaluate MODEL --data TEXT"])
def test_a_command_that_needs_more_than_the_base_install_says_what_to_install(words: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("")
    places = {"OUT": "out", "RUN": "run.toml", "MODEL": "model", "TEXT": "text.txt"}
    done = _run(_EXTRA, *(str(tmp_path / places[word]) if word in places else word for word in words.split()))
    assert done.returncode == 2
    assert done.stderr.startswith("error: This command needs '")
    assert "pip install 'fedspallm-secure[run]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_module_of_our_own_that_is_missing_is_shown_as_the_fault_that_it_is(tmp_path: Path) -> None:
    done = _run(["fedspallm_secure.runtime"], "demo", "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
