"""Documents of their own for each institution, and a configuration with privacy on."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["DOCUMENTS", "private_configuration"]

DOCUMENTS = 24
_WORDS = 60


def private_configuration(folder: Path, model: Path, texts: dict[str, Path], *, epsilon: str = "8") -> Path:
    """Every text cut into documents, one institution a kind; 6 windows of 32 tokens each, Wanda, little evaluation.

    Args:
        folder: where everything is written.
        model: its directory.
        texts: kind -> a text file of some thousand words.
        epsilon: of the run.
    """
    lines = [f'model = "{model}"', "[pruning]", "windows = 6", "window = 32", 'method = "wanda"', 'device = "cpu"']
    lines += ["[evaluation]", "windows = 2", "alone = false", "central = false", "[privacy]", f'epsilon = "{epsilon}"']
    for kind, path in texts.items():
        words = path.read_text(encoding="utf-8").split()
        documents = [" ".join(words[_WORDS * i : _WORDS * (i + 1)]) for i in range(DOCUMENTS)]
        mine = folder / f"{kind}.jsonl"
        mine.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
        lines += ["[[institution]]", f'name = "{kind}"', f'calibration = "{mine}"']
    path = folder / "private.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
