"""A run of two small rounds, and copies of its log as somebody would hand them over: whole, cut, forked or changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.numpy import save_file

from fedspallm_secure.charter import sign_charter
from fedspallm_secure.messages import Envelope, Identity, canonical, digest
from fedspallm_secure.tlog import HeldLog, cosign, origin_of
from fedspallm_secure.workspace import LayerStore
from tests.rounds.synthetic import Run, Setting

__all__ = ["checkpoint", "copy_of", "model_folder", "record"]

_TIME = 1_700_000_000


def record(folder: Path) -> Run:
    """Two rounds of votes and values at five institutions; everybody signed the charter."""
    run = Run(Setting(schedule=("0.25", "0.5"), layers=1, shapes=((8, 12),)), folder)
    current = run.base
    for number in range(2):
        plan = run.plan(number)
        _, current = run.round(plan, current, run.prune(plan, current))
    signers = [run.participants.server, *run.participants.institutions.values()]
    run.transcript.write_charter(run.charter, sign_charter(run.charter, signers))
    return run


def model_folder(run: Run, layers: LayerStore, folder: Path) -> Path:
    """The pruned tensors of `layers` as a model folder."""
    tensors = {tensor.name: layers.weights(tensor.layer, tensor.name) for tensor in run.charter.base.pruned}
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def checkpoint(
    run: Run,
    entries: Sequence[Envelope],
    cosigners: Sequence[str] = (),
    keeper: Identity | None = None,
    charter: str | None = None,
) -> str:
    """What the keeper signs of a log of these entries, with cosignatures of some institutions.

    `keeper` is somebody else with its name, `charter` the digest of another run's.
    """
    log = HeldLog(origin_of(charter or digest(run.charter)))
    for entry in entries:
        log.append(entry)
    note = log.checkpoint(keeper or run.participants.server)
    return note + "".join(cosign(note, run.participants.institutions[name], _TIME) for name in cosigners)


def copy_of(run: Run, folder: Path, entries: Sequence[Envelope], notes: Mapping[str, str] | None = None) -> Path:
    """A transcript of these entries, without payloads, and with checkpoints of these names."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "charter.json").write_bytes(canonical(run.charter))
    (folder / "log.jsonl").write_bytes(b"".join(canonical(entry) + b"\n" for entry in entries))
    for name, note in (notes or {}).items():
        (folder / "checkpoints" / name).write_bytes(note.encode())
    return folder
