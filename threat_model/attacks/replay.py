"""Messages of another round make a client hide two vectors under one keystream; their difference is in the clear.

Adversary: the server, in a later round, or in another run of the same clients.
What it does: it sends a client the peers' keys that it was sent before, and subtracts the two uploads.
Why it works on the naive secure aggregation: a mask depends on keys alone, and an old message is as good as a new one.
What stops it here: every message names charter, round, sum and attempt and is refused elsewhere, keys are fresh for
each round and sum, and the key of every mask is derived with all of these (SPEC sections 7.2, 8.1 and 20.2).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fedspallm_secure.messages import Advertised, Envelope, open_envelope
from fedspallm_secure.rounds import plan_round
from tests.rounds.synthetic import Run, Setting
from threat_model.attacks.attack import Attack, Trial, exactly, reason
from threat_model.attacks.naive import NaiveClient, fixed_point
from threat_model.attacks.plain import uploads
from threat_model.attacks.stage import Stage

__all__ = ["REPLAY"]

_SETTING = Setting(layers=1, shapes=((96, 64),), schedule=("0.5", "0.6"))
_VICTIM = "i0"


def _on_plain(folder: Path) -> Trial:
    run = Run(_SETTING, folder)
    first, second = (uploads(run, run.prune(run.plan(), run.base))[_VICTIM] for _ in range(2))
    clients = [NaiveClient(index, run.entropy) for index in range(len(run.names))]
    publics = {client.index: client.public for client in clients}
    sent = [clients[0].masked(fixed_point(upload.weight), publics) for upload in (first, second)]
    changed = first.mask | second.mask
    difference = fixed_point(first.weight) - fixed_point(second.weight)
    return exactly((sent[0] - sent[1])[changed], difference[changed], f"differences of {_VICTIM}'s two uploads")


def _here(folder: Path) -> Trial:
    first = Stage(Run(_SETTING, folder / "run"))
    first.play()
    run, model = first.run, first.coordinator.model
    plan = plan_round(run.charter, 1, model)
    second = Stage(run, plan, run.prune(plan, first.output), before=first)
    second.play(until="advertised")
    other = Run(replace(_SETTING, schedule=("0.5",)), folder / "other run")  # the same keys under another charter
    assert other.participants.institutions[_VICTIM].public == run.participants.institutions[_VICTIM].public
    elsewhere = Stage(other)
    elsewhere.play(until="shares")
    old = _advertised(first)
    for replayed in (old, _in_this_round(second, old), _advertised(elsewhere)):
        second.log.append(replayed)
        second.tell(_VICTIM, replayed)
    second.play()
    lane, later = first.plan.lanes[0], plan.lanes[0]
    found = first.sent(_VICTIM, "votes", lane) - second.sent(_VICTIM, "votes", later)
    truth = first.packed(_VICTIM, "votes", lane) - second.packed(_VICTIM, "votes", later)
    read = exactly(found, truth, f"differences of words of {_VICTIM}'s votes in two rounds")
    reasons = "; ".join(reason(error) for _, error in second.refusals)
    return Trial(read.succeeded, f"{read.evidence}; the old keys were refused by {_VICTIM}: {reasons}")


def _advertised(stage: Stage) -> Envelope:
    """What the victim was told of the others' keys."""
    return next(
        envelope
        for envelope in stage.entries
        if isinstance(open_envelope(envelope, stage.plan.charter.keys), Advertised)
    )


def _in_this_round(stage: Stage, old: Envelope) -> Envelope:
    """The old keys in a message of this round."""
    message = open_envelope(old, stage.plan.charter.keys)
    return stage.say(message.model_copy(update={"round": stage.plan.context.round}))


REPLAY = Attack(
    "replay",
    "Messages of another round or run make no institution hide two vectors under one keystream.",
    _on_plain,
    _here,
)
