"""The server invents counts, so that positions which one client alone kept pass for popular ones.

Adversary: the server, where votes are counted first and rare positions left out of the sum of weights.
What it does: it says that everybody kept everything, and reads the sum where the true count is one. Here it also lets
its own word stand for the institutions' proofs.
Why it works on the naive secure aggregation with a threshold: clients believe the counts that the server publishes.
What stops it here: before a change is sent every institution compares the published counts with masked inner products
of all others' votes, and only the charter's witness may stand in for them (SPEC sections 9.4 and 20.2).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedspallm_secure.messages import Attest, Attested, LaneBlob, Message, Proofs, SumName, digest, seal
from fedspallm_secure.rounds import AddingUp
from fedspallm_secure.secagg import Lane, Server
from fedspallm_secure.transcript import BlobStore
from tests.rounds.synthetic import Run, Setting
from threat_model.attacks.alone import changes_of_one
from threat_model.attacks.attack import Attack, Trial
from threat_model.attacks.count_one import nearly_agreed, read_where_one_kept
from threat_model.attacks.stage import Stage

__all__ = ["FALSE_COUNTS"]

_SETTING = Setting(layers=1, shapes=((48, 64),), schedule=("0.5",))
_LEAST = _SETTING.minimum_contributors


class _Inflating(AddingUp):
    """Publishes that everybody kept everything, and keeps the truth."""

    def __init__(self, blobs: BlobStore) -> None:
        super().__init__(blobs)
        self.true: dict[str, NDArray[Any]] = {}

    def __call__(self, server: Server, name: SumName, lane: Lane) -> LaneBlob:
        honest = super().__call__(server, name, lane)
        if name != "votes" or lane.index > 0:  # the operator's figures
            return honest
        self.true[lane.name] = lane.votes.unpack(self._blobs.get(honest.blob), lane.length)
        forged = lane.votes.pack(np.full(lane.length, lane.votes.clients, np.uint8))
        return honest.model_copy(update={"blob": self._blobs.put(forged)})


def _on_plain(folder: Path) -> Trial:
    honest = read_where_one_kept(Run(_SETTING, folder / "honest"), least=_LEAST)
    lie = read_where_one_kept(
        Run(_SETTING, folder / "lie"), lambda counts: np.full_like(counts, _SETTING.clients), least=_LEAST
    )
    return Trial(lie.succeeded and not honest.succeeded, f"{lie.evidence}; with the true counts it {honest.evidence}")


def _here(folder: Path) -> Trial:
    believed = _publish_and_hope(folder / "proofs", vouch=False)
    vouched = _publish_and_hope(folder / "word", vouch=True)
    return Trial(
        believed.succeeded or vouched.succeeded, f"{believed.evidence}; with its own word for it: {vouched.evidence}"
    )


def _publish_and_hope(folder: Path, *, vouch: bool) -> Trial:
    run = Run(_SETTING, folder)
    inflating = _Inflating(run.transcript.blobs)
    stage = Stage(run, pruned=nearly_agreed(run), add=inflating)

    def forge(to: str, message: Message) -> Message:
        if not vouch or not isinstance(message, Proofs):
            return message
        sums = next(said for said in reversed(stage.said()) if said.kind == "sums")
        about = message.model_dump(include={"charter", "round", "sender", "sum", "attempt"})
        word = seal(Attest(**about, sums=digest(sums)), run.participants.server)
        return Attested(**about, attestation=word)

    stage.play(forge=forge)
    (lane,) = stage.plan.lanes
    read = changes_of_one(stage, lane, inflating.true[lane.name])
    return Trial(read.succeeded, f"{read.evidence}, {stage.refusal}" if stage.refusals else read.evidence)


FALSE_COUNTS = Attack(
    "false_counts",
    "Counts that the server invents are found before any change is sent.",
    _on_plain,
    _here,
)
