"""The server tells some that a client vanished and the others that it is there, and so gets both its secrets.

Adversary: the server, with one institution that signs what it likes and tells all that it holds.
What it does: two sets of survivors, shown to half of the others each. Those told "vanished" hand out shares of the
client's key, those told "alive" shares of its seed; with both, its lane is open.
Why it works on the naive secure aggregation: clients hand out the shares that the server asks for.
What stops it here: shares are handed out for survivors that a quorum confirmed, each institution confirms once, and
2 quorum > n + c, the same number that a secret takes; so there is one set at most (SPEC sections 6.5, 9.3 and 20.2).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from fedspallm_secure.messages import Confirm, Confirmed, Envelope, Survivors, digest, seal
from fedspallm_secure.secagg.shamir import combine
from tests.rounds.synthetic import Run, Setting
from threat_model.attacks.attack import Attack, Trial, exactly
from threat_model.attacks.naive import NaiveClient, deal, fixed_point, unmask
from threat_model.attacks.plain import uploads
from threat_model.attacks.stage import Stage

__all__ = ["EQUIVOCATION"]

_SETTING = Setting(layers=1, shapes=((96, 64),), minimum_cohort=5)
_TOLD_VANISHED, _TOLD_ALIVE = ("i0", "i1"), ("i2", "i3")
_VICTIM, _COLLUDER = "i3", "i4"


def _on_plain(folder: Path) -> Trial:
    run = Run(_SETTING, folder)
    truth = uploads(run, run.prune(run.plan(), run.base))[_VICTIM]
    clients = {name: NaiveClient(index, run.entropy) for index, name in enumerate(run.names)}
    deal(list(clients.values()), len(clients) // 2 + 1)
    publics = {client.index: client.public for client in clients.values()}
    victim = clients[_VICTIM]
    sent = victim.masked(fixed_point(truth.weight), publics)
    told_alive = [clients[name] for name in (*_TOLD_ALIVE, _COLLUDER)]
    told_vanished = [clients[name] for name in (*_TOLD_VANISHED, _COLLUDER)]
    seed = combine({client.index: client.reveal([victim.index], ())[victim.index] for client in told_alive})
    key = combine({client.index: client.reveal((), [victim.index])[victim.index] for client in told_vanished})
    opened = unmask(sent, victim.index, seed, key, publics)
    return exactly(opened[truth.mask], fixed_point(truth.weight)[truth.mask], f"of {_VICTIM}'s weights")


def _here(folder: Path) -> Trial:
    stage = Stage(Run(_SETTING, folder), colluders=(_COLLUDER,))
    stage.play(until="survivors votes")
    alive = stage.name_survivors(stage.run.names)
    said_alive = stage.say(alive)
    vanished = stage.name_survivors([name for name in stage.run.names if name != _VICTIM])
    said_vanished = stage.say(vanished)
    signed_alive = [*_confirm(stage, said_alive, _TOLD_ALIVE), _sign(stage, alive)]
    signed_vanished = [*_confirm(stage, said_vanished, _TOLD_VANISHED), _sign(stage, vanished)]
    _ask_for_shares(stage, alive, signed_alive, _TOLD_ALIVE)
    _ask_for_shares(stage, vanished, signed_vanished, _TOLD_VANISHED)
    too_few = stage.refusal
    _confirm(stage, said_vanished, _TOLD_ALIVE)  # a second set of survivors, for those that confirmed the first
    _ask_for_shares(stage, alive, signed_alive + signed_vanished[:1], _TOLD_ALIVE)
    (lane,) = stage.plan.lanes
    read = exactly(
        stage.opened(_VICTIM, "votes", lane), stage.packed(_VICTIM, "votes", lane), f"words of {_VICTIM}'s votes"
    )
    return Trial(read.succeeded, f"{read.evidence}; {too_few}" if too_few else read.evidence)


def _confirm(stage: Stage, survivors: Envelope, to: Collection[str]) -> list[Envelope]:
    answers = [stage.tell(name, survivors) for name in to]
    return [answer for answer in answers if answer is not None]


def _sign(stage: Stage, survivors: Survivors) -> Envelope:
    """The colluder confirms whatever it is asked to."""
    about = survivors.model_dump(include={"charter", "round", "sum", "attempt"})
    confirm = Confirm(**about, sender=_COLLUDER, survivors=digest(survivors))
    return seal(confirm, stage.run.participants.institutions[_COLLUDER])


def _ask_for_shares(stage: Stage, survivors: Survivors, signed: Sequence[Envelope], to: Collection[str]) -> None:
    about = survivors.model_dump(include={"charter", "round", "sender", "sum", "attempt"})
    signatures = {envelope.signatures[0].keyid: envelope.signatures[0].sig for envelope in signed}
    confirmed = stage.say(Confirmed(**about, survivors=digest(survivors), signatures=signatures))
    for name in to:
        stage.tell(name, confirmed)


EQUIVOCATION = Attack(
    "equivocation",
    "A server that names different survivors to different institutions opens nobody.",
    _on_plain,
    _here,
)
