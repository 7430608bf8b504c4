"""The server reads one client's weights.

Adversary: a server that keeps to the protocol and keeps all that it is sent; here one institution, as many as the
charter allows for, also tells it all its secrets.
What it does: it looks at what the client sent, less every mask that it can take off.
Why it works on plain FedSpaLLM: clients upload masks and weights in the clear.
What stops it here: of each institution either the seed of its self mask is opened or the key of its pairwise masks,
never both, and the masks shared with other honest institutions stay on (SPEC sections 7.3, 9.3 and 20.1).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.rounds.synthetic import Run, Setting
from threat_model.attacks.attack import Attack, Trial, exactly
from threat_model.attacks.plain import PlainServer, uploads
from threat_model.attacks.stage import Stage

__all__ = ["READING_WEIGHTS"]

_SETTING = Setting(layers=1, shapes=((96, 64),))
_VICTIM, _COLLUDER = "i0", "i4"


def _on_plain(folder: Path) -> Trial:
    run, server = Run(_SETTING, folder), PlainServer()
    sent = uploads(run, run.prune(run.plan(), run.base))
    for name, upload in sent.items():
        server.receive(name, upload)
    read, truth = server.received[_VICTIM], sent[_VICTIM]
    return exactly(read.weight[read.mask], truth.weight[truth.mask], f"of {_VICTIM}'s weights")


def _here(folder: Path) -> Trial:
    stage = Stage(Run(_SETTING, folder), colluders=(_COLLUDER,))
    stage.play()
    (lane,) = stage.plan.lanes
    found, truth, sums = [], [], []
    for of in stage.sums_sent():
        opened = {name: stage.opened(name, of, lane) for name in stage.run.names}
        packed = {name: stage.packed(name, of, lane) for name in stage.run.names}
        found.append(opened[_VICTIM])
        truth.append(packed[_VICTIM])
        sums.append(sum(opened.values()) == sum(packed.values()))
    read = exactly(np.concatenate(found), np.concatenate(truth), f"words of {_VICTIM}'s votes and changes")
    whole = np.concatenate(sums)
    return Trial(
        read.succeeded,
        f"{read.evidence}, with the shares that all handed out and all that {_COLLUDER} knows; these do open the sum "
        f"of all five, {np.count_nonzero(whole):,} of {whole.size:,} words",
    )


READING_WEIGHTS = Attack(
    "reading_weights",
    "A server, with an institution that tells it everything, reads no other institution's votes or changes.",
    _on_plain,
    _here,
)
