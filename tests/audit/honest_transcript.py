"""Small runs that went as they should, as an auditor meets them: a transcript, the base model and what came out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from fedspallm_secure.audit import Depth, Verdict, audit
from fedspallm_secure.charter import sign_charter
from fedspallm_secure.messages import Envelope, Message, Signer, open_envelope
from fedspallm_secure.workspace import LayerStore
from tests.rounds.synthetic import REST, Run, Setting
from tests.rounds.vanishing import vanish

__all__ = ["ENCRYPTED", "TINY", "Honest", "everybody", "model_folder", "record"]

TINY = Setting(clients=3, layers=1, shapes=((4, 8),))
"""Everything that a run can have but drop-outs, in as few bytes as can be."""

ENCRYPTED = replace(TINY, ckks=True)
"""The same, with votes that a custodian counts."""


@dataclass(frozen=True)
class Honest:
    """A finished run.

    Attributes:
        run: its setting and keys.
        folder: of the transcript.
        base: folder of the base model.
        model: folder of the model that came out.
    """

    run: Run
    folder: Path
    base: Path
    model: Path

    def entries(self) -> list[Envelope]:
        """The log."""
        return self.run.entries()

    def messages(self) -> list[Message]:
        """What is in it."""
        return [open_envelope(envelope, self.run.charter.keys) for envelope in self.entries()]

    def copy(self, to: Path) -> Path:
        """A copy of the transcript, for somebody to change."""
        return Path(shutil.copytree(self.folder, to))

    def audited(self, folder: Path | None = None, depth: Depth = "full") -> Verdict:
        """What an auditor says of the transcript, or of a changed copy, who has both models."""
        return audit(folder or self.folder, depth=depth, base=self.base, model=self.model)


def record(
    setting: Setting, folder: Path, when: Mapping[str, str] | None = None, *, witness_gone: bool = False
) -> Honest:
    """Run all rounds of a setting.

    Args:
        setting: which.
        folder: for everything.
        when: who vanishes in the first round, see `vanish`.
        witness_gone: whether the charter's witness never says a word.
    """
    run = Run(setting, folder)
    signers = everybody(run)
    if witness_gone:
        run.participants = replace(run.participants, witness=None)
    current = run.base
    with pytest.MonkeyPatch.context() as monkeypatch:
        vanish(monkeypatch, run, dict(when or {}))
        for number in range(len(setting.schedule)):
            plan = run.plan(number)
            _, current = run.round(plan, current, run.prune(plan, current))
    run.transcript.write_charter(run.charter, sign_charter(run.charter, signers))
    base = model_folder(run, run.base, folder / "base-model")
    return Honest(run, run.transcript.folder, base, model_folder(run, current, folder / "model"))


def everybody(run: Run) -> list[Signer]:
    """All who sign the charter."""
    return [*run.participants.everybody, *([] if run.office is None else [run.office._signer])]


def model_folder(run: Run, layers: LayerStore, folder: Path) -> Path:
    """A whole model: the tensors of `layers`, and those that nobody prunes."""
    pruned = {tensor.name: layers.weights(tensor.layer, tensor.name) for tensor in run.charter.base.pruned}
    folder.mkdir()
    save_file(pruned | dict(REST), folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder
