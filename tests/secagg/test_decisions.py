"""A client decides once, and writes each decision down before anybody hears of what follows from it."""

from __future__ import annotations

import numpy as np
import pytest

from fedspallm_secure.errors import LocalProtocolError, StorageError
from fedspallm_secure.messages import digest
from fedspallm_secure.secagg import Client
from fedspallm_secure.workspace import Journal
from tests.secagg.small_round import SmallRound, entropy, identity, resealed, snapshot
from tests.secagg.staged_round import STAGED, Scene, scenes

# The decision, the message on which it is taken, and the kind of message that follows from it.
DECISIONS = [
    ("confirm votes", "survivors of votes", "confirm"),
    ("unmask votes", "confirmed votes", "unmask"),
    ("advertise 1", "again", "advertise"),
    ("confirm values", "survivors of values", "confirm"),
    ("unmask values", "confirmed values", "unmask"),
]


class _Disk(Journal):
    """A journal on a disk that may be full."""

    full = False

    def _write(self, what: str, decision: str) -> None:
        if self.full:
            raise StorageError("The disk is full.", "Free space.")


def _with_disk() -> tuple[SmallRound, Client, _Disk]:
    """A round in which i1's journal is on a disk."""
    played, disk = SmallRound(STAGED), _Disk()
    played.clients[1] = Client(STAGED, identity("i1"), entropy("seed i1"), disk)
    return played, played.clients[1], disk


def _at(stage: str, played: SmallRound) -> Scene:
    return next(scene for scene in scenes(played) if scene.stage == stage)


@pytest.mark.parametrize(("decision", "stage", "answer"), DECISIONS)
def test_nothing_is_handed_out_while_the_journal_can_t_be_written(decision: str, stage: str, answer: str) -> None:
    played, client, disk = _with_disk()
    scene = _at(stage, played)
    disk.full = True
    before = snapshot(client)
    with pytest.raises(StorageError, match="The disk is full"):
        client.receive(scene.true("i1"))
    assert snapshot(client) == before
    disk.full = False
    said = client.receive(scene.true("i1"))
    assert said is not None
    assert STAGED.open(said).kind == answer
    assert f"{STAGED.digest} round 0 {decision}" in disk._decisions


def test_no_keys_are_advertised_while_the_journal_can_t_be_written() -> None:
    _, client, disk = _with_disk()
    disk.full = True
    before = snapshot(client)
    with pytest.raises(StorageError, match="The disk is full"):
        client.advertise()
    assert snapshot(client) == before
    disk.full = False
    assert client.advertise() == SmallRound(STAGED).clients[1].advertise()


def test_what_is_decided_in_a_round_is_which_keys_and_which_survivors() -> None:
    played = SmallRound(STAGED)
    *_, end = scenes(played)
    said = {stage: STAGED.open(messages["i1"]) for stage, messages in end.said.items()}
    votes, values = digest(said["survivors of votes"]), digest(said["survivors of values"])
    keys = {"advertise": digest(said["advertise"]), "advertise 1": digest(said["advertise again"])}
    decided = keys | {"confirm votes": votes, "unmask votes": votes, "confirm values": values, "unmask values": values}
    assert played.journals[1]._decisions == {f"{STAGED.digest} round 0 {what}": how for what, how in decided.items()}


def test_a_client_started_again_advertises_no_other_keys_in_the_round() -> None:
    played = SmallRound(STAGED)
    played.clients[0].advertise()
    again = Client(STAGED, identity("i0"), entropy("another"), played.journals[0])
    before = snapshot(again)
    with pytest.raises(LocalProtocolError, match=r"round 0 advertise was decided as .* before; refusing"):
        again.advertise()
    assert snapshot(again) == before


def test_a_copy_of_a_client_confirms_no_other_survivors_and_opens_nothing_else() -> None:
    played = SmallRound(STAGED)
    *_, end = scenes(played)
    copy = Client(STAGED, identity("i0"), entropy("seed i0"), played.journals[0])
    assert copy.advertise() == end.said["advertise"]["i0"]
    assert copy.receive(end.said["advertised"]["i0"]) == end.said["share"]["i0"]
    copy.receive(end.said["shares"]["i0"])
    words = [copy.mask(lane, np.zeros(lane.length, np.bool_)) for lane in copy.lanes]
    copy.send([played.store(lane, masked) for lane, masked in zip(copy.lanes, words, strict=True)])
    true = end.said["survivors of votes"]["i0"]
    before = snapshot(copy)
    with pytest.raises(LocalProtocolError, match=r"round 0 confirm votes was decided as .* before; refusing"):
        copy.receive(resealed(STAGED, true, survivors=("i0", "i1", "i3")))
    assert snapshot(copy) == before
    assert copy.receive(true) == end.said["confirm votes"]["i0"]
    assert copy.receive(end.said["confirmed votes"]["i0"]) == end.said["unmask votes"]["i0"]
